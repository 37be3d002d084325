"""What each column adds to a score, by exchanging columns with those of a reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tf_radogaga.detector.rows import Rows, with_column

PAIRS = 4
"""Orders of the columns that are averaged, each together with its reverse."""


def shapley_values(score: Callable[[Rows], np.ndarray], rows: Rows, references: Rows) -> np.ndarray:
    """Shapley values of the columns, (B, M): the mean, over orders of the columns, of the step that the score takes as
    a column changes from the reference's value to the row's, after those before it have changed.

        sum_j phi_j = score(row) - score(reference)        exactly, as the steps of every order telescope

    `PAIRS` fixed orders and their reverses stand for all M! of them. With a reverse for each, the values are those of
    all orders where the score has no interaction of more than two columns, as a Gaussian's log density.

    Args:
        score: table -> (B,).
        rows, references: tables of B rows and M columns.

    Source: Shapley (1953); Castro, Gomez and Tejada, Polynomial calculation of the Shapley value based on sampling
    (2009).
    """
    rng, columns = np.random.default_rng(0), rows.shape[1]
    start, end = score(references), score(rows)
    total = np.zeros((len(start), columns))
    for _ in range(PAIRS):
        order = rng.permutation(columns)
        for direction in (order, order[::-1]):
            mixed, before = references, start
            for column in direction[:-1]:
                mixed = with_column(mixed, column, rows)
                after = score(mixed)
                total[:, column] += after - before
                before = after
            total[:, direction[-1]] += end - before
    return total / (2 * PAIRS)
