"""What each part of `AnomalyDetector` is worth: its densities one by one and averaged, the scale of its latent, and the
same latent trained as a RaDOGAGA of as many dimensions as columns. Beside AUROC and average precision it
has the mean log density of the normal test rows, which training has not seen: one can choose by it without labels."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from tf_radogaga import AnomalyDetector
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.reproduce import sources
from tf_radogaga_trainers.reproduce.detector_variants import (
    BATCH,
    NETWORK,
    TRAINED,
    TRAINED_ALONE,
    VARIANTS,
    Score,
    family,
    family_scores,
)
from tf_radogaga_trainers.reproduce.records import digest, failures, mean_or_value, scored
from tf_radogaga_trainers.shared.arguments import positive

HELP = "what each part of the detector is worth"
KEY = ("dataset", "variant", "seed", "settings")
COLUMNS = {"log_likelihood": 2, "auroc": 4, "average_precision": 4, "f1": 4}
MEANING = """\
- `radogaga` is `AnomalyDetector().fit` of the raw training rows.
- `kernel`, `mixture`, `columns`: its densities alone; `kernel+mixture` and so on: averaged in log density as it does,
  columns counting a half, whether they are the likeliest or not.
- `scale-deviation`, `scale-range`, `scale-ranks`: its recipe, but each column is divided by its standard deviation, or
  by its range, in place of their geometric mean; or its ranks are turned to normal quantiles.
- `rows-once`: its recipe, but rows that repeat count once in the columns too.
- `trained-prior`: log density of a RaDOGAGA(log(d)) with N = M on the rows in the detector's scale, by its factorized
  prior; `trained-residual` adds a Gaussian of what its decoder does not give back; `trained-mixture` and
  `trained-average` are the detector's mixture and its whole recipe on that latent; `trained-seeds` is the mean log
  density of {models} trainings; `trained-no-gauge` is `trained-prior` in the papers' form, without a gauge;
  `trained-early` is trained on three quarters of the rows, until those of the last are no longer likelier. Their
  likelihoods trust the isometric volume.

A latent of fewer active dimensions than the table has columns, one without a gauge, whose volume is another, and
ranks, which repeat, give no density of rows to compare; their likelihood is left out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    sources.add_arguments(parser)
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="rows of the table (default: all)")
    add("--seeds", type=positive(int), default=5, help="splits of each table (default: %(default)s)")
    add("--models", type=positive(int), default=4, help="trainings that trained-seeds averages (default: %(default)s)")
    add("--steps", type=positive(int), default=3000, help="training steps of each (default: %(default)s)")


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    return [
        (source, variant, seed, args.models, args.steps)
        for source in sources.sources(args)
        for seed in range(args.seeds)
        for variant in args.variants
    ]


def key(source: str, variant: str, seed: int, models: int, steps: int) -> tuple:
    trained = variant in (*TRAINED, *TRAINED_ALONE)
    settings = (NETWORK, BATCH, models, steps) if trained else AnomalyDetector().get_params()
    return Path(source).stem, variant, seed, digest(settings)


def groups(jobs: list[tuple]) -> list[list[tuple]]:
    """The jobs in groups that `run_together` takes: the variants of a family on one split."""
    found: dict[tuple, list[tuple]] = {}
    for job in jobs:
        source, variant, seed, *_ = job
        found.setdefault((source, seed, family(variant)), []).append(job)
    return list(found.values())


def run(*job) -> dict:
    """One record: a variant on one split of a table."""
    return run_together([job])[0]


