"""Rows that a user holds in memory, and their weights, of every kind: brought to one form, or refused by type."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tf_radogaga._core import blocks
from tf_radogaga._core.frames import to_pandas
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.preprocessing import Preprocessing

_MEMORY = "give rows in memory"
_STREAM = _MEMORY + ", a tf.data.Dataset of batches, or a keras.utils.Sequence"
_GENERATOR = "give tf.data.Dataset.from_generator(make_batches, output_signature=...), which can be read more than once"


def is_stream(value: Any) -> bool:
    """Whether these are batches of rows, read one by one."""
    return isinstance(value, (tf.data.Dataset, keras.utils.Sequence))


def require_memory(value: Any, argument: str) -> None:
    """TypeError where rows in memory are taken and these are batches, read one by one."""
    if is_stream(value) or hasattr(value, "__next__"):
        name = "Sequence" if isinstance(value, keras.utils.Sequence) else type(value).__qualname__
        kind = "dataset" if is_stream(value) else "generator"
        raise TypeError(
            f"{argument}: {name} is not supported here; rows in memory are needed: call it with each batch, or give"
            f" np.concatenate(list({kind})). Batches are taken by fit, evaluate and predict, and by"
            " dataset.map(model.scores)."
        )


def in_memory(preprocess: Preprocessing, value: Any, argument: str = "x", streams: bool = False) -> tuple[Any, Any]:
    """Rows in memory as `Preprocessing.check` takes them, and the weights of a tuple (rows, label, weights) or None.

    Args:
        preprocess: of the model.
        value: rows.
        argument: to name in messages.
        streams: whether the caller takes streams of batches, too, and handles them itself.

    Raises:
        TypeError, ValueError: something else, naming its type and the remedy.
    """
    weights = None
    if not streams:
        require_memory(value, argument)
    if isinstance(value, tuple):
        require_length(value, argument)
        value, _, weights = (*value, None, None)[:3]
    value = to_pandas(value)
    if isinstance(value, Mapping):
        value = _frame(value, argument)
    remedy = _obstacle(preprocess, value, _STREAM if streams else _MEMORY)
    if remedy:
        raise TypeError(f"{argument}: {type(value).__qualname__} is not supported here; {remedy}.")
    return value, weights


def require_length(elements: tuple, argument: str) -> None:
    """ValueError where a tuple is not of rows, labels and weights."""
    if not 1 <= len(elements) <= 3:
        raise ValueError(
            f"{argument}: a tuple of {len(elements)}; give x, (x,), (x, y) or (x, y, sample_weight), for example by"
            " dataset.map."
        )


def _frame(columns: Mapping, argument: str) -> pd.DataFrame:
    try:
        return pd.DataFrame({name: np.asarray(v) if tf.is_tensor(v) else v for name, v in columns.items()})
    except ValueError as error:
        raise ValueError(
            f"{argument}: a mapping of {list(columns)} that is no table ({error}); give columns (rows,) of one length,"
            " or the matrix or images alone."
        ) from error


def _obstacle(preprocess: Preprocessing, value: Any, remedy: str) -> str | None:
    """Why this is no table, matrix or images in memory: what to give in its place."""
    if value is None:
        return "it is missing; " + remedy
    if isinstance(value, (str, bytes, os.PathLike)):
        return "read the file first, for example by pandas.read_csv or datasets.images.load_files"
    if isinstance(value, (tf.distribute.DistributedDataset, tf.distribute.DistributedIterator)):
        return "give the tf.data.Dataset itself, which is distributed here"
    if isinstance(value, tf.RaggedTensor):
        return "rows must have one length; call .to_tensor()"
    if isinstance(value, tf.SparseTensor):
        return "call tf.sparse.to_dense"
    if hasattr(value, "toarray"):
        return "call .toarray()"
    if isinstance(value, list):
        several = value and getattr(value[0], "ndim", 0) > len(preprocess.event_shape)
        return "join the arrays, for example by numpy.concatenate, or give a tuple (x, y)" if several else None
    if hasattr(value, "__next__"):
        return _GENERATOR
    if not len(getattr(value, "shape", ())):
        return f"{remedy}; of an iterable, {_GENERATOR}" if remedy == _STREAM else remedy
    return None


def weights_of(weights: Any, rows: int) -> tf.Tensor:
    """Weights of so many rows as a tensor (rows,).

    Raises:
        TypeError, ValueError: not one finite number, not below 0, for each row.
    """
    try:
        if isinstance(weights, np.ma.MaskedArray):
            weights = np.ma.filled(weights.astype(np.float64), np.nan)
        array = np.asarray(weights, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"sample_weight: {type(weights).__name__} where a number for each row is expected.") from error
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"sample_weight: shape {array.shape} where ({rows},), a number for each row, is expected.")
    array = array.reshape(-1)
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~(np.isfinite(array.astype(np.float32)) & (array >= 0)))
    if bad.size:
        raise ValueError(
            f"sample_weight: {array[bad[0]]} of row {bad[0]} ({bad.size} such rows), but weights must be finite and not"
            " negative; give 0 to rows that do not count."
        )
    return tf.constant(array, tf.float32)


def stored(preprocess: Preprocessing, rows: Any) -> tf.Tensor:
    """Rows of `in_memory` preprocessed block by block, so that their columns are never all tensors at once."""
    elements = int(np.prod(getattr(rows, "shape", ())[1:]))
    found = blocks.slices(len(rows), blocks.block_rows(blocks.STORED, elements, blocks.ROWS))
    parts = [preprocess.stored(preprocess.check(rows[part], part.start)) for part in found]
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
