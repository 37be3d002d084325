"""Detectors anybody can import, for the tables; all see the same scaled rows as the models.

Those of pyod are its defaults. The deep ones need torch, which does not go with TensorFlow 2.14, and run in an
environment of their own, the one of the benchmark.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

SLOW_ROWS = 10000
"""Training rows of the `SLOW`, whose cost grows with the square of the rows or that take minutes for ten thousand more;
more are drawn down to this many."""


class HistogramScore:
    """Sum over features of -log of a 30-bin histogram density, as HBOS; one empty-bin count of 1/2."""

    def fit(self, x: np.ndarray) -> HistogramScore:
        self.edges = [np.histogram_bin_edges(column, 30) for column in x.T]
        counts = [np.histogram(column, edges)[0] + 0.5 for column, edges in zip(x.T, self.edges)]
        self.log_share = [np.log(count / count.sum()) for count in counts]
        self.log_outside = [np.log(0.5 / count.sum()) for count in counts]
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        total = np.zeros(len(x))
        for column, edges, log_share, outside in zip(x.T, self.edges, self.log_share, self.log_outside):
            bins = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, 29)
            inside = (column >= edges[0]) & (column <= edges[-1])
            total += np.where(inside, log_share[bins], outside)
        return total


class NeighbourDistance:
    """- distance to the fifth nearest training row."""

    def fit(self, x: np.ndarray) -> NeighbourDistance:
        self.neighbours = NearestNeighbors(n_neighbors=5).fit(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        return -self.neighbours.kneighbors(x)[0][:, -1]


SCIKIT_LEARN = {
    "isolation-forest": lambda seed: IsolationForest(random_state=seed),
    "one-class-svm": lambda seed: OneClassSVM(),
    "gaussian-mixture": lambda seed: GaussianMixture(4, random_state=seed),
    "local-outlier-factor": lambda seed: LocalOutlierFactor(novelty=True),
    "nearest-neighbours": lambda seed: NeighbourDistance(),
    "histogram": lambda seed: HistogramScore(),
}
PYOD = {
    "hbos": lambda seed: _pyod("hbos", "HBOS"),
    "ecod": lambda seed: _pyod("ecod", "ECOD"),
    "copod": lambda seed: _pyod("copod", "COPOD"),
    "mcd": lambda seed: _pyod("mcd", "MCD", random_state=seed),
}
DEEP = ("pyod-autoencoder", "pyod-deep-svdd", "pyod-vae")
BASELINES = (*SCIKIT_LEARN, *PYOD, *DEEP)
SLOW = ("one-class-svm", "local-outlier-factor", "nearest-neighbours", "mcd", *DEEP)

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parents[1] / ".venv-peers/bin/python"


def add_peers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peers-python",
        type=Path,
        default=PEERS_PYTHON,
        help=f"interpreter with pyod and torch, for {', '.join(DEEP)}; `make peers` builds it",
    )


def _pyod(module: str, name: str, **options: Any) -> Any:
    return getattr(importlib.import_module(f"pyod.models.{module}"), name)(**options)


def obstacle(name: str, peers_python: Path) -> str | None:
    """Why a method cannot run here, with the remedy; None where it can, as all do that are no baseline of pyod."""
    if name in PYOD and importlib.util.find_spec("pyod") is None:
        return f"{', '.join(PYOD)} need pyod: pip install '.[peers]'"
    return _peers_obstacle(peers_python) if name in DEEP else None


@functools.cache
def _peers_obstacle(python: Path) -> str | None:
    if python.exists():
        imported = subprocess.run([python, "-c", "import pyod.models.vae"], capture_output=True, text=True)
        if not imported.returncode:
            return None
    found = last_line(imported.stderr) if python.exists() else "not there"
    deep = ", ".join(DEEP)
    return f"{deep} need pyod and torch, but --peers-python {python}: {found}; make peers, or name another interpreter"


def last_line(text: str) -> str:
    return text.strip().rpartition("\n")[-1]


def usable(named: list[str] | None, all_: tuple[str, ...], peers_python: Path, option: str) -> list[str]:
    """The methods of a table: those that are named, else all that can run here; the others are told.

    Raises:
        SystemExit: one that is named cannot run.
    """
    obstacles = {name: found for name in named or all_ if (found := obstacle(name, peers_python))}
    reasons = dict.fromkeys(obstacles.values())
    if named and reasons:
        raise SystemExit(f"{option}: " + "; ".join(reasons))
    for reason in reasons:
        print(f"left out: {reason}")
    return [name for name in named or all_ if name not in obstacles]


def baseline_energies(
    name: str, train: np.ndarray, test: np.ndarray, seed: int, peers_python: Path = PEERS_PYTHON
) -> np.ndarray:
    """Scores of the test rows (higher is more anomalous) by a baseline fitted on the normal training rows.

    Raises:
        ValueError: it cannot be fitted to these rows.
    """
    if name in SLOW and len(train) > SLOW_ROWS:
        train = train[np.random.default_rng(seed).choice(len(train), SLOW_ROWS, replace=False)]
    if name in DEEP:
        return _peer_energies(name, train, test, seed, peers_python)
    if name in PYOD:
        return PYOD[name](seed).fit(train).decision_function(test)
    return -SCIKIT_LEARN[name](seed).fit(train).score_samples(test)


def _peer_energies(name: str, train: np.ndarray, test: np.ndarray, seed: int, python: Path) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", train=train, test=test)
        command = [python, HERE / "peers.py", name, str(seed), folder]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise ValueError(f"{name}: {last_line(ended.stderr)}")
        return np.load(Path(folder) / "scores.npy")
