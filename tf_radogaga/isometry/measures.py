"""How isometric the latent of a model is: tangent pairs, Gram matrices, spectrum, response and traversals. And whether
encoder and decoder undo each other: a decoder alone shows neither data that it misses nor a wrong encoder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tf_radogaga._core import checks
from tf_radogaga._core.stack import tf
from tf_radogaga.isometry import tangents
from tf_radogaga.isometry.implicit import inverse_variances, unit_steps, variational
from tf_radogaga.isometry.protocols import Measured


def tangent_pairs(
    model: Measured, rows: Any, pairs: int = 1000, seed: int = 0, implicit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """v . w of random tangent vectors in the latent, and metric_scale v_x' A w_x of what the decoder makes of them.

    Each pair sits at a random row; v and w are standard normal in the active dimensions. Source: Kato et al., ICML
    2020, Eq. 14 and Fig. 4, with derivatives in place of differences.

    Returns:
        latent (pairs,) and data (pairs,), float64, in squared units of z: equal where the model is isometric.
    """
    checks.at_least(1, pairs=pairs)
    z, directions, random = latents(model, rows), _measured_directions(model), np.random.default_rng(seed)
    chosen = random.integers(len(z), size=pairs)
    z = tf.gather(z, chosen)
    along = random.standard_normal((pairs, 2, len(directions)))
    vectors = tf.tensordot(tf.constant(along, tf.float32), directions, 1)
    if implicit:
        vectors *= tf.gather(unit_steps(model, rows), chosen)[:, None]

    def products(part: slice) -> tf.Tensor:
        x_hat, tangent = tangents.tangents(model.decode, z[part], vectors[part])
        return model.distortion.inner_product(x_hat, tangent[:, 0], tangent[:, 1])

    data = scale(model) * tangents.in_blocks(products, pairs, 2 * model.preprocess.width).numpy().astype(np.float64)
    return np.sum(along[:, 0] * along[:, 1], axis=1), data


def gram_matrices(model: Measured, rows: Any, implicit: bool = False) -> tf.Tensor:
    """metric_scale J' A J at the latent of each row along `active_directions`, (B, n, n): the identity is right.
    Sources: Kato et al., ICML 2020, Eq. 13; Nakagawa et al., ICML 2021, Eq. 14."""
    directions = _measured_directions(model)
    found = scale(model) * tangents.at_rows(tangents.gram, model, latents(model, rows), directions)
    if implicit:
        steps = tf.linalg.matmul(unit_steps(model, rows), directions, transpose_b=True)
        found *= steps[:, :, None] * steps[:, None, :]
    return found


def latent_axes(model: Measured, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The active axes of the latent, or their principal directions where the prior is blind to a rotation of z. That of
    the largest variance is first; a beta-VAE's variances in z are alike, so `inverse_variances` order its axes.

    Returns:
        The mean of z (N,), orthonormal directions (n, N), and the variances of z along them (n,); float64.
    """
    z, axes = (t.numpy().astype(np.float64) for t in (latents(model, rows), _measured_directions(model)))
    mean = z.mean(axis=0)
    covariance = axes @ (z - mean).T @ (z - mean) @ axes.T / len(z)
    variance = np.diagonal(covariance)
    if not model.axis_aligned:
        variance, rotation = np.linalg.eigh(covariance)
        axes = rotation.T @ axes
        axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))  # eigh fixes no sign
    vae = variational(model)
    importance = axes @ inverse_variances(vae, rows) if vae else variance
    order = np.argsort(-importance, kind="stable")
    return mean, axes[order], np.maximum(variance[order], 0)


