"""A RaDOGAGA of rows on a curved surface, with nothing to choose."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from tf_radogaga._core import checks
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.isometry import measures, neighbourhoods
from tf_radogaga.isometry.verdicts import LEAST_RECONSTRUCTION, MOST_ROUND_TRIP, MOST_TORN
from tf_radogaga.models import residual_laws
from tf_radogaga.models.radogaga import RaDOGAGA
from tf_radogaga.networks import DenseNetwork
from tf_radogaga.preprocessing import PassThrough
from tf_radogaga.priors.mixture import MixturePrior
from tf_radogaga.unfolding.charts import chart, noise_share

WIDTH, COMPONENTS = 128, 8
"""Of the two hidden layers of each network, and of the mixture at most."""

NOISE_SHARE = 1 / 16_000
"""Variance of the noise along one latent unit, over the total variance of the rows."""

LAMBDA_RATIO = 10.0
"""lambda1 / lambda2."""

BATCH, STEPS, RATE = 256, 4000, 2e-3
START_STEPS, START_RATE = 3000, 3e-3

NOISE_MISSED = 1.5
"""What no latent reconstructs, at most, over `charts.noise_share`, which misses up to a third of the noise."""

MOST_NOISE = 0.1
"""Share of the variance that is taken for noise, at most; in few rows, dimensions look like noise."""

LEAST_ROWS, MOST_UNITS = 200, 16
"""Distinct rows, and latent units, with which a chart is sought."""

CHECKED_ROWS = 4000
SHEET = "local dimension"


def fit_isometric(
    rows: Any, latent_units: int | None = None, starts: int = 3, seed: int = 0, verbose: int | str = "auto"
) -> RaDOGAGA:
    """Trains a RaDOGAGA on rows that lie on a curved surface, so that its latent is an isometric copy of them.

    Networks that start anywhere can fold a rolled surface, and no training unfolds it. So they first learn a `chart`,
    the coordinates of the rows along the surface, or principal components where these leave out hardly more than noise.
    Then RaDOGAGA(d) is trained, with a "flow" gauge and a prior that is a mean of several mixtures (`priors.stacking`).
    If the latent still is no copy of the rows, the training starts anew. Only reconstruction, round trip, tears and the
    local dimension decide this; `isometry_report` tells how isometric the latent is.

    Args:
        rows: numeric (n, M), a matrix or a frame, all columns in one unit: scale them before if they are not. Leave
            out rows that are thousands of times as far off as the others; scales are of the variance.
        latent_units: N, the dimension of the surface. None: from 1 on, as long as one more makes a held-out tenth of
            the distinct rows (100 at least) likelier, by a fifth of a nat of all space; each costs a training. A latent
            that tells that it has a dimension too many, or a training that fails, ends the search. The model then knows
            the law of residuals.
        starts: how many trainings of one N at most; the search takes one of each. If no latent is a copy of the rows,
            the function warns and returns the model that reconstructs best. Up to a tenth of the variance, what noise
            carries off the surface is measured and not asked of a reconstruction; the certificate does ask it.
        seed: of weights, noise, batches and the rows that charts take. The seeds of the process are set by it.
        verbose: as Keras takes it.

    Returns:
        The model, fitted. It takes raw rows, and `log_density` is in nats in their coordinates.

    Raises:
        TypeError, ValueError: bad rows, naming column and row; fewer than `LEAST_ROWS` distinct ones, or half as many
            again where N is to be found; latent_units not in 1 to M, or above `MOST_UNITS`; starts below 1.
        FloatingPointError: the training diverged.
    """
    starts, seed = _whole("starts", starts), _whole("seed", seed, least=0)
    preprocess = PassThrough(_width(rows))
    x = np.asarray(preprocess.check(rows))
    most = min(x.shape[1], MOST_UNITS)
    if latent_units is not None:
        latent_units = _whole("latent_units", latent_units)
        checks.require("latent_units", latent_units, latent_units <= x.shape[1], f"at most {x.shape[1]}, the columns")
        checks.require("latent_units", latent_units, latent_units <= MOST_UNITS, f"at most {MOST_UNITS}")
    least = LEAST_ROWS + (0 if latent_units else LEAST_ROWS // 2)
    distinct, of = np.unique(x, axis=0, return_inverse=True)
    if len(distinct) < least:
        raise ValueError(f"rows: {len(distinct)} distinct ones; {least} are needed to tell the shape of a surface.")
    held_out = np.empty((0, x.shape[1]), x.dtype)
    fits = []
    if latent_units is None:
        taken = np.zeros(len(distinct), bool)  # equal rows stay together: nobody has seen those that are held out
        taken[: max(len(distinct) // 10, 2 * residual_laws.LEAST_ROWS)] = True
        apart = np.random.default_rng(seed).permutation(taken)[of.reshape(-1)]
        held_out, x = x[apart], x[~apart]
        latent_units, first = _likeliest(x, held_out, most, preprocess, seed, verbose)
        fits.append(first)
    while len(fits) < starts and (not fits or fits[-1].trouble):
        fits.append(_fit(x, latent_units, preprocess, seed + len(fits), verbose))
    model, _, trouble = fits[-1] if not fits[-1].trouble else max(fits, key=_Fit.reconstructed)
    if trouble:
        remedy = (
            "it has a dimension too many, so there is no density in nats; give fewer, unless the rows close upon"
            " themselves"
            if SHEET in trouble
            else "where it is folded or torn, densities are wrong; give more units or more rows"
        )
        warnings.warn(
            f"latent_units: no latent of {latent_units} units is a copy of the rows ({trouble}), in {len(fits)} starts;"
            f" {remedy}.",
            stacklevel=2,
        )
    if len(held_out) and model.residuals.undefined() is None:
        model.adapt_residuals(held_out)
    return model


class _Fit(NamedTuple):
    """A trained model, its reconstructed share, and what tells that its latent is no copy of the rows, or nothing."""

    model: RaDOGAGA
    share: float
    trouble: str

    def reconstructed(self) -> float:
        return float(np.nan_to_num(self.share, nan=-np.inf))


def _likeliest(
    x: np.ndarray, held_out: np.ndarray, most: int, preprocess: PassThrough, seed: int, verbose: int | str
) -> tuple[int, _Fit]:
    """The number of units up to which each one more makes the held-out rows likelier, and its fit."""
    best: tuple[int, _Fit] | None = None
    nats = np.empty(0)
    for units in range(1, most + 1):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "latent_units: the rows lie on sheets")  # which ends the search
            try:
                fit = _fit(x, units, preprocess, seed, verbose)
            except (FloatingPointError, tf.errors.InvalidArgumentError):
                if best is None:
                    raise
                break
        found = _nats(fit.model, held_out)
        if best is not None and (
            SHEET in fit.trouble or not residual_laws.gains(found - nats, residual_laws.UNIT_GAIN)
        ):
            break
        best, nats = (units, fit), found
    return best  # type: ignore[return-value]  # most is at least 1


def _nats(model: RaDOGAGA, rows: np.ndarray) -> np.ndarray:
    """log p of these rows in all space, (B,), by the residuals of the other half of them; -inf where there is none."""
    nats = np.full(len(rows), -np.inf)
    if model.has_log_density and model.residuals.undefined() is None:
        for half in (0, 1):
            model.adapt_residuals(rows[half::2])
            nats[1 - half :: 2] = model.log_density(rows[1 - half :: 2], space="ambient")
    return nats


def _fit(x: np.ndarray, units: int, preprocess: PassThrough, seed: int, verbose: int | str) -> _Fit:
    noise = noise_share(x, units, seed)
    model = _fitted(x, units, _start(x, units, noise, seed), preprocess, seed, verbose)
    some = x[np.random.default_rng(seed).permutation(len(x))[:CHECKED_ROWS]]
    return _Fit(model, *_trouble(model, some, noise))


def _start(x: np.ndarray, units: int, noise: float, seed: int) -> np.ndarray:
    """Coordinates (n, units): principal components where they leave out hardly more than noise, as tangent planes are
    lost in noise that is longer than neighbours are far, else a chart."""
    principal = PCA(units, random_state=seed).fit(x.astype(np.float64))
    if 1 - principal.explained_variance_ratio_.sum() <= NOISE_MISSED * noise:
        return principal.transform(x)
    return chart(x, units, seed)


def _fitted(
    x: np.ndarray, units: int, y: np.ndarray, preprocess: PassThrough, seed: int, verbose: int | str
) -> RaDOGAGA:
    keras.utils.set_random_seed(seed)
    model = _untrained(x, units, float(x.var(axis=0, dtype=np.float64).sum()), preprocess)
    _learn(model, x, y, verbose)
    model.compile(_optimizer(RATE, STEPS))
    model.fit(x, batch_size=BATCH, epochs=_epochs(len(x), STEPS), verbose=verbose)
    return model


def _whole(name: str, value: Any, least: int = 1) -> int:
    if value is None:
        raise TypeError(f"{name}: None must be a whole number.")
    return checks.whole_number(name, value, least)


def _width(rows: Any) -> int:
    shape = getattr(rows, "shape", None) or np.shape(rows)
    if len(shape) != 2:
        raise ValueError(f"rows: shape {tuple(shape)}; a matrix (rows, columns) is needed.")
    return shape[1]


def _untrained(x: np.ndarray, units: int, variance: float, preprocess: PassThrough) -> RaDOGAGA:
    """Networks see inputs of unit variance; y and x_hat are in the units of x."""
    columns, scale, mean = x.shape[1], (variance / x.shape[1]) ** 0.5, x.mean(axis=0)
    out = (variance / units) ** 0.5
    encoder = keras.Sequential(
        [
            keras.layers.Rescaling(1 / scale, (-mean / scale).tolist()),
            DenseNetwork(columns, (WIDTH, WIDTH), units, "gelu"),
            keras.layers.Rescaling(out),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.layers.Rescaling(1 / out),
            DenseNetwork(units, (WIDTH, WIDTH), columns, "gelu"),
            keras.layers.Rescaling(scale, mean.tolist()),
        ]
    )
    prior = MixturePrior(units, COMPONENTS, selection="stacked")
    lambda2 = 1 / (2 * NOISE_SHARE * variance)
    return RaDOGAGA(
        encoder, decoder, prior, LAMBDA_RATIO * lambda2, lambda2, h="identity", gauge="flow", preprocess=preprocess
    )


def _learn(model: RaDOGAGA, x: np.ndarray, y: np.ndarray, verbose: int | str) -> None:
    """The encoder learns y of x, the decoder x of y."""
    y = y.astype(np.float32)
    given, coordinates = keras.Input(x.shape[1:]), keras.Input(y.shape[1:])
    both = keras.Model([given, coordinates], [model.encoder(given), model.decoder(coordinates)])
    both.compile(_optimizer(START_RATE, START_STEPS), "mse", steps_per_execution=10)
    both.fit([x, y], [y, x], batch_size=BATCH, epochs=_epochs(len(x), START_STEPS), verbose=verbose)


def _optimizer(rate: float, steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))


def _epochs(rows: int, steps: int) -> int:
    return -(-steps // -(-rows // BATCH))


def _trouble(model: RaDOGAGA, rows: np.ndarray, noise: float) -> tuple[float, str]:
    """The reconstructed share, and what tells that the latent is no copy of the rows, or nothing."""
    share = measures.reconstructed_share(model, rows)
    least = LEAST_RECONSTRUCTION - NOISE_MISSED * min(noise, MOST_NOISE)
    trip = float(np.sqrt(np.mean(measures.round_trips(model, rows) ** 2)))
    torn = float(neighbourhoods.torn_rows(model, rows).mean())
    local = neighbourhoods.local_dimension(model, rows)
    found = {
        f"reconstruction {share:.3f} < {least:.3g}": not share >= least,
        f"round trip {trip:.3f} > {MOST_ROUND_TRIP}": not trip <= MOST_ROUND_TRIP,
        f"torn rows {torn:.4f} > {MOST_TORN}": torn > MOST_TORN,
        f"{SHEET} {local} < {model.active_dimensions}": local < model.active_dimensions,
    }
    return share, ", ".join(text for text, wrong in found.items() if wrong)
