"""Gaussian mixtures in float64: their densities, marginals and sufficient statistics."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tf_radogaga._core.squares import sum_of_squares
from tf_radogaga._core.stack import tf

LEAST_LOG_WEIGHT = math.log(1e-20)
"""Of components that only fill the room for more of them."""


class Mixture(NamedTuple):
    """Gaussian mixture of K full-covariance components, float64: `log_weights` (K,), `mean` (K, N),
    `covariance` (K, N, N) and `inverse_cholesky` (K, N, N), the inverse of its lower Cholesky factor."""

    log_weights: tf.Tensor
    mean: tf.Tensor
    covariance: tf.Tensor
    inverse_cholesky: tf.Tensor

    def component_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log pi_k + log N(z; mu_k, Sigma_k), (B, N) -> (B, K), by matrix products alone."""
        components, units = self.mean.shape
        whitening = tf.reshape(tf.transpose(self.inverse_cholesky, (2, 0, 1)), (units, components * units))
        offset = tf.linalg.matvec(self.inverse_cholesky, self.mean)
        whitened = tf.reshape(z @ whitening, (tf.shape(z)[0], components, units)) - offset
        diagonal = tf.reduce_sum(self.inverse_cholesky * np.eye(units), axis=-1)  # OpenVINO lacks the op of diag_part
        log_scale = tf.reduce_sum(tf.math.log(diagonal), axis=-1)
        log_norm = self.log_weights + log_scale - 0.5 * units * math.log(2 * math.pi)
        return log_norm - 0.5 * sum_of_squares(whitened, first_axis=2)

    def energy(self, z: tf.Tensor) -> tf.Tensor:
        """-log sum_k pi_k N(z; mu_k, Sigma_k) in nats, (B, N) -> (B,)."""
        return -tf.reduce_logsumexp(self.component_log_prob(z), axis=-1)

    def padded(self, components: int) -> Mixture:
        """The same mixture as one of more components: copies of the heaviest, which weigh nothing."""
        heaviest = tf.argmax(self.log_weights)
        more = components - self.mean.shape[0]
        log_weights = tf.concat([self.log_weights, tf.fill((more,), np.float64(LEAST_LOG_WEIGHT))], axis=0)
        copies = (tf.concat([v, tf.repeat(v[heaviest][None], more, axis=0)], axis=0) for v in self[1:])
        return Mixture(log_weights, *copies)

    def along(self, directions: tf.Tensor) -> Mixture:
        """The mixture of the coordinates z . d_j along orthonormal directions (n, N): a marginal of this one."""
        directions = tf.cast(directions, self.mean.dtype)
        mean = tf.linalg.matmul(self.mean, directions, transpose_b=True)
        covariance = directions @ tf.linalg.matmul(self.covariance, directions, transpose_b=True)
        return Mixture(self.log_weights, mean, covariance, _inverse_cholesky(covariance))

    def expectation(self, z: tf.Tensor) -> tuple[tf.Tensor, Statistics]:
        """The E step of EM: summed log likelihood (nats) of latents (B, N) and their statistics under this mixture."""
        log_prob = self.component_log_prob(z)
        return tf.reduce_sum(tf.reduce_logsumexp(log_prob, axis=-1)), Statistics.of(z, tf.nn.softmax(log_prob))


class Statistics(NamedTuple):
    """Sufficient statistics of soft memberships gamma: sum gamma (K,), sum gamma z (K, N), sum gamma z z' (K, N, N)."""

    count: tf.Tensor
    total: tf.Tensor
    outer: tf.Tensor

    @classmethod
    def of(cls, z: tf.Tensor, memberships: tf.Tensor) -> Statistics:
        """From float64 latents (B, N) and memberships (B, K)."""
        rows, (units, components) = tf.shape(z)[0], (z.shape[1], memberships.shape[1])
        weighted = tf.reshape(memberships[:, :, None] * z[:, None, :], (rows, components * units))
        outer = tf.linalg.matmul(weighted, z, transpose_a=True)  # sums over rows are slow, products are not
        return cls(
            tf.reduce_sum(memberships, axis=0),
            tf.linalg.matmul(memberships, z, transpose_a=True),
            tf.reshape(outer, (components, units, units)),
        )

    def __add__(self, other: Statistics) -> Statistics:  # type: ignore[override]  # sums, no longer tuples
        return Statistics(*(a + b for a, b in zip(self, other)))

    def mixture(self, covariance_floor: float) -> Mixture:
        """The mixture with these moments; `covariance_floor` is added to every variance."""
        count = self.count + 1e-8  # a component without members must not divide 0 by 0
        weights = self.count / tf.reduce_sum(self.count)
        mean = self.total / count[:, None]
        covariance = self.outer / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
        covariance = 0.5 * (covariance + tf.linalg.matrix_transpose(covariance))
        covariance += covariance_floor * tf.eye(mean.shape[-1], dtype=mean.dtype)
        return Mixture(tf.math.log(weights + 1e-20), mean, covariance, _inverse_cholesky(covariance))


def _inverse_cholesky(covariance: tf.Tensor) -> tf.Tensor:
    identity = tf.eye(tf.shape(covariance)[-1], batch_shape=tf.shape(covariance)[:1], dtype=covariance.dtype)
    return tf.linalg.triangular_solve(tf.linalg.cholesky(covariance), identity)


def fixed_mixture(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, precisions_cholesky: np.ndarray
) -> Mixture:
    """From scikit-learn's arrays."""
    inverse = np.swapaxes(precisions_cholesky, 1, 2)
    return Mixture(*(tf.constant(v) for v in (np.log(np.maximum(weights, 1e-20)), means, covariances, inverse)))
