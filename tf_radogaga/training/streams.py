"""Streams of batches of raw rows: `tf.data` pipelines and Keras Sequences, brought to one form or refused by type."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.stack import keras, tf
from tf_radogaga.preprocessing import PassThrough, Preprocessing
from tf_radogaga.preprocessing.images import ImageScaling
from tf_radogaga.training import batches
from tf_radogaga.training.rows import in_memory, require_length, weights_of


def raw_batches(preprocess: Preprocessing, value: Any, argument: str = "x", seed: int | None = None) -> tf.data.Dataset:
    """Batches of raw rows of a `tf.data.Dataset` or a `keras.utils.Sequence`.

    Args:
        preprocess: of the model.
        value: of batches of rows, (rows,), (rows, label) or (rows, label, weights).
        argument: to name in messages.
        seed: of the order of a Sequence, another one at each pass; None keeps its own.

    Raises:
        TypeError, ValueError: it is empty, or of elements that are no batches of rows.
    """
    dataset = _of_sequence(preprocess, value, argument, seed) if isinstance(value, keras.utils.Sequence) else value
    if dataset.cardinality() == 0:
        raise ValueError(f"{argument}: the dataset is empty; give one batch at least.")
    spec = dataset.element_spec
    if not isinstance(spec, tuple):
        _require_batches(preprocess, spec, argument)
        return dataset
    require_length(spec, argument)
    _require_batches(preprocess, spec[0], argument)
    if len(spec) < 3 or spec[2] in ((), tf.type_spec_from_value(None)):
        return batches.rows_only(dataset)
    weights = spec[2]
    plain = isinstance(weights, tf.TensorSpec) and (weights.dtype.is_floating or weights.dtype.is_integer)
    if not plain or not any(map(weights.shape.is_compatible_with, ((None,), (None, 1)))):
        raise ValueError(f"sample_weight: {weights} in {argument}, where (rows,), a number for each row, is expected.")
    return dataset.map(lambda rows, _, weights: (rows, (), _checked_weights(rows, weights)), tf.data.AUTOTUNE)


def _of_sequence(
    preprocess: Preprocessing, sequence: keras.utils.Sequence, argument: str, seed: int | None
) -> tf.data.Dataset:
    length, passes = len(sequence), itertools.count()
    if not length:
        raise ValueError(f"{argument}: the Sequence is empty; give one batch at least.")

    def batch(number):
        item = sequence[number]
        try:
            rows, weights = in_memory(preprocess, tuple(item) if isinstance(item, list) else item)
            rows = preprocess.check(rows)
            size = len(tf.nest.flatten(rows)[0])
            return batches.element(rows, None if weights is None else weights_of(weights, size))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{argument}[{number}]: {error}") from error

    def one_pass():
        order = range(length)
        if seed is not None:
            order = np.random.default_rng([seed, next(passes)]).permutation(length).tolist()
        return map(batch, order)

    signature = tf.nest.map_structure(_any_number, batch(0))
    dataset = tf.data.Dataset.from_generator(one_pass, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(length))


def _any_number(batch: tf.Tensor) -> tf.TensorSpec:
    """Of batches like this one, with other numbers of rows, and images of other sizes."""
    shape = [None] * batch.shape.rank
    return tf.TensorSpec(shape if len(shape) == 1 else [*shape[:-1], batch.shape[-1]], batch.dtype)


def _require_batches(preprocess: Preprocessing, spec: Any, argument: str) -> None:
    matrix = isinstance(preprocess, (PassThrough, ImageScaling))
    if isinstance(spec, Mapping) and matrix:
        raise TypeError(
            f"{argument}: a dataset of dicts {list(spec)} where the model takes one tensor; take it out by"
            f" dataset.map(lambda row: row[{next(iter(spec), None)!r}])."
        )
    for part in tf.nest.flatten(spec):
        if isinstance(part, (tf.RaggedTensorSpec, tf.SparseTensorSpec)):
            call = "row.to_tensor()" if isinstance(part, tf.RaggedTensorSpec) else "tf.sparse.to_dense(row)"
            raise TypeError(f"{argument}: a dataset of {part}; make it dense by dataset.map(lambda row: {call}).")
        if not isinstance(part, tf.TensorSpec):
            raise TypeError(f"{argument}: a dataset of {part}, where batches of rows are needed.")
        if matrix and part.dtype == tf.string:
            raise TypeError(f"{argument}: a dataset of text, where numbers are needed; decode it by dataset.map.")
        rank = len(preprocess.event_shape) if matrix else 0
        if part.shape.rank is not None and part.shape.rank <= rank:
            raise ValueError(
                f"{argument}: a dataset of single rows, of shape {part.shape}; call .batch(256) for batches of them."
            )
        if isinstance(preprocess, PassThrough) and not part.shape.is_compatible_with((None, preprocess.width)):
            raise ValueError(
                f"{argument}: a dataset of shape {part.shape} where (rows, {preprocess.width}) is expected."
            )


def _checked_weights(rows: Any, weights: tf.Tensor) -> tf.Tensor:
    weights = tf.reshape(tf.cast(weights, tf.float32), [-1])
    same = tf.equal(tf.size(weights), tf.shape(tf.nest.flatten(rows)[0])[0])
    sound = tf.reduce_all(tf.math.is_finite(weights) & (weights >= 0))
    message = "sample_weight: one number for each row, finite and not negative, is needed. First values:"
    with tf.control_dependencies([tf.debugging.Assert(same & sound, [message, weights])]):
        return tf.identity(weights)


def is_uncounted(dataset: tf.data.Dataset, steps: int | None) -> bool:
    """Whether only a pass tells how many batches there are."""
    return steps is None and bool(dataset.cardinality() == tf.data.UNKNOWN_CARDINALITY)


def require_end(dataset: tf.data.Dataset, steps: int | None, argument: str, remedy: str) -> None:
    """ValueError where a pass would never end, as far as tf.data can tell."""
    if steps is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{argument}: an endless dataset; {remedy}, or leave out .repeat().")
