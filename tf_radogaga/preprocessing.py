"""From raw rows to x: Keras layers that are adapted on data, saved and served with the model. Core ops only.

Every layer takes part in three places: `check` turns what a user holds into tensors or raises an error that names
the column and the row; `call` is the map itself; `input_signature`, `valid` and `fill` let a served graph mark a bad
row without touching its neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from pandas.api.types import is_scalar

keras = tf.keras
register = keras.utils.register_keras_serializable(package="tf_radogaga")


_UNSEEN = "\0unseen"
"""In place of levels never seen; Keras' own, [UNK], might be one of them."""


def is_symbolic(value: Any) -> bool:
    return tf.is_tensor(value) and not isinstance(value, tf.__internal__.EagerTensor)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, np.bool_))


def _as_float(value: Any) -> float:
    if value is None or value is pd.NA:
        return np.nan
    try:
        return float(value)
    except OverflowError:  # an int beyond float64
        return np.inf


def _check_finite(values: np.ndarray, column: str, first_row: int) -> None:
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if bad.size:
        raise ValueError(
            f"column {column!r}, row {first_row + bad[0]}: {values[bad[0]]} is not a finite float32 number"
            f" ({bad.size} such rows in this column); drop or impute these rows first."
        )


def _check_numeric(values: Any, column: str, first_row: int) -> np.ndarray:
    """One column as float64, each number of which float32 can hold."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"column {column!r}: lists where one number for each row is expected.") from error
    if array.ndim != 1:
        raise ValueError(f"column {column!r}: shape {array.shape} where one number for each row is expected.")
    if array.dtype.kind not in "fiub":
        numbers_or_missing = [_is_number(v) or v is None or v is pd.NA for v in array]
        if not all(numbers_or_missing):
            row = numbers_or_missing.index(False)
            raise TypeError(
                f"column {column!r}, row {first_row + row}: {array[row]!r} (dtype {array.dtype}) where a number"
                " belongs; convert the column to numbers, or train with it as a categorical column."
            )
        array = np.array([_as_float(v) for v in array], np.float64)
    array = array.astype(np.float64)
    _check_finite(array, column, first_row)
    return array


class Preprocessing(keras.layers.Layer):
    """Base class. `width` is the number of elements M of x."""

    width: int

    def __init__(self, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **{"dtype": tf.float32, **kwargs})  # raw rows lose too much in float16

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x."""
        return (self.width,)

    def check(self, rows: Any, first_row: int = 0) -> Any:
        """Raw rows as tensors for `call`. Symbolic tensors pass unchecked: a graph marks bad rows by `valid`.

        Args:
            rows: what the user holds.
            first_row: number of the first of these rows, for messages.

        Raises:
            TypeError: wrong kind of values, naming column and row.
            ValueError: wrong width, no rows, or a non-finite number, naming column and row.
        """
        raise NotImplementedError

    def stored(self, rows: Any) -> tf.Tensor:
        """Checked rows as they stay in memory while training, (B, ...); `restored` makes x of them."""
        return self(rows)

    def restored(self, stored: tf.Tensor) -> tf.Tensor:
        """x of what `stored` gave."""
        return stored

    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """Name and type of every input of a served graph."""
        raise NotImplementedError

    def from_inputs(self, inputs: Mapping[str, tf.Tensor]) -> Any:
        """The named inputs of `input_signature` as one argument for `call`."""
        raise NotImplementedError

    def to_inputs(self, rows: Any) -> dict[str, tf.Tensor]:
        """Checked rows as the named inputs of `input_signature`; undoes `from_inputs`."""
        raise NotImplementedError

    def valid(self, rows: Any) -> tf.Tensor:
        """(B,) bool: every feature of the row is finite."""
        raise NotImplementedError

    def fill(self, rows: Any, valid: tf.Tensor) -> Any:
        """The same rows with zeros in place of the invalid ones."""
        raise NotImplementedError


