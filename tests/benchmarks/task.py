"""Writes what all sides of `bench.py` get: preprocessed rows of KDDCup99's number, whole batches of them to train on,
and the sizes of the preset."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tf_radogaga import presets
from tf_radogaga.datasets import tabular

TRAINING_ROWS, TEST_ROWS, INPUTS = 198_371, 247_011, 121
"""Of the real table, by the papers' protocol."""


def random_rows() -> tuple[np.ndarray, np.ndarray]:
    """Uniform on 0 to 1: (TRAINING_ROWS, INPUTS) and (TEST_ROWS, INPUTS), float32."""
    rng = np.random.default_rng(0)
    return tuple(rng.uniform(size=(rows, INPUTS)).astype(np.float32) for rows in (TRAINING_ROWS, TEST_ROWS))


def real_rows(data_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """The normal training rows and the test rows of the split of seed 0, scaled and one-hot, float32."""
    table = tabular.load_table("kddcup99", data_dir)
    split, preprocess = tabular.stratified_halves(table, seed=0), table.preprocessing()
    return tuple(preprocess(preprocess.check(rows)).numpy() for rows in (split.train, split.test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.npz and task.json")
    parser.add_argument("--data-dir", type=Path, help="folder of kddcup99_10pct.csv.gz; random rows without it")
    parser.add_argument("--batches", type=int, help="of training rows, at most; as many rows are scored")
    args = parser.parse_args()
    train, test = real_rows(args.data_dir) if args.data_dir else random_rows()
    preset = presets.preset("kddcup99", "radogaga-log")
    rows = min(args.batches or len(train), len(train) // preset.batch_size) * preset.batch_size
    train, test = train[:rows], test[: rows if args.batches else None]
    np.savez(args.out / "rows.npz", train=train, test=test)
    names = ("units", "latent_units", "components", "estimation_units", "batch_size")
    sizes = {"train": len(train), "test": len(test), "inputs": train.shape[1]}
    network = {name: getattr(preset, name) for name in names}
    (args.out / "task.json").write_text(json.dumps({"rows": sizes, "network": network}))


if __name__ == "__main__":
    main()
