"""This folder under the name of its package, for scripts that run where nothing is installed."""

from pathlib import Path

__path__ = [str(Path(__file__).parent)]
