"""What an `AnomalyDetector` scores by: densities that are written down, or a model that it trains.

Scorers take checked rows (B, M): a matrix float64, or where they have an `encoding` a frame. Their `scores` are (B,)
float64, higher where rows are more normal; `log_density` is nats, (B,), or a NotImplementedError where there is none;
`positions` (B, ...) are in the space in whose metric rows are compared; and `state` is arrays, plain values and a
model, of which `scorer_of` makes a scorer again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Union

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from tf_radogaga._core import blocks, rounding
from tf_radogaga._core.frames import check_names, listed
from tf_radogaga.detector.densities.average import MOST_ROWS, AverageDensity
from tf_radogaga.detector.isometric_latent import IsometricLatent
from tf_radogaga.detector.rows import Rows, encoded, take
from tf_radogaga.detector.stored import restored
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.preprocessing import TableEncoding
from tf_radogaga.training.copies import copy_model

HELD_OUT = 10
"""A trained `model` does not see one row of so many, which set its threshold."""

_ONE_THREAD = 2**16
"""Numbers in a table below which threads wait for one another longer than they work."""


class Fitted(NamedTuple):
    scorer: Scorer
    left_out: np.ndarray  # numbers of training rows
    scores: np.ndarray  # of these, as if they had not been seen
    attributes: dict[str, Any]  # of the detector


class DensityScorer:
    """log p(x) by the average of densities in the isometric latent of rows, or of what the encoding makes of them."""

    model = None

    def __init__(self, encoding: TableEncoding | None, latent: IsometricLatent, average: AverageDensity):
        self.encoding, self.latent, self.average = encoding, latent, average

    @classmethod
    def fitted(cls, table: Any, x: np.ndarray, encoding: TableEncoding | None, random_state: Any) -> Fitted:
        """Of rows (n, M) that came as this table; some of them are scored as if left out."""
        rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
        left_out = blocks.places(len(x), MOST_ROWS)
        x, raw = rounding.merged(x), encoding is None
        # an encoding makes float32 of the size of 1
        own = rounding.relative(table if raw else np.empty(0, np.float32), x)
        latent = IsometricLatent(x, rounding=own, unit=0 if raw else 1)
        if raw:
            _require_whole_numbers_apart(table, latent.varies)
        with threadpool_limits(1 if x.size < _ONE_THREAD else None):
            average, held_out = AverageDensity.fitted(latent(x), rng)
            scorer = cls(encoding, latent, average)
            scores = scorer._left_out_scores(x, left_out)
        held_out = {name: float(likelihood - latent.log_scale) for name, likelihood in held_out.items()}
        return Fitted(scorer, left_out, scores, {"held_out_": held_out, "used_": tuple(average.densities)})

    def _left_out_scores(self, x: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """Scores of these training rows by number, each left out of the densities that were fitted to it. Of a row that
        is there twice, leaving one out changes nothing; and of many rows most were not drawn."""
        z = self.latent(x)
        single = ~pd.DataFrame(z).duplicated(keep=False).to_numpy()[left_out]
        z, places = z[left_out], {row.tobytes(): place for place, row in enumerate(self.average.centres)}
        own = np.array([places.get(row.tobytes(), -1) for row in z])
        known, logs = single & (own >= 0), np.empty(len(z))
        for part, left in ((known, own[known]), (~known, None)):
            if part.any():
                logs[part] = self.average.log_prob(z[part], left)
        return self.latent.log_density(logs, x[left_out])

    def scores(self, rows: Rows) -> np.ndarray:
        x = encoded(rows, self.encoding)
        z, places = _distinct(self.latent(x))
        return self.latent.log_density(self.average.log_prob(z)[places], x)

    log_density = scores

    def positions(self, rows: Rows) -> np.ndarray:
        return self.latent(encoded(rows, self.encoding))

    def state(self) -> dict[str, Any]:
        encoding = self.encoding and {"columns": self.encoding.columns, "weights": self.encoding.scaling.get_weights()}
        return {"encoding": encoding, "latent": vars(self.latent), "average": self.average.state()}

    def __reduce__(self) -> tuple:
        return scorer_of, (self.state(),)


class ModelScorer:
    """By a trained model: its log density where it has one, else -energy."""

    def __init__(self, model: Autoencoder):
        self.model = model

    @classmethod
    def fitted(cls, rows: Rows, model: Autoencoder, epochs: int, batch_size: int) -> Fitted:
        """Of a copy of the model that is trained on most rows; the others are scored."""
        left_out = seen = np.arange(len(rows))
        if len(rows) >= 2 * HELD_OUT:
            left_out = seen[HELD_OUT - 1 :: HELD_OUT]
            seen = np.setdiff1d(seen, left_out)
        scorer = cls(copy_model(model))
        scorer.model.fit(take(rows, seen), epochs=epochs, batch_size=batch_size, verbose=0)
        return Fitted(scorer, left_out, scorer.scores(take(rows, left_out)), {"model_": scorer.model})

    @property
    def encoding(self) -> TableEncoding | None:
        return model_encoding(self.model)

    def scores(self, rows: Rows) -> np.ndarray:
        return self.log_density(rows) if self.model.has_log_density else -self.model.energy(rows).numpy().astype(float)

    def log_density(self, rows: Rows) -> np.ndarray:
        return self.model.log_density(rows).numpy().astype(np.float64)

    def positions(self, rows: Rows) -> np.ndarray:
        preprocess = self.model.preprocess
        return np.reshape(preprocess(preprocess.check(rows)), (len(rows), -1))

    def state(self) -> dict[str, Any]:
        return {"model": self.model}


Scorer = Union[DensityScorer, ModelScorer]


def scorer_of(state: Mapping[str, Any]) -> Scorer:
    """The scorer of a `state`."""
    if "model" in state:
        return ModelScorer(state["model"])
    if (encoding := state["encoding"]) is not None:
        encoding = TableEncoding(encoding["columns"])
        encoding.scaling.set_weights(state["encoding"]["weights"])
    latent, average = restored(IsometricLatent, state["latent"]), AverageDensity.from_state(state["average"])
    return DensityScorer(encoding, latent, average)


def require_trainable(model: Any, categorical: Any) -> None:
    """TypeError or ValueError where it is no model, is not compiled, or columns are named, which it encodes itself."""
    if not isinstance(model, Autoencoder):
        raise TypeError(f"model: {model!r} is no model of tf_radogaga; give one such as RaDOGAGA, or None.")
    if model.optimizer is None:
        raise ValueError("model: not compiled, so it cannot be trained; call model.compile('adam') first.")
    if named := listed(categorical):
        raise ValueError(f"categorical: {named} is for the densities; give the model a TableEncoding as preprocess.")


def model_encoding(model: Autoencoder, table: Any = None) -> TableEncoding | None:
    """The `preprocess` of a model where it takes a frame; ValueError where it takes other columns than the table's."""
    preprocess = model.preprocess
    if isinstance(preprocess, TableEncoding):
        return preprocess
    if isinstance(table, pd.DataFrame) and preprocess.column_names is not None:
        check_names(table, preprocess.column_names, "X")
    return None


def _require_whole_numbers_apart(table: Any, varies: np.ndarray) -> None:
    """ValueError where columns of integers, which know no rounding, differ and yet are constant in float64."""
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(np.asarray(table))
    for name, column in frame.loc[:, ~varies].items():
        if is_integer_dtype(column) and column.min() < column.max():
            raise ValueError(
                f"column {str(name)!r}: its whole numbers, from {column.min()} to {column.max()}, are one in float64;"
                " subtract a constant from it before fit, or name the column in categorical."
            )


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without those that repeat, and the place of each of them in these: scores cost far more than this search."""
    places: dict[bytes, int] = {}
    found = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows], int)
    first = np.unique(found, return_index=True)[1]
    return rows[first], found
