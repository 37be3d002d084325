"""Plane curves by their arc length s, so that a sheet drawn along one is developable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import ellipeinc


class Curve(Protocol):
    """A curve of unit speed: its points are as far apart along it as their s are."""

    @property
    def columns(self) -> int: ...

    def points(self, s: np.ndarray) -> np.ndarray:
        """(n,) to (n, columns)."""


@dataclass(frozen=True)
class Line:
    """The straight line."""

    columns: int = 1

    def points(self, s: np.ndarray) -> np.ndarray:
        return s[:, None]


@dataclass(frozen=True)
class Circle:
    """A circle around 0. It closes where s is a multiple of 2 pi radius."""

    radius: float = 1.0
    columns: int = 2

    def points(self, s: np.ndarray) -> np.ndarray:
        return self.radius * np.stack([np.cos(s / self.radius), np.sin(s / self.radius)], axis=1)


@dataclass(frozen=True)
class Sine:
    """y = height sin(x), from s = 0 at x = 0; a height of 2.5 at most, for which the inversion was tried."""

    height: float = 1.5
    columns: int = 2

    def points(self, s: np.ndarray) -> np.ndarray:
        x = _inverted(self.length, lambda x: np.hypot(1, self.height * np.cos(x)), s, s / np.hypot(1, self.height))
        return np.stack([x, self.height * np.sin(x)], axis=1)

    def length(self, x: np.ndarray) -> np.ndarray:
        """s at x: the integral of sqrt(1 + height^2 cos^2)."""
        square = self.height**2
        return np.sqrt(1 + square) * ellipeinc(x, square / (1 + square))


@dataclass(frozen=True)
class Spiral:
    """Archimedes' spiral, radius = pitch angle: turns lie 2 pi pitch apart. It starts at s = 0, in the centre; there is
    nothing at s < 0."""

    pitch: float = 0.1
    columns: int = 2

    def points(self, s: np.ndarray) -> np.ndarray:
        start = np.sqrt(2 * s / self.pitch)
        angle = _inverted(self.length, lambda angle: self.pitch * np.hypot(1, angle), s, start)
        return self.pitch * angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def length(self, angle: np.ndarray) -> np.ndarray:
        """s at an angle."""
        return self.pitch / 2 * (angle * np.hypot(1, angle) + np.arcsinh(angle))


def _inverted(function, derivative, values: np.ndarray, start: np.ndarray, steps: int = 50) -> np.ndarray:
    """Where an increasing function takes the values, by Newton's method."""
    x = np.asarray(start, np.float64)
    for _ in range(steps):
        change = (function(x) - values) / derivative(x)
        x = x - change
        if np.abs(change).max(initial=0) < 1e-12 * (1 + np.abs(x).max(initial=0)):
            return x
    raise ValueError("s: no point of the curve was found; the arc length is outside its range, or the curve too steep.")
