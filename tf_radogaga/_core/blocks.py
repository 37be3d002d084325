"""Blocks of rows that are worked on at once, by the numbers that each kind of work may hold; and even samples of rows,
in which no part of a table or a stream is left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tf_radogaga._core.stack import tf

ROWS = 2**16  # that are read, checked or scored at once, at most, where a row is a few numbers
SCORED_ROWS = 2**14  # that a model scores at once, at most
SCORED = 2**22  # elements of x scored at once; the layers of a convolutional network hold many times more
STORED = 2**26  # elements of raw rows preprocessed at once
TANGENTS = 2**21  # elements of all tangent vectors at once
KERNELS = 2**23  # distances between rows and the centres of kernels at once
SERVED_KERNELS = 2**22  # the same in a server


def block_rows(numbers: int, each: int, most: int | None = None) -> int:
    """Rows of a block that holds at most so many numbers, `each` of them in a row; one at least."""
    rows = numbers // max(each, 1)
    return max(rows if most is None else min(rows, most), 1)


def slices(rows: int, size: int) -> Iterator[slice]:
    """Of blocks of this size; of no rows one, which is empty."""
    return (slice(first, first + size) for first in range(0, max(rows, 1), size))


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
