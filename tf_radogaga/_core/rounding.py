"""Differences between numbers that arithmetic alone makes, such as that of 0.1 + 0.2 and 0.3.

A column whose values differ by no more is constant, and such values are one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

FLOAT64 = 64 * float(np.finfo(np.float64).eps)
"""Rounding relative to a value, of float64 and of numbers that become it: sums of a thousand terms differ by less, and
nothing is measured as finely."""

WHOLE = 2.0**24
"""From here on float32 does not tell a whole number from the next."""

_FLOAT32 = 8 * float(np.finfo(np.float32).eps)
_NARROW = {np.dtype(np.float16): 2 * float(np.finfo(np.float16).eps), np.dtype(np.float32): _FLOAT32}
"""The same of narrower types, whose steps are few, as measurements come close to them."""


def as_served(x: np.ndarray) -> np.ndarray:
    """What a server, which takes float32, has of numbers: those below its normal ones are 0, as kernels may have it."""
    with np.errstate(over="ignore"):
        held = np.float32(x)
    return np.where(np.abs(held) < np.finfo(np.float32).tiny, 0, held).astype(np.float64)


def relative(table: Any, x: np.ndarray) -> np.ndarray:
    """Rounding of each column relative to its values, (M,): that of its type, or of float32 where float32 made it.

    Args:
        table: what the rows came as.
        x: (n, M) float64, the rows.
    """
    dtypes = table.dtypes if isinstance(table, pd.DataFrame) else [np.asarray(table).dtype]
    dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]  # pandas has types of its own, as Float32
    found = np.broadcast_to([_NARROW.get(dtype, FLOAT64) for dtype in dtypes], x.shape[1]).copy()
    for column in np.flatnonzero(is_constant(x.min(axis=0), x.max(axis=0), _FLOAT32)):
        values = x[:, column]
        with np.errstate(over="ignore"):
            made = (np.float32(values) == values).all()
        if made and not (values == np.rint(values)).all():
            found[column] = max(found[column], _FLOAT32)
    return found


def is_constant(
    low: np.ndarray, high: np.ndarray, rounding: np.ndarray | float = FLOAT64, unit: float = 0
) -> np.ndarray:
    """Which columns, of these least and greatest values (M,), are constant but for rounding.

    Args:
        rounding: relative to the values, as `relative` gives it.
        unit: size of the numbers that the values were computed from, where they may be smaller.
    """
    magnitude = np.maximum(np.maximum(np.abs(low), np.abs(high)), unit)
    with np.errstate(over="ignore"):
        return high - low <= rounding * magnitude


def merged(x: np.ndarray) -> np.ndarray:
    """Rows (n, M) float64 in which values of a column that differ by rounding are one, the least of them. x itself
    where there are none."""
    ordered = np.sort(x, axis=0)
    with np.errstate(over="ignore"):
        steps = np.diff(ordered, axis=0)
    near = (steps > 0) & (steps <= FLOAT64 * np.abs(ordered[1:]))
    columns = np.flatnonzero(near.any(axis=0))
    if columns.size:
        x = x.copy()
    for column in columns:
        values, places = np.unique(x[:, column], return_inverse=True)
        apart = np.diff(values, prepend=-np.inf) > FLOAT64 * np.abs(values)
        group = np.cumsum(apart) - 1
        first = values[apart][group]
        last = values[np.append(apart[1:], True)][group]
        # a column as fine as this throughout is no noise around few values
        x[:, column] = np.where(last - first <= FLOAT64 * np.abs(values), first, values)[places]
    return x
