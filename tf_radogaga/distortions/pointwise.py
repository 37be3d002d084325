"""Distortions of single elements, and squared errors scaled by a(x)."""

from __future__ import annotations

from tf_radogaga._core import checks
from tf_radogaga._core.squares import sum_of_squares
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion, event_sum, over_event


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
        return over_event(self.scale(x), squares) * squares

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return self.scale(x) * event_sum(tf.multiply(v, w))

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
        return 2 / 3 + 2 / 21 * event_sum(tf.square(x))


@keras.utils.register_keras_serializable(package="tf_radogaga")
class UpwardConvexError(ScaledSquaredError):
    """D(x, y) = a(x) sum_i (x_i - y_i)^2, a(x) = 1 / (2/3 + 2 ||x||^2 / 21). Source: as above, Eq. 96."""

    def scale(self, x: tf.Tensor) -> tf.Tensor:
        return 1 / (2 / 3 + 2 / 21 * event_sum(tf.square(x)))


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
        checks.in_range("epsilon", epsilon, 1e-7, 0.5)
        self.epsilon = epsilon

    def _clip(self, values: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(values, self.epsilon, 1 - self.epsilon)

    def _cross_entropy(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        y = self._clip(y)
        return -(x * tf.math.log(y) + (1 - x) * tf.math.log1p(-y))

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return event_sum(self._cross_entropy(x, y))

    def self_distortion(self, x: tf.Tensor) -> tf.Tensor:
        """The entropy of x, (B,), in nats."""
        return self(x, x)

    def excess(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        # element by element, as the two sums are large and nearly equal
        return event_sum(self.contributions(x, y))

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return self._cross_entropy(x, y) - self._cross_entropy(x, x)

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        x = self._clip(x)
        return 0.5 * event_sum(v * w / (x * (1 - x)))

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
        return event_sum(self.contributions(x, y))

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        ratio = tf.subtract(x, y) / self.delta
        near = tf.clip_by_value(ratio, -1e4, 1e4)  # beyond it the square would overflow before the sum does
        curved = tf.square(near) / (1 + tf.sqrt(1 + tf.square(near)))
        return 2 * self.delta**2 * (curved + tf.nn.relu(tf.abs(ratio) - 1e4))

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return event_sum(tf.multiply(v, w))

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
        return tf.math.divide_no_nan(squares, over_event(self(x, y), squares))
