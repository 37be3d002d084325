"""Do encoder and decoder undo each other? A decoder alone shows neither data that it misses nor a wrong encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga.isometry.measures import latent_axes
from tf_radogaga.isometry.protocols import Measured


def reconstructed_share(model: Measured, rows: Any) -> float:
    """1 - sum D(x, x_hat) / sum D(x, mean x) over the rows, each D counted from D(x, x): 1 is right, 0 is no better
    than the mean.

    With squared errors it is the share of the variance that a reconstruction keeps, as k principal components do; with
    binary cross-entropy, the share of the deviance. A beta-VAE's x_hat is that of its mean latent. NaN where D is not
    finite at the mean, or the rows do not vary.
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
    """How far f(g(z)), the latent of the reconstruction, is from z at each row, (B,) float64: 0 is right.

        sqrt(1/n sum_i (f(g(z)) - z)_i^2 / (Var z_i + sigma2))

    The sum runs over the n `latent_axes`, so that each counts alike. sigma2 is the noise of the loss, 0 where it does
    not fix the scale of z; a beta-VAE's z is mu. An encoder may shorten z by a factor u, as with h = identity. Then the
    root mean square over rows is 1 - u in dimensions well above the noise, and log p(x) is too high by -log u in each.
    """
    _, axes, variance = latent_axes(model, rows)
    noise = 0.0 if model.metric_scale is None else model.noise_variance

    def moves(x: tf.Tensor) -> tf.Tensor:
        z = model.encode_x(x)
        return model.encode_x(model.decode(z)) - z

    along = model.by_blocks(rows, moves).numpy().astype(np.float64) @ axes.T
    with np.errstate(divide="ignore", invalid="ignore"):  # a dimension that does not vary, without noise
        return np.sqrt((along**2 / (variance + noise)).mean(axis=1))
