"""From rows of any kind to batches of x: one route for training, evaluation and scoring.

A batch is x, or (x, (), weights) where its examples have weights. Labels are dropped: no loss here has any.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from tf_radogaga._core import blocks, checks
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.preprocessing import Preprocessing, is_symbolic
from tf_radogaga.training import batches, streams
from tf_radogaga.training.callbacks import start_at_step
from tf_radogaga.training.end_of_fit import Trained, find_between
from tf_radogaga.training.rows import in_memory, is_stream, require_memory, stored, weights_of

LEAST_ADAPTED = 2**16
"""Rows of an endless stream that a prior is adapted to, at least, where the training sees as many."""


class Training(NamedTuple):
    """What `fit` reads.

    batches: for Keras, of x, or with weights.
    steps: in an epoch; None where the first epoch counts them.
    adapting: batches of x that the prior is adapted to in the end.
    between: and before a validation.
    callbacks: that keep the batches in step.
    validation: batches for Keras, or None.
    uncounted: whether batches or validation are of unknown number.
    """

    batches: tf.data.Dataset
    steps: int | None
    adapting: tf.data.Dataset
    between: tf.data.Dataset
    callbacks: list[keras.callbacks.Callback]
    validation: tf.data.Dataset | None = None
    uncounted: bool = False


def refuse_class_weight(class_weight: Any) -> None:
    if class_weight is not None:
        raise TypeError(
            "class_weight: labels are no part of the loss, so classes have no weights; give sample_weight, a weight for"
            " each row."
        )


def refuse_for_streams(**options: Any) -> None:
    """ValueError for what rows in memory alone can have."""
    remedies = {
        "sample_weight": "give batches (x, y, sample_weight)",
        "validation_split": "give validation_data, for example by dataset.take and dataset.skip",
    }
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name}: is for rows in memory, and x are batches; {remedies[name]}.")


def _enough(x: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    """So many batches of x, and more until they hold `LEAST_ADAPTED` rows."""

    def counted(seen, batch):
        number, rows = seen
        return (number + 1, rows + tf.shape(batch)[0]), ((number < steps) | (rows < LEAST_ADAPTED), batch)

    wanted = x.scan((0, 0), counted).take_while(lambda wanted, _: wanted)
    return wanted.map(lambda _, batch: batch)


class Feed:
    """Brings rows of any kind to x: in memory or from a stream, by the layer's `check`, `stored` and `restored`.

    Args:
        model: whose `preprocess` is meant, also where another one takes its place.
    """

    def __init__(self, model: Trained):
        self.model = model

    @property
    def preprocess(self) -> Preprocessing:
        return self.model.preprocess

    @property
    def rows_at_once(self) -> int:
        """Rows to score at once."""
        return blocks.block_rows(blocks.SCORED, self.preprocess.width, blocks.SCORED_ROWS)

    def scored(
        self, data: tf.Tensor, weights: tf.Tensor | None = None, batch_size: int | None = None
    ) -> tf.data.Dataset:
        """Batches of x of stored rows, in their order."""
        dataset = tf.data.Dataset.from_tensor_slices(batches.element(data, weights))
        return batches.map_rows(dataset.batch(batch_size or self.rows_at_once), self.preprocess.restored)

    def prepared(
        self,
        value: Any,
        argument: str = "x",
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        remedy: str = "give steps",
    ) -> tf.data.Dataset:
        """Batches of x of rows of any kind, in their order, for a pass over them, or for so many steps.

        Args:
            value: rows.
            argument: to name in messages.
            sample_weight: of rows in memory.
            batch_size: of rows in memory.
            steps: of rows in memory without batch_size, the batches that they make.
            remedy: for a dataset that does not end.
        """
        if is_stream(value):
            refuse_for_streams(sample_weight=sample_weight)
            rows = streams.raw_batches(self.preprocess, value, argument)
            streams.require_end(rows, steps, argument, remedy)
            dataset = self._checked(rows)
        else:
            data, weights = self.weighted(value, sample_weight, argument, streams=True)
            dataset = self.scored(data, weights, batch_size or (steps and -(-len(data) // steps)))
        return batches.split_by_rows(dataset)

    def checked(self, rows: Any) -> tf.Tensor:
        """x of raw rows in memory or in a graph."""
        require_memory(rows, "rows")
        return self.preprocess(self.preprocess.check(rows))

    def _checked(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        return batches.map_rows(rows, self.checked, tf.data.AUTOTUNE)

    def by_blocks(self, rows: Any, function: Callable[[tf.Tensor], Any]) -> Any:
        """`function` of x, of so many raw rows in memory at once as memory takes; as `Autoencoder.by_blocks`."""
        if any(map(is_symbolic, rows.values() if isinstance(rows, dict) else [rows])):
            return function(self.checked(rows))
        data = stored(self.preprocess, in_memory(self.preprocess, rows, "rows")[0])
        parts = blocks.slices(len(data), self.rows_at_once)
        found = [function(self.preprocess.restored(data[part])) for part in parts]
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *found)

    def one_batch(self, rows: Any, sample_weight: Any) -> tuple[tf.Tensor, ...]:
        """x, and labels and weights as Keras wants them: it drops weights without labels."""
        data, weights = self.weighted(rows, sample_weight)
        x = self.preprocess.restored(data)
        return (x,) if weights is None else (x, tf.zeros_like(weights), weights)

    def weighted(
        self, value: Any, sample_weight: Any = None, argument: str = "x", streams: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Rows in memory as they are stored, and their weights; arguments as `in_memory`."""
        rows, weights = in_memory(self.preprocess, value, argument, streams)
        if weights is not None and sample_weight is not None:
            raise ValueError(f"sample_weight: given twice, also in {argument}; leave one of them out.")
        weights = sample_weight if weights is None else weights
        data = stored(self.preprocess, rows)
        return data, None if weights is None else weights_of(weights, len(data))

    def training(
        self,
        x: Any,
        *,
        sample_weight: Any,
        batch_size: int | None,
        steps: int | None,
        epochs: int,
        seed: int | None,
        least_rows: int,
        validation_data: Any,
        validation_split: float,
        validation_steps: int | None,
        validation_batch_size: int | None,
    ) -> Training:
        """What the arguments of `fit` stand for; without a seed the order of the rows is kept.

        Raises:
            TypeError, ValueError: as `fit`.
        """
        batch_size = checks.whole_number("batch_size", 256 if batch_size is None else batch_size)
        validation_batch_size = checks.whole_number("validation_batch_size", validation_batch_size)
        checks.in_range("validation_split", validation_split, 0, 1)
        validation = None
        if validation_data is not None:  # it takes the place of a split, as in Keras
            size = validation_batch_size or (batch_size if validation_steps else None)
            remedy = "give validation_steps"
            validation = self.prepared(validation_data, "validation_data", None, size, validation_steps, remedy)
            validation_split = 0
        if is_stream(x):
            refuse_for_streams(sample_weight=sample_weight, validation_split=validation_split or None)
            made = self.from_stream(x, steps, epochs, seed)
        else:
            data, weights = self.weighted(x, sample_weight, streams=True)
            if validation_split:
                first, rows = int(len(data) * (1 - validation_split)), len(data)  # as Keras has it
                if not 0 < first < rows:
                    raise ValueError(
                        f"validation_split: {validation_split} of {rows} rows leaves {first} to train on and"
                        f" {rows - first} to validate by; give more rows or another share."
                    )
                held_out = data[first:], None if weights is None else weights[first:]
                validation = batches.split_by_rows(self.scored(*held_out, validation_batch_size))
                data, weights = data[:first], None if weights is None else weights[:first]
            if len(data) < least_rows:
                raise ValueError(f"x: {len(data)} rows, but the prior needs at least {least_rows}.")
            made = self.from_memory(data, weights, batch_size, steps, seed)
        uncounted = streams.is_uncounted(made.batches, made.steps)
        if validation is not None:
            adapt = functools.partial(find_between, self.model, made.between)  # as the stored prior scores
            made.callbacks.append(keras.callbacks.LambdaCallback(on_test_begin=lambda _: adapt()))
            uncounted = uncounted or streams.is_uncounted(validation, validation_steps)
        return made._replace(batches=batches.split_by_rows(made.batches), validation=validation, uncounted=uncounted)

    def from_memory(
        self, data: tf.Tensor, weights: tf.Tensor | None, batch_size: int, steps: int | None, seed: int | None
    ) -> Training:
        """Training on stored rows: whole batches in shuffled order, or, without a seed, all rows in their own."""
        batch_size = min(batch_size, len(data))
        first_step = tf.Variable(0, trainable=False, dtype=tf.int64)
        element = batches.element(data, weights)
        if seed is None:
            drawn, length = batches.in_order(element, batch_size, first_step), -(-len(data) // batch_size)
        else:
            drawn, length = batches.resident(element, batch_size, seed, first_step), len(data) // batch_size
        adapting = self.scored(data)
        drawn = batches.map_rows(drawn, self.preprocess.restored)
        return Training(drawn, steps or length, adapting, adapting, [start_at_step(self.model, first_step)])

    def from_stream(self, value: Any, steps: int | None, epochs: int, seed: int | None) -> Training:
        """Training on a stream. The prior is adapted to a pass over it. Where its end is not known and `steps` are
        given, that is an epoch, or more if there are few rows in it, but no more batches than the training sees."""
        is_sequence = isinstance(value, keras.utils.Sequence)
        rows = streams.raw_batches(self.preprocess, value, "x", seed)
        streams.require_end(rows, steps, "x", "give steps_per_epoch")
        drawn = adapting = batches.split_by_rows(self._checked(rows))
        if is_sequence:
            adapting = batches.split_by_rows(self._checked(streams.raw_batches(self.preprocess, value)))
        adapting = between = batches.rows_only(adapting)
        if steps:
            drawn = drawn.repeat()
            if is_sequence:  # each epoch begins anew, as Keras has it
                drawn = drawn.take(steps)
            if rows.cardinality() < 0:
                adapting, between = _enough(adapting.take(steps * epochs), steps), between.take(steps)
        at_once = self.rows_at_once  # the prior is adapted faster on larger batches
        ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: value.on_epoch_end())
        callbacks = [ended] if is_sequence else []  # Keras is given a dataset, so it does not tell the Sequence
        drawn = drawn.prefetch(tf.data.AUTOTUNE)
        return Training(drawn, steps, adapting.rebatch(at_once), between.rebatch(at_once), callbacks)
