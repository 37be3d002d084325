"""The process of one side of `bench.py`: reads one request a line, and answers it by one line of JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

SCORING_BATCH = 16384
"""Rows that every side scores at once, where it lets one choose."""


class Task(NamedTuple):
    """What `task.py` wrote: rows (n, M) float32 to train on and to score, and the sizes of the preset."""

    train: np.ndarray
    test: np.ndarray
    units: list[int]
    latent_units: int
    components: int
    estimation_units: list[int]
    batch_size: int


class Side(NamedTuple):
    """`train` gives the seconds of one epoch, without what a fit does before and after it; `score` takes the rows."""

    train: Callable[[], float]
    score: Callable[[], Any]


class Stopwatch:
    """Wraps functions, and holds the seconds of the last call."""

    seconds = float("nan")

    def timed(self, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds = time.perf_counter() - started
            return result

        return call


def answer(side: Side, requests: Iterable[str], answers: TextIO) -> None:
    """Answers `train` and `score` until the requests end: seconds of the whole call, of its epoch, and the peak memory
    of the process so far, in megabytes."""
    watch = Stopwatch()
    for request in requests:
        if request.strip() == "score":
            side.score()  # untimed: a process that has waited for others gets its memory back page by page
        result = watch.timed(getattr(side, request.strip()))()
        numbers = {"seconds": watch.seconds, "peak_memory": peak_memory()}
        if request.strip() == "train":
            numbers["epoch"] = result
        print(json.dumps(numbers), file=answers, flush=True)


def peak_memory() -> float:
    """The greatest resident memory of this process so far, in megabytes."""
    status = Path("/proc/self/status")
    if not status.exists():  # macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    fields = dict(
        line.split(":", 1) for line in status.read_text().splitlines()
    )  # on Linux rusage starts at a parent's
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6


def main(sides: dict[str, Callable[[Task], Side]], packages: tuple[str, ...]) -> None:
    """Serves the side and the task that the command line names; the first answer tells the versions of packages."""
    name, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    with np.load(f"{folder}/rows.npz") as rows, open(f"{folder}/task.json") as sizes:
        task = Task(**rows, **json.load(sizes)["network"])
    side = sides[name](task)
    print(json.dumps({package: importlib.metadata.version(package) for package in packages}), file=answers, flush=True)
    answer(side, sys.stdin, answers)
