"""Does the latent keep neighbourhoods? Where it is torn neighbours part, and where it has a dimension too many the
neighbours of a row lie on a thin sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from tf_radogaga._core import checks
from tf_radogaga._core.stack import tf
from tf_radogaga.isometry import measures, tangents
from tf_radogaga.isometry.protocols import Measured

TEAR = 3.0
"""A latent is torn between two rows that lie this many times as far apart in z as in x."""

THIN = 0.03
"""Of the variance of neighbours across a sheet, over that along it and over that of most rows in the same direction."""

QUERIES = 500
"""Rows whose neighbours in z are measured, at most."""


def torn_rows(model: Measured, rows: Any, neighbours: int = 10) -> np.ndarray:
    """Whether one of the nearest neighbours of a row in x is far from it in z, (B,): False is right.

        |z - z'| > TEAR (sqrt(metric_scale D(x, x')) + noise_step)

    Encoder and decoder are continuous, so a latent that has no room for the data is torn or folded somewhere: a closed
    circle in one unit, a whole sphere in two. At all other rows it may be isometric.

    Args:
        rows: B, at least two; all are compared with each other, so some thousands will do.
        neighbours: how many of the nearest, by Euclidean distance in x. Those farther away than the median distance to
            the last of them are left out: in a thin tail they may lie on another turn of a roll.
    """
    checks.at_least(1, neighbours=neighbours)
    _, axes, variance = measures.latent_axes(model, rows)
    x = model.by_blocks(rows, tf.identity)
    z = measures.latents(model, rows).numpy().astype(np.float64) @ axes.T
    checks.at_least(2, rows=len(z))
    found = NearestNeighbors(n_neighbors=min(neighbours, len(z) - 1)).fit(tf.reshape(x, (len(z), -1)).numpy())
    distances, nearest = found.kneighbors()
    step, torn = measures.noise_step(model, variance), np.zeros(len(z), bool)
    moved = np.linalg.norm(z[:, None] - z[nearest], axis=2)
    row, place = np.nonzero((moved > TEAR * step) & (distances <= np.median(distances[:, -1])))
    if len(row):
        near = nearest[row, place]

        def excess(part: slice) -> tf.Tensor:
            return model.distortion.excess(tf.gather(x, row[part]), tf.gather(x, near[part]))

        squares = measures.scale(model) * np.maximum(tangents.in_blocks(excess, len(row), model.preprocess.width), 0)
        torn[row[moved[row, place] > TEAR * (np.sqrt(squares) + step)]] = True
    return torn


def local_dimension(model: Measured, rows: Any) -> int:
    """In how many directions of the latent the neighbours of a row lie, the median over rows: n is right.

    Less tells that z lies on sheets in the latent: a circle in two units, a sphere in three, or a column that takes few
    values. Then z has no density of n dimensions, and `log_density` is none in nats, although the latent may be
    isometric. A direction does not count if
    neighbours vary across it less than the noise, and less than THIN times both as along the sheet and as most rows do.

    Args:
        rows: best some thousands, since a curved sheet is thin only where neighbours are near. Fewer than n + 2 of
            different z tell nothing; then it is n.
    """
    _, axes, variance = measures.latent_axes(model, rows)
    z = measures.latents(model, rows).numpy().astype(np.float64) @ axes.T
    return dimension(z, measures.noise_step(model, variance) ** 2)


def dimension(z: np.ndarray, noise: float) -> int:
    """`local_dimension` of latents (B, n) along active axes; noise: its variance."""
    z, count = np.unique(z[np.isfinite(z).all(axis=1)], axis=0), z.shape[1]
    if len(z) < count + 2:
        return count
    around = min(5 * (count + 1), len(z) - 1)
    queries = z[np.random.default_rng(0).permutation(len(z))[:QUERIES]]
    near = z[NearestNeighbors(n_neighbors=around).fit(z).kneighbors(queries, return_distance=False)]
    spread = near - near.mean(axis=1, keepdims=True)
    local, directions = np.linalg.eigh(np.swapaxes(spread, 1, 2) @ spread / (around - 1))
    thin = (local < noise) & (local < THIN * local[:, -1:])
    for j in np.flatnonzero(thin.any(axis=0)):
        low, high = np.quantile(z @ directions[:, :, j].T, [0.16, 0.84], axis=0)  # the bulk: a tail is no curvature
        thin[:, j] &= local[:, j] < THIN * ((high - low) / 2) ** 2
    return count - int(np.median(thin.sum(axis=1)))
