"""Gaussian mixtures by EM."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp, softmax

from tf_radogaga._core.stack import tf
from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.detector.stored import Constant

SIZES = (2, 4, 8, 16)
FLOORS = (0.1, 0.001)
"""Added to every variance, in units of the latent squared; the first is that of the scores."""


class MixtureDensity:
    """Mean log density of Gaussian mixtures of several sizes, fitted by EM, each to three quarters of the rows.

    `held_out` is that of the likeliest mixture of any size and floor: what mixtures could explain. The average is over
    the sizes at the coarse floor; finer ones are likelier and score other rows by the rounding of their columns.

        log p(z) = mean_K log [n / (n + 1) sum_k pi_k N(z; mu_k, Sigma_k) + 1 / (n + 1) wide(z)]

    Args:
        rows: (n, N), enough for one of the `allowed` sizes.
        rng: draws the quarters.
    """

    def __init__(self, rows: np.ndarray, rng: np.random.Generator):
        # of each, weights (K,), means (K, N) and whitening (K, N, N), W_k W_k' = Sigma_k^-1
        self.mixtures: list[tuple[np.ndarray, ...]] = []
        likelihoods, fitted = [], []
        for size in self.allowed(rows):
            order = rng.permutation(len(rows))
            held_out, others = np.split(rows[order], [len(rows) // 4])
            for floor in FLOORS:
                options = {"max_iter": 50, "tol": 1e-2, "random_state": int(rng.integers(2**31))}
                # after so many iterations the likelihood hardly rises any more
                mixture = gaussian_mixture(others, size, reg_covar=floor, **options)
                likelihoods.append(mixture.score(held_out))
                if floor == FLOORS[0]:
                    self.mixtures.append((mixture.weights_, mixture.means_, mixture.precisions_cholesky_))
            fitted.append(np.isin(np.arange(len(rows)), order[len(rows) // 4 :]))
        self.rows, self.fitted = len(rows), np.stack(fitted)  # which mixture (S,) was fitted to which row (n,)
        self.held_out = float(max(likelihoods))

    @staticmethod
    def allowed(rows: np.ndarray) -> list[int]:
        """Numbers of components that so many rows (n, N) allow: twice as many for each as there are columns."""
        return [size for size in SIZES if len(rows) >= size * max(2 * rows.shape[1], 20)]

    def log_prob(self, rows: np.ndarray, wide: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """The mean over the sizes; `own` are left out, to the first order, of the mixtures that were fitted to them.

        Args:
            wide: (B,), log of a density with heavier tails at these rows, for what is unlike all n.
        """
        mixed = []
        for fitted, mixture in zip(self.fitted, self.mixtures):
            log = logsumexp(_log_peaks(*mixture) - _squares(rows, *mixture) / 2, axis=1)
            if own is not None and (mine := fitted[own]).any():
                log[mine] = log_prob_left_out(rows[mine], fitted.sum(), *mixture)
            mixed.append(np.logaddexp(math.log(self.rows) + log, wide))
        return np.mean(mixed, axis=0) - math.log(self.rows + 1)

    def graph(self, constant: Constant) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        parts = []
        for number, (weights, means, whitening) in enumerate(self.mixtures):
            offsets, logs = np.einsum("kn,knm->km", means, whitening), _log_peaks(weights, means, whitening)
            arrays = {"whitening": whitening, "offsets": offsets, "logs": logs}
            parts.append([constant(f"mixture_{number}_{name}", values) for name, values in arrays.items()])

        def log_prob(z, wide):
            total = 0
            for whitening, offsets, logs in parts:
                halves = tf.einsum("bn,knm->bkm", z, whitening) - offsets
                log = tf.reduce_logsumexp(logs - tf.reduce_sum(tf.square(halves), axis=2) / 2, axis=1)
                log += math.log(self.rows)
                total += tf.maximum(log, wide) + tf.math.softplus(-tf.abs(log - wide))
            return total / len(parts) - math.log(self.rows + 1)

        return log_prob


def log_prob_left_out(
    rows: np.ndarray, fitted: int, weights: np.ndarray, means: np.ndarray, whitening: np.ndarray
) -> np.ndarray:
    """log p in nats of rows (B, N) that a mixture was fitted to, (B,), each by the mixture without it.

    A step of EM from which the row is missing, the memberships r_k as they are. With a_k = r_k / (n pi_k), d_k^2 the
    squared Mahalanobis distance to component k, and delta_k = z - mu_k (Sherman and Morrison):

        mu_k' = mu_k - a_k / (1 - a_k) delta_k
        Sigma_k' = (Sigma_k - a_k / (1 - a_k) delta_k delta_k') / (1 - a_k)
        c_k = 1 - a_k / (1 - a_k) d_k^2, by which det and distance follow from those of Sigma_k

    Args:
        rows: some of those it was fitted to.
        fitted: n, how many those are.
    """
    squares, peaks = _squares(rows, weights, means, whitening), _log_peaks(weights, means, whitening)
    share = np.minimum(softmax(peaks - squares / 2, axis=1) / (fitted * weights), 1 - 1e-6)
    shrunk = np.maximum(1 - share / (1 - share) * squares, 1e-6)
    logs = peaks + (1 + rows.shape[1] / 2) * np.log1p(-share) + math.log(fitted / (fitted - 1))
    return logsumexp(logs - np.log(shrunk) / 2 - squares / (2 * shrunk * (1 - share)), axis=1)


def _squares(rows: np.ndarray, weights: np.ndarray, means: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances of rows (B, N) to each component, (B, K)."""
    return np.stack([np.square(rows @ half - mean @ half).sum(axis=1) for mean, half in zip(means, whitening)], axis=1)


def _log_peaks(weights: np.ndarray, means: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """log pi_k N(mu_k; mu_k, Sigma_k) of each component, (K,)."""
    log_det = np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
    return np.log(weights) + log_det - means.shape[1] / 2 * math.log(2 * math.pi)
