"""Distortions D(x, y) and the metric tensors A(x) they induce.

    D(x, x + dx) - D(x, x) ~ dx' A(x) dx,      A(x) = 1/2 d^2 D(x, y) / dy^2  at  y = x

Near x a distortion is a squared length. The isometric embedding keeps lengths and angles in that metric, so each
distortion also offers its geometry.

Sources: Kato et al., ICML 2020, Eq. 6 and appendix A; Nakagawa et al., ICML 2021, appendices G.2 and H.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tf_radogaga._core import checks
from tf_radogaga._core.registry import function_name, registered_function
from tf_radogaga._core.squares import sum_of_squares


def _event_sum(values: tf.Tensor) -> tf.Tensor:
    """Sum over all axes but the first, (B, *event) -> (B,)."""
    values = tf.convert_to_tensor(values)
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))


def _over_event(values: tf.Tensor, event: tf.Tensor) -> tf.Tensor:
    """(B,) -> (B, 1, ..., 1), which broadcasts against `event`, (B, *event)."""
    return tf.reshape(values, [-1] + [1] * (event.shape.rank - 1))


class Distortion:
    """Base class. A subclass gives `__call__`; geometry follows from the Hessian rule unless it knows better."""

    has_metric = True
    """Whether D is a squared length near x; False where it has no metric tensor."""

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Distortion of each example.

        Args:
            x: (B, *event), the reference.
            y: (B, *event), its approximation.

        Returns:
            (B,), D(x, y).
        """
        raise NotImplementedError

    def self_distortion(self, x: tf.Tensor) -> tf.Tensor:
        """D(x, x), (B,): zero, unless a subclass says otherwise."""
        return tf.zeros(tf.shape(x)[:1], x.dtype)

    def excess(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """D(x, y) - D(x, x), (B,): near x the squared length of y - x, where `has_metric`."""
        return self(x, y) - self.self_distortion(x)

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """How much each element adds to `excess(x, y)`, (B, *event), in units of D.

        The distortions of this package with a formula of their own sum to `excess` over the event. The general rule,
        for any other, is for y near x: delta_i (A(x) delta)_i with delta = y - x, which sums to the squared length
        delta' A(x) delta, to which `excess` tends. Elements can be below 0 there, if A(x) is not diagonal.

        Raises:
            NotImplementedError: D has neither a metric tensor nor a formula of its own.
        """
        self._require_metric()
        difference = tf.subtract(y, x)
        return difference * self._metric_times(x, difference)

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """v' A(x) w of each example, (B,), for tangent vectors v, w of the shape of x.

        General rule: A(x) is half the Hessian of D(x, y) in y at y = x.

        Raises:
            NotImplementedError: D has no metric tensor.
        """
        self._require_metric()
        return _event_sum(v * self._metric_times(x, w))

    def _metric_times(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """A(x) w by the general rule, (B, *event)."""
        x = tf.convert_to_tensor(x)
        with tf.autodiff.ForwardAccumulator(primals=x, tangents=w) as forward:
            with tf.GradientTape() as tape:
                y = tf.identity(x)
                tape.watch(y)
                distortion = self(tf.stop_gradient(x), y)
            gradient = tape.gradient(distortion, y, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return 0.5 * forward.jvp(gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    @property
    def has_log_volume(self) -> bool:
        """Whether `log_volume` has a closed form here."""
        return type(self).log_volume is not Distortion.log_volume

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        """1/2 sum_j log alpha_j(x), (B,), over the `rank` eigenvalues alpha_j of A(x) along the manifold, in nats.

        Raises:
            NotImplementedError: D has no metric tensor, or one that is not a multiple of the identity.
        """
        self._require_metric()
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form volume: its metric tensor is not a multiple of the identity."
        )

    def _require_metric(self) -> None:
        if not self.has_metric:
            raise NotImplementedError(
                f"{type(self).__name__} has no metric tensor, because it is no squared length near x; it is for the"
                " transform loss D(x, g(mu)) of the decomposed beta-VAE only (Nakagawa et al., ICML 2021, appendix H)."
            )

    def get_config(self) -> dict:
        """Arguments of the constructor, as JSON types."""
        return {}


class ScaledSquaredError(Distortion):
    """D(x, y) = a(x) sum_i (x_i - y_i)^2, A(x) = a(x) I. A subclass gives `scale`, a(x) > 0.

    The derivative of a(x) does not enter A(x): a depends on the reference x, which stays fixed while y moves.
    """

    def scale(self, x: tf.Tensor) -> tf.Tensor:
        """a(x), (B, *event) -> (B,)."""
        raise NotImplementedError

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return self.scale(x) * sum_of_squares(tf.subtract(y, x))

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        squares = tf.math.squared_difference(x, y)
        return _over_event(self.scale(x), squares) * squares

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return self.scale(x) * _event_sum(tf.multiply(v, w))

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        return 0.5 * rank * tf.math.log(self.scale(x))


@keras.utils.register_keras_serializable(package="tf_radogaga")
class SumSquaredError(ScaledSquaredError):
    """D(x, y) = sum_i (x_i - y_i)^2, A(x) = I."""

    def scale(self, x: tf.Tensor) -> tf.Tensor:
        return tf.ones(tf.shape(x)[:1], x.dtype)


@keras.utils.register_keras_serializable(package="tf_radogaga")
class MeanSquaredError(ScaledSquaredError):
    """D(x, y) = 1/M sum_i (x_i - y_i)^2 over the M elements of an example, A(x) = I / M."""

    def scale(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        return tf.fill(shape[:1], 1 / tf.cast(tf.reduce_prod(shape[1:]), x.dtype))


@keras.utils.register_keras_serializable(package="tf_radogaga")
class DownwardConvexError(ScaledSquaredError):
    """D(x, y) = a(x) sum_i (x_i - y_i)^2, a(x) = 2/3 + 2 ||x||^2 / 21. Source: Nakagawa et al., ICML 2021, Eq. 24."""

    def scale(self, x: tf.Tensor) -> tf.Tensor:
        return 2 / 3 + 2 / 21 * _event_sum(tf.square(x))


@keras.utils.register_keras_serializable(package="tf_radogaga")
class UpwardConvexError(ScaledSquaredError):
    """D(x, y) = a(x) sum_i (x_i - y_i)^2, a(x) = 1 / (2/3 + 2 ||x||^2 / 21). Source: as above, Eq. 96."""

    def scale(self, x: tf.Tensor) -> tf.Tensor:
        return 1 / (2 / 3 + 2 / 21 * _event_sum(tf.square(x)))


@keras.utils.register_keras_serializable(package="tf_radogaga")
class BinaryCrossEntropy(Distortion):
    """D(x, y) = -sum_i x_i log y_i + (1 - x_i) log(1 - y_i), A(x) = diag(1/2 (1/x_i + 1/(1 - x_i))).

    D(x, x) is not 0 but the entropy of x, and `excess` is the Kullback-Leibler divergence between Bernoulli
    distributions of means x and y. Both lie in [0, 1]: let the decoder end in a sigmoid. Outside
    [epsilon, 1 - epsilon] D is constant in y, and A(x) stays at its value on that border.

    Source: Nakagawa et al., ICML 2021, Eq. 100-102.

    Args:
        epsilon: logarithms and the metric see values clipped to [epsilon, 1 - epsilon].

    Raises:
        ValueError: epsilon outside [1e-7, 0.5); 1 less than that is 1 in float32.
    """

    def __init__(self, epsilon: float = 1e-6):
        if not 1e-7 <= epsilon < 0.5:
            raise ValueError(f"epsilon: {epsilon} is outside [1e-7, 0.5).")
        self.epsilon = epsilon

    def _clip(self, values: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(values, self.epsilon, 1 - self.epsilon)

    def _cross_entropy(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        y = self._clip(y)
        return -(x * tf.math.log(y) + (1 - x) * tf.math.log1p(-y))

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return _event_sum(self._cross_entropy(x, y))

    def self_distortion(self, x: tf.Tensor) -> tf.Tensor:
        """The entropy of x, (B,), in nats."""
        return self(x, x)

    def excess(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        # element by element, as the two sums are large and nearly equal
        return _event_sum(self.contributions(x, y))

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return self._cross_entropy(x, y) - self._cross_entropy(x, x)

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        x = self._clip(x)
        return 0.5 * _event_sum(v * w / (x * (1 - x)))

    def get_config(self) -> dict:
        return {"epsilon": self.epsilon}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class PseudoHuberError(Distortion):
    """D(x, y) = 2 delta^2 sum_i (sqrt(1 + (x_i - y_i)^2 / delta^2) - 1), A(x) = I.

    The squared error of differences well below delta, and 2 delta times the absolute value of those well above: one
    feature that is far off does not outweigh the rest. Source: Charbonnier et al., 1997.

    Args:
        delta: in units of x.

    Raises:
        ValueError: delta that is not positive.
    """

    def __init__(self, delta: float = 0.1):
        checks.positive(delta=delta)
        self.delta = delta

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return _event_sum(self.contributions(x, y))

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        ratio = tf.subtract(x, y) / self.delta
        near = tf.clip_by_value(ratio, -1e4, 1e4)  # beyond it the square would overflow before the sum does
        curved = tf.square(near) / (1 + tf.sqrt(1 + tf.square(near)))
        return 2 * self.delta**2 * (curved + tf.nn.relu(tf.abs(ratio) - 1e4))

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return _event_sum(tf.multiply(v, w))

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        return tf.zeros(tf.shape(x)[:1], x.dtype)

    def get_config(self) -> dict:
        return {"delta": self.delta}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class EuclideanNorm(Distortion):
    """D(x, y) = ||x - y||_2, with gradient 0 at x = y. It has no metric tensor.

    It replaces the squared error in the transform loss of the decomposed beta-VAE, and there only.
    Source: Nakagawa et al., ICML 2021, appendix H.2.
    """

    has_metric = False

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        square = sum_of_squares(tf.subtract(y, x))
        apart = square > 0
        return tf.where(apart, tf.sqrt(tf.where(apart, square, 1)), 0)

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Squares divided by the norm, (B, *event); 0 at x = y."""
        squares = tf.math.squared_difference(x, y)
        return tf.math.divide_no_nan(squares, _over_event(self(x, y), squares))


@keras.utils.register_keras_serializable(package="tf_radogaga")
class FunctionDistortion(Distortion):
    """D(x, y) = function(x, y), a twice differentiable function of one's own; its geometry is the Hessian rule.

    Args:
        function: f(x, y) -> (B,), or the name under which such a function is registered.

    Raises:
        ValueError: no function is registered under the name; later, the function does not return (B,).
    """

    def __init__(self, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | str):
        self.function = registered_function("function", function)

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        distortion = tf.convert_to_tensor(self.function(x, y))
        if distortion.shape.rank not in (1, None):
            raise ValueError(f"function: returned shape {distortion.shape}, one number per example, (B,), is needed.")
        return distortion

    def self_distortion(self, x: tf.Tensor) -> tf.Tensor:
        return self(x, x)

    def get_config(self) -> dict:
        """
        Raises:
            TypeError: the function is not registered, so it could not be found again.
        """
        return {"function": function_name("function", self.function)}


def as_distortion(value: Any, name: str = "distortion") -> Distortion:
    """The distortion that an argument stands for.

    Args:
        value: a `Distortion`; None, for `SumSquaredError`; or a function f(x, y) -> (B,).
        name: of the argument, for the message.

    Raises:
        TypeError: anything else, naming the argument.
    """
    if value is None:
        return SumSquaredError()
    if isinstance(value, Distortion):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionDistortion(value)
    hint = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, Distortion) else ""
    raise TypeError(f"{name}: {value!r} is neither a Distortion nor a function f(x, y) -> (B,){hint}.")
