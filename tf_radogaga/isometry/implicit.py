"""Measures of a beta-VAE alone, in its isometric coordinates y. Equations are those of Nakagawa et al., ICML 2021."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from tf_radogaga._core import checks
from tf_radogaga._core.stack import tf
from tf_radogaga.isometry import tangents
from tf_radogaga.isometry.protocols import Measured, Variational


def variational(model: Measured) -> Variational | None:
    """The model where it has a posterior, else None."""
    return cast(Variational, model) if hasattr(model, "posterior_x") else None


def unit_norms(model: Variational, rows: Any) -> tf.Tensor:
    """(2/beta) sigma_j^2 D'_j at the mean latent of each row, (B, N), D'_j the squared length of dx_hat/dz_j: 1 is
    right, and 0 where a dimension carries nothing. Source: Eq. 23, in the limit of small steps."""
    mu, sigma = _posterior(model, rows)
    lengths = tangents.at_rows(tangents.squared_lengths, model, mu, tf.eye(model.latent_units))
    return tf.square(sigma * math.sqrt(2 / model.beta)) * lengths


def inverse_variances(model: Variational, rows: Any) -> np.ndarray:
    """E[sigma_j^-2] over the rows, (N,), float64; beta/2 of it estimates the variance of y_j, as an eigenvalue of PCA.
    Source: Eq. 22."""
    return (_posterior(model, rows)[1].numpy().astype(np.float64) ** -2).mean(axis=0)


def isometric_coordinates(model: Variational, rows: Any, nodes: int = 32) -> tf.Tensor:
    """y of each row, (B, N): Euclidean distances between them are those of the data in the metric of the distortion.

        y_j = int_0^1 sqrt(beta/2) / sigma_j(t mu) mu_j dt

    The path is the line from the origin of z, and sigma(z) the posterior of what the decoder makes of z. In theory
    sigma_j depends on z_j alone where dimensions are independent; then any path gives the same. Source: Eq. 16 and 67.

    Args:
        nodes: of Gauss-Legendre integration.
    """
    checks.at_least(1, nodes=nodes)
    mu = _posterior(model, rows)[0]
    points, weights = (tf.constant(v, tf.float32) for v in np.polynomial.legendre.leggauss(nodes))

    def integral(part: slice) -> tf.Tensor:
        z = 0.5 * (1 + points)[None, :, None] * mu[part, None]
        sigma = model.posterior_x(model.decode(tf.reshape(z, (-1, mu.shape[1]))))[1]
        return mu[part] * tf.einsum("k,bkj->bj", 0.5 * weights, tf.reshape(1 / sigma, (-1, nodes, mu.shape[1])))

    return math.sqrt(model.beta / 2) * tangents.in_blocks(integral, len(mu), model.preprocess.width * nodes)


def density_estimates(model: Variational, rows: Any) -> dict[str, np.ndarray]:
    """Log densities of each row in nats, (B,), from the least to the most of what the model knows.

        prior            log p(mu), of mu
        posterior        log p(mu) + sum_j log(sigma_j / sqrt(beta/2)), of y
        loss             -L_x / beta + n/2 (1 - log(beta pi e)), of y
        posterior_scaled, loss_scaled       these with the factor of the metric, of x: + 1/2 sum_j log alpha_j(A(x))

    The sums run over the n active dimensions. `loss_scaled` is `BetaVAE.log_density`. The last two are left out where
    the distortion has no closed-form volume. Source: Fig. 3, Eq. 19, 21, 52 and 57.
    """
    mu, sigma = _posterior(model, rows)
    count, directions = model.active_dimensions, model.active_directions
    prior = model.prior.log_prob_along(mu, directions)
    narrowing = tf.linalg.matmul(tf.math.log(sigma), directions, transpose_b=True)
    estimates = {
        "prior": prior,
        "posterior": prior + tf.reduce_sum(narrowing, axis=1) - 0.5 * count * math.log(model.beta / 2),
        "loss": 0.5 * count * (1 - math.log(model.beta * math.pi * math.e)) - model.energy(rows),
    }
    if model.distortion.has_log_volume:
        volume = model.by_blocks(rows, lambda x: model.distortion.log_volume(x, count))
        estimates.update({f"{name}_scaled": estimates[name] + volume for name in ("posterior", "loss")})
    return {name: estimate.numpy().astype(np.float64) for name, estimate in estimates.items()}


def unit_steps(model: Measured, rows: Any) -> tf.Tensor:
    """dz_j / dy_j = sigma_j sqrt(2/beta) at each row, (B, N)."""
    return _posterior(model, rows)[1] * math.sqrt(2 / cast(Variational, model).beta)


def _posterior(model: Measured, rows: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """mu and sigma of each row, (B, N) each."""
    if (vae := variational(model)) is None:
        raise TypeError(f"model: {type(model).__name__} has no posterior, so no implicit isometry; a BetaVAE has.")
    return vae.posterior(rows)
