"""Densities of an isometric latent that are made without gradients: kernels, mixtures by EM, and independent columns.

In an isometric latent a density is that of the data up to a constant, so these are comparable with one another. Each
knows its mean log likelihood of rows that it was not fitted to, `held_out`, in nats. None needs a label.

`log_prob` is log p in nats of rows (B, N), (B,). A row that a density was fitted to scores too well: `own` (B,) tells
which of the fitted rows each one is, and each is scored as if it had been left out. `graph` is `log_prob` in core
TensorFlow ops, for export.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import gammaln, logsumexp
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture

from tf_radogaga._core import blocks
from tf_radogaga._core.rounding import is_constant
from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.detector.isometric_latent import IsometricLatent as IsometricLatent  # pickles of version 0.1 name it
from tf_radogaga.detector.stored import Constant, Stored

BANDWIDTHS = np.geomspace(0.01, 1.5, 17)
"""Bandwidths of kernels that are tried, in units of the latent, whose mean variance is 1."""

FREEDOM = 3
"""Degrees of freedom of the kernels."""

SIZES = (2, 4, 8, 16)
FLOORS = (0.1, 0.001)
"""Added to every variance of a mixture, in units of the latent squared; the first is that of the scores."""

COLUMN_BANDWIDTHS = np.geomspace(0.01, 1, 12)
MOST_VALUES = 1000
_LEFT_OUT_ROWS = 2000


class KernelDensity(Stored):
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
            for floor in FLOORS:
                options = {"max_iter": 50, "tol": 1e-2, "random_state": int(rng.integers(2**31))}
                # after so many iterations the likelihood hardly rises any more
                mixture = gaussian_mixture(others, size, reg_covar=floor, **options)
                likelihoods.append(mixture.score(held_out))
                if floor == FLOORS[0]:
                    mixtures.append((mixture.weights_, mixture.means_, mixture.precisions_cholesky_))
            fitted.append(np.isin(np.arange(len(rows)), order[len(rows) // 4 :]))
        self.rows, self.fitted = len(rows), np.stack(fitted)  # which mixture (S,) was fitted to which row (n,)
        self.weights, self.means, self.whitening = map(np.concatenate, zip(*mixtures))  # W_k W_k' = Sigma_k^-1
        self.sizes = np.array([len(weights) for weights, *_ in mixtures])
        self.held_out = float(max(likelihoods))

    @staticmethod
    def allowed(rows: np.ndarray) -> list[int]:
        """Numbers of components that so many rows (n, N) allow: twice as many for each as there are columns."""
        return [size for size in SIZES if len(rows) >= size * max(2 * rows.shape[1], 20)]

    @property
    def mixtures(self) -> list[GaussianMixture]:
        found = []
        for part in np.split(np.arange(len(self.weights)), np.cumsum(self.sizes)[:-1]):
            found.append(GaussianMixture(len(part)))
            arrays = {"weights_": self.weights, "means_": self.means, "precisions_cholesky_": self.whitening}
            vars(found[-1]).update({name: values[part] for name, values in arrays.items()})
        return found

    def log_prob(self, rows: np.ndarray, wide: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """The mean over the sizes; `own` are left out, to the first order, of the mixtures that were fitted to them.

        Args:
            wide: (B,), log of a density with heavier tails at these rows, for what is unlike all n.
        """
        logs = [mixture.score_samples(rows) for mixture in self.mixtures]
        if own is not None:
            for log, mixture, fitted in zip(logs, self.mixtures, self.fitted):
                if (mine := fitted[own]).any():
                    log[mine] = log_prob_left_out(mixture, rows[mine], fitted.sum())
        mixed = [np.logaddexp(math.log(self.rows) + log, wide) for log in logs]
        return np.mean(mixed, axis=0) - math.log(self.rows + 1)

    def graph(self, constant: Constant) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        parts = []
        for number, mixture in enumerate(self.mixtures):
            means, whitening = mixture.means_, mixture.precisions_cholesky_
            logs = np.log(mixture.weights_) + _log_det(mixture) - means.shape[1] / 2 * math.log(2 * math.pi)
            offsets = np.einsum("kn,knm->km", means, whitening)
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


def log_prob_left_out(mixture: GaussianMixture, rows: np.ndarray, fitted: int) -> np.ndarray:
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
    halves = (rows @ half - mean @ half for mean, half in zip(mixture.means_, mixture.precisions_cholesky_))
    squares = np.stack([np.square(half).sum(axis=1) for half in halves], axis=1)  # (B, K)
    share = np.minimum(mixture.predict_proba(rows) / (fitted * mixture.weights_), 1 - 1e-6)
    shrunk = np.maximum(1 - share / (1 - share) * squares, 1e-6)
    logs = -0.5 * (
        rows.shape[1] * (math.log(2 * math.pi) - np.log1p(-share))
        + (-2 * _log_det(mixture) + np.log(shrunk))
        + squares / (shrunk * (1 - share))
    )
    return logsumexp(np.log(mixture.weights_ * (1 - share) * fitted / (fitted - 1)) + logs, axis=1)


def _log_det(mixture: GaussianMixture) -> np.ndarray:
    """Of the Cholesky factors of the precisions, (K,)."""
    return np.log(np.diagonal(mixture.precisions_cholesky_, axis1=1, axis2=2)).sum(axis=1)


class IndependentColumns(Stored):
    """A factorized prior, finely resolved: each column has kernels of its own bandwidth.

        p(z) = prod_j [n / (n + 1) mean_i N(z_j; z_ij, h_j^2) + 1 / (n + 1) Cauchy(z_j / (3 s_j))]

    s_j is the column's standard deviation, and no h_j is below a hundredth of it, so that repeated values do not make a
    density infinite. The wide part is the chance of a value unlike all n, which keeps one odd column from outvoting all
    others. log p is averaged over two bandwidths: the likeliest where one row is left out, which gives repeated values
    their odds, and where all rows of its value are, which is no finer than the steps of a rounded column. `held_out` is
    that of the first.

    Args:
        rows: (n, N), with those that repeat, as often as they do: the odds of a level are how often it is met.
        held_out: (B, N), those of them by which `held_out` compares with other densities.
    """

    def __init__(self, rows: np.ndarray, held_out: np.ndarray):
        self.rows, self.mean, self.scale = len(rows), rows.mean(axis=0), rows.std(axis=0)
        self.scale[is_constant(rows.min(axis=0), rows.max(axis=0))] = 1
        z, places = (rows - self.mean) / self.scale, (held_out - self.mean) / self.scale
        values, shares, bandwidths, likelihoods = zip(*map(self._fit, z.T, places.T))
        self.sizes, self.bandwidths = np.array([len(column) for column in values]), np.array(bandwidths)
        self.values, self.shares = np.concatenate(values), np.concatenate(shares)
        self.held_out = float(sum(likelihoods) - np.log(self.scale).sum())

    def _fit(self, column: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[float], float]:
        values, counts = np.unique(column, return_counts=True)
        if len(values) > MOST_VALUES:
            levels = (np.arange(MOST_VALUES) + 0.5) / MOST_VALUES
            values, counts = np.unique(np.quantile(column, levels), return_counts=True)
            counts = counts * (len(column) / MOST_VALUES)
        squares = np.square(values[:, None] - values)
        logs, distinct = [], []
        for h in COLUMN_BANDWIDTHS:
            kernels = _normal(squares, h)
            others = np.maximum(kernels @ counts - _normal(0.0, h), 0) / (self.rows - 1)
            logs.append(np.log(self._mixed(others, values)))
            np.fill_diagonal(kernels, 0)
            unlike = kernels @ counts / np.maximum(self.rows - counts, 1)
            distinct.append(counts @ np.log(self._mixed(unlike, values)))
        likeliest = np.argmax(logs @ counts)
        bandwidths = [COLUMN_BANDWIDTHS[likeliest], COLUMN_BANDWIDTHS[np.argmax(distinct)]]
        places = np.searchsorted((values[1:] + values[:-1]) / 2, held_out)
        return values, counts / self.rows, bandwidths, logs[likeliest][places].mean()

    @property
    def columns(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Values of each, the share of the rows that has them, and bandwidths, 1 or 2."""
        parts = (np.split(each, np.cumsum(self.sizes)[:-1]) for each in (self.values, self.shares))
        return list(zip(*parts, map(np.unique, self.bandwidths)))

    def _mixed(self, density: Any, column: Any) -> Any:
        """The density of kernels at values (B,) of a column together with the wide part, arrays or tensors."""
        thirds = column / 3
        wide = 1 / (3 * math.pi * (1 + thirds * thirds))
        return (self.rows * density + wide) / (self.rows + 1)

    def log_prob(self, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        total, z = np.full(len(rows), -np.log(self.scale).sum()), (rows - self.mean) / self.scale
        for column, (values, shares, bandwidths) in zip(z.T, self.columns):
            for part in blocks.slices(len(rows), blocks.block_rows(blocks.KERNELS, MOST_VALUES)):
                block, logs = column[part], []
                squares = np.square(block[:, None] - values)
                for h in bandwidths:
                    density = _normal(squares, h) @ shares
                    if own is not None:
                        density = np.maximum(self.rows * density - _normal(0.0, h), 0) / (self.rows - 1)
                    logs.append(np.log(self._mixed(density, block)))
                total[part] += np.mean(logs, axis=0)
        return total

    def graph(self, constant: Constant) -> Callable[[tf.Tensor], tf.Tensor]:
        mean, scale = constant("column_means", self.mean), constant("column_scales", self.scale)
        parts = [
            (constant(f"column_{number}_values", values), constant(f"column_{number}_shares", shares[:, None]), widths)
            for number, (values, shares, widths) in enumerate(self.columns)
        ]

        def log_prob(z):
            total = -np.log(self.scale).sum()
            for column, (values, shares, bandwidths) in zip(tf.unstack((z - mean) / scale, axis=1), parts):
                squares = tf.square(column[:, None] - values)
                for h in bandwidths:
                    density = tf.matmul(_normal(squares, float(h), tf.exp), shares)[:, 0]
                    total += tf.math.log(self._mixed(density, column)) / len(bandwidths)
            return total

        return log_prob


def _normal(squares: Any, deviation: float, exp: Callable = np.exp) -> Any:
    return exp(-squares / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
