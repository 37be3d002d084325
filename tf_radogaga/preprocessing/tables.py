"""Preprocessing of tables of named columns, numbers and levels."""

from __future__ import annotations

import itertools
import keyword
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype

from tf_radogaga._core.frames import listed, to_pandas
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.preprocessing.base import Preprocessing, is_symbolic, register
from tf_radogaga.preprocessing.cells import (
    blank,
    blanks,
    canonical,
    is_text,
    level,
    levels,
    numbers,
    same_texts,
    spellings,
)
from tf_radogaga.preprocessing.matrices import MinMaxScaling

MOST_LEVELS = 1000
"""Levels of a column; of more, each must be met in ten rows on average, else the column is an identifier."""

_UNSEEN = "\0unseen"
"""In place of levels never seen; Keras' own, [UNK], might be one of them."""


@register
class TableEncoding(Preprocessing):
    """Named columns to one matrix: numeric ones min-max scaled, then categorical ones one-hot, in column order.

    A level is text; numbers and bools used as levels read "1", "2.5", "True", other values as `str` writes them. One
    that was not met in training is the known level that it equals but for spaces around it, or the writing of an
    integral number, bool or date ("1.0", "+1" or "true" for "1"), if there is just one, else a block of zeros. A blank
    cell, empty but for spaces, is a missing one, unless a level of the column is blank. Build it with `for_table`.

    Args:
        columns: name -> None for a numeric column, or the list of levels of a categorical one.
        reader: see `Preprocessing`.
    """

    def __init__(
        self, columns: Mapping[str, Sequence[str] | None], reader: dict[str, Any] | None = None, name: str | None = None
    ):
        super().__init__(name=name)
        if not columns:
            raise ValueError("columns: the table has no feature columns.")
        self.reader, self.column_names = reader, list(columns)
        self.columns = {column: None if levels is None else list(levels) for column, levels in columns.items()}
        self.numeric = [column for column, levels in self.columns.items() if levels is None]
        self.scaling = MinMaxScaling(len(self.numeric), self.numeric)
        known = {column: levels for column, levels in self.columns.items() if levels is not None}
        self.lookups = {column: _lookup(levels) for column, levels in known.items()}
        self.spellings = {column: _lookup(spellings(levels)) for column, levels in known.items()}
        self.never_blank = [column for column, levels in known.items() if not blanks(levels).any()]
        self.width = len(self.numeric) + sum(len(levels or ()) for levels in self.columns.values())
        self.serving_names = _serving_names(self.columns)

    @classmethod
    def for_table(cls, table: Any, categorical: str | Iterable[str] = ()) -> TableEncoding:
        """An adapted encoding of this table, or of blocks of one too large for memory (the iterable is read once).

        Args:
            table: the rows, a frame of pandas, polars or pyarrow; or an iterable of frames.
            categorical: columns to treat as categorical although they hold numbers or dates; text columns always are.

        Raises:
            TypeError: as `check`; dates or times, unless they are named in `categorical`.
            ValueError: as `check`; a name in `categorical` that is no column; an identifier, see `MOST_LEVELS`; two
                different levels that read the same.
        """
        table = to_pandas(table)
        several = isinstance(table, Iterable) and not isinstance(table, (pd.DataFrame, Mapping))
        blocks = table if several else [table]
        categorical = set(listed(categorical))
        found: dict[str, set[str] | None] = {}
        seen_levels: dict[str, dict] = {}
        extremes, seen = [], 0
        for block in map(to_pandas, blocks):
            _check_columns(block, found, categorical)
            if not found:
                found = {c: set() if c in categorical or is_text(block[c], c, seen) else None for c in block.columns}
            for column, texts in found.items():
                if texts is not None:
                    read = levels(block[column], column, seen)
                    if is_object_dtype(block[column]) or isinstance(block[column].dtype, pd.CategoricalDtype):
                        same_texts(block[column], read, seen_levels.setdefault(column, {}), column)
                    texts.update(read)
            values = [numbers(block[c], c, seen) for c, texts in found.items() if texts is None]
            if values and len(block):
                extremes.append(np.stack([[c.min(), c.max()] for c in values], axis=1))
            seen += len(block)
        if not seen:
            raise ValueError("rows: the table is empty; give at least one row.")
        for column, texts in found.items():
            if texts is not None:
                _check_identifier(column, len(texts), seen)
        encoding = cls({c: None if texts is None else sorted(texts) for c, texts in found.items()})
        if encoding.numeric:
            encoding.scaling.adapt(extremes)
        return encoding

    def check(self, rows: Any, first_row: int = 0) -> dict[str, tf.Tensor]:
        rows = to_pandas(rows)
        if not isinstance(rows, (pd.DataFrame, Mapping)):
            raise TypeError(
                f"rows: {type(rows).__name__} where named columns are expected; give a DataFrame or a mapping with the"
                f" columns {list(self.columns)}."
            )
        names = set(rows.keys())
        if names != set(self.columns):
            missing, unknown = sorted(set(self.columns) - names), sorted(names - set(self.columns), key=str)
            raise ValueError(
                f"rows: columns missing {missing}, unknown {unknown}; the model takes {list(self.columns)}."
            )
        checked = {}
        for column, known in self.columns.items():
            values = rows[column]
            if is_symbolic(values):
                values = tf.reshape(values, [-1])  # Keras' predict makes columns of width 1
                checked[column] = tf.cast(values, tf.float32) if known is None else _as_level(values, column)
            elif known is None:
                checked[column] = tf.constant(numbers(values, column, first_row), tf.float32)
            else:
                texts = levels(values, column, first_row)
                if column in self.never_blank:
                    _check_blank(texts, column, first_row)
                checked[column] = tf.constant(texts)
        lengths = {column: values.shape[0] for column, values in checked.items() if not is_symbolic(values)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"rows: columns of different lengths {lengths}.")
        if 0 in lengths.values():
            raise ValueError("rows: the table is empty; give at least one row.")
        return checked

    def plain(self, table: pd.DataFrame) -> pd.DataFrame:
        """The columns of a checked table as numbers and text that files can hold; x of them is the same."""
        return pd.DataFrame({name: _plain(column, self.columns[name] is None) for name, column in table.items()})

    def call(self, rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
        parts = []
        if self.numeric:
            parts.append(self.scaling(tf.stack([rows[c] for c in self.numeric], axis=1)))
        for column, lookup in self.lookups.items():
            place = self._place(column, lookup, rows[column])
            parts.append(tf.one_hot(place - 1, len(self.columns[column] or ())))  # of -1 it is all zeros
        return tf.concat(parts, axis=1)

    def _place(self, column: str, lookup: keras.layers.StringLookup, texts: tf.Tensor) -> tf.Tensor:
        """The numbers of levels, from 1, (B,); 0 of those never seen."""
        place = lookup(texts)

        def respelled():
            return tf.where(place > 0, place, self.spellings[column](canonical(texts)))

        return tf.cond(tf.reduce_all(place > 0), lambda: place, respelled)  # most are known to the letter

    def input_signature(self) -> dict[str, tf.TensorSpec]:
        return {
            name: tf.TensorSpec((None,), tf.float32 if self.columns[column] is None else tf.string, name)
            for column, name in self.serving_names.items()
        }

    def from_inputs(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {column: inputs[name] for column, name in self.serving_names.items()}

    def to_inputs(self, rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: rows[column] for column, name in self.serving_names.items()}

    def valid(self, rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
        given = [tf.math.is_finite(rows[c]) for c in self.numeric] + [~blank(rows[c]) for c in self.never_blank]
        return tf.reduce_all(given, axis=0) if given else tf.ones_like(next(iter(rows.values())), tf.bool)

    def fill(self, rows: Mapping[str, tf.Tensor], valid: tf.Tensor) -> dict[str, tf.Tensor]:
        return {c: tf.where(valid, v, tf.zeros_like(v)) if c in self.numeric else v for c, v in rows.items()}

    def get_config(self) -> dict:
        return {"columns": self.columns, **super().get_config()}


def _check_columns(block: Any, found: Mapping[str, Any], categorical: set[str]) -> None:
    if not isinstance(block, pd.DataFrame):
        raise TypeError(
            f"table: a {type(block).__name__} where a frame of named columns is expected; give a DataFrame."
        )
    names = list(block.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"columns: {names} must be text and differ; rename them, for example by frame.columns = [...]")
    if missing := categorical - set(names):
        raise ValueError(f"categorical: {sorted(missing, key=str)} are not columns of the table {names}.")
    if found and set(found) != set(names):
        raise ValueError(f"columns: {names} in a later block, where those of the first belong, {list(found)}.")


def _check_blank(texts: np.ndarray, column: str, first_row: int) -> None:
    bad = np.flatnonzero(blanks(texts))
    if bad.size:
        raise ValueError(
            f"column {column!r}, row {first_row + bad[0]}: a blank cell ({bad.size} such rows in this column),"
            " where no training row had one; drop these rows, or name the missing level as the training rows do."
        )


def _check_identifier(column: str, count: int, rows: int) -> None:
    told = f"column {column!r}: {count} levels in {rows} rows, each a dimension of x; drop the column if it is an"
    told += " identifier, convert it if it is a number or a date"
    if count > max(MOST_LEVELS, rows // 10):
        raise ValueError(f"{told}, or make fewer levels of it; at most {MOST_LEVELS}, or one in ten rows, are taken.")
    if count > max(100, rows // 2):
        warnings.warn(f"{told}.", stacklevel=3)


def _lookup(levels: Sequence[str]) -> keras.layers.StringLookup:
    """Text -> its number, from 1; 0 for others."""
    return keras.layers.StringLookup(vocabulary=levels, num_oov_indices=1, oov_token=_UNSEEN)


def _plain(values: pd.Series, numeric: bool) -> np.ndarray:
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiub":
        return values.to_numpy()
    if numeric:
        return numbers(values, str(values.name))
    cells = (value.item() if isinstance(value, (np.number, np.bool_)) else value for value in values)
    return np.array([value if type(value) in (str, int, float, bool) else level(value) for value in cells], object)


def _as_level(values: tf.Tensor, column: str) -> tf.Tensor:
    """`level` for a tensor inside a graph."""
    if values.dtype == tf.string:
        return values
    if values.dtype == tf.bool:
        return tf.where(values, "True", "False")
    if values.dtype.is_floating:
        raise TypeError(f"column {column!r}: {values.dtype.name} levels in a graph; cast them to tf.string first.")
    return tf.strings.as_string(values)


def _serving_names(columns: Iterable[str]) -> dict[str, str]:
    """The name of the served input of each column: ASCII letters, digits and _, and numbered where two would be one.
    A column whose own name will do keeps it."""
    columns = list(columns)
    taken: dict[str, str] = {}  # by small letters, which TensorFlow makes of them
    for column in columns:
        if _serving_name(column) == column:
            taken.setdefault(column.lower(), column)
    names = {column: column for column in taken.values()}
    for column in columns:
        if column not in names:
            first = name = _serving_name(column)
            for number in itertools.count(2):
                if taken.setdefault(name.lower(), column) == column:
                    break
                name = f"{first}_{number}"
            names[column] = name
    return {column: names[column] for column in columns}


def _serving_name(column: str) -> str:
    name = "".join(ch if ch.isascii() and (ch.isalnum() or ch == "_") else "_" for ch in str(column))
    reserved = keyword.iskeyword(name) or name == "self"
    return name if name[:1].isalpha() and not reserved else f"column_{name}"
