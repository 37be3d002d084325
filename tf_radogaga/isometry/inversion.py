"""Do encoder and decoder undo each other? A decoder alone shows neither data that it misses nor a wrong encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga.isometry.measures import latent_axes
from tf_radogaga.isometry.protocols import Measured


def reconstructed_share(model: Measured, rows: Any) -> float:
    """1 - sum D(x, x_hat) / sum D(x, mean x) over the rows, each D counted from D(x, x): 1 is right, 0 no better than
    the mean.

    Of the squared errors it is the share of the variance, and what k principal components keep of it where the model is
    a PCA; of binary cross-entropy the share of the deviance; of any other distortion that of D. A beta-VAE's x_hat is
    that of its mean latent. NaN where D is not finite there, or the rows do not vary.
    """
    counts_and_sums = model.by_blocks(rows, _count_and_sum).numpy()
    count, event = counts_and_sums[:, 0].sum(), model.preprocess.event_shape
    mean = tf.constant((counts_and_sums[:, 1:].sum(axis=0) / count).reshape((1, *event)), tf.float32)

    def distances(x: tf.Tensor) -> tf.Tensor:
        guesses = model.decode(model.encode_x(x)), tf.broadcast_to(mean, tf.shape(x))
        return tf.stack([model.distortion.excess(x, guess) for guess in guesses], axis=1)

    left, whole = model.by_blocks(rows, distances).numpy().astype(np.float64).sum(axis=0)
    return float(1 - left / whole) if whole > 0 else float("nan")


def _count_and_sum(x: tf.Tensor) -> tf.Tensor:
    """(1, 1 + M), float64, so that blocks add up."""
    flat = tf.cast(tf.reshape(x, (tf.shape(x)[0], -1)), tf.float64)
    return tf.concat([tf.cast(tf.shape(x)[:1], tf.float64), tf.reduce_sum(flat, axis=0)], axis=0)[None]


def round_trips(model: Measured, rows: Any) -> np.ndarray:
    """Distance from z to f(g(z)), what the encoder makes of the reconstruction, of each row, (B,) float64: 0 is right.

        sqrt(1/n sum_i (f(g(z)) - z)_i^2 / (Var z_i + sigma2))

    along the n `latent_axes`, so that each counts alike, with the noise of the loss where it fixes the scale of z. An
    encoder that shortens z by a factor u, as h = identity does, has 1 - u as the root mean square of it in dimensions
    well above the noise, and a log p(x) that is too high by -log u in each. Of a beta-VAE z is mu.
    """
    _, axes, variance = latent_axes(model, rows)
    noise = 0.0 if model.metric_scale is None else model.noise_variance

    def moves(x: tf.Tensor) -> tf.Tensor:
        z = model.encode_x(x)
        return model.encode_x(model.decode(z)) - z

    along = model.by_blocks(rows, moves).numpy().astype(np.float64) @ axes.T
    with np.errstate(divide="ignore", invalid="ignore"):  # a dimension that does not vary, without noise
        return np.sqrt((along**2 / (variance + noise)).mean(axis=1))
