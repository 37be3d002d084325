"""Training through Keras on raw rows, shared by every model: `compile`, `fit`, `evaluate`, `predict`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga import batches, feed, randomness, replicas, streams
from tf_radogaga.callbacks import StopOnNonFinite, non_finite_error
from tf_radogaga.executions import executions
from tf_radogaga.preprocessing import Preprocessing, is_symbolic
from tf_radogaga.priors import Prior
from tf_radogaga.rows import in_memory, is_stream, stored

keras = tf.keras


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
        **refused: Any,
    ) -> None:
        """As `keras.Model.compile`, without losses: the loss is the model.

        Args:
            optimizer: Keras optimizer or its name.
            steps_per_execution: steps in one call of the compiled loop. Small networks gain several times from it.
            jit_compile: XLA; measure before use, mixture priors often run slower with it on a CPU.
            run_eagerly: for debugging.
            **refused: losses and metrics of Keras are refused by name.

        Raises:
            TypeError: a loss, a metric, or an optimizer of TensorFlow 1.
            ValueError: a `tf.distribute` strategy, or XLA under it, that does not give the result of one device.
        """
        _require_own_loss(refused)
        if isinstance(optimizer, tf.compat.v1.train.Optimizer):
            raise TypeError(
                f"optimizer: {type(optimizer).__name__} of tf.compat.v1.train; give one of tf.keras.optimizers or"
                " tf.keras.optimizers.legacy."
            )
        if steps_per_execution != "auto":
            steps_per_execution = feed.count("steps_per_execution", steps_per_execution)
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
        # a step past the end of the data must not draw noise, nor count
        with tf.GradientTape() as tape, tf.control_dependencies([x]):
            terms, monitors = self.all_terms(x, weights, training=True)
            loss = tf.add_n([replicas.share_of_mean(term) for term in terms.values()])
            loss = self.optimizer.get_scaled_loss(loss) if scaled else loss
        gradients = tape.gradient(loss, self.trainable_variables)
        return terms, monitors, self.optimizer.get_unscaled_gradients(gradients) if scaled else gradients

    def _update(self, terms: dict, monitors: dict, gradients: list) -> dict[str, tf.Tensor]:
        self._watch_finite(terms)
        with tf.control_dependencies(list(terms.values())):
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
        batch_size: int | None = 256,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data: Any = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        verbose: Any = "auto",
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> keras.callbacks.History:
        """Trains on normal raw rows through `keras.Model.fit`, then adapts the prior.

        A table in memory is preprocessed once and stays resident; its batches are drawn by shuffled index, whole
        batches only, in an order that depends on the seed and the step alone. A `tf.data.Dataset` of batches of raw
        rows is streamed as it is, a `keras.utils.Sequence` as Keras does. A model built under a `tf.distribute`
        strategy comes out as on one device: batches are global ones, of which each replica takes its rows; each worker
        of several adapts the prior for itself.

        Training that fails or is interrupted leaves the weights where they are, and the prior to be adapted.

        Args:
            x: matrix, DataFrame, mapping of columns, or images (n, h, w, C), uint8 or floats of 0 to 1; or a
                `tf.data.Dataset` or `keras.utils.Sequence` of batches of these, of (rows, label), or of
                (rows, label, weights).
            y: ignored, for the scikit-learn habit.
            batch_size: for tables in memory; None is 256.
            epochs: reports on the progress bar; each one pass over x, or `steps_per_epoch` steps.
            steps_per_epoch: steps of one epoch; x is repeated as needed. An endless dataset needs it; the prior is
                then adapted to as many batches as the training has steps.
            validation_data: held-out normal raw rows of any of these kinds, for `val_loss` and early stopping.
            callbacks: Keras callbacks.
            validation_split: the last share of rows in memory is held out in place of `validation_data`.
            shuffle: False trains on all rows in memory in their order, or on a Sequence's batches in theirs.
            class_weight: refused, as the loss has no labels.
            sample_weight: (n,), of rows in memory. Weights multiply the loss of an example; to the statistics of a
                `MixturePrior`, and to the monitors, each row counts the same.
            initial_epoch: as Keras.
            validation_steps: batches of each validation; an endless dataset needs it.
            validation_batch_size: of rows in memory.
            validation_freq: as Keras.
            verbose: as Keras.
            max_queue_size: unused, like the next two: tf.data reads ahead by itself.
            workers: unused.
            use_multiprocessing: unused.

        Raises:
            TypeError, ValueError: bad rows or weights, naming column and row; rows of a kind that is not supported; an
                endless dataset without steps; too few rows for the prior.
            FloatingPointError: a loss term became NaN or infinite, naming it.
        """
        feed.refuse_class_weight(class_weight)
        if shuffle not in (True, False):
            raise ValueError(f"shuffle: {shuffle!r} must be True or False.")
        epochs, initial_epoch = feed.count("epochs", epochs, 0), feed.count("initial_epoch", initial_epoch, 0)
        validation_steps = feed.count("validation_steps", validation_steps)
        training = feed.training(
            self.preprocess,
            x,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps=feed.count("steps_per_epoch", steps_per_epoch),
            epochs=max(epochs - initial_epoch, 1),
            seed=self._shuffle_seed if shuffle else None,
            least_rows=self.prior.minimum_rows,
            validation_data=validation_data,
            validation_split=validation_split,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
        )
        self._assert_compile_was_called()
        makes = self.make_train_function, self.make_test_function, self.make_predict_function
        self._validation_batches = training.validation
        self._non_finite.assign([0, 0])
        self._invalidate()
        try:
            with executions(self, training.uncounted, *makes):
                history = super().fit(
                    training.batches,
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=[*tf.nest.flatten(callbacks or []), StopOnNonFinite(), *training.callbacks],
                    validation_data=training.validation,
                    initial_epoch=initial_epoch,
                    steps_per_epoch=training.steps,
                    validation_steps=validation_steps,
                    validation_freq=validation_freq,
                )
            self._adapt(training.adapting, cache=not is_stream(x))
        except BaseException:
            self._invalidate()
            raise
        finally:
            self._validation_batches = None
            self._eval_data_handler = None  # else Keras uses that of a training that failed in the next one
        return history

    def _invalidate(self) -> None:
        """Marks what the end of `fit` finds as out of date."""
        self.prior.invalidate()

    def adapt_prior(self, x: Any, refine: bool = True) -> None:
        """Fixes the prior that scores, from the latents of these raw training rows; `fit` calls it at its end.

        With `refine=False` a mixture is the estimation network's own, without EM.
        """
        rows = batches.rows_only(feed.prepared(self.preprocess, x, remedy="give the batches of one pass by .take"))
        try:
            self._adapt(rows.rebatch(feed.rows_at_once(self.preprocess)), cache=not is_stream(x), refine=refine)
        except BaseException:
            self._invalidate()
            raise

    def _adapt(self, dataset: tf.data.Dataset, cache: bool = False, refine: bool = True) -> None:
        # tables in memory eagerly: tracing a graph would take longer than their few blocks
        latents = [self._latents(x) for x in dataset] if cache else dataset.map(self._latents)
        self.prior.adapt(latents, refine)

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        sample_weight: Any = None,
        steps: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.evaluate`, on raw rows of any kind that `fit` takes; y is ignored, as in `fit`.

        Raises:
            RuntimeError: the prior has not been adapted.
            TypeError, ValueError: bad rows or weights, as in `fit`; an endless dataset without steps.
        """
        argument, one_step = "validation_data", False
        if x is None or x is not self._validation_batches:  # fit hands over what it has already preprocessed
            argument = "x"
            self._require_adapted()
            batch_size, steps = feed.count("batch_size", batch_size), feed.count("steps", steps)
            x = feed.prepared(self.preprocess, x, argument, sample_weight, batch_size, steps)
            self._assert_compile_was_called()
            one_step = streams.is_uncounted(x, steps)
        with executions(self, one_step, self.make_test_function):
            results = super().evaluate(x, steps=steps, **kwargs)
        if not self._test_counter.numpy():
            raise ValueError(f"{argument}: the dataset is empty; give one batch at least.")
        return results

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """As `keras.Model.predict`, on raw rows: `energy`, `latent` and `reconstruction` as arrays.

        Raises:
            RuntimeError, TypeError, ValueError: as `evaluate`.
        """
        self._require_adapted()
        batch_size, steps, uncounted = feed.count("batch_size", batch_size), feed.count("steps", steps), False
        if is_stream(x):
            x, batch_size = batches.rows_only(streams.raw_batches(self.preprocess, x)), None
            streams.require_end(x, steps, "x", "give steps")
            uncounted = streams.is_uncounted(x, steps)
        else:
            x = self.preprocess.check(in_memory(self.preprocess, x)[0])
        with executions(self, uncounted, self.make_predict_function):
            return super().predict(x, batch_size, verbose, steps, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        reset_metrics: bool = True,
        return_dict: bool = False,
    ) -> Any:
        """As `keras.Model.train_on_batch`, on raw rows as in `fit`; y is ignored. Call `adapt_prior` before scoring.

        Raises:
            TypeError, ValueError: bad rows or weights, as in `fit`.
            FloatingPointError: a loss term became NaN or infinite, naming it.
        """
        feed.refuse_class_weight(class_weight)
        batch = self._one_batch(x, sample_weight)
        self._assert_compile_was_called()
        self._non_finite.assign([0, 0])
        self._invalidate()
        with executions(self, True, self.make_train_function):
            logs = super().train_on_batch(*batch, reset_metrics=reset_metrics, return_dict=return_dict)
        if self._non_finite.numpy()[1]:
            raise non_finite_error(*self.first_non_finite())
        return logs

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, reset_metrics: bool = True, return_dict: bool = False
    ) -> Any:
        """As `keras.Model.test_on_batch`, on raw rows as in `evaluate`; y is ignored.

        Raises:
            RuntimeError, TypeError, ValueError: as `evaluate`.
        """
        self._require_adapted()
        batch = self._one_batch(x, sample_weight)
        self._assert_compile_was_called()
        with executions(self, True, self.make_test_function):
            return super().test_on_batch(*batch, reset_metrics=reset_metrics, return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> dict[str, np.ndarray]:
        """As `keras.Model.predict_on_batch`, on raw rows as in `predict`.

        Raises:
            RuntimeError, TypeError, ValueError: as `evaluate`.
        """
        self._require_adapted()
        x = self.preprocess.check(in_memory(self.preprocess, x)[0])
        with executions(self, True, self.make_predict_function):
            return super().predict_on_batch(x)

    def _one_batch(self, rows: Any, sample_weight: Any) -> tuple[tf.Tensor, ...]:
        """x, and labels and weights as Keras wants them: it drops weights without labels."""
        data, weights = feed.weighted(self.preprocess, rows, sample_weight)
        x = self.preprocess.restored(data)
        return (x,) if weights is None else (x, tf.zeros_like(weights), weights)

    def _by_blocks(self, rows: Any, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """`function` of preprocessed x (B, *event), of so many raw rows at once as memory takes."""
        if any(map(is_symbolic, rows.values() if isinstance(rows, dict) else [rows])):
            return function(self._checked(rows))
        data, size = (
            stored(self.preprocess, in_memory(self.preprocess, rows, "rows")[0]),
            feed.rows_at_once(self.preprocess),
        )
        blocks = (self.preprocess.restored(data[i : i + size]) for i in range(0, len(data), size))
        return tf.concat([function(block) for block in blocks], axis=0)

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


def _require_own_loss(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            raise TypeError(f"compile() got an unexpected keyword argument {name!r}.")
        if value is not None:
            raise TypeError(
                f"{name}: {value!r}, but the loss is the model's own, the sum of its loss_terms, each of which is a"
                f" metric; leave {name} out."
            )
