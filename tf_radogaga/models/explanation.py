"""What each element of a row adds to -log p(x) of all space, on the manifold and off it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from tf_radogaga._core.stack import tf
from tf_radogaga.isometry import tangents
from tf_radogaga.models.autoencoder import Autoencoder

POINTS = 32
"""Of a path at which gradients are taken."""


class Explanation(NamedTuple):
    """Of rows, in the preprocessed space, (B, *event) each.

    on_manifold: nats of -log p(x_hat). off_manifold: nats of -log q(x - x_hat). typical: the normal row that a row is
    compared with, x.
    """

    on_manifold: np.ndarray
    off_manifold: np.ndarray
    typical: np.ndarray


def explain(model: Autoencoder, rows: Any, normal_rows: Any) -> Explanation:
    """What each column or pixel adds to -log p(x) of all space, by integrated gradients from a typical row t to x,

        part_j = (x_j - t_j) int_0^1 d/dx_j f(t + s (x - t)) ds,     sum_j part_j = f(x) - f(t),

    for f = -log p(x_hat), and for f = -log q(x - x_hat): the sum of both parts of all elements is by how many nats the
    row is less likely than the typical one, up to the error of `POINTS` points on the way: hundreds of normal residuals
    off, that can be a few per cent. t is the nearest in z of the normal rows that are as likely as their median at
    least. Elements are those of the preprocessed space: add up the parts of the levels of a column of text. The parts
    of a row at which float32 overflows are infinite.

    Source: Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017.

    Args:
        model: with a density of all space, see `Autoencoder.log_density`.
        rows: raw rows.
        normal_rows: raw rows, some hundreds, such as those that the model was trained on.

    Raises:
        NotImplementedError: there is no such density, with the reason.
        RuntimeError, TypeError, ValueError: as `Autoencoder.energy`; no normal rows.
    """
    x, z = model.by_blocks(rows, lambda x: (x, model.encode_x(x)))
    try:
        normal_log_p = model.log_density(normal_rows, space="ambient").numpy()
        normal, normal_z = model.by_blocks(normal_rows, lambda x: (x, model.encode_x(x)))
    except (TypeError, ValueError) as error:
        raise type(error)(f"normal_rows: {error}") from error
    finite = normal_log_p[np.isfinite(normal_log_p)]
    if not len(finite):
        raise ValueError("normal_rows: float32 overflows at all of them; give rows that the model finds normal.")
    likely = np.flatnonzero(np.isfinite(normal_log_p) & (normal_log_p >= np.median(finite)))
    typical = tf.gather(normal, likely[pairwise_distances_argmin(z, tf.gather(normal_z, likely))])

    @tf.function(input_signature=[model.density.x_spec])
    def gradients(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            parts = -model.density.log_density_of_x_hat(x), -model.residuals.log_prob(x)
        return tuple(tape.gradient(part, x, unconnected_gradients="zero") for part in parts)

    places, weights = np.polynomial.legendre.leggauss(POINTS)

    def along_paths(part: slice) -> tf.Tensor:
        step = x[part] - typical[part]
        found = [gradients(typical[part] + step * (place + 1) / 2) for place in places]
        return tf.stack([step * sum(0.5 * w * g for w, g in zip(weights, each)) for each in zip(*found)], axis=1)

    width = model.preprocess.width
    on, off = np.moveaxis(tangents.in_blocks(along_paths, len(x), width * POINTS).numpy(), 1, 0)
    return Explanation(on, off, typical.numpy())
