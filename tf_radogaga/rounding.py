"""Differences between numbers that arithmetic alone makes, such as that of 0.1 + 0.2 and 0.3.

A column whose values differ by no more is constant, and such values are one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_STEPS = {np.dtype(np.float16): 2, np.dtype(np.float32): 8}
"""Steps of a type that count as rounding; few, as narrow types hold measurements close to their steps."""

FLOAT64 = 64 * float(np.finfo(np.float64).eps)
"""The same of float64 and of numbers that become it, relative to a value: sums of a thousand terms differ by less, and
nothing is measured as finely."""


def relative(table: Any) -> np.ndarray:
    """Rounding of each column of a table, (M,), or of a whole matrix, (), relative to its values: by their type."""
    dtypes = table.dtypes if isinstance(table, pd.DataFrame) else [np.asarray(table).dtype]
    found = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]  # pandas has types of its own, as Float32
    found = [_STEPS[dtype] * np.finfo(dtype).eps if dtype in _STEPS else FLOAT64 for dtype in found]
    return np.array(found) if isinstance(table, pd.DataFrame) else np.array(found[0])


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
