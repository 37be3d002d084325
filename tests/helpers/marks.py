"""Marks of tests by the command that runs them; CONTRIBUTING.md names them."""

import pytest


def after(first, values):
    """All values of a parameter; those after the first few are left to the thorough tests, if not to the slow ones."""
    values = list(values)
    return values[:first] + [value if hasattr(value, "marks") else _thorough(value) for value in values[first:]]


def _thorough(value):
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.thorough)
