"""Rows as detectors take them: matrices, frames, `tf.data` pipelines of their batches, and columns to swap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Union

import numpy as np
import pandas as pd
import scipy.sparse
from pandas.api.types import is_bool_dtype
from sklearn.utils.validation import check_array

from tf_radogaga._core import blocks
from tf_radogaga._core.frames import listed, to_pandas
from tf_radogaga._core.stack import tf
from tf_radogaga.detector.densities.average import MOST_ROWS
from tf_radogaga.preprocessing import TableEncoding
from tf_radogaga.preprocessing.cells import TIMES, array_of, is_text, level, numbers
from tf_radogaga.training.batches import rows_only

Rows = Union[np.ndarray, pd.DataFrame]

MOST_ENCODED = 2**22
"""Numbers in the one-hot table of the rows that densities are fitted to."""


def table_of(X: Any) -> Any:
    """The table that a `tf.data.Dataset` of batches (B, M), dicts of (B,), or (batch, label) holds, read once into
    memory: a matrix, or a DataFrame where batches have named columns. A frame of any library becomes one of pandas;
    anything else is returned as it is.

    Raises:
        TypeError: a lazy frame.
        ValueError: the dataset is endless, empty, not of batches, or with weights.
    """
    if not isinstance(X, tf.data.Dataset):
        return to_pandas(X)
    if X.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("X: an endless dataset; leave out .repeat().")
    if isinstance(X.element_spec, tuple) and len(X.element_spec) == 3:
        raise ValueError(
            "X: a dataset of (x, y, sample_weight), but detectors count every row once; drop the weights, by"
            " dataset.map(lambda x, y, weights: x)."
        )
    rows = rows_only(X)
    named = isinstance(rows.element_spec, dict)
    for spec in tf.nest.flatten(rows.element_spec):
        if not isinstance(spec, tf.TensorSpec) or spec.shape.rank not in (1 if named else 2, None):
            raise ValueError(
                f"X: a dataset of {rows.element_spec}; batches of rows (B, M), or dicts of columns (B,), are needed:"
                " call .batch(256)."
            )
    batches = list(rows.as_numpy_iterator())
    if not batches:
        raise ValueError("X: the dataset is empty; give at least one batch.")
    if not named:
        return np.concatenate(batches)
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return pd.DataFrame(
        {name: list(map(level, cells)) if cells.dtype == object else cells for name, cells in columns.items()}
    )


def encoding_for(table: Any, categorical: str | Iterable[str]) -> TableEncoding | None:
    """The encoding of a frame of which a column holds levels, or is named.

    Raises:
        TypeError, ValueError: as `TableEncoding.for_table`; columns of a matrix are named; or levels, each of them a
            dimension, are so many that densities would take minutes and gigabytes, with the column that has the most.
    """
    framed, named = isinstance(table, pd.DataFrame), listed(categorical)
    if named and not framed:
        raise TypeError(f"categorical: {named} names columns; give X as a DataFrame, not a matrix.")
    if not named:
        columns = table.items() if framed else ()  # of which bools alone are numbers
        if not any(not is_bool_dtype(column) and is_text(column, str(name)) for name, column in columns):
            return None
    encoding, fitted = TableEncoding.for_table(table, named), min(len(table), MOST_ROWS)
    if fitted * encoding.width > MOST_ENCODED:
        counts = {column: len(known) for column, known in encoding.columns.items() if known is not None}
        column = max(counts, key=counts.__getitem__)
        raise ValueError(
            f"column {column!r}: {counts[column]} levels, of {encoding.width} columns once levels are one-hot, and"
            f" densities of {fitted} rows take at most {MOST_ENCODED // fitted}; drop the column if it is an"
            " identifier, convert it if it is a number or a date, or make fewer levels of it."
        )
    return encoding


def encoded(table: Any, encoding: TableEncoding | None) -> np.ndarray:
    """The matrix (n, M) float64 that the encoding makes of a frame; without one the table, which is a matrix."""
    if encoding is None:
        return table
    rows = getattr(table, "iloc", table)  # slices of a frame may go by its index
    x = [encoding(encoding.check(rows[part], part.start)) for part in blocks.slices(len(table), blocks.ROWS)]
    return np.concatenate(x).astype(np.float64)


def matrix_of(table: Any, **options: Any) -> np.ndarray:
    """A table as (n, M) float64, by scikit-learn's `check_array` with these options.

    Raises:
        TypeError, ValueError: as `check_array`, with column and row of a cell that is missing or no finite number.
    """
    if scipy.sparse.issparse(table) or isinstance(table, np.matrix):
        return check_array(table, **options)  # refuses it
    if isinstance(table, pd.DataFrame) and table.size:
        table = np.stack([numbers(column, str(name), dtype=np.float64) for name, column in table.items()], axis=1)
    table = array_of(table, "X")
    if table.ndim == 2 and table.dtype.kind in "mMO":  # scikit-learn takes dates and times as numbers of any unit
        for place, column in enumerate(table.T):
            if any(isinstance(value, TIMES) for value in column):
                numbers(column, str(place), dtype=np.float64)
    try:
        return check_array(table, dtype=np.float64, **options)
    except (TypeError, ValueError) as error:
        for place in range(table.shape[1] if table.ndim == 2 else 0):
            try:
                numbers(table[:, place], str(place), dtype=np.float64)
            except (TypeError, ValueError) as located:
                raise type(error)(f"{located} ({str(error).splitlines()[0]})") from error
        raise


def take(table: Rows, rows: np.ndarray) -> Rows:
    """These rows, by number, (B,)."""
    return table.iloc[rows].reset_index(drop=True) if isinstance(table, pd.DataFrame) else table[rows]


def with_column(table: Rows, column: int, other: Any) -> Rows:
    """A copy of a table in which one column, by number, is that of another."""
    table = table.copy()
    if isinstance(table, pd.DataFrame):
        table[table.columns[column]] = other.iloc[:, column].to_numpy()
    else:
        table[:, column] = other[:, column]
    return table
