"""Anomaly detection on tables of your own: every .npz of a folder, `X` and `y` with 1 = anomaly. No method is tuned to
a table; the detectors beside `AnomalyDetector` see features standardised on the training rows."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from tf_radogaga import AnomalyDetector
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.reproduce.baselines import (
    BASELINES,
    PEERS_PYTHON,
    add_peers_argument,
    baseline_energies,
    usable,
)
from tf_radogaga_trainers.reproduce.records import digest, failures, mean_sd, scored
from tf_radogaga_trainers.reproduce.sources import load, npz_files, scaled
from tf_radogaga_trainers.reproduce.table_tabular import DETECTOR
from tf_radogaga_trainers.shared.arguments import positive

HELP = "anomaly detection on every table of a folder"
METHODS = (DETECTOR, *BASELINES)
KEY = ("dataset", "method", "seed", "settings")
METRICS = {"auroc": "AUROC", "average_precision": "average precision"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, help="folder of NAME.npz files with X and y")
    add("--methods", nargs="+", choices=METHODS, help="default: all that can run here")
    add("--seeds", type=positive(int), default=5, help="splits of each table (default: %(default)s)")
    add_peers_argument(parser)


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every cell of the table."""
    paths = npz_files(args.data_dir)
    args.methods = usable(args.methods, METHODS, args.peers_python, "--methods")
    seeds, python = range(args.seeds), args.peers_python
    return [(path, method, seed, python) for path in paths for seed in seeds for method in args.methods]


def key(path: Path, method: str, seed: int, *_: Any) -> tuple:
    return path.stem, method, seed, digest(AnomalyDetector().get_params() if method == DETECTOR else None)


def run(path: Path, method: str, seed: int, peers_python: Path = PEERS_PYTHON) -> dict:
    """One record: a method on one split of a table."""
    table = load(str(path))
    split = tabular.stratified_halves(table, seed)
    started = time.time()

    def energies():
        if method == DETECTOR:
            return -AnomalyDetector(random_state=seed).fit(split.train).score_samples(split.test)
        return baseline_energies(method, *scaled(table, split.train, split.test), seed, peers_python)

    record = scored(dict(zip(KEY, key(path, method, seed))), split.test_labels, energies, table.anomaly_share)
    return {**record, "wall_seconds": time.time() - started}


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """One table for each metric: a row for each data set, a column for each method, their means at the end."""
    wanted = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in wanted]
    names = sorted({record["dataset"] for record in records})
    lines = [
        "# Anomaly detection on further tables",
        "",
        origin,
        "",
        f"Stratified halves; training on the normal rows of one, {args.seeds} splits, mean (sd). `{DETECTOR}` is",
        "`AnomalyDetector().fit` of the raw training rows; the others see standardised features. Nothing is tuned.",
    ]
    for metric, title in METRICS.items():
        lines += [
            "",
            f"## {title}",
            "",
            f"| table | {' | '.join(args.methods)} |",
            "|---" * (len(args.methods) + 1) + "|",
        ]
        values = {cell: [] for cell in ((name, method) for name in names for method in args.methods)}
        for record in records:
            if record[metric] is not None:
                values[record["dataset"], record["method"]].append(record[metric])
        for name in names:
            lines.append(f"| {name} | {' | '.join(mean_sd(values[name, method]) for method in args.methods)} |")
        means = [f"**{np.mean([np.mean(values[name, m]) for name in names]):.4f}**" for m in args.methods]
        lines.append(f"| mean | {' | '.join(means)} |")
    seconds = (np.mean([r["wall_seconds"] for r in records if r["method"] == method]) for method in args.methods)
    lines += ["", "Seconds a run: " + ", ".join(f"{m} {s:.1f}" for m, s in zip(args.methods, seconds)) + "."]
    return "\n".join([*lines, *failures(records)]) + "\n"
