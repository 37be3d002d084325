"""Rows taken evenly from the whole of a table or a stream: every stride-th, so that no part of it is left out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def stride(rows: int, most: int) -> int:
    """Of the rows to take, where at most so many are wanted."""
    return max(-(-rows // most), 1)


def places(rows: int, most: int) -> np.ndarray:
    """Numbers of at most so many rows, from the first on."""
    return np.arange(0, rows, stride(rows, most))


class EvenSample:
    """Every stride-th row of batches that come one by one, however small they are.

    Args:
        most: rows to keep; when there are more, every second is dropped and the stride doubles.
        expected: how many rows come, where it is known.
    """

    def __init__(self, most: int, expected: int = 1):
        self.most, self.stride, self.seen = most, stride(expected, most), 0
        self.rows: tf.Tensor = None

    def add(self, batch: tf.Tensor) -> None:
        chosen = batch[-self.seen % self.stride :: self.stride]
        self.rows = chosen if self.rows is None else tf.concat([self.rows, chosen], axis=0)
        self.seen += len(batch)
        while len(self.rows) > self.most:
            self.rows, self.stride = self.rows[::2], 2 * self.stride
