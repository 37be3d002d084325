"""One score for detection: the density of the latent and of the length of what it leaves out, together.

The energy speaks of x_hat alone, and the distortion finds the emptiest row the most normal of all. Their joint density
is two-sided: it is low where z is odd, and where x - x_hat is longer, or shorter, than it is at such a z.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from tf_radogaga._core.stack import tf
from tf_radogaga.models.density import Scored, without_nan
from tf_radogaga.models.residual_laws import LEAST_LENGTH, LEAST_ROWS
from tf_radogaga.priors.stored import StoredMixture
from tf_radogaga.training.end_of_fit import Step


class Joint:
    """-log p(z, log |rho|) by the `joint_prior` of a model, N + 1 units; |rho| = sqrt(D(x, x_hat))."""

    def __init__(self, model: Scored):
        self.model = model
        prior, units = model.joint_prior, model.latent_units + 1
        if prior is None:
            return
        if not isinstance(prior, StoredMixture):
            raise TypeError(f"joint_prior: {prior!r} is no prior that is fitted to latents alone; give a StackedPrior.")
        if prior.latent_units != units:
            raise ValueError(f"joint_prior: {prior.latent_units} units where {units} are needed, of z and log |rho|.")
        prior.trainable = False

    def obstacle(self) -> str | None:
        """Why there is no joint energy."""
        prior = self.model.joint_prior
        if prior is None:
            return (
                "joint_prior: the model was made without one; make it with"
                f" joint_prior=StackedPrior({self.model.latent_units + 1})."
            )
        if not prior.adapted:
            return (
                f"joint_prior: not fitted; give fit at least {LEAST_ROWS} validation rows, or call adapt_residuals"
                " with normal rows that it has not seen."
            )
        return None

    def coordinates(self, x: tf.Tensor) -> tf.Tensor:
        """[z, log |rho|] of x, (B, N + 1)."""
        z = self.model.encode_x(x)
        squares = self.model.distortion.excess(x, self.model.decode(z))
        return tf.concat([z, 0.5 * tf.math.log(tf.maximum(squares, LEAST_LENGTH**2))[:, None]], axis=1)

    def energy(self, x: tf.Tensor) -> tf.Tensor:
        """Of x, (B,), in nats, compiled as it is served."""
        return self._graph(x) if tf.executing_eagerly() else self._energy(x)

    def _energy(self, x: tf.Tensor) -> tf.Tensor:
        return without_nan(self.model.joint_prior.rate(self.coordinates(x)), math.inf)

    @functools.cached_property
    def _graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return tf.function(self._energy).get_concrete_function(self.model.density.x_spec)

    def fit(self, dataset: tf.data.Dataset, required: bool = True) -> None:
        """The joint prior, of batches of x that the networks have not seen.

        Raises:
            ValueError: it is required, and there are too few rows, or some that float32 does not hold.
        """
        prior = self.model.joint_prior
        if prior is None:
            return
        graph = tf.function(self.coordinates).get_concrete_function(self.model.density.x_spec)
        found = [graph(x) for x in dataset]
        rows = sum(len(part) for part in found)
        far = [part for part in found if not np.isfinite(part).all()]
        if rows < LEAST_ROWS or far:
            if required:
                wrong = f"{rows}; the joint prior needs at least {LEAST_ROWS}"
                raise ValueError(f"rows: {'some are so far off that float32 overflows' if far else wrong}.")
            return
        prior.adapt(found)


def _forget(model: Scored) -> None:
    if model.joint_prior is not None:
        model.joint_prior.invalidate()


JOINT = Step(lambda *_: None, _forget, lambda model, dataset: model.joint.fit(dataset, required=False))
