"""A prior that scores by a stored Gaussian mixture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_radogaga._core import blocks
from tf_radogaga._core.constants import as_constant
from tf_radogaga._core.stack import tf, tfp
from tf_radogaga.priors.base import Prior
from tf_radogaga.priors.gaussians import Mixture

CLUSTERED_ROWS = 10_000
"""Latents that scikit-learn's mixtures are fitted to, at most."""


class StoredMixture(Prior):
    """P(z) = sum_k pi_k N(z; mu_k, Sigma_k), in float64, once `adapt` has stored the mixture.

    Args:
        latent_units: N.
        room: most components that can be stored.
        kwargs: as `Prior`.
    """

    axis_aligned = False
    has_marginals = True

    def __init__(self, latent_units: int, room: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_units = latent_units
        self.adaptation: dict[str, float] = {}
        shapes = Mixture((room,), (room, latent_units), *2 * ((room, latent_units, latent_units),))
        self.stored = Mixture(
            *(self.add_weight(n, s, "float64", "zeros", trainable=False) for n, s in zip(Mixture._fields, shapes))
        )
        self.is_adapted = self.add_weight("is_adapted", (), "bool", trainable=False)

    @property
    def adapted(self) -> bool:
        with tf.init_scope():
            return bool(self.is_adapted.numpy())

    def invalidate(self) -> None:
        self.is_adapted.assign(False)
        self.adaptation = {}

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self.stored_mixture().energy(tf.cast(z, tf.float64)), tf.float32)

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        marginal = as_constant(lambda: self.stored_mixture().along(directions))
        z = tf.linalg.matmul(tf.cast(z, tf.float64), tf.cast(directions, tf.float64), transpose_b=True)
        return -tf.cast(marginal.energy(z), tf.float32)

    def stored_mixture(self) -> Mixture:
        return as_constant(lambda: Mixture(*(tf.identity(v) for v in self.stored)))

    @property
    def distribution(self) -> tfp.distributions.Distribution:
        """The stored mixture, float64."""
        return as_constant(
            lambda: tfp.distributions.MixtureSameFamily(
                tfp.distributions.Categorical(logits=tf.identity(self.stored.log_weights)),
                tfp.distributions.MultivariateNormalTriL(
                    tf.identity(self.stored.mean), scale_tril=tf.linalg.cholesky(self.stored.covariance)
                ),
            )
        )

    def store(self, mixture: Mixture) -> None:
        self.invalidate()  # for as long as only some of it is stored
        for variable, value in zip(self.stored, mixture):
            variable.assign(value)
        self.is_adapted.assign(True)


def spread_rows(latents: Iterable[tf.Tensor], rows: int = 1) -> np.ndarray:
    """At most `CLUSTERED_ROWS`, float64; of so many rows, where it is known."""
    sample = blocks.EvenSample(CLUSTERED_ROWS, rows)
    for z in latents:
        sample.add(z)
    return np.asarray(sample.rows, np.float64)
