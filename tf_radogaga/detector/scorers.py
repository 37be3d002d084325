"""The densities of an `AnomalyDetector`: fitted to its rows, and averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from tf_radogaga._core import rounding, sampling
from tf_radogaga.detector.densities import (
    MOST_ROWS,
    averaged,
    fit_densities,
    log_normalizer,
    log_probs,
    normalizing_rows,
    worth_averaging,
)
from tf_radogaga.detector.isometric_latent import IsometricLatent

_ONE_THREAD = 2**16
"""Numbers in a table below which threads wait for one another longer than they work."""


def _require_whole_numbers_apart(table: Any, varies: np.ndarray) -> None:
    """Refuses columns of integers, which know no rounding, that differ and yet are constant in float64.

    Raises:
        ValueError: with the column.
    """
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(np.asarray(table))
    for name, column in frame.loc[:, ~varies].items():
        if is_integer_dtype(column) and column.min() < column.max():
            raise ValueError(
                f"column {str(name)!r}: its whole numbers, from {column.min()} to {column.max()}, are one in float64;"
                " subtract a constant from it before fit, or name the column in categorical."
            )


OF_DENSITIES = ("held_out_", "used_", "_densities", "_latent", "_log_normalizer")
"""Attributes of a detector that `_fit_all_densities` gives it."""


class AveragesDensities:
    """What an `AnomalyDetector` without a `model` scores by."""

    def _fit_all_densities(self, table: Any, x: np.ndarray) -> np.ndarray:
        """Fits to rows (n, M) that came as this table, and scores some of them as if left out; their numbers."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        judged = sampling.places(len(x), MOST_ROWS)
        x, raw = rounding.merged(x), self._encoding is None
        # an encoding makes float32 of the size of 1
        own = rounding.relative(table if raw else np.empty(0, np.float32), x)
        self._latent = IsometricLatent(x, rounding=own, unit=0 if raw else 1)
        if raw:
            _require_whole_numbers_apart(table, self._latent.varies)
        with threadpool_limits(1 if x.size < _ONE_THREAD else None):
            self._fit_densities(x, np.random.default_rng(seed))
            self._training_scores = self._left_out_scores(x, judged)
        return judged

    def _left_out_scores(self, x: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """Scores of these training rows by number, each left out of the densities that were fitted to it. Of a row that
        is there twice, leaving one out changes nothing; and of many rows most were not drawn."""
        z = self._latent(x)
        single = ~pd.DataFrame(z).duplicated(keep=False).to_numpy()[judged]
        z, places = z[judged], {row.tobytes(): place for place, row in enumerate(self._densities["kernel"].centres)}
        own = np.array([places.get(row.tobytes(), -1) for row in z])
        left_out, logs = single & (own >= 0), np.empty(len(z))
        if left_out.any():
            logs[left_out] = self._mean_log_prob(z[left_out], own[left_out])
        if not left_out.all():
            logs[~left_out] = self._mean_log_prob(z[~left_out])
        return self._absolute(logs, x[judged])

    def _fit_densities(self, x: np.ndarray, rng: np.random.Generator) -> None:
        found = fit_densities(self._latent(x), rng)
        self.held_out_ = {name: float(density.held_out - self._latent.log_scale) for name, density in found.items()}
        self.used_ = tuple(worth_averaging(found))
        self._densities = {name: found[name] for name in self.used_}
        drawn = log_probs(self._densities, normalizing_rows(self._densities, rng))
        self._log_normalizer = log_normalizer(averaged(drawn), drawn["kernel"])

    def _mean_log_prob(self, z: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        return averaged(log_probs(self._densities, z, own))

    def _absolute(self, logs: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Log densities of x, of `_mean_log_prob` of its latents."""
        return logs - self._log_normalizer - self._latent.log_scale - self._latent.surprise(x)
