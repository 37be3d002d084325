"""Which latent directions are active: `fit` finds them at its end, and densities count them alone."""

from __future__ import annotations

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import tf
from tf_radogaga.isometry import tangents
from tf_radogaga.isometry.protocols import Measured

LEAST_SIGNAL = 0.1
"""A latent direction is active when the data's variance along it exceeds this share of the noise's."""

PROBED_ROWS = 64
"""Training rows at which the decoder's response is measured, at least, where there are as many."""


def find(model: Measured, dataset: tf.data.Dataset) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The directions of the latent along which the data vary by more than a share of the noise.

    The encoder may not use a direction, and the decoder may not answer to it. The variance of z along it times the
    squared response of the decoder tells both. Directions are axes unless the prior is blind to rotations.

    Args:
        model: its `metric_scale` is known.
        dataset: batches of x.

    Returns:
        Orthonormal directions (N, N), whether each is active (N,), and its signal (N,).
    """
    units = model.latent_units
    directions = tf.eye(units)
    total, outer = tf.zeros(units, tf.float64), tf.zeros((units, units), tf.float64)
    sample = blocks.EvenSample(2 * PROBED_ROWS)
    for z in dataset.map(model.encode_x):
        sample.add(z)
        z = tf.cast(z, tf.float64)
        total, outer = total + tf.reduce_sum(z, axis=0), outer + tf.matmul(z, z, transpose_a=True)
    mean = total / sample.seen
    covariance = (outer / sample.seen - mean[:, None] * mean[None, :]) / model.noise_variance
    measure = tangents.squared_lengths if model.axis_aligned else tangents.gram
    found = tangents.at_rows(measure, model, sample.rows, directions)
    response = model.metric_scale * tf.cast(tf.reduce_mean(found, axis=0), tf.float64)
    if model.axis_aligned:
        signal = tf.linalg.diag_part(covariance) * response
        return directions, signal > LEAST_SIGNAL, signal
    # the parallel sum of both is small in the directions that either of them lacks
    tiny = 1e-9 * tf.eye(units, dtype=tf.float64)
    parallel = tf.linalg.inv(tf.linalg.inv(covariance + tiny) + tf.linalg.inv(response + tiny))
    directions = tf.transpose(tf.linalg.eigh(0.5 * (parallel + tf.transpose(parallel)))[1])
    along = tf.cast(directions, tf.float64)
    signal = tf.einsum("ni,ij,nj->n", along, covariance, along) * tf.einsum("ni,ij,nj->n", along, response, along)
    return directions, signal > LEAST_SIGNAL, signal
