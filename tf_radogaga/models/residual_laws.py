"""Laws of a residual rho of c dimensions: of its directions, by a matrix C, and of its length |C^-1/2 rho|.

    q(rho) = h(log m) v / (S m^c),      m = |C^-1/2 rho|,      S = 2 pi^(c/2) / Gamma(c/2)

h is the density of log m: that of a normal rho, or a mixture. C is the identity, where no direction is likelier than
another, or a diagonal with a low rank added. rho lies in the normal space of the manifold, of orthonormal tangents T,
so that v^2 = det(T C T') / det C.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import chi

from tf_radogaga._core.stack import tf
from tf_radogaga.priors.stacking import HELD_OUT, stacked

LEAST_ROWS = 50
"""From which a law is fitted."""

COMPONENTS = 3
"""Of each mixture of log m, at most."""

LEAST_LENGTH, MOST_LENGTH = 1e-12, 1e18
"""Shorter residuals count as so long; longer ones are refused where a law is fitted."""

LEAST_VARIANCE = 1e-4
"""Added to the variances of log m."""

RANKS, FLOOR = (0, 1, 4, 16), 1e-3
"""Of what is added to the diagonal of C; and the least variance there, over the mean one of the columns, as of what the
ranks leave."""

ROWS_PER_COLUMN, MOST_COLUMNS = 5, 1024
"""Directions are told from so many rows a column on, in so many columns at most."""

GAIN, MOST_GAIN = 2.0, 10.0
"""Standard errors by which a law must be likelier on rows held out to replace a simpler one; what a row counts at most,
in nats."""

UNIT_GAIN = 0.2
"""Nats by which one more latent unit must be likelier in the mean: one for noise can gain a tenth by chance."""

FOLDS, MOST_LENGTHS = 5, 2000
"""By which the two laws of lengths are compared, and lengths in them, at most."""

TYLER_STEPS = 3

Law = Mapping[str, Any]
"""`codimension`, c. `sigma`, the deviation of a normal rho in units of C; where a mixture replaces it, `weights`,
`means` and `deviations` of the normal components of log m. Where C is not the identity, `scales` (M,), `vectors` (r, M)
and `excess` (r,) of C = diag(scales) (I + vectors' diag(excess) vectors) diag(scales), and `log_volume`, the mean of
log v."""

Volumes = Callable[[Law], Any]


def trouble(rho: np.ndarray) -> str | None:
    """Why no law can be fitted to residuals (n, M), or None."""
    if len(rho) < LEAST_ROWS:
        return f"rows: {len(rho)}; the law of residuals needs at least {LEAST_ROWS}."
    if far := np.flatnonzero(~(np.abs(rho) < MOST_LENGTH).all(axis=1)).tolist():
        return f"rows: row {far[0]} is so far off that float32 does not hold the square of its residual; leave it out."
    return None


def fitted_law(rho: np.ndarray, volumes: Volumes | None, codimension: int) -> Law:
    """The law of residuals (n, M) in c >= 1 dimensions: the simplest that no other beats on rows held out.

    Args:
        rho: of rows that the networks have not seen.
        volumes: of a law with `scales`, log v at some of these rows; None: C is to be the identity.
        codimension: c.

    Raises:
        ValueError: as `trouble` says.
    """
    if wrong := trouble(rho):
        raise ValueError(wrong)
    rho = np.random.default_rng(0).permutation(np.asarray(rho, np.float64))
    law: dict[str, Any] = {"codimension": codimension}
    if volumes and rho.shape[1] <= MOST_COLUMNS and len(rho) >= ROWS_PER_COLUMN * rho.shape[1]:
        law.update(_likeliest_directions(rho, volumes, codimension))
    lengths = whitened_lengths(law, rho).numpy()
    law["sigma"] = _deviation(lengths, codimension)
    if _lengths_are_mixed(law, lengths[:MOST_LENGTHS]):
        law.update(_mixture(lengths))
    return law


def log_prob(law: Law, rho: tf.Tensor, log_volume: tf.Tensor | None = None) -> tf.Tensor:
    """log q of residuals (B, M), (B,), float64, in nats; with log v of each row, where it was measured."""
    c = law["codimension"]
    log_sphere = math.log(2) + 0.5 * c * math.log(math.pi) - math.lgamma(0.5 * c)
    lengths = whitened_lengths(law, rho)
    if log_volume is None:
        log_volume = law.get("log_volume", 0.0)
    return log_prob_of_log_length(law, lengths) + log_volume - log_sphere - c * tf.math.log(lengths)


def log_prob_of_log_length(law: Law, lengths: tf.Tensor) -> tf.Tensor:
    """log h(log m), (B,), float64, in nats: low where a residual is too long, and where it is too short."""
    if "weights" not in law:
        c, sigma = law["codimension"], law["sigma"]
        constant = math.log(2) - 0.5 * c * math.log(2) - math.lgamma(0.5 * c)
        return constant + c * tf.math.log(lengths / sigma) - 0.5 * tf.square(lengths / sigma)
    deviations = np.array(law["deviations"])
    constants = np.log(law["weights"]) - np.log(deviations) - 0.5 * math.log(2 * math.pi)
    scaled = (tf.math.log(lengths)[:, None] - np.array(law["means"])) / deviations
    return tf.reduce_logsumexp(constants - 0.5 * tf.square(scaled), axis=-1)


def whitened_lengths(law: Law, rho: tf.Tensor) -> tf.Tensor:
    """m of residuals (B, M), (B,), float64."""
    w = tf.cast(rho, tf.float64)
    if "scales" in law:
        scales, vectors, excess = _factors(law)
        w /= scales
        w -= tf.matmul(tf.matmul(w, vectors, transpose_b=True) * (1 - 1 / np.sqrt(1 + excess)), vectors)
    return tf.maximum(tf.norm(w, axis=1), LEAST_LENGTH)


def log_volumes(law: Law, tangents: tf.Tensor) -> tf.Tensor:
    """log v of a law with `scales` at rows of these orthonormal tangents (B, n, M), (B,), float64."""
    scales, vectors, excess = _factors(law)
    scaled = tf.cast(tangents, tf.float64) * scales
    along = tf.linalg.matmul(scaled, vectors, transpose_b=True)
    gram = tf.matmul(scaled, scaled, transpose_b=True) + tf.matmul(along * excess, along, transpose_b=True)
    log_det = 2 * np.log(scales).sum() + np.log1p(excess).sum()
    return 0.5 * (tf.linalg.slogdet(gram).log_abs_determinant - log_det)


def drawn(law: Law, tangents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Residuals (B, M) from the law, normal to orthonormal tangents (B, n, M)."""
    e = rng.standard_normal((len(tangents), tangents.shape[2]))
    times = tangents = np.asarray(tangents, np.float64)
    if "scales" in law:
        scales, vectors, excess = _factors(law)
        e = scales * (e + (e @ vectors.T * (np.sqrt(1 + excess) - 1)) @ vectors)
        times = tangents * scales
        times = scales * (times + (times @ vectors.T * excess) @ vectors)
    # a normal law, given that nothing lies along the tangents
    gram, along = times @ np.swapaxes(tangents, 1, 2), np.einsum("bnm,bm->bn", tangents, e)
    e -= np.einsum("bn,bnm->bm", np.linalg.solve(gram, along[..., None])[..., 0], times)
    return e * (_drawn_lengths(law, len(e), rng) / whitened_lengths(law, e).numpy())[:, None]


def _factors(law: Law) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scales (M,), vectors (r, M) and excess (r,), also where r is 0."""
    scales = np.array(law["scales"])
    return scales, np.reshape(law["vectors"], (-1, len(scales))), np.reshape(law["excess"], -1)


def _drawn_lengths(law: Law, rows: int, rng: np.random.Generator) -> np.ndarray:
    if "weights" not in law:
        return law["sigma"] * np.sqrt(rng.chisquare(law["codimension"], rows))
    weights = np.array(law["weights"])
    component = rng.choice(len(weights), rows, p=weights / weights.sum())
    return np.exp(rng.normal(np.array(law["means"])[component], np.array(law["deviations"])[component]))


def _likeliest_directions(rho: np.ndarray, volumes: Volumes, codimension: int) -> dict[str, Any]:
    """What C adds to a law; nothing where it is the identity."""
    held_out, seen = np.split(rho, [int(HELD_OUT * len(rho))])

    def logs(directions: dict[str, Any]) -> np.ndarray:
        law = {"codimension": codimension, **directions}
        sigma = np.median(whitened_lengths(law, seen)) / chi(codimension).median()  # which no far row moves
        return log_prob({**law, "sigma": float(sigma)}, held_out).numpy()

    best, found = None, logs({})
    for rank in (rank for rank in RANKS if rank < codimension):
        tried = logs(_directions(seen, rank, codimension, volumes))
        if gains(tried - found):
            best, found = rank, tried
    return {} if best is None else _directions(rho, best, codimension, volumes)


def gains(differences: np.ndarray, least: float = 0.0) -> bool:
    """Whether log densities of rows held out gain clearly, and by more than the least in the mean; no row counts more
    than `MOST_GAIN`."""
    clipped = np.clip(differences, -MOST_GAIN, MOST_GAIN)
    return bool(np.mean(clipped) > max(least, GAIN * np.std(clipped) / math.sqrt(len(clipped))))


def _lengths_are_mixed(law: Law, lengths: np.ndarray) -> bool:
    """Whether a mixture is likelier, over folds: a row far off must be seen, too, to tell how heavy the tails are."""
    folds, differences = np.arange(len(lengths)) % FOLDS, np.empty(len(lengths))
    for fold in range(FOLDS):
        seen, held_out = lengths[folds != fold], lengths[folds == fold]
        normal = log_prob_of_log_length({**law, "sigma": _deviation(seen, law["codimension"])}, held_out)
        differences[folds == fold] = log_prob_of_log_length({**law, **_mixture(seen)}, held_out) - normal
    return gains(differences)


def _deviation(lengths: np.ndarray, codimension: int) -> float:
    return math.sqrt(np.mean(np.square(lengths)) / codimension)


def _mixture(lengths: np.ndarray) -> dict[str, list[float]]:
    stack = stacked(np.log(lengths)[:, None], COMPONENTS, LEAST_VARIANCE)
    kept = stack.weights > 0
    return {
        "weights": stack.weights[kept].tolist(),
        "means": stack.means[kept, 0].tolist(),
        "deviations": np.sqrt(stack.covariances[kept, 0, 0]).tolist(),
    }


def _directions(rho: np.ndarray, rank: int, codimension: int, volumes: Volumes) -> dict[str, Any]:
    """C of residuals made equally long in its own metric, step by step, so that no far row rules it: principal
    components of columns in units of their deviations, and about them what probabilistic PCA leaves.

    Source: Tyler, A distribution-free M-estimator of multivariate scatter, Annals of Statistics 15, 1987.
    """
    law: dict[str, Any] = {}
    for _ in range(TYLER_STEPS):
        alike = rho / whitened_lengths(law, rho).numpy()[:, None]
        variances = np.mean(alike**2, axis=0)
        scales = np.sqrt(np.maximum(variances, max(FLOOR * variances.mean(), LEAST_LENGTH**2)))
        lengths, vectors = np.linalg.eigh((alike / scales).T @ (alike / scales) / len(rho))
        rest = max(lengths[: len(lengths) - rank].sum() / (codimension - rank), FLOOR)
        excess, vectors = np.maximum(lengths[len(lengths) - rank :] / rest - 1, 0), vectors[:, len(lengths) - rank :].T
        law = {"scales": (scales * math.sqrt(rest)).tolist(), "vectors": vectors.tolist(), "excess": excess.tolist()}
    return {**law, "log_volume": float(np.mean(volumes(law)))}