@register
class PassThrough(Preprocessing):
    """x is the raw matrix itself, (B, width) float32."""

    def __init__(self, width: int, name: str | None = None):
        super().__init__(name=name)
        self.width = width

    def check(self, rows: Any, first_row: int = 0) -> tf.Tensor:
        if is_symbolic(rows):
            return tf.ensure_shape(tf.cast(rows, tf.float32), (None, self.width))
        names = [str(c) for c in rows.columns] if isinstance(rows, pd.DataFrame) else None
        matrix = rows.to_numpy() if isinstance(rows, pd.DataFrame) else np.asarray(rows)
        if matrix.ndim != 2 or matrix.shape[1] != self.width:
            raise ValueError(f"rows: shape {matrix.shape} where (rows, {self.width}) is expected.")
        if not len(matrix):
            raise ValueError("rows: the table is empty; give at least one row.")
        names = names or [str(i) for i in range(self.width)]
        if matrix.dtype.kind not in "fiub":
            columns = [_check_numeric(column, name, first_row) for column, name in zip(matrix.T, names)]
            return tf.constant(np.stack(columns, axis=1), tf.float32)
        with np.errstate(over="ignore"):
            converted = matrix.astype(np.float32)
        if not np.isfinite(converted).all():
            for column, name in zip(matrix.T, names):
                _check_finite(column, name, first_row)
        return tf.constant(converted)

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        return rows

    def input_signature(self) -> dict[str, tf.TensorSpec]:
        return {"features": tf.TensorSpec((None, self.width), tf.float32, "features")}

    def from_inputs(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return inputs["features"]

    def to_inputs(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": rows}

    def valid(self, rows: tf.Tensor) -> tf.Tensor:
        # whole passes are left out: terms of a finite sum are finite
        finite = tf.math.is_finite(tf.reduce_sum(rows, axis=1))
        every = tf.reduce_all(finite)
        return tf.cond(every, lambda: finite, lambda: tf.reduce_all(tf.math.is_finite(rows), axis=1))

    def fill(self, rows: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        # a pass over the whole matrix, left out where no row needs it
        return tf.cond(tf.reduce_all(valid), lambda: rows, lambda: tf.where(valid[:, None], rows, tf.zeros_like(rows)))

    def get_config(self) -> dict:
        return {"width": self.width}


@register
class MinMaxScaling(PassThrough):
    """(x - min) / (max - min) of each column of a numeric matrix, (B, width) float32.

    A column that is constant where the layer is adapted, or varies by less than float32's least normal number, is
    shifted to 0 and not scaled, as in scikit-learn's `MinMaxScaler`; a different value met later shows at its raw size.
    """

    def __init__(self, width: int, name: str | None = None):
        super().__init__(width, name=name)
        self.minimum = self.add_weight("minimum", (width,), initializer="zeros", trainable=False)
        self.range = self.add_weight("range", (width,), initializer="ones", trainable=False)

    def adapt(self, rows: Any) -> None:
        """Takes minimum and range from raw rows: a matrix, or an iterable of matrices that is read once.

        Raises:
            TypeError, ValueError: as `check`; or a column that spreads over more than float32 holds.
        """
        nested_list = isinstance(rows, list) and rows and not hasattr(rows[0], "shape")
        blocks = [rows] if hasattr(rows, "shape") or nested_list else rows
        low, high, seen = np.full(self.width, np.inf), np.full(self.width, -np.inf), 0
        for block in blocks:
            self.check(block, seen)
            matrix = np.asarray(block, np.float64)
            low, high = np.minimum(low, matrix.min(axis=0)), np.maximum(high, matrix.max(axis=0))
            seen += len(matrix)
        if not seen:
            raise ValueError("rows: the table is empty; give at least one row.")
        spread = high - low
        coarse = np.flatnonzero((spread > 0) & (spread < 1e3 * np.spacing(np.abs([low, high]).max(0).astype("f"))))
        if coarse.size:
            warnings.warn(
                f"columns {coarse.tolist()}: their values are so large beside their spread that float32 keeps fewer"
                " than 1000 steps of it; subtract a constant from these columns first.",
                stacklevel=2,
            )
        limits = np.finfo(np.float32)
        if (wide := np.flatnonzero(spread > limits.max)).size:
            raise ValueError(
                f"columns {wide.tolist()}: their values spread over more than float32 holds; divide these columns by a"
                " constant first."
            )
        self.minimum.assign(low)
        self.range.assign(np.where(spread >= limits.tiny, spread, 1.0))  # smaller ones are 0 to kernels

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        return (rows - self.minimum) / self.range


@register
class TableEncoding(Preprocessing):
    """Named columns to one matrix: numeric ones min-max scaled, then categorical ones one-hot, in column order.

    A level is text; numbers and bools used as levels read "1", "2.5", "True". A level never seen in training becomes a
    block of zeros. Build it with `for_table`.

    Args:
        columns: name -> None for a numeric column, or the list of levels of a categorical one.
    """

    def __init__(self, columns: Mapping[str, Sequence[str] | None], name: str | None = None):
        super().__init__(name=name)
        if not columns:
            raise ValueError("columns: the table has no feature columns.")
        self.columns = {column: None if levels is None else list(levels) for column, levels in columns.items()}
        self.numeric = [column for column, levels in self.columns.items() if levels is None]
        self.scaling = MinMaxScaling(len(self.numeric))
        self.lookups = {
            column: keras.layers.StringLookup(vocabulary=levels, num_oov_indices=1, oov_token=_UNSEEN)
            for column, levels in self.columns.items()
            if levels is not None
        }
        self.width = len(self.numeric) + sum(len(levels or ()) for levels in self.columns.values())
        self.serving_names = {column: _serving_name(column) for column in self.columns}
        if len(set(self.serving_names.values())) < len(self.columns):
            raise ValueError(f"columns: names {list(self.columns)} differ only in characters that serving cannot keep.")

    @classmethod
    def for_table(cls, table: pd.DataFrame | Iterable[pd.DataFrame], categorical: Iterable[str] = ()) -> TableEncoding:
        """An adapted encoding of this table, or of blocks of one too large for memory (the iterable is read once).

        Args:
            table: the rows.
            categorical: columns to treat as categorical although they hold numbers; text columns always are.

        Raises:
            TypeError, ValueError: as `check`; or a name in `categorical` that is no column.
        """
        blocks = [table] if isinstance(table, pd.DataFrame) else table
        categorical, levels, extremes, seen = set(categorical), {}, [], 0
        for block in blocks:
            names = list(block.columns)
            if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f"columns: {names} must be text and differ; rename them, for example by frame.columns = [...]"
                )
            if missing := categorical - set(block.columns):
                raise ValueError(f"categorical: {sorted(missing)} are not columns of the table {list(block.columns)}.")
            if not levels:
                levels = {c: set() if c in categorical or _is_text(block[c]) else None for c in block.columns}
            for column in (c for c, found in levels.items() if found is not None):
                levels[column].update(_check_text(block[column], column, seen))
            names = [c for c, found in levels.items() if found is None]
            values = [_check_numeric(block[c], c, seen) for c in names]
            if names and len(block):
                extremes.append(np.stack([[c.min(), c.max()] for c in values], axis=1))
            seen += len(block)
        if not seen:
            raise ValueError("rows: the table is empty; give at least one row.")
        for column, found in levels.items():
            if found is not None and len(found) > max(100, seen // 2):
                warnings.warn(
                    f"column {column!r}: {len(found)} levels in {seen} rows, each a dimension of x; drop the column if"
                    " it is an identifier, convert it if it is a number or a date.",
                    stacklevel=2,
                )
        encoding = cls({c: None if found is None else sorted(found) for c, found in levels.items()})
        if encoding.numeric:
            encoding.scaling.adapt(extremes)
        return encoding

    def check(self, rows: Any, first_row: int = 0) -> dict[str, tf.Tensor]:
        if not isinstance(rows, (pd.DataFrame, Mapping)):
            raise TypeError(
                f"rows: {type(rows).__name__} where named columns are expected; give a DataFrame or a mapping with the"
                f" columns {list(self.columns)}."
            )
        names = set(rows.keys())
        if names != set(self.columns):
            missing, unknown = sorted(set(self.columns) - names), sorted(names - set(self.columns))
            raise ValueError(
                f"rows: columns missing {missing}, unknown {unknown}; the model takes {list(self.columns)}."
            )
        checked = {}
        for column, levels in self.columns.items():
            values = rows[column]
            if is_symbolic(values):
                values = tf.reshape(values, [-1])  # Keras' predict makes columns of width 1
                if levels is None:
                    checked[column] = tf.cast(values, tf.float32)
                else:
                    checked[column] = _as_level(values, column)
            elif levels is None:
                checked[column] = tf.constant(_check_numeric(values, column, first_row), tf.float32)
            else:
                checked[column] = tf.constant(_check_text(values, column, first_row))
        lengths = {column: values.shape[0] for column, values in checked.items() if not is_symbolic(values)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"rows: columns of different lengths {lengths}.")
        if 0 in lengths.values():
            raise ValueError("rows: the table is empty; give at least one row.")
        return checked

    def call(self, rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
        parts = []
        if self.numeric:
            parts.append(self.scaling(tf.stack([rows[c] for c in self.numeric], axis=1)))
        for column, lookup in self.lookups.items():
            # StringLookup keeps index 0 for unseen levels; one_hot of -1 is all zeros
            parts.append(tf.one_hot(lookup(rows[column]) - 1, len(self.columns[column])))
        return tf.concat(parts, axis=1)

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
        finite = [tf.math.is_finite(rows[c]) for c in self.numeric]
        return tf.reduce_all(finite, axis=0) if finite else tf.ones_like(next(iter(rows.values())), tf.bool)

    def fill(self, rows: Mapping[str, tf.Tensor], valid: tf.Tensor) -> dict[str, tf.Tensor]:
        return {c: tf.where(valid, v, tf.zeros_like(v)) if c in self.numeric else v for c, v in rows.items()}

    def get_config(self) -> dict:
        return {"columns": self.columns}


def _is_text(column: pd.Series) -> bool:
    if pd.api.types.is_object_dtype(column):
        return not all(_is_number(v) or (is_scalar(v) and pd.isna(v)) for v in column) or all(
            isinstance(v, bool) for v in column
        )
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _level(value: Any) -> str:
    """One level as text, the same whether it came as an int, an integral float or text. NULs at its end are no part of
    it: NumPy's text has none, and so the vocabulary of a lookup."""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text.rstrip("\0")


def _as_level(values: tf.Tensor, column: str) -> tf.Tensor:
    """`_level` for a tensor inside a graph."""
    if values.dtype == tf.string:
        return values
    if values.dtype == tf.bool:
        return tf.where(values, "True", "False")
    if values.dtype.is_floating:
        raise TypeError(f"column {column!r}: {values.dtype.name} levels in a graph; cast them to tf.string first.")
    return tf.strings.as_string(values)


def _check_text(values: Any, column: str, first_row: int) -> np.ndarray:
    if tf.is_tensor(values):
        values = values.numpy()
    values = pd.Series(np.asarray(values, object), dtype=object)
    missing = np.flatnonzero(values.isna())
    if missing.size:
        raise ValueError(
            f"column {column!r}, row {first_row + missing[0]}: no value ({missing.size} such rows in this column); drop"
            " these rows, or name the missing level, for example 'unknown'."
        )
    return np.array([_level(value) for value in values], object)


def _serving_name(column: str) -> str:
    name = "".join(ch if ch.isascii() and (ch.isalnum() or ch == "_") else "_" for ch in str(column))
    return name if name[:1].isalpha() else f"column_{name}"