def latent_spectrum(model: Measured, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Variances of z along `latent_axes` (n,), in squared units of z, and their cumulative share (n,), up to 1. A
    beta-VAE's are of its coordinates y, in units of D, as beta/2 E[sigma_j^-2] estimates them.
    Sources: Kato et al., ICML 2020, Fig. 5; Nakagawa et al., ICML 2021, Eq. 22."""
    _, axes, variance = latent_axes(model, rows)
    if vae := variational(model):
        variance = 0.5 * vae.beta * axes @ inverse_variances(vae, rows)
    return variance, cumulative_share(variance)


def response(
    model: Measured, rows: Any, step: float | None = None, axes: np.ndarray | tf.Tensor | None = None
) -> tf.Tensor:
    """metric_scale D'_i at the latent of each row, (B, n): 1 is right.

        D'_i(z) = D(g(z), g(z + step e_i)) / step^2

    Source: Kato et al., arXiv v1, section 4.3 and Fig. 4.

    Args:
        step: in units of z; default: the standard deviation of the noise in the loss, or a tenth of that of z where the
            loss does not fix its scale.
        axes: directions e_i, (n, N), orthonormal; default `latent_axes` of these rows.
    """
    _, found, variance = latent_axes(model, rows)
    step = noise_step(model, variance) if step is None else step
    checks.require("step", step, step > 0, "positive; its default is 0 where z does not vary over the rows")
    z, moves = latents(model, rows), step * tf.cast(found if axes is None else axes, tf.float32)

    def excess(part: slice) -> tf.Tensor:
        x_hat = tf.repeat(model.decode(z[part]), len(moves), axis=0)
        moved = model.decode(tf.reshape(z[part, None] + moves, (-1, z.shape[1])))
        return tf.reshape(model.distortion.excess(x_hat, moved), (-1, len(moves)))

    return scale(model) / step**2 * tangents.in_blocks(excess, len(z), model.preprocess.width * len(moves))


def traversals(model: Measured, rows: Any, dimensions: int = 9, steps: int = 9, span: float = 2.0) -> tf.Tensor:
    """What the decoder makes of the mean latent moved along each of `latent_axes`, the others left at their mean.
    Source: Kato et al., ICML 2020, Fig. 6.

    Args:
        dimensions: how many axes, from that of the largest variance on; all of them where there are fewer.
        steps: points on each axis, evenly from -span to +span.
        span: in standard deviations of z along the axis.

    Returns:
        (dimensions, steps, *event), in the preprocessed space.
    """
    checks.at_least(1, dimensions=dimensions, steps=steps)
    mean, axes, variance = latent_axes(model, rows)
    moves = np.sqrt(variance)[:, None] * axes
    z = mean + np.linspace(-span, span, steps)[:, None] * moves[:dimensions, None]
    x_hat = model.decode(z.reshape(-1, len(mean)).astype(np.float32))
    return tf.reshape(x_hat, (*z.shape[:2], *x_hat.shape[1:]))


def isometry_gap(model: Measured, rows: Any) -> tf.Tensor:
    """log_density by the Jacobian minus log_density by the theory's volume, (B,), nats: 0 is right.

    Raises:
        NotImplementedError: one of the two is not defined, with the reason.
    """
    if obstacle := gap_obstacle(model):
        raise NotImplementedError(obstacle)
    return model.log_density(rows, volume="jacobian") - model.log_density(rows, volume="isometric")


def gap_obstacle(model: Measured) -> str | None:
    """Why `isometry_gap` is not defined, or None."""
    if variational(model):
        return "the densities of a BetaVAE differ by D(x, x_check) / beta too; see implicit_report."
    return model.density.obstacle("jacobian") or model.density.obstacle("isometric")


def reconstructed_share(model: Measured, rows: Any) -> float:
    """1 - sum D(x, x_hat) / sum D(x, mean x) over the rows, each D counted from D(x, x): 1 is right, 0 is no better
    than the mean.

    With squared errors it is the share of the variance that a reconstruction keeps, as k principal components do; with
    binary cross-entropy, the share of the deviance. A beta-VAE's x_hat is that of its mean latent. NaN where D is not
    finite at the mean, or the rows do not vary.
    """
    counts_and_sums = model.by_blocks(rows, _count_and_sum).numpy()
    count, event = counts_and_sums[:, 0].sum(), model.preprocess.event_shape
    mean = tf.constant((counts_and_sums[:, 1:].sum(axis=0) / count).reshape((1, *event)), tf.float32)

    def distances(x: tf.Tensor) -> tf.Tensor:
        guesses = model.decode(model.encode_x(x)), tf.broadcast_to(mean, tf.shape(x))
        return tf.stack([model.distortion.excess(x, guess) for guess in guesses], axis=1)

    left, whole = model.by_blocks(rows, distances).numpy().astype(np.float64).sum(axis=0)
    return float(1 - left / whole) if whole > 0 else float("nan")


def _count_and_sum(x: tf.Tensor) -> tf.Tensor:
    """(1, 1 + M), float64, so that blocks add up."""
    flat = tf.cast(tf.reshape(x, (tf.shape(x)[0], -1)), tf.float64)
    return tf.concat([tf.cast(tf.shape(x)[:1], tf.float64), tf.reduce_sum(flat, axis=0)], axis=0)[None]


def round_trips(model: Measured, rows: Any) -> np.ndarray:
    """How far f(g(z)), the latent of the reconstruction, is from z at each row, (B,) float64: 0 is right.

        sqrt(1/n sum_i (f(g(z)) - z)_i^2 / (Var z_i + sigma2))

    The sum runs over the n `latent_axes`, so that each counts alike. sigma2 is the noise of the loss, 0 where it does
    not fix the scale of z; a beta-VAE's z is mu. An encoder may shorten z by a factor u, as with h = identity. Then the
    root mean square over rows is 1 - u in dimensions well above the noise, and log p(x) is too high by -log u in each.
    """
    _, axes, variance = latent_axes(model, rows)
    noise = 0.0 if model.metric_scale is None else model.noise_variance

    def moves(x: tf.Tensor) -> tf.Tensor:
        z = model.encode_x(x)
        return model.encode_x(model.decode(z)) - z

    along = model.by_blocks(rows, moves).numpy().astype(np.float64) @ axes.T
    with np.errstate(divide="ignore", invalid="ignore"):  # a dimension that does not vary, without noise
        return np.sqrt((along**2 / (variance + noise)).mean(axis=1))


def latents(model: Measured, rows: Any) -> tf.Tensor:
    return model.by_blocks(rows, model.encode_x)


def _measured_directions(model: Measured) -> tf.Tensor:
    return model.active_directions if model.active_dimensions else tf.eye(model.latent_units)


def scale(model: Measured) -> float:
    return 1.0 if model.metric_scale is None else model.metric_scale


def noise_step(model: Measured, variance: np.ndarray) -> float:
    """The step of `response` where none is given, in units of z; variance: of z along the axes, (n,)."""
    return 0.1 * math.sqrt(variance.mean()) if model.metric_scale is None else math.sqrt(model.noise_variance)


def cumulative_share(variance: np.ndarray) -> np.ndarray:
    """Share of the sum that the first of the variances (n,) hold, (n,), up to 1."""
    return np.cumsum(variance) / max(variance.sum(), np.finfo(np.float64).tiny)
