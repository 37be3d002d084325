"""Columns that are independent, each with kernels of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_radogaga._core import blocks
from tf_radogaga._core.rounding import is_constant
from tf_radogaga._core.stack import tf
from tf_radogaga.detector.stored import Constant

COLUMN_BANDWIDTHS = np.geomspace(0.01, 1, 12)
MOST_VALUES = 1000


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
        held_out: (B, N), those of them by which `held_out` compares with other densities.
    """

    def __init__(self, rows: np.ndarray, held_out: np.ndarray):
        self.rows, self.mean, self.scale = len(rows), rows.mean(axis=0), rows.std(axis=0)
        self.scale[is_constant(rows.min(axis=0), rows.max(axis=0))] = 1
        z, places = (rows - self.mean) / self.scale, (held_out - self.mean) / self.scale
        columns, likelihoods = zip(*map(self._fit, z.T, places.T))
        self.columns: list[tuple[np.ndarray, ...]] = list(columns)
        self.held_out = float(sum(likelihoods) - np.log(self.scale).sum())

    def _fit(self, column: np.ndarray, held_out: np.ndarray) -> tuple[tuple[np.ndarray, ...], float]:
        """Values, the share of the rows that has them, and bandwidths, 1 or 2; and `held_out` of the column."""
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
            logs.append(np.log(self.mixed(others, values)))
            np.fill_diagonal(kernels, 0)
            unlike = kernels @ counts / np.maximum(self.rows - counts, 1)
            distinct.append(counts @ np.log(self.mixed(unlike, values)))
        likeliest = np.argmax(logs @ counts)
        bandwidths = [COLUMN_BANDWIDTHS[likeliest], COLUMN_BANDWIDTHS[np.argmax(distinct)]]
        places = np.searchsorted((values[1:] + values[:-1]) / 2, held_out)
        return (values, counts / self.rows, np.unique(bandwidths)), logs[likeliest][places].mean()

    def mixed(self, density: Any, column: Any) -> Any:
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
                    logs.append(np.log(self.mixed(density, block)))
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
                    total += tf.math.log(self.mixed(density, column)) / len(bandwidths)
            return total

        return log_prob


def _normal(squares: Any, deviation: float, exp: Callable = np.exp) -> Any:
    return exp(-squares / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
