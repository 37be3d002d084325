"""Training through Keras on raw rows, shared by every model: `fit`, `evaluate`, `predict`, and single batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_radogaga._core import checks, replicas, seeds
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.training import batches, copies, streams
from tf_radogaga.training.callbacks import StopOnNonFinite, non_finite_error
from tf_radogaga.training.end_of_fit import (
    Trained,
    find_all,
    find_in_held_out,
    forget,
    forget_held_out,
    least_rows,
    require_adapted,
)
from tf_radogaga.training.feed import Feed, refuse_class_weight
from tf_radogaga.training.rows import in_memory, is_stream
from tf_radogaga.training.steps import Steps, executions, keras_optimizer, require_own_loss


class TrainedOnRows(Trained):
    """A Keras model whose loss is the sum of named terms and whose data are raw rows, in every method of Keras.

    A subclass gives `loss_terms` and what is declared here.
    """

    feed: Feed

    def __init__(self, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self.steps = Steps(self)
        self._non_finite = self.steps.non_finite  # for checkpoints
        self._shuffle_seed = seeds.draw_seed()
        self._validation_batches = None

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
        require_own_loss(refused)
        optimizer = keras_optimizer(self, optimizer)
        if steps_per_execution != "auto":
            steps_per_execution = checks.whole_number("steps_per_execution", steps_per_execution)
        replicas.require_supported(self.distribute_strategy, jit_compile)
        # sums over replicas cannot be in a graph within the step's
        self.steps.compile(in_graphs=not run_eagerly and self.distribute_strategy.num_replicas_in_sync == 1)
        super().compile(
            optimizer=optimizer,
            steps_per_execution=1 if run_eagerly else steps_per_execution,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            weighted_metrics=[],  # else Keras warns that weights are not used
        )

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        return self.steps.train(data)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        return self.steps.test(data)

    def make_train_function(self, force: bool = False) -> Callable:
        self.steps.build_optimizer()
        self.steps.make_means()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Callable:
        self.steps.make_means()
        return super().make_test_function(force)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.steps.metrics

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
                then adapted to an epoch of it, or to more, until there are 65,536 rows or those of the whole training.
            validation_data: held-out normal raw rows of any of these kinds, for `val_loss` and early stopping; 50 or
                more also tell the law of residuals, and the joint prior.
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
            max_queue_size, workers, use_multiprocessing: unused, as tf.data reads ahead by itself.

        Raises:
            TypeError, ValueError: bad rows or weights, naming column and row; rows of a kind that is not supported; an
                endless dataset without steps; too few rows for the prior.
            FloatingPointError: a loss term became NaN or infinite, naming it.
        """
        refuse_class_weight(class_weight)
        if shuffle not in (True, False):
            raise ValueError(f"shuffle: {shuffle!r} must be True or False.")
        epochs = checks.whole_number("epochs", epochs, 0)
        initial_epoch = checks.whole_number("initial_epoch", initial_epoch, 0)
        validation_steps = checks.whole_number("validation_steps", validation_steps)
        training = self.feed.training(
            x,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps=checks.whole_number("steps_per_epoch", steps_per_epoch),
            epochs=max(epochs - initial_epoch, 1),
            seed=self._shuffle_seed if shuffle else None,
            least_rows=least_rows(self),
            validation_data=validation_data,
            validation_split=validation_split,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
        )
        self._assert_compile_was_called()
        makes = self.make_train_function, self.make_test_function, self.make_predict_function
        self._validation_batches = training.validation
        self.steps.non_finite.assign([0, 0])
        forget(self)
        try:
            with executions(self, training.uncounted, *makes):
                history = super().fit(
                    training.batches,
                    epochs=max(epochs, 1),  # later releases of Keras refuse 0
                    verbose=verbose,
                    callbacks=[*tf.nest.flatten(callbacks or []), StopOnNonFinite(), *training.callbacks],
                    validation_data=training.validation,
                    initial_epoch=initial_epoch if epochs else max(initial_epoch, 1),
                    steps_per_epoch=training.steps,
                    validation_steps=validation_steps,
                    validation_freq=validation_freq,
                )
            find_all(self, training.adapting, not is_stream(x))
            if training.validation is not None:
                find_in_held_out(self, batches.rows_only(training.validation.take(validation_steps or -1)))
        except BaseException:
            forget(self)
            raise
        finally:
            self._validation_batches = None
            self._eval_data_handler = None  # else Keras uses that of a training that failed in the next one
        return history

    def adapt_prior(self, x: Any, refine: bool = True) -> None:
        """Fixes the prior that scores, from the latents of these raw training rows; `fit` calls it at its end.

        With `refine=False` a mixture is the estimation network's own, without EM.
        """
        rows = batches.rows_only(self.feed.prepared(x, remedy="give the batches of one pass by .take"))
        try:
            find_all(self, rows.rebatch(self.feed.rows_at_once), not is_stream(x), refine)
        except BaseException:
            forget(self)
            raise

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
            require_adapted(self)
            batch_size, steps = checks.whole_number("batch_size", batch_size), checks.whole_number("steps", steps)
            x = self.feed.prepared(x, argument, sample_weight, batch_size, steps)
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
        require_adapted(self)
        batch_size, steps = checks.whole_number("batch_size", batch_size), checks.whole_number("steps", steps)
        uncounted = False
        if is_stream(x):
            x, batch_size = batches.rows_only(streams.raw_batches(self.preprocess, x)), None
            streams.require_end(x, steps, "x", "give steps")
            uncounted = streams.is_uncounted(x, steps)
        else:
            x = self.preprocess.check(in_memory(self.preprocess, x, streams=True)[0])
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
        refuse_class_weight(class_weight)
        batch = self.feed.one_batch(x, sample_weight)
        self._assert_compile_was_called()
        self.steps.non_finite.assign([0, 0])
        forget(self)
        with executions(self, True, self.make_train_function):
            if reset_metrics:  # layers update theirs whenever they are called, also to score
                self.reset_metrics()
            logs = super().train_on_batch(*batch, reset_metrics=reset_metrics, return_dict=return_dict)
        if self.steps.non_finite.numpy()[1]:
            raise non_finite_error(*self.steps.first_non_finite())
        return logs

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, reset_metrics: bool = True, return_dict: bool = False
    ) -> Any:
        """As `keras.Model.test_on_batch`, on raw rows as in `evaluate`; y is ignored.

        Raises:
            RuntimeError, TypeError, ValueError: as `evaluate`.
        """
        require_adapted(self)
        batch = self.feed.one_batch(x, sample_weight)
        self._assert_compile_was_called()
        with executions(self, True, self.make_test_function):
            if reset_metrics:
                self.reset_metrics()
            return super().test_on_batch(*batch, reset_metrics=reset_metrics, return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> dict[str, np.ndarray]:
        """As `keras.Model.predict_on_batch`, on raw rows as in `predict`.

        Raises:
            RuntimeError, TypeError, ValueError: as `evaluate`.
        """
        require_adapted(self)
        x = self.preprocess.check(in_memory(self.preprocess, x)[0])
        with executions(self, True, self.make_predict_function):
            return super().predict_on_batch(x)

    save = export = save_own_variables = copies.refuse_formats

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        if save_type == "savedmodel":  # of the model, or of an object that holds it
            copies.refuse_formats()
        return super()._trackable_children(save_type, **kwargs)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, save_format: str | None = None, options: Any = None
    ) -> None:
        if str(filepath).endswith((".h5", ".keras", ".hdf5")) or save_format not in (None, "tf", "tensorflow"):
            copies.refuse_formats()
        super().save_weights(filepath, overwrite, save_format, options)

    def load_weights(self, *args: Any, **kwargs: Any) -> Any:
        if self.scoring_prior is not None:
            self.scoring_prior.invalidate()  # files of a model without one leave it as it is
        status = super().load_weights(*args, **kwargs)
        copies.weights_assigned(self)
        forget_held_out(self)
        return status
