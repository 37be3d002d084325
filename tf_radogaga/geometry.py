"""Geometry of a decoder: tangent vectors by forward-mode differentiation, Gram matrices and volumes."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_radogaga.distortions import Distortion

ELEMENTS = 2**21
"""Elements of tangent vectors held at once; the layers of a convolutional decoder hold many times more."""


def tangents(decode: Callable[[tf.Tensor], tf.Tensor], z: tf.Tensor, directions: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """x_hat = g(z) and its derivatives along some directions, in one pass of the decoder.

    Args:
        decode: g, (B, N) -> (B, *event), which treats its rows independently.
        z: (B, N).
        directions: (n, N), the same at every row, or (B, n, N).

    Returns:
        x_hat (B, *event) and J(z) directions (B, n, *event).
    """
    batch = tf.shape(z)[0]
    directions = tf.broadcast_to(directions, tf.concat([[batch], tf.shape(directions)[-2:]], axis=0))
    count = tf.shape(directions)[1]
    repeated = tf.repeat(z, count, axis=0)
    with tf.autodiff.ForwardAccumulator(repeated, tf.reshape(directions, tf.shape(repeated))) as forward:
        x_hat = decode(repeated)
    tangent = forward.jvp(x_hat, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    shape = tf.concat([[batch, count], tf.shape(x_hat)[1:]], axis=0)
    event = [None, directions.shape[1], *x_hat.shape[1:]]
    return tf.reshape(x_hat, shape)[:, 0], tf.ensure_shape(tf.reshape(tangent, shape), event)


def gram(
    decode: Callable[[tf.Tensor], tf.Tensor], distortion: Distortion, z: tf.Tensor, directions: tf.Tensor
) -> tf.Tensor:
    """d_i' J' A J d_j of the directions, (B, n, n), in the metric A of the distortion at x_hat."""
    x_hat, tangent = tangents(decode, z, directions)
    count = tf.shape(tangent)[1]
    event = tf.shape(x_hat)[1:]
    flat = tf.concat([[-1], event], axis=0)
    columns = tf.reshape(tangent, flat)
    points = tf.reshape(tf.repeat(x_hat, count, axis=0), flat)

    def row(i):
        left = tf.repeat(tangent[:, i], count, axis=0)
        return tf.reshape(distortion.inner_product(points, left, columns), (-1, count))

    rows = tf.map_fn(row, tf.range(count), fn_output_signature=tangent.dtype, parallel_iterations=1)
    return tf.transpose(rows, (1, 0, 2))


def log_volume(decode: Callable[[tf.Tensor], tf.Tensor], z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """1/2 log det(J' J) along the directions, (B,) float64, nats: the volume of x_hat that a unit of z fills."""
    _, tangent = tangents(decode, z, directions)
    flat = tf.cast(tf.reshape(tangent, (tf.shape(tangent)[0], tf.shape(tangent)[1], -1)), tf.float64)
    return 0.5 * tf.linalg.slogdet(tf.matmul(flat, flat, transpose_b=True)).log_abs_determinant


def block_rows(elements: int, directions: int) -> int:
    """Rows whose tangent vectors of so many elements each may be held at once."""
    return max(ELEMENTS // max(elements * directions, 1), 1)
