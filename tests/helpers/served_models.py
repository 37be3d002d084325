"""A small model of named columns, exported, and a CSV file for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

import tf_radogaga
from helpers.models import encoded, fitted, small_model


def served_table(directory: Path) -> Path:
    """Folder of the versions of a model of `table`'s columns."""
    tf.keras.utils.set_random_seed(7)
    data = table(200)
    model = fitted(small_model(preprocess=encoded(data)), data, epochs=1)
    model.set_threshold(model.energy(data).numpy(), 0.1)
    tf_radogaga.export_saved_model(model, directory)
    return directory


def table(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    kinds = rng.choice(["a", "b", "c"], rows)
    columns = {"blood pressure": rng.normal(120, 10, rows), "kind": kinds, "code": rng.integers(0, 3, rows)}
    return pd.DataFrame({**columns, "dose": rng.normal(5, 1, rows)})


def csv_with_bad_rows(path: Path, rows: int = 50) -> dict[int, str]:
    """Writes columns in another order, one more of them, and four rows that no model can score.

    Returns:
        The reason for each bad row, by its line in the file.
    """
    data = table(rows)[["dose", "kind", "code", "blood pressure"]].astype(object)
    data.insert(1, "note, unused", "two\nlines")  # a row is two lines of the file from here on
    data.iloc[4, 0] = "oops"
    data.iloc[7, 4] = "inf"
    lines = data.to_csv(index=False).splitlines(keepends=True)
    first = 2 * 20 + 1  # of row 20, the header being line 0
    lines[first + 1] = lines[first + 1].replace("\n", ",more\n")
    lines[first + 2 : first + 4] = ["1,2\n", "\n"]  # row 21 is short and one line; a blank line is no row
    path.write_text("".join(lines))
    wrong = "cells where the file's first line has 5"
    return {
        2 * 4 + 2: "dose: 'oops' is not a finite float32 number",
        2 * 7 + 2: "blood_pressure: 'inf' is not a finite float32 number",
        first + 1: f"6 {wrong}",
        first + 3: f"2 {wrong}",
    }
