"""Densities of an isometric latent that are made without gradients: kernels, mixtures by EM, and independent columns.

In an isometric latent a density is that of the data up to a constant, so these are comparable with one another. Each
knows its mean log likelihood of rows that it was not fitted to, `held_out`, in nats. None needs a label.

A row that a density was fitted to scores too well. `log_prob(rows, own)` scores such rows as if each had been left out:
`own` (B,) tells which of the fitted rows each one is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar, Union

import numpy as np
import pandas as pd
from scipy.special import gammaln, logsumexp
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture as GaussianMixture  # files of detectors name it

from tf_radogaga._core import blocks
from tf_radogaga._core.rounding import is_constant
from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.detector.isometric_latent import IsometricLatent as IsometricLatent  # of pickles

MOST_ROWS = 10_000
"""Distinct rows that densities are fitted to; of more, as many are drawn."""

BANDWIDTHS = np.geomspace(0.01, 1.5, 17)
"""Bandwidths that are tried, in units of the latent, whose mean variance is 1."""

FREEDOM = 3
"""Degrees of freedom of the kernels."""

SIZES = (2, 4, 8, 16)
FLOORS = (0.1, 0.001)
"""Added to every variance of a mixture, in units of the latent squared; the first is that of the scores."""

MOST_COLUMN_VALUES = 1000
_JUDGED_ROWS = 2000
_NORMALIZING_ROWS = 4096

_Logs = TypeVar("_Logs")
"""Arrays or tensors."""


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
        judged = rng.choice(len(rows), min(len(rows), _JUDGED_ROWS), replace=False)
        squares = euclidean_distances(rows[judged], rows, squared=True)
        squares[np.arange(len(judged)), judged] = np.inf
        likelihoods = [self._log_prob(squares, h, len(rows) - 1).mean() for h in BANDWIDTHS]
        self.bandwidth, self.held_out = BANDWIDTHS[np.argmax(likelihoods)], max(likelihoods)

    def _log_prob(self, squares: np.ndarray, bandwidth: float, kernels: int) -> np.ndarray:
        units = self.centres.shape[1]
        log_norm = math.log(kernels) + gammaln(FREEDOM / 2) - gammaln((FREEDOM + units) / 2)
        log_norm += units * math.log(bandwidth * math.sqrt(FREEDOM * math.pi))
        return logsumexp(-(FREEDOM + units) / 2 * np.log1p(squares / (FREEDOM * bandwidth**2)), axis=1) - log_norm

    def log_prob(self, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """log p in nats of rows (B, N), (B,); the kernels on the rows `own` left out."""
        logs = []
        for part in blocks.slices(len(rows), blocks.block_rows(blocks.KERNELS, len(self.centres))):
            squares = euclidean_distances(rows[part], self.centres, squared=True)
            if own is not None:
                squares[np.arange(len(squares)), own[part]] = np.inf
            logs.append(self._log_prob(squares, self.bandwidth, len(self.centres) - (own is not None)))
        return np.concatenate(logs)

    def sample(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Draws (rows, N)."""
        chosen = self.centres[rng.integers(len(self.centres), size=rows)]
        width = self.bandwidth * np.sqrt(FREEDOM / rng.chisquare(FREEDOM, (rows, 1)))
        return chosen + width * rng.normal(size=chosen.shape)


