"""The model that is served for an `AnomalyDetector`, and whether it scores as the detector does.

A server takes float32, where a detector computes in float64. What that alone does to scores is measured on training
rows, and what it spoils is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tf_radogaga.autoencoder import Autoencoder
from tf_radogaga.detector_graph import DensityModel

if TYPE_CHECKING:
    from tf_radogaga.detector import AnomalyDetector

AGREEMENT = 1e-4
"""Between scores of a served model and of its detector, in nats, of max(1, |score|)."""

_WHOLE = 2.0**24
"""From here on float32 does not tell a whole number from the next."""

_FLOAT32 = np.finfo(np.float32)
_COMPARED_ROWS = 2000
_BLAMED_ROWS = 20


def served_model(detector: AnomalyDetector) -> Autoencoder:
    """The model of a fitted detector, its threshold set.

    Raises:
        ValueError: a column of which float32 holds too little, named.
    """
    model = detector.model_
    if model is None:
        model = DensityModel(detector)
        _require_agreement(detector, model)
    model.threshold.assign(_threshold(detector))
    model.judged_by = "log_density" if model.has_log_density else "energy"
    return model


def _threshold(detector: AnomalyDetector) -> np.float32:
    """-`threshold_`, moved where a score that it was taken from is so near that rounding could pass it: towards the
    middle between those on both sides, by what served scores may differ at most."""
    threshold = detector.threshold_
    below, above = getattr(detector, "_around_threshold", (-np.inf, np.inf))
    room = AGREEMENT * max(1, abs(threshold))
    if not below < threshold <= above or min(threshold - below, above - threshold) >= room:
        return np.float32(-threshold)
    below, above = max(below, threshold - room), min(above, threshold + room)
    return min(np.float32(-(below + (above - below) / 2)), np.nextafter(np.float32(-below), np.float32(-np.inf)))


def _require_agreement(detector: AnomalyDetector, model: DensityModel) -> None:
    latent = detector._latent
    vast = np.flatnonzero(~latent.varies)[np.abs(latent.constants) > _WHOLE]
    if vast.size:
        value = latent.constants[np.abs(latent.constants) > _WHOLE][0]
        raise ValueError(
            f"X: column {_name(detector, vast[0])} is constant at {value:.17g}, where float32, which a served model"
            f" takes, has steps of {_step(value):.3g}, so a new value would not show; subtract a constant from this"
            " column before fit, or drop it."
        )
    z = _spread_rows(detector._densities["kernel"].centres)
    difference = _differences(detector, model, z, np.ones(z.shape[1], bool))
    if not (wrong := ~(difference <= AGREEMENT / 2)).any():  # by half, for the rows between these
        return
    worst = z[np.argsort(-np.where(np.isnan(difference), np.inf, difference))[:_BLAMED_ROWS]]
    alone = [np.max(_differences(detector, model, worst, column)) for column in np.eye(z.shape[1], dtype=bool)]
    column = int(np.argmax(np.where(np.isnan(alone), np.inf, alone)))
    greatest = np.max(np.abs(latent.mean[column] + z[:, column] * latent.scale[column]))
    remedy = "subtract a constant, such as its mean, from this column before fit"
    if greatest > _FLOAT32.max or latent.scale[column] < 1e6 * _FLOAT32.tiny:
        remedy = "bring this column to the size of 1 by a factor before fit"
    raise ValueError(
        f"X: column {_name(detector, np.flatnonzero(latent.varies)[column])} reaches {greatest:.9g}, where float32,"
        f" which a served model takes, has steps of {_step(greatest):.3g}, and varies by about"
        f" {latent.scale[column]:.3g}; served scores would differ by {np.max(difference):.2g} nats, in"
        f" {wrong.mean():.0%} of the rows by too much; {remedy}."
    )


def _differences(detector: AnomalyDetector, model: DensityModel, z: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """By how much the graph's scores of latents z (B, N), whose `rounded` columns float32 holds, differ from the
    detector's, of max(1, |score|), (B,)."""
    latent = detector._latent
    x = latent.rows_at(z)
    expected = detector._absolute(detector._mean_log_prob(z), x)
    with np.errstate(over="ignore"):
        held = np.float32(x)
    held[np.abs(held) < _FLOAT32.tiny] = 0  # as kernels may have it
    exact = np.flatnonzero(latent.varies)[~rounded]
    held = held.astype(np.float64)
    held[:, exact] = x[:, exact]
    found = -model._energy(tf.constant(held)).numpy().astype(np.float64)
    return np.abs(found - expected) / np.maximum(1, np.abs(expected))


def _spread_rows(rows: np.ndarray) -> np.ndarray:
    """At most some thousand of rows (n, N), the extremes of every column among them."""
    extremes = np.concatenate([rows.argmin(axis=0), rows.argmax(axis=0)])
    return rows[np.union1d(extremes, np.arange(0, len(rows), -(-len(rows) // _COMPARED_ROWS)))]


def _step(value: float) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.spacing(np.float32(abs(value))))


def _name(detector: AnomalyDetector, column: int) -> str:
    names = getattr(detector, "feature_names_in_", None)
    return str(column) if names is None else repr(names[column])
