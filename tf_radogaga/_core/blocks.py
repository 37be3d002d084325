"""How many rows are worked on at once: one rule, and the numbers that each kind of work may hold."""

from __future__ import annotations

from collections.abc import Iterator

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
