"""Anomaly detection on tables as a scikit-learn estimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from tf_radogaga.latent_densities import IndependentColumns, KernelDensity, MixtureDensity
from tf_radogaga.preprocessing import TableEncoding

MOST_ROWS = 10_000
"""Distinct rows that the densities are fitted to; of more, as many are drawn."""

_NORMALIZING_ROWS = 4096
_BLOCK_ROWS = 65536


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Scores of rows by log densities in an isometric latent of as many dimensions as there are columns.

        z = (x - mean) / s,   s_j^2 ~ sd_j range_j               the isometric latent of the metric sum (dx_j / s_j)^2
        log p(x) = mean_k log P_k(z) - log Z - sum_j log s_j                                                 [nats]

    The P_k are kernels on the rows, Gaussian mixtures of several sizes by EM, and independent columns, a factorized
    prior. In one isometric latent each is a density of the data, so likelihoods of held-out rows compare them: columns
    count, by a half, where they are the likeliest of the three; kernels and mixtures share the rest. Logs are averaged,
    as a row is as strange as the densities find it together; Z, estimated once, makes the average a density again. No
    label is seen anywhere, and nothing needs tuning to a table. Rows that repeat count once in what is fitted.

    For N = M and a constant metric, the isometry that RaDOGAGA learns is a rigid motion, so the latent is written down
    and not trained; `model` takes one that is trained instead.

    A column that is constant in training tells by its first other value, at the odds of Laplace's rule, 1 : n + 1.

    Args:
        model: None for the above, or an unfitted, compiled model of this package such as `RaDOGAGA` or `BetaVAE`, which
            `fit` trains; its scores are then `log_density` where it has one, else -energy.
        epochs, batch_size: of the training of `model`.
        categorical: columns of a DataFrame to one-hot although they hold numbers; text columns always are.
        contamination: share of the training rows whose score is below the threshold that `fit` sets, in [0, 0.5).
        random_state: seed of what is drawn.

    Attributes:
        threshold_: `predict` marks rows of a lower score as anomalies (-1).
        held_out_: name of a density -> its mean log likelihood of held-out rows, nats, before the average.
        used_: names of the densities that are averaged.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Example:
        >>> detector = AnomalyDetector(random_state=0).fit(np.random.default_rng(0).normal(size=(500, 2)))
        >>> detector.predict([[0, 0], [6, 6]])
        array([ 1, -1])
    """

    def __init__(
        self,
        model: Any = None,
        epochs: int = 50,
        batch_size: int = 256,
        categorical: tuple[str, ...] = (),
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.categorical = categorical
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Fits to rows that are normal, or mostly so.

        Args:
            X: (n, M) numbers, 2 rows at least; or a DataFrame.
            y: ignored.

        Raises:
            TypeError, ValueError: rows that are too few, empty or not finite, or an argument outside its range.
        """
        if not 0 <= self.contamination < 0.5:
            raise ValueError(f"contamination: {self.contamination} is outside [0, 0.5); give a share of the rows.")
        x = self._encoded(X, fitting=True)
        if self.model is None:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            self._fit_densities(x, np.random.default_rng(seed))
        else:
            self.model.fit(x, epochs=self.epochs, batch_size=self.batch_size, verbose=0)
        sample = x[:: -(-len(x) // MOST_ROWS)]
        self._training_scores = self._scores(sample)
        return self.set_threshold(quantile=self.contamination)

    def _fit_densities(self, x: np.ndarray, rng: np.random.Generator) -> None:
        deviation, spread = x.std(axis=0), np.ptp(x, axis=0)
        self._varies = spread > 0
        self._constants, self._rows = x[0, ~self._varies], len(x)
        if not self._varies.any():
            raise ValueError(f"X: all {len(x)} rows are equal; give rows that differ.")
        deviation, spread = deviation[self._varies], spread[self._varies]
        scale = np.sqrt(deviation * spread)
        self._mean = x[:, self._varies].mean(axis=0)
        self._scale = scale * np.sqrt(np.mean(np.square(deviation / scale)))  # the mean variance of z is 1
        z = np.unique(pd.DataFrame(self._latent(x)).drop_duplicates().to_numpy(), axis=0)  # pandas hashes, NumPy sorts
        if len(z) > MOST_ROWS:
            z = z[rng.choice(len(z), MOST_ROWS, replace=False)]
        found = {"kernel": KernelDensity(z, rng)}
        if MixtureDensity.sizes(z):
            found["mixture"] = MixtureDensity(z, rng)
        found["columns"] = IndependentColumns(z)
        self.held_out_ = {name: float(density.held_out - self._log_scale) for name, density in found.items()}
        if max(self.held_out_, key=self.held_out_.get) != "columns":
            del found["columns"]
        self._densities, self.used_ = found, tuple(found)
        drawn = found["kernel"].sample(_NORMALIZING_ROWS, rng)
        weights = self._mean_log_prob(drawn) - found["kernel"].log_prob(drawn)
        self._log_normalizer = float(np.logaddexp.reduce(weights) - math.log(_NORMALIZING_ROWS))

    @property
    def _log_scale(self) -> float:
        return float(np.log(self._scale).sum())

    def _latent(self, x: np.ndarray) -> np.ndarray:
        return (x[:, self._varies] - self._mean) / self._scale

    def _mean_log_prob(self, z: np.ndarray) -> np.ndarray:
        kernel = self._densities["kernel"].log_prob(z)
        joint = [kernel]
        if "mixture" in self._densities:
            joint.append(self._densities["mixture"].log_prob(z, wide=kernel))
        if "columns" not in self._densities:
            return np.mean(joint, axis=0)
        return (np.mean(joint, axis=0) + self._densities["columns"].log_prob(z)) / 2

    def _scores(self, x: np.ndarray) -> np.ndarray:
        if self.model is not None:
            model = self.model
            return (model.log_density(x) if model.has_log_density else -model.energy(x)).numpy().astype(np.float64)
        novel = (x[:, ~self._varies] != self._constants).sum(axis=1)
        surprise = novel * math.log(self._rows + 1) + len(self._constants) * math.log1p(1 / (self._rows + 1))
        return self._mean_log_prob(self._latent(x)) - self._log_normalizer - self._log_scale - surprise

    def _encoded(self, X: Any, fitting: bool) -> np.ndarray:
        """The matrix x, (n, M) float64, of rows that are checked; columns of text or `categorical` are one-hot."""
        names = list(X.columns) if isinstance(X, pd.DataFrame) else None
        if fitting:
            if self.categorical and names is None:
                raise TypeError(f"categorical: {self.categorical} names columns; give X as a DataFrame, not a matrix.")
            textual = names is not None and not all(map(pd.api.types.is_numeric_dtype, X.dtypes))
            self._encoding = TableEncoding.for_table(X, self.categorical) if textual or self.categorical else None
            vars(self).pop("feature_names_in_", None)
            if names is not None and all(isinstance(name, str) for name in names):
                self.feature_names_in_ = np.array(names, object)
        elif names is not None and names != list(getattr(self, "feature_names_in_", names)):
            raise ValueError(f"X: columns {names} where those of fit belong, {list(self.feature_names_in_)}.")
        if self._encoding is not None:
            self.n_features_in_ = len(self._encoding.columns)
            blocks = ((X[i : i + _BLOCK_ROWS], i) for i in range(0, max(len(X), 1), _BLOCK_ROWS))
            return np.concatenate([self._encoding(self._encoding.check(*block)) for block in blocks]).astype(np.float64)
        x = check_array(X, dtype=np.float64, ensure_min_samples=2 if fitting else 1, estimator=self, input_name="X")
        if fitting:
            self.n_features_in_ = x.shape[1]
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[1]} features, but AnomalyDetector is expecting {self.n_features_in_} features as"
                " input; give the columns of the training rows."
            )
        return x

    def score_samples(self, X: Any) -> np.ndarray:
        """log density in nats of rows, (B,); higher is more normal.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: rows that are not like those of `fit`.
        """
        check_is_fitted(self, "threshold_")
        return self._scores(self._encoded(X, fitting=False))

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
            X: rows whose scores are meant, best of rows that `fit` has not seen; None: the training rows.
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
        scores = self._training_scores if X is None else self._scores(self._encoded(X, fitting=False))
        self.threshold_ = float(np.quantile(scores, share))
        self.offset_ = self.threshold_
        return self
