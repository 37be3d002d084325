"""Is the latent isometric? Tangent pairs, Gram matrices, unit norms, spectrum and traversals of a fitted model.

At the optimum of RaDOGAGA, with the Jacobian J = dx_hat/dz and the metric A of the distortion at x_hat,

    metric_scale J' A J = I      at every z,      metric_scale = 2 lambda2 sigma2

and each function here measures this from another side, along the active part of the latent, in units in which
the theory's value is 1. Where the loss does not fix the scale (`metric_scale` is None) values are raw.

The latent of a beta-VAE is isometric only after each step of z_j is divided by its posterior deviation:

    (2/beta) sigma_j sigma_k (J' A J)_jk = delta_jk,      dy_j = sqrt(beta/2) / sigma_j dmu_j

`implicit=True` measures in these coordinates y; so do `unit_norms` and what follows it.

Rows are raw, as `Autoencoder.energy` takes them; n is the number of active dimensions, and that of all latent
units N where `fit` judged none, as with `reconstruction_features`. Every function raises RuntimeError where the prior
is not adapted, and TypeError or ValueError for bad rows.

Sources: Kato et al., ICML 2020, Eq. 13-14 and section 5.1; arXiv v1, section 4.3; Nakagawa et al., ICML 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga._core import blocks, checks
from tf_radogaga.isometry import tangents
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.beta_vae import BetaVAE


def tangent_pairs(
    model: Autoencoder, rows: Any, pairs: int = 1000, seed: int = 0, implicit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """v . w of random tangent vectors in the latent, and metric_scale v_x' A w_x of what the decoder makes of them.

    Each pair sits at a random row; v and w are standard normal in the active dimensions.
    Source: Kato et al., ICML 2020, Eq. 14 and Fig. 4, with derivatives in place of differences.

    Args:
        implicit: v and w are tangent vectors of the coordinates y of a beta-VAE in place of z.

    Returns:
        latent (pairs,) and data (pairs,), float64, in squared units of z: equal where the model is isometric.

    Raises:
        ValueError: pairs below 1.
        TypeError: implicit, and the model is no BetaVAE.
    """
    checks.at_least(1, pairs=pairs)
    z, directions, random = _latents(model, rows), _directions(model), np.random.default_rng(seed)
    chosen = random.integers(len(z), size=pairs)
    z = tf.gather(z, chosen)
    along = random.standard_normal((pairs, 2, len(directions)))
    vectors = tf.tensordot(tf.constant(along, tf.float32), directions, 1)
    if implicit:
        vectors *= tf.gather(_unit_steps(model, rows), chosen)[:, None]

    def products(part: slice) -> tf.Tensor:
        x_hat, tangent = tangents.tangents(model._decode, z[part], vectors[part])
        return model.distortion.inner_product(x_hat, tangent[:, 0], tangent[:, 1])

    data = _scale(model) * _in_blocks(model, pairs, 2, products).numpy().astype(np.float64)
    return np.sum(along[:, 0] * along[:, 1], axis=1), data


def gram_matrices(model: Autoencoder, rows: Any, implicit: bool = False) -> tf.Tensor:
    """metric_scale J' A J at the latent of each row along `active_directions`, (B, n, n): the identity is right.

    With `implicit=True` that of the coordinates y of a beta-VAE.
    Sources: Kato et al., ICML 2020, Eq. 13; Nakagawa et al., ICML 2021, Eq. 14.

    Raises:
        TypeError: implicit, and the model is no BetaVAE.
    """
    z, directions = _latents(model, rows), _directions(model)

    def gram(part: slice) -> tf.Tensor:
        return tangents.gram(model._decode, model.distortion, z[part], directions)

    found = _scale(model) * _in_blocks(model, len(z), len(directions), gram)
    if implicit:
        steps = tf.linalg.matmul(_unit_steps(model, rows), directions, transpose_b=True)
        found *= steps[:, :, None] * steps[:, None, :]
    return found


def latent_axes(model: Autoencoder, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The directions of the latent that mean something one by one, that of the largest variance first.

    They are the active axes, or the principal directions where the prior is blind to a rotation of z. Those of a
    beta-VAE, whose variances in z are alike, come in the order of `inverse_variances`.

    Returns:
        The mean of z (N,), orthonormal directions (n, N), and the variances of z along them (n,); float64.
    """
    z, axes = (t.numpy().astype(np.float64) for t in (_latents(model, rows), _directions(model)))
    mean = z.mean(axis=0)
    covariance = axes @ (z - mean).T @ (z - mean) @ axes.T / len(z)
    variance = np.diagonal(covariance)
    if not model.axis_aligned:
        variance, rotation = np.linalg.eigh(covariance)
        axes = rotation.T @ axes
        axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))  # eigh fixes no sign
    importance = axes @ inverse_variances(model, rows) if isinstance(model, BetaVAE) else variance
    order = np.argsort(-importance, kind="stable")
    return mean, axes[order], np.maximum(variance[order], 0)


