"""Geometry of a decoder: tangent vectors by forward-mode differentiation, Gram matrices and volumes."""

from __future__ import annotations

from collections.abc import Callable

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.isometry.protocols import Measured

Decoder = Callable[[tf.Tensor], tf.Tensor]


def tangents(decode: Decoder, z: tf.Tensor, directions: tf.Tensor) -> tuple[tf.Tensor, ...]:
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


def gram(decode: Decoder, distortion: Distortion, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """d_i' J' A J d_j of the directions, (B, n, n), in the metric A of the distortion at x_hat."""
    tangent, times = _tangents_and_metric(decode, distortion, z, directions)
    products = tf.matmul(tangent, times, transpose_b=True)
    return 0.5 * (products + tf.linalg.matrix_transpose(products))


def squared_lengths(decode: Decoder, distortion: Distortion, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """d_i' J' A J d_i of the directions, (B, n): the diagonal of `gram`."""
    tangent, times = _tangents_and_metric(decode, distortion, z, directions)
    return tf.reduce_sum(tangent * times, axis=2)


def _tangents_and_metric(
    decode: Decoder, distortion: Distortion, z: tf.Tensor, directions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """J d_i and A J d_i, (B, n, M) each. A w is the gradient of v' A w in v, so n products do where pairs take n^2."""
    x_hat, tangent = tangents(decode, z, directions)
    count = tf.shape(tangent)[1]
    columns = tf.reshape(tangent, tf.concat([[-1], tf.shape(x_hat)[1:]], axis=0))
    points = tf.repeat(x_hat, count, axis=0)
    v = tf.zeros_like(columns)
    with tf.GradientTape() as tape:
        tape.watch(v)
        product = distortion.inner_product(points, v, columns)
    flat = tf.stack([tf.shape(z)[0], count, -1])
    return tf.reshape(tangent, flat), tf.reshape(tape.gradient(product, v), flat)


def at_rows(measure: Callable, model: Measured, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """`gram` or `squared_lengths` of a model's decoder at all z (B, N), along the same directions (n, N)."""
    elements = model.preprocess.width * len(directions)
    return in_blocks(lambda part: measure(model.decode, model.distortion, z[part], directions), len(z), elements)


def log_volume(decode: Decoder, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """1/2 log det(J' J) along the directions, (B,) float64, nats: the volume of x_hat that a unit of z fills."""
    _, tangent = tangents(decode, z, directions)
    flat = tf.cast(tf.reshape(tangent, (tf.shape(tangent)[0], tf.shape(tangent)[1], -1)), tf.float64)
    return 0.5 * tf.linalg.slogdet(tf.matmul(flat, flat, transpose_b=True)).log_abs_determinant


def in_blocks(measure: Callable[[slice], tf.Tensor], rows: int, elements: int) -> tf.Tensor:
    """`measure` of slices of so many rows, concatenated; the tangent vectors of a row hold so many elements."""
    size = blocks.block_rows(blocks.TANGENTS, elements)
    return tf.concat([measure(part) for part in blocks.slices(rows, size)], axis=0)
