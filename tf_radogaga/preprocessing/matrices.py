"""Preprocessing of matrices of numbers: as they are, or min-max scaled."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd

from tf_radogaga._core import rounding
from tf_radogaga._core.frames import check_names, column_names, to_pandas
from tf_radogaga._core.rounding import is_constant
from tf_radogaga._core.stack import tf
from tf_radogaga.preprocessing.base import Preprocessing, is_symbolic, register
from tf_radogaga.preprocessing.cells import array_of, check_finite, numbers


@register
class PassThrough(Preprocessing):
    """x is the raw matrix itself, (B, width) float32.

    Args:
        width: number of columns M.
        names: of the columns, where they have some; frames of other names, or in another order, are then refused.
        reader: see `Preprocessing`.
    """

    def __init__(
        self,
        width: int,
        names: Sequence[str] | None = None,
        reader: dict[str, Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if names is not None and (len(names) != width or len(set(map(str, names))) < width):
            raise ValueError(f"names: {list(names)} where {width} that differ are expected, one for each column.")
        self.width, self.reader = width, reader
        self.column_names = None if names is None else [str(column) for column in names]

    def check(self, rows: Any, first_row: int = 0) -> tf.Tensor:
        if is_symbolic(rows):
            return tf.ensure_shape(tf.cast(rows, tf.float32), (None, self.width))
        with np.errstate(over="ignore"):
            return tf.constant(self._matrix(rows, first_row).astype(np.float32))

    def _matrix(self, rows: Any, first_row: int) -> np.ndarray:
        """(B, width) numbers, each of which float32 can hold."""
        rows = to_pandas(rows)
        framed = isinstance(rows, pd.DataFrame)
        matrix = rows.to_numpy() if framed else array_of(rows, "rows")
        if matrix.ndim != 2 or matrix.shape[1] != self.width:
            raise ValueError(f"rows: shape {matrix.shape} where (rows, {self.width}) is expected.")
        if framed:
            check_names(rows, self.column_names)
        if not len(matrix):
            raise ValueError("rows: the table is empty; give at least one row.")
        names = list(rows.columns) if framed else self.column_names or range(self.width)
        if matrix.dtype.kind not in "fiub":
            columns = (rows.iloc[:, place] if framed else matrix[:, place] for place in range(self.width))
            checked = [numbers(column, str(name), first_row) for column, name in zip(columns, names)]
            return np.stack(checked, axis=1)
        with np.errstate(over="ignore"):
            whole = np.isfinite(matrix.astype(np.float32)).all()
        if not whole:
            for column, name in zip(matrix.T, names):
                check_finite(column, str(name), first_row)
        return matrix

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
        names = {} if self.column_names is None else {"names": self.column_names}
        return {"width": self.width, **names, **super().get_config()}


@register
class MinMaxScaling(PassThrough):
    """(x - min) / (max - min) of each column of a numeric matrix, (B, width) float32.

    A column that is constant where the layer is adapted, or varies by less than float32's least normal number, is
    shifted to 0 and not scaled, as in scikit-learn's `MinMaxScaler`; a different value met later shows at its raw size.
    One that varies by rounding alone is constant too, and divided by its size where that is above 1.

    Args:
        width, names, reader: as of `PassThrough`; `adapt` takes the names from a frame.
    """

    def __init__(
        self,
        width: int,
        names: Sequence[str] | None = None,
        reader: dict[str, Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(width, names, reader, name=name)
        self.minimum = self.add_weight("minimum", (width,), initializer="zeros", trainable=False)
        self.range = self.add_weight("range", (width,), initializer="ones", trainable=False)

    def adapt(self, rows: Any) -> None:
        """Takes minimum and range from raw rows: a matrix or frame, or an iterable of these that is read once.

        Raises:
            TypeError, ValueError: as `check`; or a column that spreads over more than float32 holds.
        """
        rows = to_pandas(rows)
        nested_list = isinstance(rows, list) and rows and not hasattr(rows[0], "shape")
        several = isinstance(rows, Iterable) and not (hasattr(rows, "shape") or isinstance(rows, (Mapping, Set)))
        blocks = rows if several and not nested_list else [rows]
        low, high, seen = np.full(self.width, np.inf), np.full(self.width, -np.inf), 0
        names = self.column_names
        relative: np.ndarray | float = np.inf
        for block in map(to_pandas, blocks):
            matrix = self._matrix(block, seen).astype(np.float64)
            if isinstance(block, pd.DataFrame):
                names = names or column_names(block)
                check_names(block, names)
            low, high = np.minimum(low, matrix.min(axis=0)), np.maximum(high, matrix.max(axis=0))
            relative = np.minimum(relative, rounding.relative(block, matrix))
            seen += len(matrix)
        if not seen:
            raise ValueError("rows: the table is empty; give at least one row.")
        spread, size, constant = high - low, np.abs([low, high]).max(axis=0), is_constant(low, high, relative)
        told: Sequence = names or range(self.width)
        coarse = np.flatnonzero(~constant & (spread < 1e3 * np.spacing(size.astype(np.float32))))
        if coarse.size:
            warnings.warn(
                f"columns {[told[place] for place in coarse]}: their values are so large beside their spread that"
                " float32 keeps fewer than 1000 steps of it; subtract a constant from these columns first.",
                stacklevel=2,
            )
        limits = np.finfo(np.float32)
        if (wide := np.flatnonzero(spread > limits.max)).size:
            raise ValueError(
                f"columns {[told[place] for place in wide]}: their values spread over more than float32 holds; divide"
                " these columns by a constant first."
            )
        scale = np.where(spread >= limits.tiny, spread, 1.0)  # smaller ones are 0 to kernels
        # float32 may tell numbers apart that rounding does, by steps that grow with them
        scale[constant] = np.where(spread > 0, np.maximum(size, 1), 1)[constant]
        self.column_names = names
        self.minimum.assign(low)
        self.range.assign(scale)

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        return (rows - self.minimum) / self.range