def latent_spectrum(model: Autoencoder, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Variances of z along `latent_axes` (n,), in squared units of z, and their cumulative share (n,), up to 1.

    Of a beta-VAE the variances of its coordinates y in units of D, as beta/2 E[sigma_j^-2] estimates them.
    Sources: Kato et al., ICML 2020, Fig. 5; Nakagawa et al., ICML 2021, Eq. 22.
    """
    _, axes, variance = latent_axes(model, rows)
    if isinstance(model, BetaVAE):
        variance = 0.5 * model.beta * axes @ inverse_variances(model, rows)
    return variance, cumulative_share(variance)


def response(
    model: Autoencoder, rows: Any, step: float | None = None, axes: np.ndarray | tf.Tensor | None = None
) -> tf.Tensor:
    """metric_scale D'_i at the latent of each row, (B, n): 1 is right.

        D'_i(z) = D(g(z), g(z + step e_i)) / step^2

    Source: Kato et al., arXiv v1, section 4.3 and Fig. 4.

    Args:
        model: fitted.
        rows: raw rows.
        step: in units of z; default: the standard deviation of the noise in the loss, which is the step that the loss
            sees, or a tenth of that of z where the loss does not fix its scale.
        axes: directions e_i, (n, N), orthonormal; default `latent_axes` of these rows.

    Raises:
        ValueError: a step that is not positive.
    """
    _, found, variance = latent_axes(model, rows)
    step = noise_step(model, variance) if step is None else step
    checks.require("step", step, step > 0, "positive; its default is 0 where z does not vary over the rows")
    z, moves = _latents(model, rows), step * tf.cast(found if axes is None else axes, tf.float32)

    def excess(part: slice) -> tf.Tensor:
        x_hat = tf.repeat(model._decode(z[part]), len(moves), axis=0)
        moved = model._decode(tf.reshape(z[part, None] + moves, (-1, z.shape[1])))
        return tf.reshape(model.distortion.excess(x_hat, moved), (-1, len(moves)))

    return _scale(model) / step**2 * _in_blocks(model, len(z), len(moves), excess)


def traversals(model: Autoencoder, rows: Any, dimensions: int = 9, steps: int = 9, span: float = 2.0) -> tf.Tensor:
    """What the decoder makes of the mean latent moved along each of `latent_axes`, the others left at their mean.

    Source: Kato et al., ICML 2020, Fig. 6.

    Args:
        model: fitted.
        rows: raw rows, for mean and standard deviations.
        dimensions: how many axes, from that of the largest variance on; all of them where there are fewer.
        steps: points on each axis, evenly from -span to +span.
        span: in standard deviations of z along the axis.

    Returns:
        (dimensions, steps, *event), in the preprocessed space.

    Raises:
        ValueError: dimensions or steps below 1.
    """
    checks.at_least(1, dimensions=dimensions, steps=steps)
    mean, axes, variance = latent_axes(model, rows)
    moves = np.sqrt(variance)[:, None] * axes
    z = mean + np.linspace(-span, span, steps)[:, None] * moves[:dimensions, None]
    x_hat = model.decode(z.reshape(-1, len(mean)).astype(np.float32))
    return tf.reshape(x_hat, (*z.shape[:2], *x_hat.shape[1:]))


def isometry_gap(model: Autoencoder, rows: Any) -> tf.Tensor:
    """log_density by the Jacobian minus log_density by the theory's volume, (B,), nats: 0 is right.

    Raises:
        NotImplementedError: one of the two is not defined, with the reason; a beta-VAE's differ by more than volume.
    """
    if isinstance(model, BetaVAE):
        raise NotImplementedError("the densities of a BetaVAE differ by D(x, x_check) / beta too; see implicit_report.")
    return model.log_density(rows, volume="jacobian") - model.log_density(rows, volume="isometric")


def unit_norms(model: BetaVAE, rows: Any) -> tf.Tensor:
    """(2/beta) sigma_j^2 D'_j at the mean latent of each row, (B, N), D'_j the squared length of dx_hat/dz_j: 1 is
    right, and 0 where a dimension carries nothing.

    Source: Nakagawa et al., ICML 2021, Eq. 23, in the limit of small steps.

    Raises:
        TypeError: the model is no BetaVAE.
    """
    return tf.square(_unit_steps(model, rows)) * _squared_lengths(model, _posteriors(model, rows)[:, 0])


def inverse_variances(model: BetaVAE, rows: Any) -> np.ndarray:
    """E[sigma_j^-2] over the rows, (N,), float64; beta/2 of it estimates the variance of y_j, as an eigenvalue of PCA.

    Source: Nakagawa et al., ICML 2021, Eq. 22.

    Raises:
        TypeError: the model is no BetaVAE.
    """
    return (_posteriors(model, rows)[:, 1].numpy().astype(np.float64) ** -2).mean(axis=0)


def isometric_coordinates(model: BetaVAE, rows: Any, nodes: int = 32) -> tf.Tensor:
    """y of each row, (B, N): Euclidean distances between them are those of the data in the metric of the distortion.

        y_j = int_0^1 sqrt(beta/2) / sigma_j(t mu) mu_j dt

    along the line from the origin of z, sigma(z) being the posterior of what the decoder makes of z. Where sigma_j
    depends on z_j alone, as the theory has it for independent dimensions, any other path gives the same.
    Source: Nakagawa et al., ICML 2021, Eq. 16 and 67.

    Args:
        nodes: of Gauss-Legendre integration.

    Raises:
        TypeError: the model is no BetaVAE.
        ValueError: nodes below 1.
    """
    checks.at_least(1, nodes=nodes)
    mu = _posteriors(model, rows)[:, 0]
    points, weights = (tf.constant(v, tf.float32) for v in np.polynomial.legendre.leggauss(nodes))

    def integral(part: slice) -> tf.Tensor:
        z = 0.5 * (1 + points)[None, :, None] * mu[part, None]
        sigma = model.posterior_x(model._decode(tf.reshape(z, (-1, mu.shape[1]))))[1]
        return mu[part] * tf.einsum("k,bkj->bj", 0.5 * weights, tf.reshape(1 / sigma, (-1, nodes, mu.shape[1])))

    return math.sqrt(model.beta / 2) * _in_blocks(model, len(mu), nodes, integral)


def density_estimates(model: BetaVAE, rows: Any) -> dict[str, np.ndarray]:
    """Log densities of each row in nats, (B,), from the least to the most of what the model knows.

        prior            log p(mu), of mu
        posterior        log p(mu) + sum_j log(sigma_j / sqrt(beta/2)), of y
        loss             -L_x / beta + n/2 (1 - log(beta pi e)), of y
        posterior_scaled, loss_scaled       these with the factor of the metric, of x: + 1/2 sum_j log alpha_j(A(x))

    The sums run over the n meaningful dimensions. `loss_scaled` is `BetaVAE.log_density`. The last two are left out
    where the distortion has no closed-form volume.
    Source: Nakagawa et al., ICML 2021, Fig. 3, Eq. 19, 21, 52 and 57.

    Raises:
        TypeError: the model is no BetaVAE.
    """
    mu, sigma = tf.unstack(_posteriors(model, rows), axis=1)
    count, directions = model.active_dimensions, model.active_directions
    prior = model.prior.log_prob_along(mu, directions)
    narrowing = tf.linalg.matmul(tf.math.log(sigma), directions, transpose_b=True)
    estimates = {
        "prior": prior,
        "posterior": prior + tf.reduce_sum(narrowing, axis=1) - 0.5 * count * math.log(model.beta / 2),
        "loss": 0.5 * count * (1 - math.log(model.beta * math.pi * math.e)) - model.energy(rows),
    }
    if model.distortion.has_log_volume:
        volume = by_blocks(model, rows, lambda x: model.distortion.log_volume(x, count))
        estimates.update({f"{name}_scaled": estimates[name] + volume for name in ("posterior", "loss")})
    return {name: estimate.numpy().astype(np.float64) for name, estimate in estimates.items()}


def _squared_lengths(model: Autoencoder, z: tf.Tensor) -> tf.Tensor:
    """Squared length of dx_hat/dz_j in the metric of the distortion, (B, N)."""
    axes = tf.eye(z.shape[1])

    def lengths(part: slice) -> tf.Tensor:
        return tangents.squared_lengths(model._decode, model.distortion, z[part], axes)

    return _in_blocks(model, len(z), len(axes), lengths)


def _unit_steps(model: BetaVAE, rows: Any) -> tf.Tensor:
    """dz_j / dy_j = sigma_j sqrt(2/beta) at each row, (B, N)."""
    return _posteriors(model, rows)[:, 1] * math.sqrt(2 / model.beta)


def _posteriors(model: BetaVAE, rows: Any) -> tf.Tensor:
    """mu and sigma of each row, (B, 2, N)."""
    if not isinstance(model, BetaVAE):
        raise TypeError(f"model: {type(model).__name__} has no posterior, so no implicit isometry; a BetaVAE has.")
    return by_blocks(model, rows, lambda x: tf.stack(model.posterior_x(x), axis=1))


def _latents(model: Autoencoder, rows: Any) -> tf.Tensor:
    return by_blocks(model, rows, model.encode_x)


def by_blocks(model: Autoencoder, rows: Any, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """`function` of the preprocessed rows, block by block."""
    return model.by_blocks(rows, function)


def _elements(model: Autoencoder) -> int:
    """Elements of one x_hat."""
    return int(tf.size(model._decode(tf.zeros((1, model.latent_units)))))


def _in_blocks(model: Autoencoder, rows: int, vectors: int, measure: Callable[[slice], tf.Tensor]) -> tf.Tensor:
    """`measure` of slices of so many rows that leave room for this many vectors at each, concatenated."""
    size = blocks.block_rows(blocks.TANGENTS, _elements(model) * vectors)
    return tf.concat([measure(part) for part in blocks.slices(rows, size)], axis=0)


def _directions(model: Autoencoder) -> tf.Tensor:
    return model.active_directions if model.active_dimensions else tf.eye(model.latent_units)


def _scale(model: Autoencoder) -> float:
    return 1.0 if model.metric_scale is None else model.metric_scale


def noise_step(model: Autoencoder, variance: np.ndarray) -> float:
    """The step of `response` where none is given, in units of z; variance: of z along the axes, (n,)."""
    return 0.1 * math.sqrt(variance.mean()) if model.metric_scale is None else math.sqrt(model.noise_variance)


def cumulative_share(variance: np.ndarray) -> np.ndarray:
    """Share of the sum that the first of the variances (n,) hold, (n,), up to 1."""
    return np.cumsum(variance) / max(variance.sum(), np.finfo(np.float64).tiny)


def plain(value: Any) -> Any:
    """A value of a report as JSON types; None for numbers that are not finite."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value
