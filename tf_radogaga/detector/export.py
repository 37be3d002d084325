"""The model that is served for an `AnomalyDetector`, and whether it scores as the detector does.

A server takes float32, where a detector computes in float64. What that alone does to scores is measured on training
rows, and what it spoils is refused.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tf_radogaga._core import blocks
from tf_radogaga._core.rounding import WHOLE, as_served
from tf_radogaga._core.stack import tf
from tf_radogaga.detector.densities.average import AveragedDensities
from tf_radogaga.detector.isometric_latent import IsometricDecoder, IsometricEncoder
from tf_radogaga.detector.scorers import DensityScorer, Scorer
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.density import Density
from tf_radogaga.preprocessing import PassThrough

AGREEMENT = 1e-4
"""Between scores of a served model and of its detector, in nats, beside the rounding of the scores to float32."""

_FLOAT32 = np.finfo(np.float32)
_COMPARED_ROWS = 1000
_BLAMED = 20


class AverageDensity(Density):
    """That of a scorer, defined everywhere."""

    model: DensityModel

    def energy(self, x: tf.Tensor) -> tf.Tensor:
        rate = self.model.prior.rate(self.model.encoder(x)) + self.model.latent.log_scale
        return tf.cast(rate + self.model.latent.graph_surprise(x), tf.float32)

    def log_density(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        return -(self.energy(x) if energy is None else energy)

    def obstacle(self, volume: str) -> str | None:
        return None


class DensityModel(Autoencoder):
    """A scorer by densities in the house of models: energy = -log p(x), so that it is exported as they are."""

    density_class = AverageDensity

    def __init__(self, scorer: DensityScorer):
        encoder = IsometricEncoder(scorer.latent)
        decoder = IsometricDecoder(encoder, scorer.latent)
        preprocess = scorer.encoding or PassThrough(encoder.input_units)
        super().__init__(encoder, decoder, AveragedDensities(scorer.average), preprocess)
        self.latent = scorer.latent
        self.density.keep_all()


class FittedDetector(Protocol):
    """`AnomalyDetector` says what its attributes are."""

    scorer_: Scorer
    threshold_: float
    _around_threshold: tuple[float, float]
    _column_names: list[str] | None


def served_model(detector: FittedDetector) -> Autoencoder:
    """The model of a fitted detector, threshold set; ValueError where float32 holds too little of a column, named."""
    names, scorer = detector._column_names, detector.scorer_
    model = agreeing_model(scorer, names) if isinstance(scorer, DensityScorer) else scorer.model
    if model.preprocess.column_names is None:
        model.preprocess.column_names = names
    model.threshold.assign(_served_threshold(detector.threshold_, *detector._around_threshold))
    model.threshold_on = "log_density" if model.has_log_density else "energy"
    return model


def _served_threshold(threshold: float, below: float, above: float) -> np.float32:
    """-threshold, moved where a score that it was taken from is so near that rounding could pass it: towards the middle
    between those on both sides, by what served scores may differ at most."""
    room = AGREEMENT * max(1, abs(threshold))
    if not below < threshold <= above or min(threshold - below, above - threshold) >= room:
        return np.float32(-threshold)
    below, above = max(below, threshold - room), min(above, threshold + room)
    return min(np.float32(-(below + (above - below) / 2)), np.nextafter(np.float32(-below), np.float32(-np.inf)))


def agreeing_model(scorer: DensityScorer, names: list[str] | None) -> DensityModel:
    """The model of a scorer, or the ValueError of `served_model`."""
    model, latent, log_prob = DensityModel(scorer), scorer.latent, scorer.average.log_prob
    named = list(map(repr, range(len(latent.varies)) if names is None or scorer.encoding else names))
    rows = scorer.average.centres
    extremes = np.concatenate([rows.argmin(axis=0), rows.argmax(axis=0)])  # of every column
    z = rows[np.union1d(extremes, blocks.places(len(rows), _COMPARED_ROWS))]
    x = latent.rows_at(z)
    greatest = np.abs(x).max(axis=0)
    if (beyond := greatest > _FLOAT32.max).any():
        raise ValueError(
            f"X: column {named[np.argmax(beyond)]} reaches {greatest[beyond][0]:.9g}, which float32, as a"
            " server takes it, does not hold; divide it by a constant before fit."
        )
    if (vast := ~latent.varies & (greatest >= WHOLE)).any():
        raise ValueError(
            f"X: column {named[np.argmax(vast)]} is constant at {greatest[vast][0]:.17g}, where float32,"
            f" which a server takes, has steps of {np.spacing(np.float32(greatest[vast][0])):.3g}, so that a new value"
            " would not show; subtract a constant from it before fit, or drop it."
        )
    held = as_served(x)
    expected = latent.log_density(log_prob(z), x)
    difference = _difference(-model.density.energy(tf.constant(held, tf.float32)).numpy().astype(np.float64), expected)
    if not (wrong := difference > AGREEMENT / 2).any():  # half, for the rows between these
        return model
    worst = np.argsort(-difference)[:_BLAMED]
    alone = {}
    for column in np.argsort(-np.abs(latent(held) - z).max(axis=0))[:_BLAMED]:
        moved = z[worst].copy()
        moved[:, column] = latent(held[worst])[:, column]
        alone[column] = _difference(log_prob(moved), log_prob(z[worst])).max()
    first = max(alone, key=alone.__getitem__)
    others = sorted(column for column in alone if alone[column] > AGREEMENT / 2 and column != first)
    varying = [named[column] for column in np.flatnonzero(latent.varies)]
    reach, deviation = greatest[latent.varies][first], latent.scale[first]
    remedy = "subtract a constant, such as its mean, from it"
    if deviation < 1e6 * _FLOAT32.tiny:
        remedy = "multiply it by a constant"
    also = f" The same holds for {', '.join(varying[column] for column in others)}." if others else ""
    raise ValueError(
        f"X: column {varying[first]} varies by about {deviation:.3g} and reaches {reach:.9g}, where float32, which a"
        f" server takes, has steps of {np.spacing(np.float32(reach)):.3g}; served scores would differ from the"
        f" detector's by up to {difference.max():.2g} nats, in {wrong.mean():.0%} of the rows by too much; {remedy}"
        f" before fit.{also}"
    )


def _difference(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Of scores, in nats, (B,), beside the rounding of float32."""
    return np.maximum(np.abs(found - expected) - np.spacing(np.float32(np.abs(expected))), 0)
