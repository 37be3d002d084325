"""Plane curves by their arc length s, so that a sheet drawn along one is developable."""

from __future__ import annotations

from collections.abc import Callable
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
    """y = height sin(x), from s = 0 at x = 0."""

    height: float = 1.5
    columns: int = 2

    def points(self, s: np.ndarray) -> np.ndarray:
        x = np.sign(s) * _inverted(self.length, np.abs(s), np.abs(s))  # x is at most s
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
        if not (s >= 0).all():
            raise ValueError(f"s: {np.min(s)} is negative; the spiral starts at 0.")
        angle = _inverted(self.length, s, np.sqrt(2 * s / self.pitch))  # s is at least pitch angle^2 / 2
        return self.pitch * angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def length(self, angle: np.ndarray) -> np.ndarray:
        """s at an angle."""
        return self.pitch / 2 * (angle * np.hypot(1, angle) + np.arcsinh(angle))


def _inverted(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Where an increasing function takes the values, between 0 and `most`: by bisection, to the last digit."""
    low, high = np.zeros_like(most), most
    for _ in range(64):
        middle = (low + high) / 2
        below = function(middle) < values
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
