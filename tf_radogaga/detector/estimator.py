"""Anomaly detection on tables as a scikit-learn estimator."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils.validation import check_is_fitted

from tf_radogaga._core import blocks, checks
from tf_radogaga._core.frames import check_names, column_names, listed
from tf_radogaga.detector import files
from tf_radogaga.detector.explanations import shapley_values
from tf_radogaga.detector.export import served_model
from tf_radogaga.detector.rows import Rows, encoded, encoding_for, matrix_of, table_of, take
from tf_radogaga.detector.scorers import DensityScorer, ModelScorer, model_encoding, require_trainable, scorer_of
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.serving.export import export_saved_model

MOST_TYPICAL_ROWS = 1000
"""Training rows that are kept for `explain`."""


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Scores of rows by log densities in an isometric latent of as many dimensions as there are columns.

        z = (x - mean) / s,   s_j^2 ~ sd_j range_j               the isometric latent of the metric sum (dx_j / s_j)^2
        log p(x) = mean_k log P_k(z) - log Z - sum_j log s_j                                                 [nats]

    The P_k are kernels on the rows, Gaussian mixtures of several sizes by EM, and independent columns, a factorized
    prior. In one isometric latent each is a density of the data, so likelihoods of held-out rows compare them: columns
    count, by a half, where they are the likeliest of the three; kernels and mixtures share the rest. Logs are averaged,
    as a row is as unlikely as the densities find it together; Z, estimated once, makes the average a density again. No
    label is seen anywhere, and nothing needs tuning to a table. Rows that repeat count once in kernels and mixtures; in
    columns as often as they are there, as that is the odds of a level.

    For N = M and a constant metric, the isometry that RaDOGAGA learns is a rigid motion, so the latent is written down
    and not trained; `model` takes one that is trained instead.

    A column that is constant in training, but for rounding, tells by its first other value, at the odds of Laplace's
    rule, 1 : n + 1.

    Rows are a matrix, a frame (pandas, polars, pyarrow), or a `tf.data.Dataset` of their batches, of dicts of named
    columns, or of (batch, label), which is read into memory. A frame has the columns of `fit`, in their order. For one
    with columns of text the density is one of what `TableEncoding` makes of it: numbers scaled to 0..1, levels one-hot.

    Args:
        model: None for the above, or an unfitted, compiled model of this package such as `RaDOGAGA` or `BetaVAE`; `fit`
            trains a copy. Its scores are its `log_density` where it has one, else -energy. Columns of text are then
            for a `TableEncoding` as its `preprocess`.
        epochs, batch_size: of the training of `model`.
        categorical: columns of a frame to one-hot although they hold numbers or dates; text columns always are.
        false_positive_rate: share of normal rows that the threshold of `fit` marks as anomalies, in [0, 0.5).
        random_state: seed of what is drawn; a `model` has seeds of its own, from `tf.keras.utils.set_random_seed`
            before it was made.

    Attributes:
        threshold_: `predict` marks rows of a lower score as anomalies (-1). That of `fit` is a quantile of the
            scores of training rows, each left out of the densities that score it, or, with a `model`, of one training
            row in ten, which it has not seen (under 20 rows it sees all).
        held_out_: name of a density -> its mean log likelihood of held-out rows, nats, before the average.
        used_: names of the densities that are averaged.
        training_scores_: those scores that `threshold_` of `fit` is a quantile of, in the order of the rows.
        scorer_: what scores, see `scorers`.
        model_: the trained copy of `model`.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Example:
        >>> detector = AnomalyDetector(random_state=0).fit(np.random.default_rng(0).normal(size=(500, 2)))
        >>> detector.predict([[0, 0], [6, 6]])
        array([ 1, -1])
    """

    model_: Autoencoder | None = None

    def __init__(
        self,
        model: Autoencoder | None = None,
        epochs: int = 50,
        batch_size: int = 256,
        categorical: str | Iterable[str] = (),
        false_positive_rate: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.categorical = categorical
        self.false_positive_rate = false_positive_rate
        self.random_state = random_state

    # Fitting

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Fits to rows that are normal, or mostly so. A fit that is refused or interrupted leaves the one before.

        Args:
            X: (n, M) numbers, 2 rows at least; or a data frame, or a dataset.
            y: ignored.

        Raises:
            TypeError, ValueError: rows that are too few, empty or not finite, or an argument outside its range.
        """
        checks.in_range("false_positive_rate", self.false_positive_rate, 0, 0.5, "give a share of normal rows")
        if isinstance(self.categorical, Iterator):
            raise TypeError(
                f"categorical: a {type(self.categorical).__name__}, which can be read only once; give a list of names."
            )
        if self.model is not None:
            require_trainable(self.model, self.categorical)
        table, twin = table_of(X), copy.copy(self)
        twin.__dict__ = {name: value for name, value in self.__dict__.items() if not name.endswith("_")}  # of no fit
        twin._fit(table)
        self.__dict__ = twin.__dict__  # one step, so that nothing comes between
        return self

    def _fit(self, table: Any) -> None:
        model, framed = self.model, isinstance(table, pd.DataFrame)
        encoding = encoding_for(table, self.categorical) if model is None else model_encoding(model, table)
        self._column_names = column_names(table) if framed else None
        if framed and all(isinstance(name, str) for name in table.columns):
            self.feature_names_in_ = np.array(table.columns, object)
        x = self._matrix(table, 2) if encoding is None else encoded(table, encoding)
        self.n_features_in_ = x.shape[1] if encoding is None else len(encoding.columns)
        rows = x if encoding is None else table
        if model is None:
            fitted = DensityScorer.fitted(table, x, encoding, self.random_state)
        else:
            fitted = ModelScorer.fitted(rows, model, self.epochs, self.batch_size)
        self.__dict__.update(fitted.attributes, scorer_=fitted.scorer, training_scores_=fitted.scores)
        typical = fitted.left_out[fitted.scores >= np.median(fitted.scores)]
        self._typical = self._plain(take(rows, typical[blocks.places(len(typical), MOST_TYPICAL_ROWS)]))
        self.set_threshold(false_positive_rate=self.false_positive_rate)

    # Rows

    def _rows(self, X: Any) -> Rows:
        """A user's rows as the scorer takes them."""
        check_is_fitted(self, "scorer_")
        table, matrix = table_of(X), self.scorer_.encoding is None
        if isinstance(table, pd.DataFrame):
            check_names(table, self._column_names, "X")
        elif matrix and hasattr(self, "feature_names_in_"):
            warnings.warn(
                "X does not have valid feature names, but AnomalyDetector was fitted with feature names", stacklevel=3
            )
        if not matrix:
            return table
        x = self._matrix(table, 1)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[1]} features, but AnomalyDetector is expecting {self.n_features_in_} features as"
                " input; give the columns of the training rows."
            )
        return x

    def _matrix(self, table: Any, least: int) -> np.ndarray:
        return matrix_of(table, ensure_min_samples=least, estimator=self, input_name="X")

    def _plain(self, rows: Rows) -> Rows:
        """Rows as files and `explain` can hold them, which score the same."""
        encoding = self.scorer_.encoding
        return rows if encoding is None else encoding.plain(rows)

    # Scores

    def score_samples(self, X: Any) -> np.ndarray:
        """log density in nats of rows, (B,), or -energy of a `model` that has none; higher is more normal.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: rows that are not like those of `fit`.
        """
        rows = self._rows(X)
        return self.scorer_.scores(rows)

    def log_density(self, X: Any) -> np.ndarray:
        """log p in nats of rows, (B,): `score_samples`, where that is a density.

        Raises:
            NotImplementedError: the `model` has no density, with the reason.
            NotFittedError, TypeError, ValueError: as `score_samples`.
        """
        rows = self._rows(X)
        return self.scorer_.log_density(rows)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, by which `GridSearchCV` chooses what makes held-out rows likeliest. Scores compare
        where they are densities of the same columns in the same units; y is ignored."""
        return float(self.score_samples(X).mean())

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less `threshold_`, (B,): negative for anomalies."""
        return self.score_samples(X) - self.threshold_

    def predict(self, X: Any) -> np.ndarray:
        """+1 for normal rows, -1 for anomalies, (B,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def set_threshold(
        self, X: Any = None, *, quantile: float | None = None, false_positive_rate: float | None = None
    ) -> AnomalyDetector:
        """Moves `threshold_` to a quantile of scores.

        Args:
            X: rows whose scores are meant, best of rows that `fit` has not seen; None: the left-out scores of training
                rows, see `threshold_`.
            quantile: share of these rows to mark as anomalies, where some of them are.
            false_positive_rate: the same where all of them are normal; give one of the two.

        Raises:
            ValueError: none or both are given, or outside [0, 1).
        """
        given = {"quantile": quantile, "false_positive_rate": false_positive_rate}
        shares = {name: value for name, value in given.items() if value is not None}
        if len(shares) != 1:
            raise ValueError(f"set_threshold: got {shares or 'neither'}; give quantile or false_positive_rate.")
        ((name, share),) = shares.items()
        checks.in_range(name, share, 0, 1, "give a share of the rows")
        check_is_fitted(self, "scorer_")
        scores = self.training_scores_ if X is None else self.scorer_.scores(self._rows(X))
        threshold = float(np.quantile(scores, share))
        below, above = scores[scores < threshold].max(initial=-np.inf), scores[scores >= threshold].min(initial=np.inf)
        self.__dict__.update(threshold_=threshold, offset_=threshold, _around_threshold=(float(below), float(above)))
        return self

    # Explanations

    def typical_rows(self, X: Any) -> np.ndarray | pd.DataFrame:
        """For each row the nearest of the typical training rows, in the columns of X, (B, M): what it would be if it
        were normal.

        Typical are those whose left-out score is the median at least; nearest, in the metric of the isometric latent,
        or in what `preprocess` makes of rows for a `model`.

        Raises:
            NotFittedError, TypeError, ValueError: as `score_samples`.
        """
        return self._nearest_typical(self._rows(X))

    def _nearest_typical(self, rows: Rows) -> Rows:
        positions = self.scorer_.positions
        return take(self._typical, pairwise_distances_argmin(positions(rows), positions(self._typical)))

    def explain(self, X: Any) -> np.ndarray:
        """What each column adds to the score, (B, M): Shapley values of the gap between a row and `typical_rows` of it.

            sum_j phi_j(x) = score(x) - score(typical row of x)                                              [nats]

        The most negative are the columns that make the row anomalous. A column of text has one number. Costs 8 (M - 1)
        scores for each row; the orders of columns that are averaged are fixed, see `explanations`.

        Raises:
            NotFittedError, TypeError, ValueError: as `score_samples`.
        """
        rows = self._rows(X)
        return shapley_values(self.scorer_.scores, self._plain(rows), self._nearest_typical(rows))

    # Files, copies and other processes

    def save(self, directory: str | Path) -> None:
        """Writes the fitted detector to a directory, all of it or nothing: JSON, arrays, and a `model` as `save_model`
        does. A directory that already holds a detector is replaced only after the new one is complete.

        Raises:
            NotFittedError: before `fit`.
            FileExistsError: the directory holds something else than a detector.
            TypeError: a part of the `model` could not be read again, named.
        """
        check_is_fitted(self, "threshold_")
        own = {"categorical": listed(self.categorical), "scorer_": self.scorer_.state()}
        state = {**self.__dict__, **own}
        files.write({name: value for name, value in state.items() if name not in ("model", "model_")}, directory)

    @classmethod
    def load(cls, directory: str | Path) -> AnomalyDetector:
        """Reads a detector written by `save`; its `model` is the trained one.

        Raises:
            FileNotFoundError: no detector there.
            ValueError: a file is damaged, named.
        """
        detector = cls()
        detector.__dict__.update(files.read(directory))
        if (model := detector.scorer_.model) is not None:
            detector.__dict__.update(model=model, model_=model)
        return detector

    def export(
        self,
        directory: str | Path,
        version: int | None = None,
        card: Mapping[str, Any] | None = None,
        warmup_rows: Any = None,
    ) -> Path:
        """Writes `<directory>/<version>/`, a SavedModel of the scores for TensorFlow Serving; see `export_saved_model`.

        serving_default takes `features` (B, M) float32, or one input a column where some are text, and returns energy
        (-score), log_density (nats), anomaly and valid; latent and reconstruction of the other signatures are those of
        the isometric latent. A `model` is exported as it is, with the threshold of the detector: its energy is -log
        P(z), and anomaly tells by the scores.

        Args:
            directory, version, card, warmup_rows: as base_dir and the others of `export_saved_model`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: float32, which a server takes, holds too little of a column, named: served scores would differ
                from those of the detector by more than 1e-4 nats.
            FileExistsError, TypeError, ValueError, ImportError, OSError: as `export_saved_model`.
        """
        check_is_fitted(self, "threshold_")
        return export_saved_model(served_model(self), directory, version, card, warmup_rows)

    def __copy__(self) -> AnomalyDetector:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> AnomalyDetector:
        twin = memo[id(self)] = copy.copy(self)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        if self.model is not None or self.model_ is not None:
            raise TypeError(
                "model: a TensorFlow model is not pickled; use save and AnomalyDetector.load, and n_jobs=1 in searches."
            )
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_densities" in state:
            state = files.upgraded(state)
            state["scorer_"] = scorer_of(state["scorer_"])
        super().__setstate__(state)
