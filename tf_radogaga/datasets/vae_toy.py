"""Toy sets of known density for the beta-VAE: Nakagawa et al., ICML 2021, section 5.1 and appendix D.2.

    x = s BASIS,    s_i = sqrt(Var(s_i)) u_i,    Var(s) = 1/6, 2/3, 8/3,    p(x) = p(s_1) p(s_2) p(s_3)

u_i has mean 0, variance 1 and the shape i of the set. The paper shows its shapes in figures only, so those of `SETS`
are this package's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid
from scipy.special import logsumexp, ndtr, ndtri

from tf_radogaga._core import checks
from tf_radogaga.datasets.toy import BASIS

VARIANCES = np.array([1 / 6, 2 / 3, 8 / 3])
"""(3,): of s_1, s_2 and s_3."""


@dataclass(frozen=True)
class Shape:
    """A smooth density on the line: the mixture of normals sum_k weight_k N(centre_k, deviation_k^2), shifted to mean 0
    and scaled to variance 1.

    Args:
        weights: (K,), of any sum.
        centres: (K,).
        deviations: (K,), or one for all.
    """

    weights: tuple[float, ...]
    centres: tuple[float, ...]
    deviations: tuple[float, ...] | float = 1.0

    def components(self) -> np.ndarray:
        """Weights, centres and deviations once shifted and scaled, (3, K)."""
        weights, centres, deviations = np.broadcast_arrays(*map(np.float64, vars(self).values()))
        weights = weights / weights.sum()
        centres = centres - weights @ centres
        scale = np.sqrt(weights @ (deviations**2 + centres**2))
        return np.stack([weights, centres / scale, deviations / scale])

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """log p(u) of u (n,), in nats."""
        weights, centres, deviations = self.components()
        squares = ((np.asarray(u)[:, None] - centres) / deviations) ** 2
        return logsumexp(-0.5 * squares, axis=1, b=weights / (np.sqrt(2 * np.pi) * deviations))

    def cdf(self, u: np.ndarray) -> np.ndarray:
        """P(U <= u) of u (n,)."""
        weights, centres, deviations = self.components()
        return ndtr((np.asarray(u)[:, None] - centres) / deviations) @ weights

    def sample(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        weights, centres, deviations = self.components()
        chosen = rng.choice(len(weights), size=rows, p=weights)
        return centres[chosen] + deviations[chosen] * rng.standard_normal(rows)

    def excess(self, points: int = 20_001) -> float:
        """E[(du/dz)^2] where u = cdf^-1(Phi(z)) and z is standard normal, by quadrature: 1 for a normal, else more.

        The latent z_j of a VAE fits s_j as s_j(z_j), with sigma_j^-2 = (2/beta) (ds_j/dz_j)^2, so that what estimates
        the variance of s_j comes out as (beta/2) E[sigma_j^-2] = Var(s_j) excess for small beta: never too small, by
        Poincare's inequality. Source: Eq. 22 with p(y_j) in place of a normal.
        """
        _, centres, deviations = self.components()
        # at 7 deviations outward the integrand phi(z)^2 / p(u) is below 1e-10 of its greatest
        u = np.linspace((centres - 7 * deviations).min(), (centres + 7 * deviations).max(), points)
        mirrored = Shape(self.weights, tuple(-c for c in self.centres), self.deviations)
        z = np.where(u < 0, ndtri(self.cdf(u)), -ndtri(mirrored.cdf(-u)))  # each tail from its own end
        return float(trapezoid(np.exp(-(z**2) - np.log(2 * np.pi) - self.log_density(u)), u))


def _row(weights: np.ndarray) -> Shape:
    """Normals one unit apart that overlap so far that the density follows the weights smoothly, with soft edges."""
    return Shape(tuple(weights.tolist()), tuple(range(len(weights))), 0.75)


NORMAL = Shape((1,), (0,))
SETS = {
    "mix": (
        _row(np.arange(6) + 0.5),  # skewed: rises linearly, then falls
        Shape((1, 1), (-1.6, 1.6)),  # two equal modes
        _row(np.ones(12)),  # flat
    ),
    "ramp": (
        _row(np.arange(10) + 0.5),  # rises linearly, then falls at once
        _row(0.3 + abs(np.arange(10) - 4.5) / 4.5),  # a valley: falls linearly, then rises
        _row(9.5 - np.arange(10)),  # rises at once, then falls linearly
    ),
    "norm": (NORMAL, NORMAL, NORMAL),
}
"""The shapes of u_1, u_2 and u_3 in each set, before they are scaled to variance 1.

Far enough from a normal that log p(mu) alone is a poor estimate, and smooth enough that a posterior of variance
beta/2 = 0.005 resolves them: finer modes train by a hundredth of a nat, which the noise of the loss hides.
"""


class VaeToyData(NamedTuple):
    """Rows on a 3-dimensional plane in 16 dimensions, with their true density.

    `rows`: (n, 16) float64. `log_density`: (n,) float64, log p(x) in nats, where p is the density with respect to the
    plane's own volume (3-dimensional Hausdorff measure). `source`: (n, 3) float64, s.
    """

    rows: np.ndarray
    log_density: np.ndarray
    source: np.ndarray


def generate_vae_toy(name: str, rows: int = 50_000, seed: int = 0) -> VaeToyData:
    """Rows of the set "mix", "ramp" or "norm"; the paper takes 50,000.

    The plane is that of `toy.generate_toy`, whose BASIS is orthonormal, so p(x) = p(s).

    Raises:
        ValueError: an unknown set, fewer than 1 row, or a negative seed.
    """
    shapes = _shapes(name)
    checks.at_least(1, rows=rows)
    checks.at_least(0, seed=seed)
    rng = np.random.default_rng(seed)
    source = np.sqrt(VARIANCES) * np.stack([shape.sample(rows, rng) for shape in shapes], axis=1)
    return VaeToyData(source @ BASIS, source_log_density(name, source), source)


def source_log_density(name: str, source: np.ndarray) -> np.ndarray:
    """log p(s), (n, 3) to (n,), in nats; as BASIS is orthonormal, also log p(x) at x = s BASIS.

    Raises:
        ValueError: an unknown set.
    """
    scale = np.sqrt(VARIANCES)
    logs = (shape.log_density(u) for shape, u in zip(_shapes(name), (source / scale).T))
    return sum(logs) - np.log(scale).sum()


def estimated_variances(name: str) -> np.ndarray:
    """Var(s_i) excess_i, (3,): what (beta/2) E[sigma_i^-2] tends to for square errors and small beta.

    Raises:
        ValueError: an unknown set.
    """
    return VARIANCES * [shape.excess() for shape in _shapes(name)]


def _shapes(name: str) -> tuple[Shape, Shape, Shape]:
    checks.one_of("name", name, SETS)
    return SETS[name]
