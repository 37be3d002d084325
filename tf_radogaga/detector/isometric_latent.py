"""The isometric latent of a constant metric, and the same as layers of a served graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tf_radogaga._core.rounding import FLOAT64, WHOLE, as_served, is_constant
from tf_radogaga._core.stack import tf
from tf_radogaga.detector.stored import Constants


class IsometricLatent:
    """The latent of the constant metric sum_j (dx_j / s_j)^2, of as many dimensions as there are columns that vary.

        z = (x - mean) / s,   s_j^2 ~ sd_j range_j,   and the mean variance of z is 1
        log p(x) = log P(z) - log_scale - surprise(x),   log_scale = sum_j log s_j

    A column that is constant, but for rounding, tells by its first other value, at the odds of Laplace's rule,
    1 : n + 1. Other is what differs from the constant by more than rounding, also where both are float32, so that
    exports tell it too; from 2^24 on, where float32 misses whole numbers and exports are refused, in float64.

    Args:
        x: (n, M) rows, float64.
        scale: (M,), what s is in proportion to in place of sqrt(sd_j range_j).
        rounding: (M,), of columns of narrower types, see `rounding.relative`.
        unit: as in `rounding.is_constant`.

    Raises:
        ValueError: all rows are equal, or a column spreads over more than float64 holds.
    """

    def __init__(
        self, x: np.ndarray, scale: np.ndarray | None = None, rounding: np.ndarray | float = FLOAT64, unit: float = 0
    ):
        low, high = x.min(axis=0), x.max(axis=0)
        with np.errstate(over="ignore"):
            spread = high - low
        if (wide := np.flatnonzero(np.isinf(spread))).size:
            raise ValueError(
                f"X: columns {wide.tolist()} spread over more than float64 holds; divide them by a constant."
            )
        self.varies = ~is_constant(low, high, rounding, unit) & (spread >= np.finfo(np.float64).tiny)
        if not self.varies.any():
            raise ValueError(f"X: all {len(x)} rows are equal; give rows that differ.")
        constant = ~self.varies
        self.constants, self.rows = low[constant] + spread[constant] / 2, len(x)
        self.rounding, self.noise = np.broadcast_to(rounding, low.shape)[constant], spread[constant]
        # squares of very great or small numbers are none; powers of 2 round nothing
        exponent = np.frexp(np.where(constant, np.maximum(np.abs(low), np.abs(high)), spread))[1]
        x, spread = np.ldexp(x, -exponent), np.ldexp(spread, -exponent)
        deviation, exponent = x.std(axis=0)[self.varies], exponent[self.varies]
        own = np.sqrt(deviation * spread[self.varies])
        scale = own if scale is None else np.ldexp(scale[self.varies], -exponent)
        self.mean = np.ldexp(x[:, self.varies].mean(axis=0), exponent)
        self.scale = np.ldexp(scale * np.sqrt(np.mean(np.square(deviation / scale))), exponent)

    @property
    def log_scale(self) -> float:
        return float(np.log(self.scale).sum())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (x[:, self.varies] - self.mean) / self.scale

    def rows_at(self, z: np.ndarray) -> np.ndarray:
        """The rows x (B, M) of latents (B, N), constant columns as in training."""
        x = np.empty((len(z), len(self.varies)))
        x[:, self.varies], x[:, ~self.varies] = self.mean + z * self.scale, self.constants
        return x

    def _novel(self, x: Any) -> Any:
        """Which values of the constant columns (B, constants), array or tensor, are others: by more than rounding, and
        not what float32 holds of the least or the greatest value that rounding makes."""
        tolerance = np.maximum(self.rounding * np.abs(self.constants), self.noise)
        least, greatest = as_served(self.constants + np.multiply.outer([-1, 1], tolerance))
        return (abs(x - self.constants) > tolerance) & (x != least) & (x != greatest)

    def _surprise(self, novel: Any) -> Any:
        """Nats of so many other values, (B,)."""
        return novel * math.log(self.rows + 1) + len(self.constants) * math.log1p(1 / (self.rows + 1))

    def surprise(self, x: np.ndarray) -> np.ndarray:
        """Nats of the constant columns, (B,)."""
        x = x[:, ~self.varies]
        with np.errstate(over="ignore"):
            novel = self._novel(np.where(np.abs(self.constants) < WHOLE, as_served(x), x))
        return self._surprise(novel.sum(axis=1))

    def graph_surprise(self, x: tf.Tensor) -> tf.Tensor:
        """`surprise` of float32 rows in core TensorFlow ops, float64."""
        x = tf.gather(x, np.flatnonzero(~self.varies), axis=1)
        novel = self._novel(tf.cast(tf.where(tf.abs(x) < np.finfo(np.float32).tiny, 0.0, x), tf.float64))
        return self._surprise(tf.reduce_sum(tf.cast(novel, tf.float64), axis=1))

    def log_density(self, log_prob: np.ndarray, x: np.ndarray) -> np.ndarray:
        """log p(x) in nats of rows (B, M), of log P(z) of their latents, (B,)."""
        return log_prob - self.log_scale - self.surprise(x)


class IsometricEncoder(Constants):
    """z = (x - mean) / s of the columns that vary, (B, M) -> (B, N)."""

    def __init__(self, latent: IsometricLatent):
        super().__init__()
        self.input_units, self.output_units = len(latent.varies), len(latent.mean)
        self.places = np.flatnonzero(latent.varies)
        self.mean, self.scale = self.constant("mean", latent.mean), self.constant("scale", latent.scale)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return (tf.cast(tf.gather(x, self.places, axis=1), tf.float64) - self.mean) / self.scale


class IsometricDecoder(Constants):
    """x = mean + s z, and the values of constant columns, (B, N) -> (B, M)."""

    def __init__(self, encoder: IsometricEncoder, latent: IsometricLatent):
        super().__init__()
        self.input_units, self.output_units = encoder.output_units, encoder.input_units
        self.encoder = encoder
        self.origin = self.constant("origin", latent.rows_at(np.zeros((1, self.input_units)))[0])
        self.placing = self.constant("placing", np.eye(self.output_units)[encoder.places])

    def call(self, z: tf.Tensor) -> tf.Tensor:
        x = tf.matmul(tf.cast(z, tf.float64) * self.encoder.scale, self.placing) + self.origin
        return tf.cast(x, tf.float32)
