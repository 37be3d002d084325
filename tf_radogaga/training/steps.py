"""Steps of training and evaluation by a loss that is the sum of named terms, under Keras' loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_radogaga._core import checks, replicas
from tf_radogaga.preprocessing import Preprocessing

keras = tf.keras


class SumOfTerms(keras.Model):
    """A Keras model whose loss is the sum of named terms of preprocessed x; a subclass gives `loss_terms`."""

    preprocess: Preprocessing

    def __init__(self, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self._non_finite = tf.Variable(
            [0, 0],
            trainable=False,
            dtype=tf.int64,
            name="non_finite",
            synchronization=tf.VariableSynchronization.ON_READ,  # all replicas find the same
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
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
            steps_per_execution = checks.whole_number("steps_per_execution", steps_per_execution)
        replicas.require_supported(self.distribute_strategy, jit_compile)
        parts = self._terms_and_gradients, self._update
        several = self.distribute_strategy.num_replicas_in_sync > 1  # their sums cannot be in a graph within the step's
        self._parts = parts if run_eagerly or several else tuple(map(tf.function, parts))
        super().compile(
            optimizer=self._loss_scaling(optimizer),
            steps_per_execution=1 if run_eagerly else steps_per_execution,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            weighted_metrics=[],  # else Keras warns that weights are not used
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
        return {**{name: self._mean(name).result() for name in values}, **self._results_of_layers()}

    def metrics_of_layers(self) -> list[keras.metrics.Metric]:
        """Those of `add_metric` and of attributes of layers, which update them where they are called."""
        return [metric for layer in self._flatten_layers() for metric in layer._metrics]

    def _results_of_layers(self) -> dict[str, tf.Tensor]:
        """By name; a name that is taken, as where encoder and decoder are of one class, gets a number."""
        results = {}
        for metric in self.metrics_of_layers():
            found = metric.result()
            for name, value in (found if isinstance(found, dict) else {metric.name: found}).items():
                taken = {*self._means, *results}
                numbered = (f"{name}_{number}" for number in itertools.count(1))
                results[name if name not in taken else next(new for new in numbered if new not in taken)] = value
        return results

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
        return [*self._means.values(), *self.metrics_of_layers()]


def _require_own_loss(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            raise TypeError(f"compile() got an unexpected keyword argument {name!r}.")
        if value is not None:
            raise TypeError(
                f"{name}: {value!r}, but the loss is the model's own, the sum of its loss_terms, each of which is a"
                f" metric; leave {name} out."
            )
