"""What the tables share: one JSON record a run, kept and added to, and cells of mean (sd)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tf_radogaga._core.directories import atomic_json
from tf_radogaga.datasets import tabular

METRICS = ("f1", "precision", "recall", "auroc", "average_precision")
"""Of `tabular.protocol_metrics`."""

LATER = {
    "activation": "tanh",
    "output_activation": None,
    "transform": None,
    "patience": None,
    "filters": None,
    "map_activation": None,
    "initial_beta": 1.0,
}
"""Fields that `Preset` gained after records were written, with the value that those stand for."""


def digest(settings: Any) -> str:
    """Eight characters that change with any hyperparameter of a preset, and not with its source."""
    if dataclasses.is_dataclass(settings):
        names = [field.name for field in dataclasses.fields(settings) if field.name != "source"]
        values = {name: getattr(settings, name) for name in names}
        settings = {name: value for name, value in values.items() if name not in LATER or value != LATER[name]}
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:8]


def scored(record: dict, labels: np.ndarray, energies: Callable[[], np.ndarray], anomaly_share: float) -> dict:
    """The record with its metrics; of a training that fails, with its error instead."""
    try:
        return {**record, **tabular.protocol_metrics(labels, energies(), anomaly_share)}
    except (FloatingPointError, NotImplementedError, ValueError) as error:
        return {**record, **dict.fromkeys(METRICS), "error": str(error)}


def failures(records: list[dict]) -> list[str]:
    """Lines that name the errors of records that failed."""
    failed = [record for record in records if "error" in record]
    names = [next(record[name] for name in ("method", "model", "variant") if name in record) for record in failed]
    errors = sorted({f"- {record['dataset']}, {name}: {record['error']}" for name, record in zip(names, failed)})
    return ["", "Failed:", "", *errors] if errors else []


def mean_sd(values: list[float], digits: int = 4) -> str:
    """mean (sd) over the seeds."""
    if not values:
        return "failed"
    return f"{np.mean(values):.{digits}f} ({np.std(values, ddof=len(values) > 1):.{digits}f})"


def mean_or_value(values: list[float], digits: int) -> str:
    """mean (sd) over the seeds, of one seed its value, of none nothing."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return mean_sd(values, digits) if values else ""


def measure(table: ModuleType, jobs: list[tuple], path: Path, processes: int) -> list[dict]:
    """All records of a table, of which those in the JSON file are kept; it is rewritten after every run.

    Args:
        table: a module with `run(*job) -> record`, `key(*job) -> tuple`, and `KEY`, that tuple's names in a record;
            where jobs gain from running at once also `groups(jobs) -> lists` and `run_together(jobs) -> records`.
        jobs: what to run, where no record has the same key; failed records, which hold an `error`, are tried again.
        path: FILE.json.
        processes: runs at the same time, each with its share of the cores.
    """
    records = json.loads(path.read_text()) if path.exists() else []
    records = [record for record in records if "error" not in record]
    done = {tuple(record[name] for name in table.KEY) for record in records}
    todo = [job for job in jobs if table.key(*job) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(processes) as pool:
        futures = []
        for group in table.groups(todo) if hasattr(table, "groups") else [[job] for job in todo]:
            call = (table.run, *group[0]) if len(group) == 1 else (table.run_together, group)
            futures.append(pool.submit(_in_own_process, processes, *call))
        try:
            with tqdm(total=len(todo), unit="run") as bar:
                for future in as_completed(futures):
                    found = future.result()
                    found = found if isinstance(found, list) else [found]
                    bar.update(len(found))
                    records.extend(found)
                    records.sort(key=lambda record: [str(record[name]).zfill(9) for name in table.KEY])
                    atomic_json(path, records)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return records


def _in_own_process(processes: int, function: Callable, *arguments: Any) -> Any:
    """What the function returns. Its process ends with it, as TensorFlow does not give all memory back."""
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with ProcessPoolExecutor(1, spawn, _start_process, (processes,)) as pool:
        return pool.submit(function, *arguments).result()


def _start_process(processes: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threads = max((os.cpu_count() or 1) // processes, 1)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
