"""Which latent directions carry information: judged at the end of `fit`, counted by densities from then on."""

from __future__ import annotations

import tensorflow as tf

from tf_radogaga._core import blocks, sampling
from tf_radogaga.isometry import tangents

LEAST_SIGNAL = 0.1
"""A latent direction is active when the data's variance along it exceeds this share of the noise's."""

PROBED_ROWS = 64
"""Training rows at which the decoder's response is measured, at least, where there are as many."""


def find(model, dataset: tf.data.Dataset) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The directions of the latent along which the data vary by more than a share of the noise.

    A direction that carries nothing is either not used by the encoder or not heard by the decoder: its variance in z
    times the decoder's squared response to it tells both. Axes are judged as they are, other directions where the prior
    is blind to a rotation.

    Args:
        model: an `Autoencoder` whose `metric_scale` is known.
        dataset: batches of x.

    Returns:
        Orthonormal directions (N, N), whether each is active (N,), and its signal (N,).
    """
    units = model.latent_units
    directions = tf.eye(units)
    rows, total, outer, sample = 0, 0.0, 0.0, sampling.EvenSample(2 * PROBED_ROWS)
    for z in dataset.map(model.encode_x):
        sample.add(z)
        rows, z = rows + len(z), tf.cast(z, tf.float64)
        total, outer = total + tf.reduce_sum(z, axis=0), outer + tf.matmul(z, z, transpose_a=True)
    mean = total / rows
    covariance = (outer / rows - mean[:, None] * mean[None, :]) / model.noise_variance
    probed, size = sample.rows, blocks.block_rows(blocks.TANGENTS, model.preprocess.width * units)
    parts = [probed[part] for part in blocks.slices(len(probed), size)]
    measure = tangents.squared_lengths if model.axis_aligned else tangents.gram
    found = tf.concat([measure(model._decode, model.distortion, part, directions) for part in parts], axis=0)
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
