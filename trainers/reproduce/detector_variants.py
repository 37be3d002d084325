"""The detector taken apart: its densities alone and averaged, in other scales, on a trained latent."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import tensorflow as tf
from sklearn.preprocessing import QuantileTransformer

import tf_radogaga
from tf_radogaga import AnomalyDetector, DenseNetwork, FactorizedPrior, RaDOGAGA
from tf_radogaga.detector.densities.average import (
    NORMALIZING_ROWS,
    averaged,
    fit_densities,
    likely,
    log_normalizer,
    log_probs,
)
from tf_radogaga.detector.isometric_latent import IsometricLatent

keras = tf.keras
Score = Callable[[], np.ndarray]

DETECTOR = "radogaga"
DENSITIES = (
    "kernel",
    "mixture",
    "columns",
    "kernel+mixture",
    "kernel+columns",
    "mixture+columns",
    "kernel+mixture+columns",
)
SCALES = {"scale-deviation": "deviation", "scale-range": "range", "scale-ranks": "ranks"}
TRAINED = ("trained-prior", "trained-residual", "trained-mixture", "trained-average", "trained-seeds")
TRAINED_ALONE = ("trained-no-gauge", "trained-early")
ONCE = "rows-once"
VARIANTS = (DETECTOR, *DENSITIES, *SCALES, ONCE, *TRAINED, *TRAINED_ALONE)
NETWORK = {"units": (64,), "filters": (3, 3, 3), "lambda1": 100, "lambda2": 600, "learning_rate": 1e-3}
BATCH = 256
LOOKS = 10
"""How often trained-early may look at the rows that are held out."""


def family(variant: str) -> str:
    """Variants of one family share what is fitted."""
    return "trained" if variant in TRAINED else "densities" if variant in DENSITIES else variant


def family_scores(
    variant: str, train: np.ndarray, test: np.ndarray, seed: int, models: int, steps: int
) -> tuple[dict[str, Score], Collection[str]]:
    """log p of the test rows by every variant of a family, and the variants that are no density of all columns."""
    if variant == DETECTOR:
        return {DETECTOR: lambda: AnomalyDetector(random_state=seed).fit(train).score_samples(test)}, ()
    rng = np.random.default_rng(np.random.RandomState(seed).randint(2**31 - 1))  # as the detector draws
    z, test_z, base = in_latent(train, test, SCALES.get(variant, "geometric"), seed)
    if family(variant) == "trained":
        scores, without = trained_scores(z, test_z, [seed + 1000 * n for n in range(models)], steps, rng)
    elif variant in TRAINED_ALONE:
        early = variant == "trained-early"
        model = trained_early(z, seed, steps, rng) if early else trained_models(z, [seed], steps, gauge=None)[0]
        scores, without = {variant: _log_density(model, test_z)}, _partial({variant: [model]}) if early else {variant}
    elif variant == ONCE:
        scores, without = {ONCE: Averages(np.unique(z, axis=0), test_z, rng).chosen}, ()
    else:
        averages = Averages(z, test_z, rng)
        scores, without = {name: averages.named(name) for name in DENSITIES}, ("scale-ranks",)
        scores[variant] = averages.chosen if variant in SCALES else scores[variant]
    return {name: _shifted(log_p, base) for name, log_p in scores.items()}, without


def _shifted(log_p: Score, base: np.ndarray) -> Score:
    return lambda: log_p() + base


def in_latent(train: np.ndarray, test: np.ndarray, scale: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z of raw rows, of training (n, N) and of test (B, N), each column divided by a scale; and what log p(x) of the
    test rows adds to log P(z), (B,).

    Args:
        scale: "deviation", "range", "geometric", their geometric mean, or "ranks", to normal quantiles.
        seed: of the ranks.
    """
    if scale == "ranks":
        ranks = QuantileTransformer(
            n_quantiles=min(1000, len(train)), output_distribution="normal", random_state=seed
        ).fit(train)
        train, test = ranks.transform(train), ranks.transform(test)
    own = {"deviation": train.std(axis=0), "range": np.ptp(train, axis=0), "ranks": np.ones(train.shape[1])}
    latent = IsometricLatent(train, own.get(scale))
    return latent(train), latent(test), -latent.log_scale - latent.surprise(test)