class MixtureDensity:
    """Mean log density of Gaussian mixtures of several sizes, fitted by EM, each to three quarters of the rows.

    `held_out` is that of the likeliest mixture of any size and floor: what mixtures could explain. The average is over
    the sizes at the coarse floor; finer ones are likelier and judge other rows by the rounding of their columns.

        log p(z) = mean_K log [n / (n + 1) sum_k pi_k N(z; mu_k, Sigma_k) + 1 / (n + 1) wide(z)]

    Args:
        rows: (n, N), enough for one of the `sizes`.
        rng: draws the quarters.
    """

    def __init__(self, rows: np.ndarray, rng: np.random.Generator):
        self.rows, self.mixtures, self.fitted, likelihoods = len(rows), [], [], []
        for size in self.sizes(rows):
            order = rng.permutation(len(rows))
            held_out, fitted = np.split(rows[order], [len(rows) // 4])
            for floor in FLOORS:
                options = {"max_iter": 50, "tol": 1e-2, "random_state": int(rng.integers(2**31))}
                # after so many iterations the likelihood hardly rises any more
                mixture = gaussian_mixture(fitted, size, reg_covar=floor, **options)
                likelihoods.append(mixture.score(held_out))
                if floor == FLOORS[0]:
                    self.mixtures.append(mixture)
                    self.fitted.append(np.isin(np.arange(len(rows)), order[len(rows) // 4 :]))
        self.held_out = max(likelihoods)

    @staticmethod
    def sizes(rows: np.ndarray) -> list[int]:
        """Numbers of components that so many rows (n, N) allow: twice as many for each as there are columns."""
        return [size for size in SIZES if len(rows) >= size * max(2 * rows.shape[1], 20)]

    def log_prob(self, rows: np.ndarray, wide: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Mean over the sizes of log p, in nats, (B,).

        Args:
            rows: (B, N).
            wide: (B,), log of a density with heavier tails at these rows, for what is unlike all n.
            own: left out, to the first order, of the mixtures that were fitted to them: see `without_own`.
        """
        logs = [mixture.score_samples(rows) for mixture in self.mixtures]
        if own is not None:
            for log, mixture, fitted in zip(logs, self.mixtures, self.fitted):
                mine = fitted[own]
                log[mine] = without_own(mixture, rows[mine], fitted.sum())
        return np.mean([np.logaddexp(math.log(self.rows) + log, wide) for log in logs], axis=0) - math.log(
            self.rows + 1
        )


def without_own(mixture: GaussianMixture, rows: np.ndarray, fitted: int) -> np.ndarray:
    """log density in nats of rows (B, N) that a mixture was fitted to, (B,), each by the mixture without it.

    A step of EM from which the row is missing, the memberships r_k as they are. With a_k = r_k / (n pi_k), d_k^2 the
    squared Mahalanobis distance to component k, and delta_k = z - mu_k (Sherman and Morrison):

        mu_k' = mu_k - a_k / (1 - a_k) delta_k
        Sigma_k' = (Sigma_k - a_k / (1 - a_k) delta_k delta_k') / (1 - a_k)
        c_k = 1 - a_k / (1 - a_k) d_k^2, by which det and distance follow from those of Sigma_k

    Args:
        rows: some of those it was fitted to.
        fitted: n, how many those are.
    """
    units, members = rows.shape[1], mixture.predict_proba(rows)
    log_det = -2 * np.log(np.diagonal(mixture.precisions_cholesky_, axis1=1, axis2=2)).sum(axis=1)
    halves = (rows @ chol - mean @ chol for mean, chol in zip(mixture.means_, mixture.precisions_cholesky_))
    squares = np.stack([np.square(half).sum(axis=1) for half in halves], axis=1)  # (B, K)
    share = np.minimum(members / (fitted * mixture.weights_), 1 - 1e-6)
    shrunk = np.maximum(1 - share / (1 - share) * squares, 1e-6)
    logs = -0.5 * (
        units * (math.log(2 * math.pi) - np.log1p(-share))
        + (log_det + np.log(shrunk))
        + squares / (shrunk * (1 - share))
    )
    weights = np.log(mixture.weights_ * (1 - share) * fitted / (fitted - 1))
    return logsumexp(weights + logs, axis=1)


class IndependentColumns:
    """A factorized prior, finely resolved: each column has kernels of its own bandwidth.

        p(z) = prod_j [n / (n + 1) mean_i N(z_j; z_ij, h_j^2) + 1 / (n + 1) Cauchy(z_j / (3 s_j))]

    s_j is the column's standard deviation, and no h_j is below a hundredth of it, so that repeated values do not make a
    density infinite. The wide part is the chance of a value unlike all n, which keeps one odd column from outvoting all
    others. log p is averaged over two bandwidths: the likeliest where one row is left out, which gives repeated values
    their odds, and where all rows of its value are, which is no finer than the steps of a rounded column. `held_out` is
    that of the first.

    Args:
        rows: (n, N), with those that repeat, as often as they do: the odds of a level are how often it is met.
        judged: (B, N), those of them by which `held_out` compares with other densities.
    """

    BANDWIDTHS = np.geomspace(0.01, 1, 12)

    def __init__(self, rows: np.ndarray, judged: np.ndarray):
        self.rows, self.mean, self.scale = len(rows), rows.mean(axis=0), rows.std(axis=0)
        self.scale[is_constant(rows.min(axis=0), rows.max(axis=0))] = 1
        columns = range(rows.shape[1])
        fits = [self._fit(self._standardized(rows, j), self._standardized(judged, j)) for j in columns]
        self.columns = [fit[:3] for fit in fits]
        self.held_out = float(sum(fit[3] for fit in fits) - np.log(self.scale).sum())

    def _standardized(self, rows: np.ndarray, column: int) -> np.ndarray:
        return (rows[:, column] - self.mean[column]) / self.scale[column]

    def _fit(self, column: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray, set[float], float]:
        values, counts = np.unique(column, return_counts=True)
        if len(values) > MOST_COLUMN_VALUES:
            levels = (np.arange(MOST_COLUMN_VALUES) + 0.5) / MOST_COLUMN_VALUES
            values, counts = np.unique(np.quantile(column, levels), return_counts=True)
            counts = counts * (len(column) / MOST_COLUMN_VALUES)
        squares = np.square(values[:, None] - values)
        logs, distinct = [], []
        for h in self.BANDWIDTHS:
            kernels = _normal(squares, h)
            others = np.maximum(kernels @ counts - _normal(0.0, h), 0) / (self.rows - 1)
            logs.append(self._log_mixed(others, values))
            np.fill_diagonal(kernels, 0)
            unlike = kernels @ counts / np.maximum(self.rows - counts, 1)
            distinct.append(counts @ self._log_mixed(unlike, values))
        likeliest = np.argmax(logs @ counts)
        bandwidths = {self.BANDWIDTHS[likeliest], self.BANDWIDTHS[np.argmax(distinct)]}
        places = np.searchsorted((values[1:] + values[:-1]) / 2, judged)
        return values, counts / self.rows, bandwidths, logs[likeliest][places].mean()

    def _log_mixed(self, density: np.ndarray, values: np.ndarray) -> np.ndarray:
        wide = 1 / (3 * math.pi * (1 + np.square(values / 3)))
        return np.log((self.rows * density + wide) / (self.rows + 1))

    def log_prob(self, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """log p in nats of rows (B, N), (B,); the kernels on the rows `own` left out."""
        total = np.full(len(rows), -np.log(self.scale).sum())
        size = blocks.block_rows(blocks.KERNELS, MOST_COLUMN_VALUES)
        for j, (values, shares, bandwidths) in enumerate(self.columns):
            column = self._standardized(rows, j)
            for part in blocks.slices(len(column), size):
                block = column[part]
                squares = np.square(block[:, None] - values)
                densities = {h: _normal(squares, h) @ shares for h in bandwidths}
                if own is not None:
                    for h, density in densities.items():
                        densities[h] = np.maximum(self.rows * density - _normal(0.0, h), 0) / (self.rows - 1)
                logs = [self._log_mixed(density, block) for density in densities.values()]
                total[part] += np.mean(logs, axis=0)
        return total


def _normal(squares: np.ndarray | float, deviation: float) -> np.ndarray:
    return np.exp(-squares / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))


Density = Union[KernelDensity, MixtureDensity, IndependentColumns]


def fit_densities(rows: np.ndarray, rng: np.random.Generator) -> dict[str, Density]:
    """Densities of rows (n, N) by name: "kernel", "mixture" where there are rows enough, "columns".

    Rows that repeat count once in the first two, whose bandwidths and components they would draw to themselves.
    """
    distinct = np.unique(pd.DataFrame(rows).drop_duplicates().to_numpy(), axis=0)  # pandas hashes, NumPy sorts
    if len(distinct) > MOST_ROWS:
        distinct = distinct[rng.choice(len(distinct), MOST_ROWS, replace=False)]
    found: dict[str, Density] = {"kernel": KernelDensity(distinct, rng)}
    if MixtureDensity.sizes(distinct):
        found["mixture"] = MixtureDensity(distinct, rng)
    found["columns"] = IndependentColumns(rows, judged=distinct)
    return found


def worth_averaging(densities: Mapping[str, Density]) -> list[str]:
    """Names of the densities that count: columns where they are the likeliest of all, the others always."""
    likeliest = max(densities, key=lambda name: densities[name].held_out)
    return [name for name in densities if name in (likeliest, "kernel", "mixture")]


def log_probs(densities: Mapping[str, Density], z: np.ndarray, own: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """log p of rows (B, N) by every density, nats, (B,); `own` as in theirs."""
    logs = {"kernel": densities["kernel"].log_prob(z, own)}
    if "mixture" in densities:
        logs["mixture"] = densities["mixture"].log_prob(z, wide=logs["kernel"], own=own)
    if "columns" in densities:
        logs["columns"] = densities["columns"].log_prob(z, own)
    return logs


def averaged(logs: Mapping[str, _Logs]) -> _Logs:
    """The mean of log densities (B,) by name: columns count by a half, the others share the rest."""
    joint = [log for name, log in logs.items() if name != "columns"]
    parts = [sum(joint) / len(joint)] if joint else []
    parts += [log for name, log in logs.items() if name == "columns"]
    return sum(parts) / len(parts)


def normalizing_rows(densities: Mapping[str, Density], rng: np.random.Generator) -> np.ndarray:
    """Draws of the kernels (B, N) that `log_normalizer` is estimated by."""
    return densities["kernel"].sample(_NORMALIZING_ROWS, rng)


def log_normalizer(average: np.ndarray, kernel: np.ndarray) -> float:
    """log Z, by which an average of log densities lacks being one, from both at `normalizing_rows`, (B,)."""
    return float(np.logaddexp.reduce(average - kernel) - math.log(len(kernel)))
