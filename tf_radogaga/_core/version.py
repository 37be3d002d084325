"""The version of the package, which its build, its import and the cards of its exports tell."""

__version__ = "0.1.0"
