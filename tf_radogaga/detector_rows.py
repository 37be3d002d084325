"""Rows as detectors take them: tables in memory, `tf.data` pipelines of their batches, and columns to swap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_radogaga.batches import rows_only


def table_of(X: Any) -> Any:
    """The table that a `tf.data.Dataset` holds: a matrix, or a DataFrame where its batches have named columns. Anything
    else is returned as it is.

    Args:
        X: a dataset is read once, into memory; of batches (B, M), of dicts of (B,), or of (batch, label, ...).

    Raises:
        ValueError: the dataset is endless, empty, or not of batches.
    """
    if not isinstance(X, tf.data.Dataset):
        return X
    if X.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("X: an endless dataset; leave out .repeat().")
    rows = rows_only(X)
    named = isinstance(rows.element_spec, dict)
    rank = 1 if named else 2
    for spec in tf.nest.flatten(rows.element_spec):
        if not isinstance(spec, tf.TensorSpec) or spec.shape.rank not in (rank, None):
            raise ValueError(
                f"X: a dataset of {rows.element_spec}; batches of rows (B, M), or dicts of columns (B,), are needed:"
                " call .batch(256)."
            )
    blocks = list(rows.as_numpy_iterator())
    if not blocks:
        raise ValueError("X: the dataset is empty; give at least one batch.")
    if not named:
        return np.concatenate(blocks)
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return pd.DataFrame({name: _text(values) if values.dtype == object else values for name, values in columns.items()})


def _text(values: np.ndarray) -> list[str]:
    return [value.decode() for value in values]


def take(table: np.ndarray | pd.DataFrame, rows: np.ndarray) -> np.ndarray | pd.DataFrame:
    """These rows, by number, (B,)."""
    return table.iloc[rows].reset_index(drop=True) if isinstance(table, pd.DataFrame) else table[rows]


def with_column(
    table: np.ndarray | pd.DataFrame, column: int, other: np.ndarray | pd.DataFrame
) -> np.ndarray | pd.DataFrame:
    """A copy of a table in which one column, by number, is that of another."""
    table = table.copy()
    if isinstance(table, pd.DataFrame):
        table[table.columns[column]] = other.iloc[:, column].to_numpy()
    else:
        table[:, column] = other[:, column]
    return table
