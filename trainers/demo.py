"""What the package is for, in one go: a curved surface unrolled, a table scored, the scores served.

    python trainers/demo.py

Fits `fit_isometric` to a swiss roll in 16 columns, prints its certificate, and the error of its log densities beside
PCA with a mixture and a normalizing flow. Then fits an `AnomalyDetector` to Thyroid, beside other detectors on the same
split, exports it, scores the test rows in a process that imports TensorFlow alone, and checks that both agree. Takes
about two minutes on two cores.
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
import tensorflow as tf
from sklearn.metrics import average_precision_score, roc_auc_score

import tf_radogaga as tr
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.reproduce import curved_methods, figures_curved, table_curved
from tf_radogaga_trainers.reproduce.baselines import baseline_energies

OUT = Path("outputs/demo")
FIGURE, EXPORT = OUT / "roll.png", OUT / "saved_model"
FLOW_STEPS = 3000
TOLERANCE = 1e-4
"""Of a served log density, in nats."""


def unroll() -> None:
    """The roll: figure, certificate, and the errors of three densities."""
    surface, _, seed = table_curved.SHOWN
    manifold = table_curved.SURFACES[surface]
    tf.keras.utils.set_random_seed(seed)
    train, test, task = table_curved.drawn(surface, seed)
    print(f"1. {len(train.rows)} rows of a rolled surface in {train.rows.shape[1]} columns; about a minute", flush=True)
    found = curved_methods.fit_isometric(task)
    others = {
        "PCA + mixture": curved_methods.pca(task),
        f"autoregressive flow, {FLOW_STEPS} steps": curved_methods.autoregressive_flow(task, FLOW_STEPS),
    }
    print(f"\n{tr.isometry_report(found.model, test.rows)}\n\n|log p(x) - true| of {len(test.rows)} new rows, in nats")
    print(f"  {'':32s} {'median':>7s} {'95 % below':>10s}")
    for name, densities in {"fit_isometric": found, **others}.items():
        errors = np.abs(densities.log_densities["isometric"] - test.log_density)
        print(f"  {name:32s} {np.median(errors):7.3f} {np.quantile(errors, 0.95):10.3f}")
    figures_curved.unrolled(figures_curved.drawing(manifold, found.model, test)).savefig(FIGURE, dpi=100)
    print(f"figure: {FIGURE}", flush=True)


def detect() -> tuple[tr.AnomalyDetector, np.ndarray]:
    """The table: the detector, and the rows that are to be served."""
    table = tabular.load_table("thyroid")
    split = tabular.stratified_halves(table, seed=0)
    print(f"\n2. Thyroid, split 0: {len(split.train)} normal rows to fit, {len(split.test)} to score", flush=True)
    detector = tr.AnomalyDetector(random_state=0).fit(split.train)
    energies = {"AnomalyDetector": -detector.score_samples(split.test)}
    for name in ("nearest-neighbours", "isolation-forest", "local-outlier-factor"):
        energies[name] = baseline_energies(name, split.train, split.test, seed=0)
    print(f"  {'':22s} {'AUROC':>7s} {'average precision':>18s}")
    for name, energy in energies.items():
        auroc = roc_auc_score(split.test_labels, energy)
        print(f"  {name:22s} {auroc:7.4f} {average_precision_score(split.test_labels, energy):18.4f}")
    return detector, split.test


def serve(detector: tr.AnomalyDetector, test: np.ndarray) -> None:
    """The SavedModel in another process, which has TensorFlow alone."""
    detector.export(EXPORT)  # a further version where the demo ran before
    rows, scores = OUT / "test_rows.csv", OUT / "scores.csv"
    pd.DataFrame(test).to_csv(rows, header=False, index=False, float_format="%.17g")
    print("\n3. The exported SavedModel in another process", flush=True)
    command = ["--model", str(EXPORT), "--input", str(rows), "--output", str(scores)]
    subprocess.run([sys.executable, str(Path(__file__).with_name("score.py")), *command], check=True)
    served, own = pd.read_csv(scores), detector.score_samples(test)
    difference = np.abs(served["log_density"] - own).max()
    if not (served["valid"].all() and difference < TOLERANCE):
        sys.exit(f"the SavedModel's log densities differ from the detector's by {difference:.1e} nats")
    flagged = int(served["anomaly"].sum())
    print(f"same log densities (largest difference {difference:.1e} nats), {flagged} of {len(test)} rows flagged")
    print(f"SavedModel: {EXPORT}   scores: {scores}")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    unroll()
    serve(*detect())


if __name__ == "__main__":
    main()
