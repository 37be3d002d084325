"""Detectors anybody can import, for the tables; all see the same scaled rows as the models."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

SLOW_ROWS = 10000
"""Training rows of detectors whose cost grows with the square of the rows; more are drawn down to this many."""


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


BASELINES = {
    "isolation-forest": lambda seed: IsolationForest(random_state=seed),
    "one-class-svm": lambda seed: OneClassSVM(),
    "gaussian-mixture": lambda seed: GaussianMixture(4, random_state=seed),
    "local-outlier-factor": lambda seed: LocalOutlierFactor(novelty=True),
    "nearest-neighbours": lambda seed: NeighbourDistance(),
    "histogram": lambda seed: HistogramScore(),
}
SLOW = ("one-class-svm", "local-outlier-factor", "nearest-neighbours")


def baseline_energies(name: str, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Scores of the test rows (higher is stranger) by a baseline fitted on the normal training rows."""
    if name in SLOW and len(train) > SLOW_ROWS:
        train = train[np.random.default_rng(seed).choice(len(train), SLOW_ROWS, replace=False)]
    return -BASELINES[name](seed).fit(train).score_samples(test)
