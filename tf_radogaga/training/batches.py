"""Batches for training: from a table in memory, and from the user's own `tf.data` pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_radogaga._core.stack import tf


def element(rows: Any, weights: Any = None) -> Any:
    """Rows alone, or with their weights, as Keras unpacks them."""
    return rows if weights is None else (rows, (), weights)


def resident(x: Any, batch_size: int, seed: int, first_step: tf.Variable) -> tf.data.Dataset:
    """An endless stream of whole shuffled batches of rows that stay in memory, gathered by index.

    The order depends on the seed and the step alone and starts at `first_step`, so a resumed training sees the batches
    of the unbroken one.

    Args:
        x: (n, ...), or a structure of such tensors.
        batch_size: at most n.
        seed: of the order.
        first_step: int64, read when the first batch is drawn.
    """
    order = shuffled(_length(x), batch_size, [seed], first_step)

    def gathered(part, index):
        return tf.ensure_shape(tf.gather(part, index[0]), (batch_size, *part.shape[1:]))

    return order.map(lambda index: tf.nest.map_structure(lambda part: gathered(part, index), x))


def in_order(x: Any, batch_size: int, first_step: tf.Variable) -> tf.data.Dataset:
    """As `resident`, but of all rows in their own order at each pass, whose last batch may be short."""
    rows = _length(x)

    def passes(_):
        done = first_step.read_value() % -(-rows // batch_size)
        return tf.data.Dataset.range(rows).batch(batch_size).repeat().skip(done)

    order = tf.data.Dataset.from_tensors(0).flat_map(passes)
    return order.map(lambda index: tf.nest.map_structure(lambda part: tf.gather(part, index), x))


def _length(x: Any) -> int:
    return len(tf.nest.flatten(x)[0])


def shuffled(rows: int, batch_size: int, seeds: list[int], first_step: tf.Variable) -> tf.data.Dataset:
    """The rows that the batches of `resident` hold, by index, (S, batch_size), for each of S seeds."""
    steps = rows // batch_size

    def one_pass(index):
        draw = tf.random.experimental.stateless_shuffle
        order = tf.stack([draw(tf.range(rows), [seed, tf.cast(index, tf.int32)]) for seed in seeds])
        batches = tf.reshape(order[:, : steps * batch_size], (len(seeds), steps, batch_size))
        return tf.data.Dataset.from_tensor_slices(tf.transpose(batches, (1, 0, 2)))

    def passes(_):
        done = first_step.read_value()
        return tf.data.Dataset.range(done // steps, tf.int64.max).flat_map(one_pass).skip(done % steps)

    return tf.data.Dataset.from_tensors(0).flat_map(passes)


def rows_only(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Drops labels and weights from a dataset of (rows, label, ...)."""
    if isinstance(dataset.element_spec, tuple):
        return dataset.map(lambda rows, *_: rows, tf.data.AUTOTUNE)
    return dataset


def map_rows(
    dataset: tf.data.Dataset, function: Callable[[Any], Any], parallel_calls: int | None = None
) -> tf.data.Dataset:
    """A function of the rows of a dataset of rows, or of (rows, label, weights), which keep the rest."""
    if isinstance(dataset.element_spec, tuple):
        return dataset.map(lambda rows, *rest: (function(rows), *rest), parallel_calls)
    return dataset.map(function, parallel_calls)


def split_by_rows(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Of several workers each takes its rows of every batch, unless the dataset's options say how to share it; left to
    itself tf.data gives each worker other files, and batches that one device would not see."""
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy
    if dataset.options().experimental_distribute.auto_shard_policy == policy.AUTO:
        options.experimental_distribute.auto_shard_policy = policy.DATA
    return dataset.with_options(options)
