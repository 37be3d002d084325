"""The main job in one go on the Thyroid table: train, compare, export, score the SavedModel in a fresh process.

    python trainers/demo.py

Trains RaDOGAGA(log(d)) by its preset on the normal half of the table, prints F1 beside an isolation forest and the
untrained network on the same split, exports a SavedModel, scores the test rows through it in a process that imports
TensorFlow alone, and checks that both agree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

import tf_radogaga
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers import train_tabular
from tf_radogaga_trainers.reproduce import table_tabular

OUT = Path("outputs/demo")
EXPORT = OUT / "saved_model"
TOLERANCE = 1e-5


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    trained = ["--dataset", "thyroid", "--model", "radogaga-log", "--seed", "0", "--out", str(OUT)]
    train_tabular.main([*trained, "--export", str(EXPORT), "--overwrite"])

    table = tabular.load_table("thyroid")
    split = tabular.stratified_halves(table, seed=0)
    energies = tf_radogaga.load_model(OUT / "model").energy(split.test).numpy()
    f1 = {"radogaga-log": tabular.protocol_metrics(split.test_labels, energies, table.anomaly_share)["f1"]}
    for method in ("isolation-forest", table_tabular.UNTRAINED):
        f1[method] = table_tabular.run("thyroid", method, 0, "paper", None, None)["f1"]
    print(
        f"\nF1 on the {len(split.test)} test rows of Thyroid, split 0"
        " (python trainers/reproduce/tables.py averages over splits)"
    )
    for method, value in f1.items():
        print(f"  {method:17s} {value:.4f}")

    rows, scores = OUT / "test_rows.csv", OUT / "scores.csv"
    pd.DataFrame(split.test).to_csv(rows, header=False, index=False, float_format="%.17g")
    script = Path(__file__).with_name("score.py")
    command = ["--model", str(EXPORT), "--input", str(rows), "--output", str(scores)]
    subprocess.run([sys.executable, str(script), *command], check=True)
    served = pd.read_csv(scores)
    difference = np.max(np.abs(served["energy"] - energies) / np.maximum(np.abs(energies), 1))
    if not (served["valid"].all() and difference < TOLERANCE):
        sys.exit(f"the SavedModel's energies differ from the model's by {difference:.1e} relative")
    flagged = int(served["anomaly"].sum())
    print(
        f"\nSavedModel in a fresh process: same energies (largest relative difference {difference:.1e}),"
        f" {flagged} rows flagged"
    )
    print(f"model: {OUT / 'model'}   SavedModel: {EXPORT}   figures: {OUT / 'scores.png'}, {OUT / 'roc_pr.png'}")


if __name__ == "__main__":
    main()
