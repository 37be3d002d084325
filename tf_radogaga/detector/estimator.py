"""Anomaly detection on tables as a scikit-learn estimator."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils.validation import check_is_fitted

from tf_radogaga._core import blocks, checks, sampling
from tf_radogaga._core.frames import check_names, column_names, listed
from tf_radogaga.detector.explanations import shapley_values
from tf_radogaga.detector.files import KeptInFiles
from tf_radogaga.detector.rows import has_text, matrix_of, require_few_levels, table_of, take
from tf_radogaga.detector.scorers import OF_DENSITIES, AveragesDensities
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.preprocessing import TableEncoding
from tf_radogaga.training.copies import copy_model

HELD_OUT = 10
"""A trained `model` does not see one row of so many, which set its threshold."""

MOST_TYPICAL_ROWS = 1000
"""Training rows that are kept for `explain`."""


class AnomalyDetector(AveragesDensities, KeptInFiles, OutlierMixin, BaseEstimator):
    """Scores of rows by log densities in an isometric latent of as many dimensions as there are columns.

        z = (x - mean) / s,   s_j^2 ~ sd_j range_j               the isometric latent of the metric sum (dx_j / s_j)^2
        log p(x) = mean_k log P_k(z) - log Z - sum_j log s_j                                                 [nats]

    The P_k are kernels on the rows, Gaussian mixtures of several sizes by EM, and independent columns, a factorized
    prior. In one isometric latent each is a density of the data, so likelihoods of held-out rows compare them: columns
    count, by a half, where they are the likeliest of the three; kernels and mixtures share the rest. Logs are averaged,
    as a row is as strange as the densities find it together; Z, estimated once, makes the average a density again. No
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
        threshold_: `predict` marks rows of a lower score as anomalies (-1). That of `fit` is a quantile of honest
            scores: of training rows each left out of the densities that score it, or, with a `model`, of one training
            row in ten, which it has not seen (under 20 rows it sees all).
        held_out_: name of a density -> its mean log likelihood of held-out rows, nats, before the average.
        used_: names of the densities that are averaged.
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
            self._check_model()
        table = table_of(X)
        twin = copy.copy(self)
        for name in OF_DENSITIES:  # of a fit before, which may have been without a model
            vars(twin).pop(name, None)
        twin.model_ = self.model
        twin._fit(table, twin._encoded(table, fitting=True))
        self.__dict__ = vars(twin)  # one step, so that nothing comes between
        return self

    def _fit(self, table: Any, x: np.ndarray | pd.DataFrame) -> None:
        judged = self._fit_model(x) if self.model_ is not None else self._fit_all_densities(table, x)
        typical = judged[self._training_scores >= np.median(self._training_scores)]
        self._typical = take(self._raw(table, x), typical[sampling.places(len(typical), MOST_TYPICAL_ROWS)])
        self.set_threshold(false_positive_rate=self.false_positive_rate)

    def _fit_model(self, x: np.ndarray | pd.DataFrame) -> np.ndarray:
        """Trains, and scores rows that were held out; their numbers."""
        judged = seen = np.arange(len(x))
        if len(x) >= 2 * HELD_OUT:
            judged = seen[HELD_OUT - 1 :: HELD_OUT]
            seen = np.setdiff1d(seen, judged)
        self.model_ = copy_model(self.model)
        if self._encoding is not None:
            self._encoding = self.model_.preprocess
        self.model_.fit(take(x, seen), epochs=self.epochs, batch_size=self.batch_size, verbose=0)
        self._training_scores = self._scores(take(x, judged))
        return judged

    def _check_model(self) -> None:
        if not isinstance(self.model, Autoencoder):
            raise TypeError(f"model: {self.model!r} is no model of tf_radogaga; give one such as RaDOGAGA, or None.")
        if self.model.optimizer is None:
            raise ValueError("model: not compiled, so it cannot be trained; call model.compile('adam') first.")
        if named := listed(self.categorical):
            raise ValueError(
                f"categorical: {named} is for the densities; give the model a TableEncoding as preprocess."
            )

    def _scores(self, x: np.ndarray | pd.DataFrame) -> np.ndarray:
        if (model := self.model_) is not None:
            return (model.log_density(x) if model.has_log_density else -model.energy(x)).numpy().astype(np.float64)
        z, places = _distinct(self._latent(x))
        return self._absolute(self._mean_log_prob(z)[places], x)

    # Rows

    def _encoded(self, table: Any, fitting: bool = False) -> np.ndarray | pd.DataFrame:
        """What is scored of a user's rows, which are checked: a matrix (n, M) float64, columns of text or `categorical`
        one-hot; or the named columns that `model` takes."""
        framed = isinstance(table, pd.DataFrame)
        if fitting:
            self._encoding = self._encoding_for(table)
            self._column_names = column_names(table) if framed else None
            vars(self).pop("feature_names_in_", None)
            if framed and all(isinstance(name, str) for name in table.columns):
                self.feature_names_in_ = np.array(table.columns, object)
        elif framed:
            # detectors that were saved before know names of text alone
            check_names(table, getattr(self, "_column_names", getattr(self, "feature_names_in_", None)), "X")
        elif self._encoding is None and hasattr(self, "feature_names_in_"):
            warnings.warn(
                "X does not have valid feature names, but AnomalyDetector was fitted with feature names", stacklevel=3
            )
        return self._values(table, fitting)

    def _values(self, table: Any, fitting: bool = False) -> np.ndarray | pd.DataFrame:
        """`_encoded` of rows whose names are known to be right."""
        if self._encoding is not None:
            self.n_features_in_ = len(self._encoding.columns)
            rows = getattr(table, "iloc", table)  # slices of a frame may go by its index
            parts = blocks.slices(len(table), blocks.ROWS)
            x = [self._encoding(self._encoding.check(rows[part], part.start)) for part in parts]
            return np.concatenate(x).astype(np.float64) if self.model_ is None else table
        x = matrix_of(table, ensure_min_samples=2 if fitting else 1, estimator=self, input_name="X")
        if fitting:
            self.n_features_in_ = x.shape[1]
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[1]} features, but AnomalyDetector is expecting {self.n_features_in_} features as"
                " input; give the columns of the training rows."
            )
        return x

    def _encoding_for(self, table: Any) -> TableEncoding | None:
        framed = isinstance(table, pd.DataFrame)
        if self.model_ is not None:
            encoding = self.model_.preprocess
            if framed and encoding.column_names is not None and not isinstance(encoding, TableEncoding):
                check_names(table, encoding.column_names, "X")
            return encoding if isinstance(encoding, TableEncoding) else None
        categorical = listed(self.categorical)
        if categorical and not framed:
            raise TypeError(f"categorical: {categorical} names columns; give X as a DataFrame, not a matrix.")
        if not categorical and not (framed and has_text(table)):
            return None
        encoding = TableEncoding.for_table(table, categorical)
        require_few_levels(encoding, len(table))
        return encoding

    def _raw(self, table: Any, x: np.ndarray | pd.DataFrame) -> np.ndarray | pd.DataFrame:
        """Rows whose columns are those of X: x itself, or where columns have names and levels a table that files can
        hold."""
        return x if self._encoding is None else self._encoding.plain(table)

    def _position(self, x: np.ndarray | pd.DataFrame) -> np.ndarray:
        """Rows in the space in whose metric they are compared, (B, ...)."""
        if self.model_ is None:
            return self._latent(x)
        return np.reshape(self.model_.preprocess(self.model_.preprocess.check(x)), (len(x), -1))

    # Scores

    def score_samples(self, X: Any) -> np.ndarray:
        """log density in nats of rows, (B,), or -energy of a `model` that has none; higher is more normal.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: rows that are not like those of `fit`.
        """
        check_is_fitted(self, "threshold_")
        return self._scores(self._encoded(table_of(X)))

    def log_density(self, X: Any) -> np.ndarray:
        """log p in nats of rows, (B,): `score_samples`, where that is a density.

        Raises:
            NotImplementedError: the `model` has no density, with the reason.
            NotFittedError, TypeError, ValueError: as `score_samples`.
        """
        check_is_fitted(self, "threshold_")
        if self.model_ is not None and not self.model_.has_log_density:
            self.model_.log_density(self._typical)  # raises, and knows why
        return self.score_samples(X)

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
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            raise ValueError(f"set_threshold: got {given or 'neither'}; give quantile or false_positive_rate.")
        ((name, share),) = given.items()
        checks.in_range(name, share, 0, 1, "give a share of the rows")
        check_is_fitted(self, "n_features_in_")
        scores = self._training_scores if X is None else self._scores(self._encoded(table_of(X)))
        threshold = float(np.quantile(scores, share))
        below, above = scores[scores < threshold].max(initial=-np.inf), scores[scores >= threshold].min(initial=np.inf)
        vars(self).update(threshold_=threshold, offset_=threshold, _around_threshold=(float(below), float(above)))
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
        check_is_fitted(self, "threshold_")
        x, typical = self._encoded(table_of(X)), self._typical
        known = self._values(typical)
        return take(typical, pairwise_distances_argmin(self._position(x), self._position(known)))

    def explain(self, X: Any) -> np.ndarray:
        """What each column adds to the score, (B, M): Shapley values of the gap between a row and `typical_rows` of it.

            sum_j phi_j(x) = score(x) - score(typical row of x)                                              [nats]

        The most negative are the columns that make the row strange. A column of text has one number. Costs 8 (M - 1)
        scores for each row; the orders of columns that are averaged are fixed, see `explanations`.

        Raises:
            NotFittedError, TypeError, ValueError: as `score_samples`.
        """
        check_is_fitted(self, "threshold_")
        table = table_of(X)
        rows = self._raw(table, self._encoded(table))
        return shapley_values(lambda mixed: self._scores(self._values(mixed)), rows, self.typical_rows(table))


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without those that repeat, and the place of each of them in these: scores cost far more than this search."""
    places: dict[bytes, int] = {}
    found = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows], int)
    first = np.unique(found, return_index=True)[1]
    return rows[first], found
