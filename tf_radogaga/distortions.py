"""Distortions D(x, y) and the metric tensors A(x) they induce.

Near x every distortion is a squared length, D(x, x + dx) ~ dx' A(x) dx. The isometric embedding keeps
lengths and angles in that metric, so each distortion also offers its geometry.

Source: Kato et al., ICML 2020, Eq. 6 and appendix A.
"""

from __future__ import annotations

import math

import tensorflow as tf

keras = tf.keras


def _event_axes(x: tf.Tensor) -> list[int]:
    return list(range(1, x.shape.rank))


class Distortion:
    """Base class. A subclass gives `__call__`; geometry follows from the Hessian rule unless it knows better."""

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Distortion of each example.

        Args:
            x: (B, *event), the reference.
            y: (B, *event), its approximation.

        Returns:
            (B,), D(x, y).
        """
        raise NotImplementedError

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """v' A(x) w of each example, (B,), for tangent vectors v, w of the shape of x.

        General rule: A(x) is half the Hessian of D(x, y) in y at y = x.
        """
        x = tf.convert_to_tensor(x)
        with tf.autodiff.ForwardAccumulator(primals=x, tangents=w) as forward:
            with tf.GradientTape() as tape:
                y = tf.identity(x)
                tape.watch(y)
                distortion = self(tf.stop_gradient(x), y)
            gradient = tape.gradient(distortion, y)
        hessian_w = forward.jvp(gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return 0.5 * tf.reduce_sum(v * hessian_w, axis=_event_axes(x))

    @property
    def has_log_volume(self) -> bool:
        """Whether `log_volume` has a closed form here."""
        return type(self).log_volume is not Distortion.log_volume

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        """1/2 sum_j log alpha_j(x), (B,), over the `rank` eigenvalues alpha_j of A(x) along the manifold, in nats.

        Raises:
            NotImplementedError: where A(x) is not a multiple of the identity.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form volume: its metric tensor is not a multiple of the identity."
        )

    def get_config(self) -> dict:
        return {}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class SumSquaredError(Distortion):
    """D(x, y) = sum_i (x_i - y_i)^2, A(x) = I."""

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.math.squared_difference(x, y), axis=_event_axes(x))

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(v * w, axis=_event_axes(x))

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        return tf.zeros(tf.shape(x)[:1], x.dtype)


@keras.utils.register_keras_serializable(package="tf_radogaga")
class MeanSquaredError(Distortion):
    """D(x, y) = 1/M sum_i (x_i - y_i)^2 over the M elements of an example, A(x) = I / M."""

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.math.squared_difference(x, y), axis=_event_axes(x))

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(v * w, axis=_event_axes(x))

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        elements = x.shape[1:].num_elements()
        return tf.fill(tf.shape(x)[:1], tf.constant(-0.5 * rank * math.log(elements), x.dtype))