def run_together(jobs: list[tuple]) -> list[dict]:
    """The records of jobs that differ in the variant alone, which is of one family."""
    started = time.time()
    source, first, seed, models, steps = jobs[0]
    table = sources.load(source)
    split = tabular.stratified_halves(table, seed)
    normal = split.test_labels == 0
    try:
        scores, without = family_scores(first, split.train, split.test, seed, models, steps)
    except FloatingPointError as error:
        scores, without = dict.fromkeys(VARIANTS, _raising(error)), VARIANTS
    records = []
    for job in jobs:
        likelihood: list[float] = []

        def energies(log_p=scores[job[1]], likelihood=likelihood):
            found = log_p()
            likelihood.append(float(found[normal].mean()))
            return -found

        record = scored(dict(zip(KEY, key(*job))), split.test_labels, energies, table.anomaly_share)
        known = likelihood and job[1] not in without
        records.append({**record, "log_likelihood": likelihood[0] if known else None})
    tf.keras.backend.clear_session()
    return [{**record, "wall_seconds": (time.time() - started) / len(jobs)} for record in records]


def _raising(error: Exception) -> Score:
    def score():
        raise error

    return score


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table as Markdown: of every data set the variants, and how well likelihood chooses among them."""
    wanted = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in wanted]
    names = list(dict.fromkeys(record["dataset"] for record in records))
    cells = {
        (name, variant, column): [
            record[column]
            for record in records
            if (record["dataset"], record["variant"]) == (name, variant) and record[column] is not None
        ]
        for name in names
        for variant in args.variants
        for column in COLUMNS
    }
    means = {cell: np.mean(values) for cell, values in cells.items() if values}
    lines = ["# What each part of the detector is worth", "", origin, ""]
    lines += [f"Stratified halves; training on the normal rows of one, {args.seeds} splits, mean (sd).", ""]
    lines += MEANING.format(models=args.models).splitlines()
    lines += ["", "## All tables", ""]
    lines += ["Means over the tables on which a variant can be measured.", ""]
    lines += ["| variant | AUROC | average precision | F1 | tables | s/run |", "|---" * 6 + "|"]
    for variant in args.variants:
        known = [name for name in names if (name, variant, "auroc") in means]
        shown = [
            f"{np.mean([means[name, variant, column] for name in known]):.4f}" if known else "-"
            for column in list(COLUMNS)[1:]
        ]
        seconds = np.mean([record["wall_seconds"] for record in records if record["variant"] == variant])
        lines.append(f"| {variant} | {' | '.join(shown)} | {len(known)} | {seconds:.1f} |")
    lines += ["", "## Does likelihood choose well?", ""]
    lines += ["Spearman's r over the variants that have a likelihood; the likeliest of them, and the best.", ""]
    lines += ["| table | r with AUROC | r with average precision | likeliest | its AUROC | best | its AUROC |"]
    lines += ["|---" * 7 + "|"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(_choice(means, name, args.variants))} |")
    for name in names:
        lines += ["", f"## {name}", "", "| variant | held-out log likelihood [nats] | AUROC | average precision | F1 |"]
        lines += ["|---" * 5 + "|"]
        for variant in args.variants:
            shown = [mean_or_value(cells[name, variant, column], digits) or "-" for column, digits in COLUMNS.items()]
            lines.append(f"| {variant} | {' | '.join(shown)} |")
    return "\n".join([*lines, *failures(records)]) + "\n"


def _choice(means: dict[tuple, float], name: str, variants: list[str]) -> list[str]:
    likely = {
        variant: means[name, variant, "log_likelihood"]
        for variant in variants
        if (name, variant, "log_likelihood") in means
    }
    if not likely:
        return ["-"] * 6
    metrics = {m: {v: means[name, v, m] for v in likely} for m in ("auroc", "average_precision")}
    correlations = [
        spearmanr([*likely.values()], [*metric.values()])[0] if len(set(metric.values())) > 1 else np.nan
        for metric in metrics.values()
    ]
    aurocs = metrics["auroc"]
    picked = (max(likely, key=likely.get), max(aurocs, key=aurocs.get))
    return ["-" if np.isnan(r) else f"{r:.2f}" for r in correlations] + [
        text for v in picked for text in (v, f"{aurocs[v]:.4f}")
    ]
