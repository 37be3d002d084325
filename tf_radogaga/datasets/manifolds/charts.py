"""Charts: coordinates u of a manifold, the points they name, and what this does to volumes and distances."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np

from tf_radogaga.datasets.manifolds.curves import Curve


class Chart(abc.ABC):
    """phi: u (n, N) to points (n, m), one to one where the data lie."""

    dimensions: int  # N
    columns: int  # m

    @abc.abstractmethod
    def points(self, u: np.ndarray) -> np.ndarray:
        """(n, N) to (n, m)."""

    @abc.abstractmethod
    def log_volume(self, u: np.ndarray) -> np.ndarray:
        """1/2 log det phi'^T phi' at each u, (n,): of how much surface a unit of u is."""

    def distances(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Geodesic distances (n, k) between u (n, N) and v (k, N).

        Raises:
            NotImplementedError: no closed form is known.
        """
        raise NotImplementedError(f"{type(self).__name__}: no closed form of the geodesic distances is known.")


@dataclass(frozen=True)
class Product(Chart):
    """A product of curves, each by its arc length: developable, so u is an isometric copy of the surface."""

    curves: tuple[Curve, ...]

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return len(self.curves)

    @property
    def columns(self) -> int:  # type: ignore[override]
        return sum(curve.columns for curve in self.curves)

    def points(self, u: np.ndarray) -> np.ndarray:
        return np.concatenate([curve.points(s) for curve, s in zip(self.curves, u.T)], axis=1)

    def log_volume(self, u: np.ndarray) -> np.ndarray:
        return np.zeros(len(u))

    def distances(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.linalg.norm(u[:, None] - v, axis=2)


@dataclass(frozen=True)
class Sphere(Chart):
    """The unit sphere S^2: u is the direction from the pole (0, 0, 1) times the distance from it, below pi."""

    dimensions: int = 2
    columns: int = 3

    def points(self, u: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(u, axis=1, keepdims=True)
        return np.concatenate([np.sinc(r / np.pi) * u, np.cos(r)], axis=1)

    def log_volume(self, u: np.ndarray) -> np.ndarray:
        return np.log(np.sinc(np.linalg.norm(u, axis=1) / np.pi))

    def distances(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        chords = np.linalg.norm(self.points(u)[:, None] - self.points(v), axis=2)
        return 2 * np.arcsin(np.minimum(chords / 2, 1))

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """u of points of the sphere, (n, 3) to (n, 2)."""
        across = np.linalg.norm(points[:, :2], axis=1)
        r = np.arctan2(across, points[:, 2])
        return (r / np.maximum(across, 1e-300))[:, None] * points[:, :2]


@dataclass(frozen=True)
class Torus(Chart):
    """The torus of revolution: u is the angle around the axis and that around the tube."""

    radius: float = 2.0
    tube: float = 1.0
    dimensions: int = 2
    columns: int = 3

    def points(self, u: np.ndarray) -> np.ndarray:
        around, along = u.T
        out = self.radius + self.tube * np.cos(along)
        return np.stack([out * np.cos(around), out * np.sin(around), self.tube * np.sin(along)], axis=1)

    def log_volume(self, u: np.ndarray) -> np.ndarray:
        return np.log(self.tube * (self.radius + self.tube * np.cos(u[:, 1])))


@dataclass(frozen=True)
class Pictures(Chart):
    """Square pictures of one bright ellipse with a soft edge, twice as long as wide.

    u is the place of its centre (right, down), the logarithm of its half width, both in pixels, and its angle. The
    volume takes central differences of the pixels.
    """

    side: int = 16
    softness: float = 1.0
    dimensions: int = 4

    @property
    def columns(self) -> int:  # type: ignore[override]
        return self.side**2

    def points(self, u: np.ndarray) -> np.ndarray:
        right, down, log_width, angle = u.T[:, :, None, None]
        pixels = np.arange(self.side) - (self.side - 1) / 2
        x, y = pixels - right, pixels[:, None] - down
        long, short = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        width = np.exp(log_width)
        # about the distance to the edge, in pixels; smooth in the centre too
        inside = width * (1 - (long / 2) ** 2 / width**2 - short**2 / width**2) / 2
        return (0.5 + 0.5 * np.tanh(inside / self.softness)).reshape(len(u), -1)

    def log_volume(self, u: np.ndarray) -> np.ndarray:
        return np.concatenate([self._log_volume(part) for part in np.array_split(u, max(len(u) // 500, 1))])

    def _log_volume(self, u: np.ndarray, step: float = 1e-5) -> np.ndarray:
        moves = step * np.eye(self.dimensions)
        jacobian = np.stack([(self.points(u + move) - self.points(u - move)) / (2 * step) for move in moves], axis=2)
        return 0.5 * np.linalg.slogdet(np.swapaxes(jacobian, 1, 2) @ jacobian)[1]
