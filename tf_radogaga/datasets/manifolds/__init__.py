"""Curved surfaces of known density: what an isometric latent unrolls, and what none can.

    manifold = MANIFOLDS["swiss roll"]
    train, test = manifold.sample(10_000, seed=0), manifold.sample(4000, seed=1)

A point is x = phi(u) BASIS, and noise where wanted. u follows a law of known density, so the density of x on the
surface is known too: log p(x) = log p(u) - 1/2 log det phi'^T phi'.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tf_radogaga._core import checks
from tf_radogaga._core.stack import tf, tfp
from tf_radogaga.datasets.manifolds.charts import Chart, Pictures, Product, Sphere, Torus
from tf_radogaga.datasets.manifolds.curves import Circle, Line, Sine, Spiral

tfd = tfp.distributions


class ManifoldData(NamedTuple):
    """Rows on or near a surface, with the true density of the points on it.

    `rows`: (n, M) float64, with noise. `log_density`: (n,), log p in nats of the points before the noise, with respect
    to the surface's own volume (N-dimensional Hausdorff measure). `coordinates`: (n, N), u.
    """

    rows: np.ndarray
    log_density: np.ndarray
    coordinates: np.ndarray


@dataclasses.dataclass(frozen=True)
class Manifold:
    """A surface with a law, embedded in any number of columns.

    Args:
        chart: phi.
        law: of u; a distribution of TensorFlow Probability of float64 is one too.
        columns: M; default: as many as phi has.
        noise: standard deviation of normal noise, added to each column.
        embedding_seed: of BASIS, (m, M), whose rows are orthonormal.

    Raises:
        ValueError: fewer columns than the chart has, or a negative noise or seed.
    """

    chart: Chart
    law: Law
    columns: int | None = None
    noise: float = 0.0
    embedding_seed: int = 0

    def __post_init__(self):
        checks.at_least(0, noise=self.noise, embedding_seed=self.embedding_seed)
        checks.at_least(self.chart.columns, columns=self.chart.columns if self.columns is None else self.columns)

    def embedded(self, columns: int, noise: float = 0.0, embedding_seed: int = 0) -> Manifold:
        """The same surface and law in so many columns."""
        return dataclasses.replace(self, columns=columns, noise=noise, embedding_seed=embedding_seed)

    @functools.cached_property
    def basis(self) -> np.ndarray:
        """(m, M), orthonormal rows; the identity where M is m."""
        if self.columns in (None, self.chart.columns):
            return np.eye(self.chart.columns)
        rng = np.random.default_rng(self.embedding_seed)
        return np.linalg.qr(rng.standard_normal((self.columns, self.chart.columns)))[0].T

    def sample(self, rows: int = 10_000, seed: int = 0) -> ManifoldData:
        """Fresh rows.

        Raises:
            ValueError: fewer than 1 row, or a negative seed.
        """
        checks.at_least(1, rows=rows)
        checks.at_least(0, seed=seed)
        u = self.law.sample(rows, seed=tf.constant([seed, 0])).numpy()
        x = self.points(u)
        noise = self.noise * np.random.default_rng(seed).standard_normal(x.shape) if self.noise else 0.0
        return ManifoldData(x + noise, self.log_density(u), u)

    def points(self, u: np.ndarray) -> np.ndarray:
        """Points (n, M) of the surface at u (n, N), without noise."""
        return self.chart.points(u) @ self.basis

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """log p(x) on the surface at u (n, N), in nats, (n,)."""
        return self.law.log_prob(u).numpy() - self.chart.log_volume(u)

    def distances(self, u: np.ndarray, v: np.ndarray | None = None) -> np.ndarray:
        """Geodesic distances (n, k) from u (n, N) to v (k, N), or among u; on a circle, those of it cut open at pi.

        Raises:
            NotImplementedError: no closed form is known (`Torus`, `Pictures`).
        """
        return self.chart.distances(u, u if v is None else v)


class Law(Protocol):
    """Of u. Laws build their distribution when it is first needed: an import must leave TensorFlow to be configured."""

    def sample(self, rows: int, seed: Any) -> tf.Tensor:
        """(rows, N), float64; `seed` as TensorFlow Probability takes it."""

    def log_prob(self, u: np.ndarray) -> tf.Tensor:
        """(n,) of u (n, N), nats."""


@dataclasses.dataclass(frozen=True)
class Clusters:
    """A mixture of normals: weights (K,), centres (K, N), deviations (K, N) along the axes."""

    weights: Sequence[float]
    centres: Sequence[Sequence[float]]
    deviations: Sequence[Sequence[float]]

    @functools.cached_property
    def mixture(self) -> Any:
        normals = tfd.MultivariateNormalDiag(np.array(self.centres, np.float64), np.array(self.deviations, np.float64))
        return tfd.MixtureSameFamily(tfd.Categorical(probs=np.array(self.weights, np.float64)), normals)

    def sample(self, rows: int, seed: Any) -> tf.Tensor:
        return self.mixture.sample(rows, seed=seed)

    def log_prob(self, u: np.ndarray) -> tf.Tensor:
        return self.mixture.log_prob(u)


@dataclasses.dataclass(frozen=True)
class Caps:
    """A mixture of von Mises-Fisher laws on the sphere, as a law of `Sphere`'s u.

    Args:
        weights: (K,).
        directions: (K, 3), of any length.
        concentrations: (K,).
    """

    weights: tuple[float, ...]
    directions: tuple[tuple[float, float, float], ...]
    concentrations: tuple[float, ...]

    @functools.cached_property
    def on_the_sphere(self) -> Any:
        """The law of the points."""
        directions = np.array(self.directions) / np.linalg.norm(self.directions, axis=1, keepdims=True)
        laws = tfd.VonMisesFisher(directions, np.array(self.concentrations))
        return tfd.MixtureSameFamily(tfd.Categorical(probs=np.array(self.weights)), laws)

    def sample(self, rows: int, seed: Any) -> tf.Tensor:
        return tf.constant(Sphere().coordinates(self.on_the_sphere.sample(rows, seed=seed).numpy()))

    def log_prob(self, u: np.ndarray) -> tf.Tensor:
        return self.on_the_sphere.log_prob(Sphere().points(u)) + Sphere().log_volume(u)


@dataclasses.dataclass(frozen=True)
class Angle:
    """A von Mises law of the angle, which is the arc length of a unit circle."""

    concentration: float

    @functools.cached_property
    def of_one(self) -> Any:
        return tfd.Sample(tfd.VonMises(np.float64(0), np.float64(self.concentration)), 1)

    def sample(self, rows: int, seed: Any) -> tf.Tensor:
        return self.of_one.sample(rows, seed=seed)

    def log_prob(self, u: np.ndarray) -> tf.Tensor:
        return self.of_one.log_prob(u)


_TWO_CAPS = Caps((0.6, 0.4), ((0.5, 0, 1), (-0.5, 0.2, 1)), (20.0, 25.0))
_PICTURES = Clusters([1.0], [[0, 0, np.log(2.2), 0]], [[0.8, 0.8, 0.1, 0.3]])

DEVELOPABLE = {
    "arc of a circle": Manifold(Product((Circle(),)), Angle(6.0)),
    "sine sheet": Manifold(Product((Sine(), Line())), Clusters([0.5, 0.5], [[-3, 0], [3, 1]], [[1.5, 1], [1.2, 0.7]])),
    "swiss roll": Manifold(
        Product((Spiral(), Line())),
        Clusters([0.3, 0.4, 0.3], [[4.8, -0.5], [10, 0.5], [16, 0]], [[0.8, 0.6], [1.4, 0.5], [1.2, 0.7]]),
    ),
    "cylinder": Manifold(
        Product((Circle(), Line())), Clusters([0.5, 0.5], [[-0.8, 0], [0.8, 0.5]], [[0.4, 0.6], [0.35, 0.4]])
    ),
    "flat torus": Manifold(
        Product((Circle(), Circle())), Clusters([0.5, 0.5], [[-0.7, -0.4], [0.7, 0.4]], [[0.4, 0.35], [0.35, 0.4]])
    ),
}
"""By name; they unroll without stretching. The tails beyond a cut of a circle, or the roll's centre, hold less than
1e-6 of the rows."""

CURVED = {
    "half sphere": Manifold(Sphere(), _TWO_CAPS),
    "torus patch": Manifold(Torus(), Clusters([0.5, 0.5], [[-0.6, -0.5], [0.6, 0.5]], [[0.35, 0.5], [0.3, 0.4]])),
    "sphere in 64 columns": Manifold(Sphere(), _TWO_CAPS, columns=64),
    "pictures": Manifold(Pictures(), _PICTURES),
}
"""By name; no latent of N units can be isometric to them (Gauss), and the isometry gap says by how much."""

MANIFOLDS = {**DEVELOPABLE, **CURVED}
"""All, by name."""
