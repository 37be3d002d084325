"""A prior that is fitted after the training, to latents alone: a stack of mixtures of many sizes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from threadpoolctl import threadpool_limits

from tf_radogaga._core import checks
from tf_radogaga._core.keras_configs import attributes
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.priors.gaussians import fixed_mixture
from tf_radogaga.priors.stacking import HELD_OUT, MEMBERS, Stack, stack
from tf_radogaga.priors.stored import StoredMixture, spread_rows

FLOORS = (1e-3, 1e-2, 1e-1)
"""Added to every variance, in units of the column's own; mixtures at each are tried."""

ROWS_PER_COMPONENT = 2
"""Times N: rows that each component of a mixture must have in the mean."""

EM = {"max_iter": 100, "tol": 1e-3}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class StackedPrior(StoredMixture):
    """Weighted mean of Gaussian mixtures of 1, 2, 4, ... components at several `FLOORS`, with weights by held-out
    likelihood: a density of latents that no training follows, for scores.

    It knows no gradient, so no model can be trained with it. `adaptation` tells how many mixtures and components are
    stored, and `nll_held_out`, in nats per row.

    Source: Smyth and Wolpert, Linearly combining density estimators via stacking, Machine Learning 36, 1999.

    Args:
        latent_units: N.
        components: of each mixture, at most.

    Raises:
        ValueError: an argument below 1.
    """

    minimum_rows = round(1 / HELD_OUT)
    learned = True

    def __init__(self, latent_units: int, components: int = 64, name: str | None = None):
        checks.at_least(1, latent_units=latent_units, components=components)
        super().__init__(latent_units, MEMBERS * components, name=name)
        self.components = components

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            raise NotImplementedError("StackedPrior: is fitted after a training; train with another prior.")
        return super().rate(z)

    def adapt(self, latents: Iterable[tf.Tensor], refine: bool = True) -> None:
        """Stores the stack of at most `stored.CLUSTERED_ROWS` of these latents; without `refine`, of one Gaussian.

        Raises:
            ValueError: fewer than `minimum_rows`.
            FloatingPointError: the latents hold NaN or infinity.
        """
        z = spread_rows(latents)
        if not np.isfinite(z).all():
            raise FloatingPointError("latents: they hold NaN or infinity; train again with a lower learning rate.")
        mean, scale = z.mean(axis=0), z.std(axis=0)
        scale[scale <= 1e-12 * np.abs(z).max(axis=0, initial=1)] = 1
        with threadpool_limits(1):  # threads wait for one another as long as they work
            found = stack((z - mean) / scale, self._tried(z, self.components if refine else 1))
        self._store(found, mean, scale)
        nll = np.log(scale).sum() - found.held_out
        self.adaptation.update(mixtures=found.members, components=len(found.weights), nll_held_out=float(nll))

    def _tried(self, z: np.ndarray, components: int) -> list[dict]:
        sizes = [2**power for power in range(components.bit_length())]
        allowed = [size for size in sizes if size == 1 or len(z) >= size * ROWS_PER_COMPONENT * z.shape[1]]
        return [
            {"n_components": size, "reg_covar": floor, "random_state": 0, **EM} for size in allowed for floor in FLOORS
        ]

    def _store(self, found: Stack, mean: np.ndarray, scale: np.ndarray) -> None:
        covariances = found.covariances * np.outer(scale, scale)
        precisions = found.precisions_cholesky / scale[:, None]
        mixture = fixed_mixture(found.weights, mean + scale * found.means, covariances, precisions)
        self.store(mixture.padded(self.stored.mean.shape[0]))

    def get_config(self) -> dict:
        return attributes(self, "latent_units", "components")
