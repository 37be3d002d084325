"""What anomalies left in the training rows cost: shares of 0 % to 5 %, drawn from the anomalies of the training half; a
table that has fewer gives all of them. The test halves are those of the other tables, so 0 % repeats their numbers."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tf_radogaga import AnomalyDetector, plots, presets
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.reproduce import sources
from tf_radogaga_trainers.reproduce.baselines import baseline_energies
from tf_radogaga_trainers.reproduce.records import digest, failures, mean_or_value, scored
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.fitting import Data, train_together

HELP = "anomalies left in the training rows"
DETECTOR, MODEL = "radogaga", "radogaga-log"
METHODS = (DETECTOR, MODEL, "isolation-forest", "nearest-neighbours", "local-outlier-factor", "gaussian-mixture")
KEY = ("dataset", "method", "seed", "share", "settings")
METRICS = {"auroc": "AUROC", "average_precision": "average precision", "f1": "F1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    sources.add_arguments(parser)
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="default: all")
    add("--shares", nargs="+", type=_share, default=[0.0, 0.01, 0.05], help="of the training rows (default: 0 .01 .05)")
    add("--seeds", type=positive(int), default=5, help="splits of each table (default: %(default)s)")
    add("--steps", type=positive(int), help=f"cap on the training steps of {MODEL}")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 0.5:
        raise argparse.ArgumentTypeError(f"{text} is outside [0, 0.5)")
    return value


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every cell of the table."""
    return [
        (source, method, seed, share, args.steps)
        for source in sources.sources(args)
        for seed in range(args.seeds)
        for share in args.shares
        for method in args.methods
    ]


def _preset(source: str, cap: int | None) -> presets.Preset:
    preset = presets.preset(source if source in presets.DATASETS else presets.DEFAULT, MODEL)
    return dataclasses.replace(preset, steps=min(preset.steps, cap or preset.steps))


def key(source: str, method: str, seed: int, share: float, cap: int | None) -> tuple:
    settings = {DETECTOR: AnomalyDetector().get_params(), MODEL: _preset(source, cap)}.get(method)
    return Path(source).stem, method, seed, share, digest(settings)


class Contaminated(NamedTuple):
    """Training rows of which the last `anomalies` are anomalies, and the test half."""

    train: np.ndarray
    anomalies: int
    test: np.ndarray
    test_labels: np.ndarray


def contaminated(table: tabular.Table, seed: int, share: float) -> Contaminated:
    """The halves of `tabular.stratified_halves`, and in training so many of its own half's anomalies that they are
    `share` of the rows, or all there are."""
    numbers = np.arange(len(table.rows))
    split = tabular.stratified_halves(table._replace(rows=numbers), seed)
    spare = np.setdiff1d(numbers, np.concatenate([split.train, split.test]))  # the training half's anomalies
    wanted = round(share * len(split.train) / (1 - share))
    left = np.random.default_rng(seed).permutation(spare)[:wanted]
    train = np.concatenate([split.train, left])
    return Contaminated(table.rows[train], len(left), table.rows[split.test], split.test_labels)


def groups(jobs: list[tuple]) -> list[list[tuple]]:
    """The jobs in groups that `run_together` takes: all seeds of the model on a table and a share."""
    found: dict[tuple, list[tuple]] = {}
    for job in jobs:
        source, method, seed, share, _ = job
        found.setdefault((source, method, share, None if method == MODEL else seed), []).append(job)
    return list(found.values())


def run(*job) -> dict:
    """One record: a method on one split of a table, with a share of anomalies in training."""
    return run_together([job])[0]


def run_together(jobs: list[tuple]) -> list[dict]:
    """The records of jobs that differ in the seed alone; models are trained at once."""
    started = time.time()
    source, method, _, _, cap = jobs[0]
    table = sources.load(source)
    splits = [contaminated(table, seed, share) for _, _, seed, share, _ in jobs]
    models = [None] * len(jobs)
    if method == MODEL:
        preprocess = table.preprocessing()
        data = [Data(s.train, len(s.train), [(s.test, s.test_labels)], preprocess, None) for s in splits]
        models = train_together(_preset(source, cap), data, [seed for _, _, seed, _, _ in jobs])
    records = []
    for job, split, model in zip(jobs, splits, models):
        record = {**dict(zip(KEY, key(*job))), "anomalies": split.anomalies, "training_rows": len(split.train)}
        energies = _energies(table, method, job[2], split, model)
        records.append(scored(record, split.test_labels, energies, table.anomaly_share))
    tf.keras.backend.clear_session()
    return [{**record, "wall_seconds": (time.time() - started) / len(jobs)} for record in records]


