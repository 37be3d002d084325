"""Frames of several libraries, and rows and columns, for the tests of frames and of cells."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from tf_radogaga import AnomalyDetector

LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.DataFrame({name: pl.Series(list(column)) for name, column in frame.items()}),
    "pyarrow": lambda frame: pa.table({name: pa.array(list(column)) for name, column in frame.items()}),
}
N = 40


def numbers(rows=N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 2)) * [1, 10] + [0, 50]


def with_column(cells, rows=N):
    """Numbers x, and a column g of these cells by turns."""
    column = np.empty(rows, object)
    for row in range(rows):
        column[row] = cells[row % len(cells)]
    return pd.DataFrame({"x": numbers(rows)[:, 0], "g": pd.Series(column, dtype=object)})


def fit(rows, **options):
    return AnomalyDetector(random_state=0, **options).fit(rows)
