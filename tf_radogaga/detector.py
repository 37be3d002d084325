"""Anomaly detection on tables as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from tf_radogaga.autoencoder import Autoencoder
from tf_radogaga.checkpoints import copy_model
from tf_radogaga.detector_files import KeptInFiles
from tf_radogaga.detector_rows import has_text, matrix_of, require_few_levels, table_of, take
from tf_radogaga.explanations import shapley_values
from tf_radogaga.frames import check_names, column_names
from tf_radogaga.latent_densities import (
    MOST_ROWS,
    IsometricLatent,
    averaged,
    fit_densities,
    log_normalizer,
    log_probs,
    normalizing_rows,
    worth_averaging,
)
from tf_radogaga.preprocessing import TableEncoding

HELD_OUT = 10
"""A trained `model` does not see one row of so many, which set its threshold."""

MOST_TYPICAL_ROWS = 1000
"""Training rows that are kept for `explain`."""

_ONE_THREAD = 2**16
"""Numbers in a table below which threads wait for one another longer than they work."""

_BLOCK_ROWS = 65536


class AnomalyDetector(KeptInFiles, OutlierMixin, BaseEstimator):
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

    A column that is constant in training tells by its first other value, at the odds of Laplace's rule, 1 : n + 1.

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

    def __init__(
        self,
        model: Autoencoder | None = None,
        epochs: int = 50,
        batch_size: int = 256,
        categorical: tuple[str, ...] = (),
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
        """Fits to rows that are normal, or mostly so.

        Args:
            X: (n, M) numbers, 2 rows at least; or a data frame, or a dataset.
            y: ignored.

        Raises:
            TypeError, ValueError: rows that are too few, empty or not finite, or an argument outside its range.
        """
        if not 0 <= self.false_positive_rate < 0.5:
            raise ValueError(
                f"false_positive_rate: {self.false_positive_rate} is outside [0, 0.5); give a share of normal rows."
            )
        if self.model is not None:
            self._check_model()
        table = table_of(X)
        x = self._encoded(table, fitting=True)
        judged = self._fit_model(x) if self.model is not None else self._fit_all_densities(x)
        typical = judged[self._training_scores >= np.median(self._training_scores)]
        self._typical = take(self._raw(table, x), typical[:: -(-len(typical) // MOST_TYPICAL_ROWS)])
        return self.set_threshold(false_positive_rate=self.false_positive_rate)

    def _fit_all_densities(self, x: np.ndarray) -> np.ndarray:
        """Fits, and scores some training rows honestly; their numbers."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        judged = np.arange(0, len(x), -(-len(x) // MOST_ROWS))
        with threadpool_limits(1 if x.size < _ONE_THREAD else None):
            self._fit_densities(x, np.random.default_rng(seed))
            self._training_scores = self._left_out_scores(x, judged)
        return judged

    def _fit_model(self, x: np.ndarray | pd.DataFrame) -> np.ndarray:
        """Trains, and scores rows that were held out; their numbers."""
        judged = seen = np.arange(len(x))
        if len(x) >= 2 * HELD_OUT:
            judged = seen[HELD_OUT - 1 :: HELD_OUT]
            seen = np.setdiff1d(seen, judged)
        self.model_ = copy_model(self.model)
        self.model_.fit(take(x, seen), epochs=self.epochs, batch_size=self.batch_size, verbose=0)
        self._training_scores = self._scores(take(x, judged))
        return judged

    def _check_model(self) -> None:
        if not isinstance(self.model, Autoencoder):
            raise TypeError(f"model: {self.model!r} is no model of tf_radogaga; give one such as RaDOGAGA, or None.")
        if self.model.optimizer is None:
            raise ValueError("model: not compiled, so it cannot be trained; call model.compile('adam') first.")
        if self.categorical:
            raise ValueError(
                f"categorical: {self.categorical} is for the densities; give the model a TableEncoding as preprocess."
            )

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
        self._latent = IsometricLatent(x)
        found = fit_densities(self._latent(x), rng)
        self.held_out_ = {name: float(density.held_out - self._latent.log_scale) for name, density in found.items()}
        self.used_ = tuple(worth_averaging(found))
        self._densities = {name: found[name] for name in self.used_}
        drawn = log_probs(self._densities, normalizing_rows(self._densities, rng))
        self._log_normalizer = log_normalizer(averaged(drawn), drawn["kernel"])

    def _mean_log_prob(self, z: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        return averaged(log_probs(self._densities, z, own))

    def _scores(self, x: np.ndarray | pd.DataFrame) -> np.ndarray:
        if self.model is not None:
            model = self.model_
            return (model.log_density(x) if model.has_log_density else -model.energy(x)).numpy().astype(np.float64)
        z, places = _distinct(self._latent(x))
        return self._absolute(self._mean_log_prob(z)[places], x)

    def _absolute(self, logs: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Log densities of x, of `_mean_log_prob` of its latents."""
        return logs - self._log_normalizer - self._latent.log_scale - self._latent.surprise(x)

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
            blocks = ((rows[i : i + _BLOCK_ROWS], i) for i in range(0, max(len(table), 1), _BLOCK_ROWS))
            x = [self._encoding(self._encoding.check(*block)) for block in blocks]
            return np.concatenate(x).astype(np.float64) if self.model is None else table
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
        if self.model is not None:
            encoding = self.model.preprocess
            if framed and encoding.column_names is not None and not isinstance(encoding, TableEncoding):
                check_names(table, encoding.column_names, "X")
            return encoding if isinstance(encoding, TableEncoding) else None
        if self.categorical and not framed:
            raise TypeError(f"categorical: {self.categorical} names columns; give X as a DataFrame, not a matrix.")
        if not self.categorical and not (framed and has_text(table)):
            return None
        encoding = TableEncoding.for_table(table, self.categorical)
        require_few_levels(encoding, len(table))
        return encoding

    def _raw(self, table: Any, x: np.ndarray | pd.DataFrame) -> np.ndarray | pd.DataFrame:
        """Rows whose columns are those of X: x itself, or where columns have names and levels a table that files can
        hold."""
        return x if self._encoding is None else self._encoding.plain(table)

    def _position(self, x: np.ndarray | pd.DataFrame) -> np.ndarray:
        """Rows in the space in whose metric they are compared, (B, ...)."""
        if self.model is None:
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
        if self.model is not None and not self.model_.has_log_density:
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
            X: rows whose scores are meant, best of rows that `fit` has not seen; None: the honest scores of training
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
        if not 0 <= share < 1:
            raise ValueError(f"{name}: {share} is outside [0, 1); give a share of the rows.")
        check_is_fitted(self, "n_features_in_")
        scores = self._training_scores if X is None else self._scores(self._encoded(table_of(X)))
        self.threshold_ = float(np.quantile(scores, share))
        self.offset_ = self.threshold_
        return self

    # Explanations

    def typical_rows(self, X: Any) -> np.ndarray | pd.DataFrame:
        """For each row the nearest of the typical training rows, in the columns of X, (B, M): what it would be if it
        were normal.

        Typical are those whose honest score is the median at least; nearest, in the metric of the isometric latent, or
        in what `preprocess` makes of rows for a `model`.

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
