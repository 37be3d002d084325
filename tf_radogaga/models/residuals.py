"""The law of what a latent leaves out: rho = x - x_hat, which is normal to the manifold, for a density of all space.

    q(rho) = h(log |rho|) / (S |rho|^c),      S = 2 pi^(c/2) / Gamma(c/2),      c = M - n

where h is the density of log |rho| on rows that the networks have not seen, and all directions are alike. Lengths are
in the metric of the distortion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.stack import tf
from tf_radogaga.priors.stacking import HELD_OUT, stacked

LEAST_ROWS = 50
"""From which the law is fitted."""

COMPONENTS = 3
"""Of each mixture of log |rho|, at most."""

LEAST_LENGTH = 1e-12
"""Shorter residuals count as this long, in the units of the distortion's metric; rounding leaves no more."""

LEAST_VARIANCE = 1e-4
"""Added to the variances of log |rho|."""

GAIN = 2.0
"""Standard errors by which a mixture of log |rho| must be likelier than the normal law, on rows held out."""

Law = Mapping[str, Any]
"""`codimension`; `sigma`, the deviation of a normal rho along each direction; and, where these replace it, `weights`,
`means` and `deviations` of normal components of log |rho|."""


def trouble(lengths: np.ndarray) -> str | None:
    """Why no law can be fitted to residuals of these lengths, or None."""
    if len(lengths) < LEAST_ROWS:
        return f"rows: {len(lengths)}; the law of residuals needs at least {LEAST_ROWS}."
    if far := np.flatnonzero(~np.isfinite(lengths)).tolist():
        return f"rows: row {far[0]} is so far off that its residual is more than float32 holds; leave it out."
    return None


def fitted_law(lengths: np.ndarray, codimension: int) -> Law:
    """The law of residuals of these lengths |rho|, (n,), in c >= 1 dimensions.

    Raises:
        ValueError: fewer than `LEAST_ROWS` lengths, or some that are not finite.
    """
    if wrong := trouble(lengths):
        raise ValueError(wrong)
    lengths = np.maximum(np.asarray(lengths, np.float64), LEAST_LENGTH)
    held_out, seen = np.split(np.random.default_rng(0).permutation(lengths), [int(HELD_OUT * len(lengths))])
    normal = _normal(seen, codimension)
    gains = log_prob_of_log_length({**normal, **_mixture(seen)}, held_out) - log_prob_of_log_length(normal, held_out)
    replaced = np.mean(gains) > GAIN * np.std(gains) / math.sqrt(len(gains))
    return {**_normal(lengths, codimension), **(_mixture(lengths) if replaced else {})}


def log_prob_of_log_length(law: Law, lengths: tf.Tensor) -> tf.Tensor:
    """log h(log |rho|), (B,), float64, in nats: low where a residual is too long, and where it is too short."""
    lengths = tf.maximum(tf.cast(lengths, tf.float64), LEAST_LENGTH)
    if "weights" not in law:
        c, sigma = law["codimension"], law["sigma"]
        constant = math.log(2) - 0.5 * c * math.log(2) - math.lgamma(0.5 * c)
        return constant + c * tf.math.log(lengths / sigma) - 0.5 * tf.square(lengths / sigma)
    deviations = np.array(law["deviations"])
    constants = np.log(law["weights"]) - np.log(deviations) - 0.5 * math.log(2 * math.pi)
    scaled = (tf.math.log(lengths)[:, None] - np.array(law["means"])) / deviations
    return tf.reduce_logsumexp(constants - 0.5 * tf.square(scaled), axis=-1)


def log_density_of_residuals(law: Law, lengths: tf.Tensor) -> tf.Tensor:
    """log q(rho) of residuals of these lengths, (B,), float64, in nats."""
    c = law["codimension"]
    log_sphere = math.log(2) + 0.5 * c * math.log(math.pi) - math.lgamma(0.5 * c)
    log_lengths = tf.math.log(tf.maximum(tf.cast(lengths, tf.float64), LEAST_LENGTH))
    return log_prob_of_log_length(law, lengths) - log_sphere - c * log_lengths


def drawn_lengths(law: Law, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths |rho|, (rows,), from the law."""
    if "weights" not in law:
        return law["sigma"] * np.sqrt(rng.chisquare(law["codimension"], rows))
    weights = np.array(law["weights"])
    component = rng.choice(len(weights), rows, p=weights / weights.sum())
    return np.exp(rng.normal(np.array(law["means"])[component], np.array(law["deviations"])[component]))


def _normal(lengths: np.ndarray, codimension: int) -> dict[str, Any]:
    return {"codimension": codimension, "sigma": math.sqrt(np.mean(lengths**2) / codimension)}


def _mixture(lengths: np.ndarray) -> dict[str, list[float]]:
    stack = stacked(np.log(lengths)[:, None], COMPONENTS, LEAST_VARIANCE)
    kept = stack.weights > 0
    return {
        "weights": stack.weights[kept].tolist(),
        "means": stack.means[kept, 0].tolist(),
        "deviations": np.sqrt(stack.covariances[kept, 0, 0]).tolist(),
    }
