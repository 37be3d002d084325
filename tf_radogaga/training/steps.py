"""Steps of training and evaluation by a loss that is the sum of named terms, under Keras' loops."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from tf_radogaga._core import replicas
from tf_radogaga._core.stack import keras, tf


class Steps:
    """The loss of a model, its gradients, and the means that Keras shows.

    Args:
        model: gives `loss_terms` and `monitors`.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.non_finite = tf.Variable(
            [0, 0],
            trainable=False,
            dtype=tf.int64,
            name="non_finite",
            synchronization=tf.VariableSynchronization.ON_READ,  # all replicas find the same
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.means: dict[str, keras.metrics.Mean] = {}  # in no checkpoint, which would wait for all workers' sums
        self.term_names: list[str] = []

    def compile(self, in_graphs: bool) -> None:
        """Makes the parts of a step functions in graphs of their own, or not."""
        parts = self.terms_and_gradients, self.update
        self._parts = tuple(map(tf.function, parts)) if in_graphs else parts

    def train(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, weights = keras.utils.unpack_x_y_sample_weight(data)
        differentiate, update = self._parts
        return update(*differentiate(x, weights))

    def test(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, weights = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(*self.all_terms(x, weights))

    def all_terms(
        self, x: tf.Tensor, weights: tf.Tensor | None = None, training: bool = False
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Everything that the loss is the sum of, and the monitors.

        Args as of `loss_terms`; weights (B,) of the examples multiply its terms, not the monitors.

        Returns:
            The terms, each (B,), with `regularization` where layers of the networks add losses of their own; monitors.
        """
        terms = self.model.loss_terms(x, training=training)
        monitors = self.model.monitors(terms)
        if weights is not None:
            terms = {name: tf.reshape(tf.cast(weights, term.dtype), [-1]) * term for name, term in terms.items()}
        if losses := self.model.losses:
            added = tf.add_n([tf.cast(tf.reduce_mean(loss), tf.float32) for loss in losses])
            terms["regularization"] = tf.fill(tf.shape(x)[:1], added)
        return terms, monitors

    def terms_and_gradients(self, x: tf.Tensor, weights: tf.Tensor | None = None) -> tuple[dict, dict, list]:
        scaled = isinstance(self.model.optimizer, keras.mixed_precision.LossScaleOptimizer)
        # a step past the end of the data must not draw noise, nor count
        with tf.GradientTape() as tape, tf.control_dependencies([x]):
            terms, monitors = self.all_terms(x, weights, training=True)
            loss = tf.add_n([replicas.share_of_mean(term) for term in terms.values()])
            loss = self.model.optimizer.get_scaled_loss(loss) if scaled else loss
        gradients = tape.gradient(loss, self.model.trainable_variables)
        return terms, monitors, self.model.optimizer.get_unscaled_gradients(gradients) if scaled else gradients

    def update(self, terms: dict, monitors: dict, gradients: list) -> dict[str, tf.Tensor]:
        self._watch_finite(terms)
        with tf.control_dependencies(list(terms.values())):
            self.model.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables))
        return self._track(terms, monitors)

    def _watch_finite(self, terms: dict[str, tf.Tensor]) -> None:
        """Notes step and term of the first non-finite value, for `first_non_finite`."""
        self.term_names = list(terms)
        means = replicas.total(tf.stack([replicas.share_of_mean(term) for term in terms.values()]))
        bad = ~tf.math.is_finite(means)
        found = tf.stack([tf.argmax(tf.cast(bad, tf.int32)), tf.cast(self.model.optimizer.iterations, tf.int64) + 1])
        is_first = tf.reduce_any(bad) & (self.non_finite[1] == 0)
        self.non_finite.assign(tf.where(is_first, found, self.non_finite))

    def first_non_finite(self) -> tuple[str, int]:
        """The loss term that first became NaN or infinite while training, and the step."""
        term, step = self.non_finite.numpy()
        return self.term_names[term], int(step)

    def _track(self, terms: dict[str, tf.Tensor], monitors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        values = {"loss": tf.add_n(list(terms.values())), **terms, **monitors}
        for name, value in values.items():
            self._mean(name).update_state(value)
        return {**{name: self._mean(name).result() for name in values}, **self._results_of_layers()}

    def metrics_of_layers(self) -> list[keras.metrics.Metric]:
        """Those of `add_metric` and of attributes of layers, which update them where they are called."""
        return [metric for layer in self.model._flatten_layers() for metric in layer._metrics]

    def _results_of_layers(self) -> dict[str, tf.Tensor]:
        """By name; a name that is taken, as where encoder and decoder are of one class, gets a number."""
        results: dict[str, tf.Tensor] = {}
        for metric in self.metrics_of_layers():
            found = metric.result()
            for name, value in (found if isinstance(found, dict) else {metric.name: found}).items():
                taken = {*self.means, *results}
                numbered = (f"{name}_{number}" for number in itertools.count(1))
                results[name if name not in taken else next(new for new in numbered if new not in taken)] = value
        return results

    def _mean(self, name: str) -> keras.metrics.Mean:
        if name not in self.means:
            self.means[name] = keras.metrics.Mean(name)
        return self.means[name]

    # Variables are made before Keras traces its loop of steps: one that makes them is traced twice as often, and
    # replicas cannot make them one by one

    def build_optimizer(self) -> None:
        """Makes all variables of the optimizer."""
        if isinstance(self.model.optimizer, keras.optimizers.legacy.Optimizer):
            self.model.optimizer._create_all_weights(self.model.trainable_variables)
        else:
            self.model.optimizer.build(self.model.trainable_variables)

    def make_means(self) -> None:
        if not self.means:
            terms, monitors = self.all_terms(tf.zeros((1, *self.model.preprocess.event_shape)))
            for name in ("loss", *terms, *monitors):
                self._mean(name)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*self.means.values(), *self.metrics_of_layers()]


@contextlib.contextmanager
def executions(model: keras.Model, one_step: bool, *makes: Callable[[], Callable]) -> Iterator[None]:
    """Within, Keras runs as many steps in one call as `compile` was told, or single ones; afterwards the former again.

    The functions are made before: where Keras finds the number shortened to 1, as it does for a while within a short
    epoch, it makes a function of a single step for good. Nor does it restore the number where a step fails.

    Args:
        model: compiled or not.
        one_step: needed where only a pass tells how many batches there are, or there is one batch.
        makes: methods of the model that make the functions that are going to be called.
    """
    steps = model._steps_per_execution
    if steps is None:  # not compiled, so in single steps
        yield
        return
    compiled = int(steps.numpy())
    with model.distribute_strategy.scope():
        for make in makes:
            make()
    try:
        if one_step:
            steps.assign(1)
        yield
    finally:
        steps.assign(compiled)


def keras_optimizer(model: keras.Model, optimizer: Any) -> keras.optimizers.Optimizer:
    """The optimizer, which scales the loss where layers compute in float16, as Keras has it."""
    if isinstance(optimizer, tf.compat.v1.train.Optimizer):
        raise TypeError(
            f"optimizer: {type(optimizer).__name__} of tf.compat.v1.train; give one of tf.keras.optimizers or"
            " tf.keras.optimizers.legacy."
        )
    optimizer = keras.optimizers.get(optimizer)
    layers = (part for part in model.submodules if isinstance(part, keras.layers.Layer))
    scaled = keras.mixed_precision.LossScaleOptimizer
    if isinstance(optimizer, scaled) or all(layer.dtype_policy.name != "mixed_float16" for layer in layers):
        return optimizer
    return scaled(optimizer)


def require_own_loss(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            raise TypeError(f"compile() got an unexpected keyword argument {name!r}.")
        if value is not None:
            raise TypeError(
                f"{name}: {value!r}, but the loss is the model's own, the sum of its loss_terms, each of which is a"
                f" metric; leave {name} out."
            )
