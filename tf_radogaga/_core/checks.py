"""Arguments in their range, or an error that names the argument and what it may be."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any


def require(name: str, value: Any, allowed: bool, what: str) -> None:
    """ValueError that names an argument outside its range."""
    if not allowed:
        raise ValueError(f"{name}: {value!r} must be {what}.")


def positive(**values: float) -> None:
    """ValueError for values, by name, that are not above 0."""
    for name, value in values.items():
        require(name, value, value > 0, "positive")


def at_least(least: float, **values: float) -> None:
    """ValueError for values, by name, below the least."""
    for name, value in values.items():
        require(name, value, value >= least, f"at least {least}")


def in_range(name: str, value: float, least: float, below: float, remedy: str = "") -> None:
    """ValueError for a value that is outside [least, below)."""
    if not least <= value < below:
        raise ValueError(f"{name}: {value!r} is outside [{least}, {below}){remedy and '; '}{remedy}.")


def one_of(name: str, value: Any, choices: Collection, of: str = "") -> None:
    """ValueError for a value that is no choice; `of` tells what has no more of them."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not one of {tuple(choices)}{of and ' for '}{of}.")


def whole_number(name: str, value: Any, least: int = 1) -> Any:
    """An argument that is a whole number, or None; TypeError for anything else, ValueError for less than `least`."""
    if value is None:
        return None
    try:
        number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {value!r} must be a whole number.") from None
    at_least(least, **{name: number})
    return number