def _energies(
    table: tabular.Table, method: str, seed: int, split: Contaminated, model: object
) -> Callable[[], np.ndarray]:
    def energies():
        if isinstance(model, Exception):
            raise model
        if model is not None:
            return model.energy(split.test).numpy()
        if method == DETECTOR:
            return -AnomalyDetector(random_state=seed).fit(split.train).score_samples(split.test)
        return baseline_energies(method, *sources.scaled(table, split.train, split.test), seed)

    return energies


def _wanted(args: argparse.Namespace, records: list[dict]) -> tuple[list[str], dict[tuple, list[dict]]]:
    """Names of the tables, and by table, method and share the records that did not fail."""
    wanted = {key(*job) for job in jobs(args)}
    found: dict[tuple, list[dict]] = {}
    for record in records:
        if tuple(record[name] for name in KEY) in wanted and "error" not in record:
            found.setdefault((record["dataset"], record["method"], record["share"]), []).append(record)
    return [Path(source).stem for source in sources.sources(args)], found


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table as Markdown: means over the tables, then each."""
    names, found = _wanted(args, records)
    lines = [
        "# Anomalies left in the training rows",
        "",
        origin,
        "",
        f"Stratified halves, {args.seeds} splits, mean (sd). Training on the normal rows of one half and so many of",
        f"its anomalies that they are the share of the rows, or all there are. `{DETECTOR}` is `AnomalyDetector().fit`",
        f"of the raw rows, `{MODEL}` the preset of Kato et al., that of Thyroid where the table is not theirs; the",
        "others see scaled rows.",
        "",
        "![AUROC against the share of anomalies](contamination.png)",
        "",
        "## Mean over the tables",
        "",
        *_head(args.shares),
    ]
    for method in args.methods:
        cells = []
        for metric in METRICS:
            for share in args.shares:
                means = [_values(found, (name, method, share), metric) for name in names]
                cells.append(f"{np.mean([np.mean(values) for values in means]):.4f}" if all(means) else "-")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    for name in names:
        lines += ["", f"## {name}", "", _counts(args, found, name), "", *_head(args.shares)]
        for method in args.methods:
            cells = [
                mean_or_value(_values(found, (name, method, share), metric), 4) or "failed"
                for metric in METRICS
                for share in args.shares
            ]
            lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join([*lines, *failures(records)]) + "\n"


def _values(found: Mapping[tuple, list[dict]], cell: tuple, metric: str) -> list[float]:
    return [record[metric] for record in found.get(cell, ())]


def _head(shares: list[float]) -> list[str]:
    heads = [f"{title}, {100 * share:g} %" for title in METRICS.values() for share in shares]
    return [f"| method | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]


def _counts(args: argparse.Namespace, found: Mapping[tuple, list[dict]], name: str) -> str:
    """Anomalies of the training rows at each share."""
    parts = []
    for share in args.shares:
        records = [
            record for (dataset, _, s), some in found.items() if (dataset, s) == (name, share) for record in some
        ]
        if records:
            count, rows = records[0]["anomalies"], records[0]["training_rows"]
            parts.append(f"{100 * share:g} %: {count} of {rows} training rows ({100 * count / rows:.1f} %)")
    return "; ".join(parts) + "."


def figures(args: argparse.Namespace, records: list[dict]) -> dict[str, Figure]:
    """AUROC against the share of anomalies that is reached, a panel a table."""
    names, found = _wanted(args, records)
    curves: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for name in names:
        curves[name] = {}
        for method in args.methods:
            some = [found[cell] for share in args.shares if (cell := (name, method, share)) in found]
            shares = [100 * np.mean([r["anomalies"] / r["training_rows"] for r in records]) for records in some]
            curves[name][method] = shares, [np.mean([r["auroc"] for r in records]) for records in some]
    return {"contamination.png": plots.curves_by_table(curves, "anomalies among the training rows [%]", "AUROC")}
