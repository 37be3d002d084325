"""A density of Gaussian mixtures of several sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.detector.stored import Constant, Stored

SIZES = (2, 4, 8, 16)
FLOORS = (0.1, 0.001)
"""Added to every variance of a mixture, in units of the latent squared; the first is that of the scores."""


class Gaussians(NamedTuple):
    """A mixture of K Gaussians: log p(z) = log sum_k pi_k N(z; mu_k, Sigma_k), by whitening W_k W_k' = Sigma_k^-1."""

    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, N)
    whitening: np.ndarray  # (K, N, N)

    @classmethod
    def fitted(cls, rows: np.ndarray, size: int, floor: float, seed: int) -> Gaussians:
        # after so many iterations the likelihood hardly rises any more
        found = gaussian_mixture(rows, size, reg_covar=floor, max_iter=50, tol=1e-2, random_state=seed)
        return cls(found.weights_, found.means_, found.precisions_cholesky_)

    @property
    def _log_det(self) -> np.ndarray:
        """Of the whitening, (K,)."""
        return np.log(np.diagonal(self.whitening, axis1=1, axis2=2)).sum(axis=1)

    def _squares(self, rows: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances, (B, K)."""
        halves = (rows @ whitening - mean @ whitening for mean, whitening in zip(self.means, self.whitening))
        return np.stack([np.square(half).sum(axis=1) for half in halves], axis=1)

    def _logs(self, squares: np.ndarray) -> np.ndarray:
        """log pi_k N(z; mu_k, Sigma_k), (B, K)."""
        return -0.5 * (self.means.shape[1] * math.log(2 * math.pi) + squares) + self._log_det + np.log(self.weights)

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """log p in nats of rows (B, N), (B,)."""
        return _log_sums(self._logs(self._squares(rows)))

    def log_prob_left_out(self, rows: np.ndarray, fitted: int) -> np.ndarray:
        """log p in nats of rows (B, N) that the mixture was fitted to, (B,), each by the mixture without it.

        A step of EM from which the row is missing, the memberships r_k as they are. With a_k = r_k / (n pi_k), d_k^2
        the squared Mahalanobis distance to component k, and delta_k = z - mu_k (Sherman and Morrison):

            mu_k' = mu_k - a_k / (1 - a_k) delta_k
            Sigma_k' = (Sigma_k - a_k / (1 - a_k) delta_k delta_k') / (1 - a_k)
            c_k = 1 - a_k / (1 - a_k) d_k^2, by which det and distance follow from those of Sigma_k

        Args:
            rows: some of those it was fitted to.
            fitted: n, how many those are.
        """
        squares = self._squares(rows)
        logs = self._logs(squares)
        members = np.exp(logs - _log_sums(logs)[:, None])
        share = np.minimum(members / (fitted * self.weights), 1 - 1e-6)
        shrunk = np.maximum(1 - share / (1 - share) * squares, 1e-6)
        logs = -0.5 * (
            rows.shape[1] * (math.log(2 * math.pi) - np.log1p(-share))
            + (-2 * self._log_det + np.log(shrunk))
            + squares / (shrunk * (1 - share))
        )
        return logsumexp(np.log(self.weights * (1 - share) * fitted / (fitted - 1)) + logs, axis=1)

    def graph(self, constant: Constant, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        whitening = constant(f"{name}_whitening", self.whitening)
        offsets = constant(f"{name}_offsets", np.einsum("kn,knm->km", self.means, self.whitening))
        at_mean = np.log(self.weights) + self._log_det - self.means.shape[1] / 2 * math.log(2 * math.pi)
        logs = constant(f"{name}_logs", at_mean)

        def log_prob(z):
            halves = tf.einsum("bn,knm->bkm", z, whitening) - offsets
            return tf.reduce_logsumexp(logs - tf.reduce_sum(tf.square(halves), axis=2) / 2, axis=1)

        return log_prob


def _log_sums(logs: np.ndarray) -> np.ndarray:
    """log sum exp of each row, (B, K) -> (B,), to the last digit as scikit-learn's mixtures sum."""
    greatest = logs.max(axis=1, keepdims=True)
    first = logs == greatest
    count = first.sum(axis=1)
    rest = np.exp(np.where(first, -np.inf, logs) - np.nan_to_num(greatest)).sum(axis=1) / count
    return np.log1p(rest) + np.log(count) + greatest[:, 0]


class MixtureDensity(Stored):
    """Mean log density of Gaussian mixtures of several sizes, fitted by EM, each to three quarters of the rows.

    `held_out` is that of the likeliest mixture of any size and floor: what mixtures could explain. The average is over
    the sizes at the coarse floor; finer ones are likelier and score other rows by the rounding of their columns.

        log p(z) = mean_K log [n / (n + 1) sum_k pi_k N(z; mu_k, Sigma_k) + 1 / (n + 1) wide(z)]

    Args:
        rows: (n, N), enough for one of the `allowed` sizes.
        rng: draws the quarters.
    """

    def __init__(self, rows: np.ndarray, rng: np.random.Generator):
        likelihoods, mixtures, fitted = [], [], []
        for size in self.allowed(rows):
            order = rng.permutation(len(rows))
            held_out, others = np.split(rows[order], [len(rows) // 4])
            found = [Gaussians.fitted(others, size, floor, int(rng.integers(2**31))) for floor in FLOORS]
            likelihoods += [mixture.log_prob(held_out).mean() for mixture in found]
            mixtures.append(found[0])
            fitted.append(np.isin(np.arange(len(rows)), order[len(rows) // 4 :]))
        self.rows, self.fitted = len(rows), np.stack(fitted)  # which mixture (S,) was fitted to which row (n,)
        self.sizes = np.array([len(mixture.weights) for mixture in mixtures])
        self.weights, self.means, self.whitening = map(np.concatenate, zip(*mixtures))
        self.held_out = float(max(likelihoods))

    @staticmethod
    def allowed(rows: np.ndarray) -> list[int]:
        """Numbers of components that so many rows (n, N) allow: twice as many for each as there are columns."""
        return [size for size in SIZES if len(rows) >= size * max(2 * rows.shape[1], 20)]

    @property
    def mixtures(self) -> list[Gaussians]:
        ends = np.cumsum(self.sizes)[:-1]
        parts = (np.split(values, ends) for values in (self.weights, self.means, self.whitening))
        return [Gaussians(*mixture) for mixture in zip(*parts)]

    def log_prob(self, rows: np.ndarray, wide: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Mean over the sizes of log p, in nats, (B,).

        Args:
            rows: (B, N).
            wide: (B,), log of a density with heavier tails at these rows, for what is unlike all n.
            own: left out, to the first order, of the mixtures that were fitted to them.
        """
        logs = [mixture.log_prob(rows) for mixture in self.mixtures]
        if own is not None:
            for log, mixture, fitted in zip(logs, self.mixtures, self.fitted):
                mine = fitted[own]
                log[mine] = mixture.log_prob_left_out(rows[mine], fitted.sum())
        mixed = [np.logaddexp(math.log(self.rows) + log, wide) for log in logs]
        return np.mean(mixed, axis=0) - math.log(self.rows + 1)

    def graph(self, constant: Constant) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        parts = [mixture.graph(constant, f"mixture_{number}") for number, mixture in enumerate(self.mixtures)]

        def log_prob(z, wide):
            total = 0
            for part in parts:
                log = part(z) + math.log(self.rows)
                total += tf.maximum(log, wide) + tf.math.softplus(-tf.abs(log - wide))
            return total / len(parts) - math.log(self.rows + 1)

        return log_prob