class Averages:
    """Averages of the detector's densities, fitted to rows z (n, N), at rows `test` (B, N)."""

    def __init__(self, z: np.ndarray, test: np.ndarray, rng: np.random.Generator):
        densities = fit_densities(z, rng)
        self.likely = likely(densities)
        self._drawn = log_probs(densities, densities["kernel"].sample(NORMALIZING_ROWS, rng))
        self._at = log_probs(densities, test)

    def named(self, names: str) -> Score:
        """Of log p at the test rows, normalised; names joined by +."""

        def log_p():
            chosen = names.split("+")
            if missing := [name for name in chosen if name not in self._at]:
                raise ValueError(f"{missing[0]}: too few rows for so many columns.")
            at, drawn = (averaged({name: logs[name] for name in chosen}) for logs in (self._at, self._drawn))
            return at - log_normalizer(drawn, self._drawn["kernel"])

        return log_p

    def chosen(self) -> np.ndarray:
        """As the detector chooses."""
        return self.named("+".join(self.likely))()


@keras.utils.register_keras_serializable(package="tf_radogaga_trainers")
class ResidualNetwork(DenseNetwork):
    """x + a dense network that starts at 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dense[-1].kernel.assign(tf.zeros_like(self.dense[-1].kernel))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + super().call(x)


def untrained(width: int, seed: int, steps: int, gauge: str | None = "learned") -> RaDOGAGA:
    """RaDOGAGA(log(d)) with N = M, compiled."""
    keras.utils.set_random_seed(seed)
    model = RaDOGAGA(
        *(ResidualNetwork(width, NETWORK["units"], width) for _ in range(2)),
        FactorizedPrior(width, NETWORK["filters"], init_scale=30.0),
        NETWORK["lambda1"],
        NETWORK["lambda2"],
        gauge=gauge,
    )
    decay = keras.optimizers.schedules.CosineDecay(NETWORK["learning_rate"], steps)
    model.compile(keras.optimizers.Adam(decay))
    return model


def trained_models(z: np.ndarray, seeds: list[int], steps: int, gauge: str | None = "learned") -> list[RaDOGAGA]:
    """Trained at once on rows z (n, M), one a seed; those that diverge are left out.

    Raises:
        FloatingPointError: all diverge.
    """
    models = [untrained(z.shape[1], seed, steps, gauge) for seed in seeds]
    options = {"batch_size": min(BATCH, len(z)), "steps_per_epoch": steps, "verbose": 0}
    errors = tf_radogaga.fit_together(models, [z] * len(models), **options)
    if len(errors) == len(models):
        raise FloatingPointError(str(errors[0]))
    return [model for number, model in enumerate(models) if number not in errors]


def trained_early(z: np.ndarray, seed: int, steps: int, rng: np.random.Generator) -> RaDOGAGA:
    """Trained on three quarters of rows z (n, M) and stopped where the log density of the last is highest.

    Raises:
        FloatingPointError: it diverges.
    """
    held_out, fitted = np.split(z[rng.permutation(len(z))], [len(z) // 4])
    model, highest = untrained(z.shape[1], seed, steps), -np.inf
    passes = max(round(steps / LOOKS / math.ceil(len(fitted) / BATCH)), 1)
    for _ in range(LOOKS):
        model.fit(fitted, batch_size=BATCH, epochs=passes, verbose=0)
        likelihood = model.log_density(held_out).numpy().mean()
        if likelihood <= highest:
            break
        highest, weights = likelihood, model.get_weights()
    model.set_weights(weights)
    return model


def _log_density(model: RaDOGAGA, rows: np.ndarray) -> Score:
    return lambda: model.log_density(rows).numpy().astype(np.float64)


def _partial(used: dict[str, list[RaDOGAGA]]) -> set[str]:
    """Names of those among whose models one has a density of fewer than all dimensions."""
    return {name for name, models in used.items() if any(m.active_dimensions < m.latent_units for m in models)}


def trained_scores(
    z: np.ndarray, test: np.ndarray, seeds: list[int], steps: int, rng: np.random.Generator
) -> tuple[dict[str, Score], set[str]]:
    """log p at rows `test` (B, M) by name, and the names of those that are no density of all M dimensions."""
    models = trained_models(z, seeds, steps)
    model = models[0]
    unit = math.sqrt(model.metric_scale)  # of the latent, in that of z
    averages = Averages(*(model.encode(rows).numpy().astype(np.float64) / unit for rows in (z, test)), rng)

    log_density = _log_density(model, test)

    def with_residual():
        spare = z.shape[1] - model.active_dimensions
        squares = [np.square(rows - model.decode(model.encode(rows)).numpy()).sum(axis=1) for rows in (z, test)]
        variance = squares[0].mean() / max(spare, 1)
        return log_density() - squares[1] / (2 * variance) - spare / 2 * math.log(2 * math.pi * variance)

    scores = {
        "trained-prior": log_density,
        "trained-residual": with_residual,
        "trained-mixture": averages.named("mixture"),
        "trained-average": averages.chosen,
        "trained-seeds": lambda: tf_radogaga.mean_log_density(models, test).numpy().astype(np.float64),
    }
    return scores, _partial({"trained-prior": models[:1], "trained-seeds": models})
