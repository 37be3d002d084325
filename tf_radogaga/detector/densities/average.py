"""The average of those densities that the rows speak for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import tf
from tf_radogaga.detector.densities.columns import IndependentColumns
from tf_radogaga.detector.densities.kernel import KernelDensity
from tf_radogaga.detector.densities.mixture import MixtureDensity
from tf_radogaga.detector.stored import Constants, restored
from tf_radogaga.priors.base import Prior

MOST_ROWS = 10_000
"""Distinct rows that densities are fitted to; of more, as many are drawn."""

NORMALIZING_ROWS = 4096
_KINDS: dict[str, Any] = {"kernel": KernelDensity, "mixture": MixtureDensity, "columns": IndependentColumns}


class AverageDensity:
    """The mean of log densities, among them kernels, made a density again: log p(z) = mean_k log P_k(z) - log Z."""

    def __init__(self, densities: dict[str, Any], log_normalizer: float):
        self.densities, self.log_normalizer = densities, log_normalizer

    @classmethod
    def fitted(cls, rows: np.ndarray, rng: np.random.Generator) -> tuple[AverageDensity, dict[str, float]]:
        """The average of the densities of rows (n, N) that are `likely`; and `held_out` of all by name."""
        found = fit_densities(rows, rng)
        used = {name: found[name] for name in likely(found)}
        drawn = log_probs(used, found["kernel"].sample(NORMALIZING_ROWS, rng))
        average = cls(used, log_normalizer(averaged(drawn), drawn["kernel"]))
        return average, {name: density.held_out for name, density in found.items()}

    @property
    def centres(self) -> np.ndarray:
        """The distinct rows that kernels and mixtures were fitted to."""
        return self.densities["kernel"].centres

    def log_prob(self, z: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """log p in nats of rows (B, N), (B,); each left out of the densities, where it is one of `centres`, `own`."""
        return averaged(log_probs(self.densities, z, own)) - self.log_normalizer

    def state(self) -> dict[str, Any]:
        parts = {name: vars(density) for name, density in self.densities.items()}
        return {"log_normalizer": self.log_normalizer, **parts}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> AverageDensity:
        parts = {name: restored(kind, state[name]) for name, kind in _KINDS.items() if name in state}
        return cls(parts, state["log_normalizer"])


class AveragedDensities(Prior, Constants):
    """An `AverageDensity` in core TensorFlow ops in float64, for export."""

    def __init__(self, average: AverageDensity):
        super().__init__()
        self.log_normalizer = average.log_normalizer
        self.parts = {name: density.graph(self.constant) for name, density in average.densities.items()}
        rows, self.latent_units = average.centres.shape
        self.block = blocks.block_rows(blocks.SERVED_KERNELS, rows)

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """-log P(z) in nats, (B, N) -> (B,) float64, of so many rows at once as memory takes."""
        z, rows = tf.cast(z, tf.float64), tf.shape(z)[0]
        size = tf.clip_by_value(rows, 1, self.block)
        blocks = tf.maximum((rows + size - 1) // size, 1)  # map_fn takes no empty list
        padded = tf.pad(z, [[0, blocks * size - rows], [0, 0]])
        shaped = tf.reshape(padded, (blocks, size, self.latent_units))
        found = tf.map_fn(lambda part: averaged(_with_wide(self.parts, part)), shaped, parallel_iterations=1)
        return self.log_normalizer - tf.reshape(found, [-1])[:rows]


def fit_densities(rows: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Densities of rows (n, N) by name: "kernel", "mixture" where there are rows enough, "columns".

    Rows that repeat count once in the first two, whose bandwidths and components they would draw to themselves.
    """
    distinct = np.unique(pd.DataFrame(rows).drop_duplicates().to_numpy(), axis=0)  # pandas hashes, NumPy sorts
    if len(distinct) > MOST_ROWS:
        distinct = distinct[rng.choice(len(distinct), MOST_ROWS, replace=False)]
    found: dict[str, Any] = {"kernel": KernelDensity(distinct, rng)}
    if MixtureDensity.allowed(distinct):
        found["mixture"] = MixtureDensity(distinct, rng)
    found["columns"] = IndependentColumns(rows, held_out=distinct)
    return found


def likely(densities: Mapping[str, Any]) -> list[str]:
    """Names of the densities that are averaged: columns where they are the likeliest of all, the others always."""
    likeliest = max(densities, key=lambda name: densities[name].held_out)
    return [name for name in densities if name in (likeliest, "kernel", "mixture")]


def log_probs(densities: Mapping[str, Any], z: np.ndarray, own: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """log p of rows (B, N) by every density, nats, (B,); `own` as in theirs."""
    return _with_wide({name: density.log_prob for name, density in densities.items()}, z, own)


def _with_wide(parts: Mapping[str, Any], z: Any, *own: Any) -> dict[str, Any]:
    """What each of the functions gives for z; that of mixtures takes what the kernels give."""
    logs = {"kernel": parts["kernel"](z, *own)}
    if "mixture" in parts:
        logs["mixture"] = parts["mixture"](z, logs["kernel"], *own)
    if "columns" in parts:
        logs["columns"] = parts["columns"](z, *own)
    return logs


def averaged(logs: Mapping[str, Any]) -> Any:
    """The mean of log densities (B,), arrays or tensors, by name: columns count a half, the others the rest."""
    joint = [log for name, log in logs.items() if name != "columns"]
    parts = [sum(joint) / len(joint)] if joint else []
    parts += [log for name, log in logs.items() if name == "columns"]
    return sum(parts) / len(parts)


def log_normalizer(average: np.ndarray, kernel: np.ndarray) -> float:
    """log Z, by which an average of log densities lacks being one, both at draws of the kernels, (B,)."""
    return float(np.logaddexp.reduce(average - kernel) - math.log(len(kernel)))
