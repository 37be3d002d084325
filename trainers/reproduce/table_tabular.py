"""Anomaly detection on tables: ICML 2020, Table 1, and the small networks of arXiv v1, Table 4."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga import AnomalyDetector, presets
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.reproduce.baselines import (
    BASELINES,
    DEEP,
    PEERS_PYTHON,
    SLOW,
    SLOW_ROWS,
    add_peers_argument,
    baseline_energies,
    usable,
)
from tf_radogaga_trainers.reproduce.records import METRICS, digest, failures, mean_sd, scored
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.fitting import Data, in_memory, train, train_together

HELP = "anomaly detection on tables (ICML 2020, Table 1)"
UNTRAINED = "untrained"
DETECTOR = "radogaga"
METHODS = (DETECTOR, *presets.MODELS, UNTRAINED, *BASELINES)
KEY = ("dataset", "model", "seed", "preset", "steps", "settings")
SMALL_BATCH = 256
"""Rows of a training step at most, where all seeds are trained at once."""

PAPER_F1 = {  # Kato et al., ICML 2020, Table 1; vae: Nakagawa et al., ICML 2021, Table 3; "small": arXiv v1, Table 4
    "paper": {
        "dagmm": {"kddcup99": 0.9500, "thyroid": 0.4755, "arrhythmia": 0.5060, "kddcup-rev": 0.9779},
        "radogaga-d": {"kddcup99": 0.9624, "thyroid": 0.6447, "arrhythmia": 0.5433, "kddcup-rev": 0.9797},
        "radogaga-log": {"kddcup99": 0.9638, "thyroid": 0.6702, "arrhythmia": 0.5373, "kddcup-rev": 0.9865},
        "vae": {"kddcup99": 0.9642, "thyroid": 0.6596, "arrhythmia": 0.4985, "kddcup-rev": 0.9880},
    },
    "small": {
        "dagmm": {"kddcup99": 0.9410, "thyroid": 0.4734, "arrhythmia": 0.4791, "kddcup-rev": 0.9494},
        "radogaga-d": {"kddcup99": 0.9531, "thyroid": 0.5851, "arrhythmia": 0.4970, "kddcup-rev": 0.9761},
        "radogaga-log": {"kddcup99": 0.9443, "thyroid": 0.5851, "arrhythmia": 0.5119, "kddcup-rev": 0.9795},
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--datasets", nargs="+", choices=list(tabular.ANOMALY_SHARE), default=["thyroid", "arrhythmia"])
    add("--models", nargs="+", choices=METHODS, help="rows of the table (default: all that can run here)")
    add("--seeds", type=positive(int), default=20, help="splits and trainings of each method (default: %(default)s)")
    add("--preset", choices=("paper", "small"), default="paper", help="network sizes: arXiv v1 Table 2 or Table 3")
    add("--steps", type=positive(int), help="cap on the training steps of the models")
    add("--data-dir", type=Path, help="folder of kddcup99_10pct.csv.gz; downloaded to ~/.cache/tf_radogaga without it")
    add_peers_argument(parser)


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    args.models = usable(args.models, METHODS, args.peers_python, "--models")
    return [
        (dataset, method, seed, args.preset, args.steps, args.data_dir, args.peers_python)
        for dataset in args.datasets
        for seed in range(args.seeds)
        for method in _rows(args)
    ]


def _rows(args: argparse.Namespace) -> list[str]:
    """No paper prints a small vae."""
    return [method for method in args.models if (method, args.preset) != ("vae", "small")]


@lru_cache(maxsize=1)
def _load(dataset: str, data_dir: Path | None, seed: int) -> tabular.Table:
    return tabular.load_table(dataset, data_dir, seed)


def planned(dataset: str, method: str, size: str, cap: int | None) -> presets.Preset | None:
    """The preset of a method with its number of steps capped, 0 for the untrained network; None for the others."""
    if method in (DETECTOR, *BASELINES):
        return None
    known = dataset if dataset in presets.DATASETS else presets.DEFAULT
    preset = presets.preset(known, "radogaga-log" if method == UNTRAINED else method, size)
    return dataclasses.replace(preset, steps=0 if method == UNTRAINED else min(preset.steps, cap or preset.steps))


def key(dataset: str, method: str, seed: int, size: str, cap: int | None, *_: Any) -> tuple:
    """What makes a record the same as another, in the order of `KEY`; `settings` is a digest of all hyperparameters."""
    preset = planned(dataset, method, size, cap)
    settings = digest(AnomalyDetector().get_params() if method == DETECTOR else preset)
    return dataset, method, seed, size, preset and preset.steps, settings


def run(
    dataset: str,
    method: str,
    seed: int,
    size: str,
    cap: int | None,
    data_dir: Path | None,
    peers_python: Path = PEERS_PYTHON,
) -> dict:
    """One record: a method on one split of a data set. A training that fails becomes a record with an error."""
    started = time.time()
    table, data = _data(dataset, seed, data_dir)
    preset = planned(dataset, method, size, cap)

    def energies(rows):
        if method == DETECTOR:
            return (
                -AnomalyDetector(categorical=table.categorical, random_state=seed).fit(data.train).score_samples(rows)
            )
        if preset is None:
            train_x, test_x = (data.preprocess(data.preprocess.check(part)).numpy() for part in (data.train, rows))
            return baseline_energies(method, train_x, test_x, seed, peers_python)
        if method == UNTRAINED:
            tf.keras.utils.set_random_seed(seed)
            model = presets.build(preset, data.preprocess)
            model.adapt_prior(data.train)
        else:
            model = train(preset, data, seed)
        return model.energy(rows).numpy()

    record = _record((dataset, method, seed, size, cap), table, data, energies)
    tf.keras.backend.clear_session()
    return {**record, "wall_seconds": time.time() - started}


def groups(jobs: list[tuple]) -> list[list[tuple]]:
    """The jobs in groups that `run_together` takes: all seeds of a method whose steps are small and their number fixed.
    Where they are large, training at once gains little and takes the memory of all."""
    found: dict[tuple, list[tuple]] = {}
    for job in jobs:
        dataset, method, seed, size, cap, data_dir, *_ = job
        preset = planned(dataset, method, size, cap)
        at_once = preset and preset.steps and not preset.patience and preset.batch_size <= SMALL_BATCH
        found.setdefault((dataset, method, size, cap, data_dir, None if at_once else seed), []).append(job)
    return list(found.values())


def run_together(jobs: list[tuple]) -> list[dict]:
    """The records of jobs that differ in the seed alone, as `run` makes each, their models trained at once."""
    started = time.time()
    dataset, method, _, size, cap, data_dir, *_ = jobs[0]
    seeds = [job[2] for job in jobs]
    loaded = [_data(dataset, seed, data_dir) for seed in seeds]
    models = train_together(planned(dataset, method, size, cap), [data for _, data in loaded], seeds)

    def energies_of(model):
        def energies(rows):
            if isinstance(model, Exception):
                raise model
            return model.energy(rows).numpy()

        return energies

    records = [_record(job, *own, energies_of(model)) for job, own, model in zip(jobs, loaded, models)]
    tf.keras.backend.clear_session()
    share = (time.time() - started) / len(jobs)
    return [{**record, "wall_seconds": share} for record in records]


def _data(dataset: str, seed: int, data_dir: Path | None) -> tuple[tabular.Table, Data]:
    table = _load(dataset, data_dir, seed if dataset == "kddcup-rev" else 0)
    return table, in_memory(table, seed)


def _record(
    job: tuple, table: tabular.Table, data: Data, energies: Callable[[tabular.Rows], np.ndarray]
) -> dict[str, Any]:
    ((rows, labels),) = data.test
    return scored(dict(zip(KEY, key(*job))), labels, lambda: energies(rows), table.anomaly_share)


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table as Markdown; `origin` tells the command and the versions that made it."""
    lines = [
        "# Anomaly detection on tables",
        "",
        origin,
        "",
        "Stratified halves; training on the normal rows of one, the anomaly share of the other flagged; min-max",
        f"scaling over the whole set; mean (sd) over the seeds. {', '.join(BASELINES)} see the same scaled rows;",
        f"{', '.join(SLOW)} are fitted on at most {SLOW_ROWS} of them. Detectors of pyod, those from hbos on, are its",
        f"defaults: ecod and copod see all test rows as they score one, {', '.join(DEEP)}",
        f"standardise for themselves. `{DETECTOR}` is",
        "`AnomalyDetector().fit` of the raw training rows, which alone set its scale. `untrained` is the network of",
        "radogaga-log before training, its prior adapted. Paper: F1 of Kato et al., ICML 2020, Table 1,",
        "or for small networks arXiv v1, Table 4; of the vae, Nakagawa et al., ICML 2021, Table 3. A method that takes",
        f"a fixed number of steps of at most {SMALL_BATCH} rows trains its seeds at once; s/run is the share of each.",
    ]
    shown = []
    for dataset in args.datasets:
        lines += ["", f"## {dataset}, {args.preset} networks", ""]
        lines += [f"| method | paper F1 | {' | '.join(METRICS)} | seeds | steps | s/run |", "|---" * 10 + "|"]
        for method in _rows(args):
            wanted = {key(dataset, method, n, args.preset, args.steps) for n in range(args.seeds)}
            chosen = [record for record in records if tuple(record[name] for name in KEY) in wanted]
            good = [record for record in chosen if record["f1"] is not None]
            paper = PAPER_F1[args.preset].get(method, {}).get(dataset)
            values = {metric: [record[metric] for record in good] for metric in METRICS}
            cells = [mean_sd(value) for value in values.values()]
            failed = f" ({len(chosen) - len(good)} failed)" if len(good) < len(chosen) else ""
            seconds = np.mean([r["wall_seconds"] for r in chosen])
            lines.append(
                f"| {method} | {paper or '-'} | {' | '.join(cells)} | {len(chosen)}{failed} |"
                f" {'-' if chosen[0]['steps'] is None else chosen[0]['steps']} | {seconds:.1f} |"
            )
            shown += chosen
    return "\n".join([*lines, *failures(shown)]) + "\n"
