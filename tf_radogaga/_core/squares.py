"""Sums of squares."""

from __future__ import annotations

from tf_radogaga._core.stack import tf


def sum_of_squares(values: tf.Tensor, first_axis: int = 1) -> tf.Tensor:
    """sum v_i^2 over the axes from `first_axis` on, with a gradient in one pass: TensorFlow's own takes four."""
    values = tf.convert_to_tensor(values)
    axes = list(range(first_axis, values.shape.rank))

    @tf.custom_gradient
    def summed(values):
        def gradient(upstream):
            factors = tf.reshape(2 * upstream, tf.concat([tf.shape(upstream), [1] * len(axes)], axis=0))
            return factors * values

        return tf.reduce_sum(tf.square(values), axis=axes), gradient

    return summed(values)
