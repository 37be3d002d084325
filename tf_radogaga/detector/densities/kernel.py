"""Kernels on the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp
from sklearn.metrics.pairwise import euclidean_distances

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import tf
from tf_radogaga.detector.stored import Constant

BANDWIDTHS = np.geomspace(0.01, 1.5, 17)
"""Bandwidths that are tried, in units of the latent, whose mean variance is 1."""

FREEDOM = 3
"""Degrees of freedom of the kernels."""

_LEFT_OUT_ROWS = 2000


class KernelDensity:
    """Equal kernels of Student's t on the rows, their bandwidth chosen by leave-one-out likelihood.

        p(z) = mean_i t_3(z; z_i, h^2 I)

    Heavy tails are likelier than Gaussian ones where the density of rows varies, as the bandwidth is the same
    everywhere; and log p falls with the logarithm of the distance, so that far rows do not drown other densities in an
    average.

    Args:
        rows: (n, N), distinct, 2 at least.
        rng: draws those that are left out.
    """

    def __init__(self, rows: np.ndarray, rng: np.random.Generator):
        self.centres = rows
        left_out = rng.choice(len(rows), min(len(rows), _LEFT_OUT_ROWS), replace=False)
        squares = euclidean_distances(rows[left_out], rows, squared=True)
        squares[np.arange(len(left_out)), left_out] = np.inf
        likelihoods = [self._log_prob(squares, h, len(rows) - 1).mean() for h in BANDWIDTHS]
        self.bandwidth, self.held_out = float(BANDWIDTHS[np.argmax(likelihoods)]), float(max(likelihoods))

    def _log_norm(self, bandwidth: float, kernels: int) -> float:
        units = self.centres.shape[1]
        log_norm = math.log(kernels) + gammaln(FREEDOM / 2) - gammaln((FREEDOM + units) / 2)
        return log_norm + units * math.log(bandwidth * math.sqrt(FREEDOM * math.pi))

    def _log_kernels(self, squares: Any, bandwidth: float, log1p: Callable) -> Any:
        """At these squared distances, up to `_log_norm`."""
        return -(FREEDOM + self.centres.shape[1]) / 2 * log1p(squares / (FREEDOM * bandwidth**2))

    def _log_prob(self, squares: np.ndarray, bandwidth: float, kernels: int) -> np.ndarray:
        return logsumexp(self._log_kernels(squares, bandwidth, np.log1p), axis=1) - self._log_norm(bandwidth, kernels)

    def log_prob(self, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        logs = []
        for part in blocks.slices(len(rows), blocks.block_rows(blocks.KERNELS, len(self.centres))):
            squares = euclidean_distances(rows[part], self.centres, squared=True)
            if own is not None:
                squares[np.arange(len(squares)), own[part]] = np.inf
            logs.append(self._log_prob(squares, self.bandwidth, len(self.centres) - (own is not None)))
        return np.concatenate(logs)

    def graph(self, constant: Constant) -> Callable[[tf.Tensor], tf.Tensor]:
        centres = constant("centres", self.centres)
        lengths = constant("lengths", np.square(self.centres).sum(axis=1))

        def log_prob(z):
            squares = tf.reduce_sum(tf.square(z), axis=1, keepdims=True) + lengths
            squares = tf.maximum(squares - 2 * tf.matmul(z, centres, transpose_b=True), 0)
            logs = self._log_kernels(squares, self.bandwidth, tf.math.log1p)
            return tf.reduce_logsumexp(logs, axis=1) - self._log_norm(self.bandwidth, len(self.centres))

        return log_prob

    def sample(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Draws (rows, N)."""
        chosen = self.centres[rng.integers(len(self.centres), size=rows)]
        width = self.bandwidth * np.sqrt(FREEDOM / rng.chisquare(FREEDOM, (rows, 1)))
        return chosen + width * rng.normal(size=chosen.shape)
