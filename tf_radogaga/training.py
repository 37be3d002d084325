"""Training through Keras on raw rows, shared by every model: `compile`, `fit`, `evaluate`, `predict`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_radogaga import batches, randomness, replicas
from tf_radogaga.callbacks import AdaptBeforeValidation, StartAtStep, StopOnNonFinite
from tf_radogaga.preprocessing import Preprocessing, is_symbolic
from tf_radogaga.priors import Prior

keras = tf.keras

SCORING_BATCH = 16384
"""Rows scored at once, at most."""

BLOCK_ELEMENTS = 2**26
"""Elements of raw rows checked at once, at most."""

SCORED_ELEMENTS = 2**22
"""Elements of x scored at once; the layers of a convolutional network hold many times more."""


class TrainedOnRows(keras.Model):
    """A Keras model whose loss is the sum of named terms and whose data are raw rows.

    A subclass gives `loss_terms`, `_latents`, and the layers `preprocess` and `prior`.
    """

    preprocess: Preprocessing
    prior: Prior

    def __init__(self, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self._shuffle_seed = randomness.draw_seed()
        self._non_finite = tf.Variable(
            [0, 0],
            trainable=False,
            dtype=tf.int64,
            name="non_finite",
            synchronization=tf.VariableSynchronization.ON_READ,  # all replicas find the same
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._validation_batches = None
        # not tracked: writing a checkpoint would wait for all workers to add up their metrics
        object.__setattr__(self, "_means", {})

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """The named terms of the loss, each (B,); their sum, averaged over the batch, is the loss.

        Args:
            x: (B, *event), preprocessed.
            training: dropout on and the prior taken from the batch.
        """
        raise NotImplementedError

    def monitors(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """More quantities to watch while training, computed from the loss terms."""
        return {}

    def _latents(self, x: tf.Tensor) -> tf.Tensor:
        """The latents that the prior is adapted to and scores, from preprocessed x."""
        raise NotImplementedError

    def compile(
        self,
        optimizer: Any = "adam",
        steps_per_execution: int = 50,
        jit_compile: bool | None = None,
        run_eagerly: bool | None = None,
    ) -> None:
        """As `keras.Model.compile`, without losses: the loss is the model.

        Args:
            optimizer: Keras optimizer or its name.
            steps_per_execution: steps in one call of the compiled loop. Small networks gain several times from it.
            jit_compile: XLA; measure before use, mixture priors often run slower with it on a CPU.
            run_eagerly: for debugging.

        Raises:
            ValueError: a `tf.distribute` strategy, or XLA under it, that does not give the result of one device.
        """
        replicas.require_supported(self.distribute_strategy, jit_compile)
        parts = self._terms_and_gradients, self._update
        several = self.distribute_strategy.num_replicas_in_sync > 1  # their sums cannot be in a graph within the step's
        self._parts = parts if run_eagerly or several else tuple(map(tf.function, parts))
        super().compile(
            optimizer=self._loss_scaling(optimizer),
            steps_per_execution=1 if run_eagerly else steps_per_execution,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
        )

    def _loss_scaling(self, optimizer: Any) -> keras.optimizers.Optimizer:
        """The optimizer, which scales the loss where layers compute in float16, as Keras has it."""
        optimizer = keras.optimizers.get(optimizer)
        layers = (part for part in self.submodules if isinstance(part, keras.layers.Layer))
        scaled = keras.mixed_precision.LossScaleOptimizer
        if isinstance(optimizer, scaled) or all(layer.dtype_policy.name != "mixed_float16" for layer in layers):
            return optimizer
        return scaled(optimizer)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, weights = keras.utils.unpack_x_y_sample_weight(data)
        differentiate, update = self._parts
        return update(*differentiate(x, weights))

    def all_terms(
        self, x: tf.Tensor, weights: tf.Tensor | None = None, training: bool = False
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Everything that the loss is the sum of, and the monitors.

        Args:
            x: (B, *event), preprocessed.
            weights: (B,), of the examples; they multiply the terms of `loss_terms`.
            training: as `loss_terms`.

        Returns:
            The terms, each (B,), with `regularization` where layers of the networks add losses of their own; and the
            monitors, of unweighted terms.
        """
        terms = self.loss_terms(x, training=training)
        monitors = self.monitors(terms)
        if weights is not None:
            terms = {name: tf.reshape(tf.cast(weights, term.dtype), [-1]) * term for name, term in terms.items()}
        if losses := self.losses:
            added = tf.add_n([tf.cast(tf.reduce_mean(loss), tf.float32) for loss in losses])
            terms["regularization"] = tf.fill(tf.shape(x)[:1], added)
        return terms, monitors

    def _terms_and_gradients(self, x: tf.Tensor, weights: tf.Tensor | None) -> tuple[dict, dict, list]:
        scaled = isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer)
        with tf.GradientTape() as tape:
            terms, monitors = self.all_terms(x, weights, training=True)
            loss = tf.add_n([replicas.share_of_mean(term) for term in terms.values()])
            loss = self.optimizer.get_scaled_loss(loss) if scaled else loss
        gradients = tape.gradient(loss, self.trainable_variables)
        return terms, monitors, self.optimizer.get_unscaled_gradients(gradients) if scaled else gradients

    def _update(self, terms: dict, monitors: dict, gradients: list) -> dict[str, tf.Tensor]:
        self._watch_finite(terms)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return self._track(terms, monitors)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, weights = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(*self.all_terms(x, weights))

    def _watch_finite(self, terms: dict[str, tf.Tensor]) -> None:
        """Notes step and term of the first non-finite value, for `first_non_finite`."""
        self._term_names = list(terms)
        means = replicas.total(tf.stack([replicas.share_of_mean(term) for term in terms.values()]))
        bad = ~tf.math.is_finite(means)
        found = tf.stack([tf.argmax(tf.cast(bad, tf.int32)), tf.cast(self.optimizer.iterations, tf.int64) + 1])
        is_first = tf.reduce_any(bad) & (self._non_finite[1] == 0)
        self._non_finite.assign(tf.where(is_first, found, self._non_finite))

    def first_non_finite(self) -> tuple[str, int]:
        """The loss term that first became NaN or infinite while training, and the step."""
        term, step = self._non_finite.numpy()
        return self._term_names[term], int(step)

    def _track(self, terms: dict[str, tf.Tensor], monitors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        values = {"loss": tf.add_n(list(terms.values())), **terms, **monitors}
        for name, value in values.items():
            self._mean(name).update_state(value)
        return {name: self._mean(name).result() for name in values}

    def _mean(self, name: str) -> keras.metrics.Mean:
        if name not in self._means:
            self._means[name] = keras.metrics.Mean(name)
        return self._means[name]

    # Variables are made before Keras traces its loop of steps: one that makes them is traced twice as often, and
    # replicas cannot make them one by one

    def build_optimizer(self) -> None:
        """Makes all variables of the optimizer."""
        if isinstance(self.optimizer, keras.optimizers.legacy.Optimizer):
            self.optimizer._create_all_weights(self.trainable_variables)
        else:
            self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> Callable:
        self.build_optimizer()
        self._make_means()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Callable:
        self._make_means()
        return super().make_test_function(force)

    def _make_means(self) -> None:
        if not self._means:
            terms, monitors = self.all_terms(tf.zeros((1, *self.preprocess.event_shape)))
            for name in ("loss", *terms, *monitors):
                self._mean(name)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int = 256,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data: Any = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on normal raw rows through `keras.Model.fit`, then adapts the prior.

        A table in memory is preprocessed once and stays resident; its batches are drawn by shuffled index, whole
        batches only, in an order that depends on the seed and the step alone. A `tf.data.Dataset` of batches of raw
        rows is streamed as it is. A model built under a `tf.distribute` strategy comes out as on one device: batches
        are global ones, of which each replica takes its rows; each worker of several adapts the prior for itself.

        Args:
            x: matrix, DataFrame, mapping of columns, or images (n, h, w, C), uint8 or floats of 0 to 1; or a
                `tf.data.Dataset` of batches of these, or of (rows, label), which ends.
            y: ignored, for the scikit-learn habit.
            batch_size: for tables in memory.
            epochs: reports on the progress bar; each one pass over x, or `steps_per_epoch` steps.
            steps_per_epoch: steps of one epoch; x is repeated as needed.
            validation_data: held-out normal raw rows, for `val_loss` and early stopping.
            callbacks: Keras callbacks.
            **kwargs: the rest of `keras.Model.fit`.

        Raises:
            TypeError, ValueError: bad rows, naming column and row; too few rows for the prior.
            FloatingPointError: a loss term became NaN or infinite, naming it.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size} must be at least 1.")
        self._non_finite.assign([0, 0])
        callbacks = [*(callbacks or []), StopOnNonFinite()]
        streamed = isinstance(x, tf.data.Dataset)
        if streamed:
            prepared = self._prepared(x)
            training = (prepared.repeat() if steps_per_epoch else prepared).prefetch(tf.data.AUTOTUNE)
            scored = prepared.rebatch(self._rows_at_once)  # the prior is adapted faster on larger batches
        else:
            x = self._stored_in_blocks(x)
            if len(x) < self.prior.minimum_rows:
                raise ValueError(f"x: {len(x)} rows, but the prior needs at least {self.prior.minimum_rows}.")
            batch_size = min(batch_size, len(x))
            first_step = tf.Variable(0, trainable=False, dtype=tf.int64)
            callbacks.append(StartAtStep(first_step))
            training = batches.resident(x, batch_size, self._shuffle_seed, first_step).map(self.preprocess.restored)
            steps_per_epoch = steps_per_epoch or len(x) // batch_size
            scored = self._scoring_batches(x)
        if validation_data is not None:
            self._validation_batches = validation_data = self._prepared(validation_data)
            callbacks.append(AdaptBeforeValidation(scored))
        self._invalidate()
        try:
            history = super().fit(
                batches.split_by_rows(training),
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=validation_data,
                callbacks=callbacks,
                **kwargs,
            )
        finally:
            self._validation_batches = None
        self._adapt(scored, cache=not streamed)
        return history

    def _invalidate(self) -> None:
        """Marks what the end of `fit` finds as out of date."""
        self.prior.invalidate()

    def adapt_prior(self, x: Any, refine: bool = True) -> None:
        """Fixes the prior that scores, from the latents of these raw training rows; `fit` calls it at its end.

        With `refine=False` a mixture is the estimation network's own, without EM.
        """
        self._adapt(
            self._prepared(x).rebatch(self._rows_at_once), cache=not isinstance(x, tf.data.Dataset), refine=refine
        )

    def _adapt(self, dataset: tf.data.Dataset, cache: bool = False, refine: bool = True) -> None:
        # tables in memory eagerly: tracing a graph would take longer than their few blocks
        latents = [self._latents(x) for x in dataset] if cache else dataset.map(self._latents)
        self.prior.adapt(latents, refine)

    def evaluate(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, on raw rows; y is ignored, as in `fit`."""
        if x is not self._validation_batches:  # fit hands over what it has already preprocessed
            self._require_adapted()
            x = self._prepared(x)
        return super().evaluate(x, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """As `keras.Model.predict`, on raw rows: `energy`, `latent` and `reconstruction` as arrays."""
        self._require_adapted()
        if not isinstance(x, tf.data.Dataset):
            x = self.preprocess.check(x)
        return super().predict(x, *args, **kwargs)

    def _prepared(self, rows: Any) -> tf.data.Dataset:
        if isinstance(rows, tf.data.Dataset):
            if rows.cardinality() == tf.data.INFINITE_CARDINALITY:
                raise ValueError("x: an endless dataset; leave out .repeat(), fit repeats it for steps_per_epoch.")
            prepared = batches.rows_only(rows).map(self._checked, tf.data.AUTOTUNE)
        else:
            prepared = self._scoring_batches(self._stored_in_blocks(rows))
        return batches.split_by_rows(prepared)

    @property
    def _rows_at_once(self) -> int:
        return max(min(SCORING_BATCH, SCORED_ELEMENTS // self.preprocess.width), 1)

    def _scoring_batches(self, stored: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(stored).batch(self._rows_at_once).map(self.preprocess.restored)

    def _by_blocks(self, rows: Any, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """`function` of preprocessed x (B, *event), of so many raw rows at once as memory takes."""
        if any(map(is_symbolic, rows.values() if isinstance(rows, dict) else [rows])):
            return function(self._checked(rows))
        stored, size = self._stored_in_blocks(rows), self._rows_at_once
        blocks = (self.preprocess.restored(stored[i : i + size]) for i in range(0, len(stored), size))
        return tf.concat([function(block) for block in blocks], axis=0)

    def _stored_in_blocks(self, rows: Any) -> tf.Tensor:
        """Preprocesses a table block by block, so that its raw columns are never all tensors at once."""
        if isinstance(rows, tuple):
            rows = rows[0]
        if isinstance(rows, dict):
            rows = pd.DataFrame(rows)
        elements = int(np.prod(getattr(rows, "shape", ())[1:]))
        size = max(min(65536, BLOCK_ELEMENTS // max(elements, 1)), 1)
        blocks = ((rows[i : i + size], i) for i in range(0, max(len(rows), 1), size))
        stored = [self.preprocess.stored(self.preprocess.check(block, first)) for block, first in blocks]
        return stored[0] if len(stored) == 1 else tf.concat(stored, axis=0)

    # Keras' own file formats lose the parameters of GDN layers and entropy models without a word

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(_SAVE_MESSAGE)

    def save_own_variables(self, store: Any) -> None:
        raise NotImplementedError(_SAVE_MESSAGE)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        if str(filepath).endswith((".h5", ".keras", ".hdf5")):
            raise NotImplementedError(_SAVE_MESSAGE)
        super().save_weights(filepath, *args, **kwargs)


_SAVE_MESSAGE = (
    "Keras' own formats (.keras, .h5, model.save) silently lose layers of tensorflow-compression; save with"
    " tf_radogaga.save_model(model, directory), export with tf_radogaga.export_saved_model(model, directory)."
)
