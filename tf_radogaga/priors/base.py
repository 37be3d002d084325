"""Latent priors P(z): one contract, `rate(z, training)` in nats, `distribution`, and `adapt` after training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tf_radogaga._core.stack import keras, tf, tfp


class Prior(keras.layers.Layer):
    """Base class of latent priors over R^N."""

    minimum_rows = 1
    """Fewest training rows that determine this prior."""

    axis_aligned = True
    """Whether the axes of z matter to this prior; one that any rotation leaves in its family overrides this."""

    has_marginals = False
    """Whether `log_prob_along` has a closed form for fewer than N directions."""

    def __init__(self, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **{"dtype": tf.float32, **kwargs})  # under any policy: densities need it

    @property
    def learned(self) -> bool:
        """Whether P can follow the law of z; only then the latent becomes isometric, as a fixed P bends z to itself."""
        return bool(self.trainable_variables)

    @property
    def adapted(self) -> bool:
        """Whether `rate(z, training=False)` is defined; priors without stored statistics always are."""
        return True

    @property
    def has_sampler(self) -> bool:
        """Whether latents can be drawn from `distribution`."""
        try:
            self.distribution.sample(seed=tf.constant([0, 0]))
        except NotImplementedError:  # as tfp tells it
            return False
        return True

    def require_adapted(self) -> None:
        """RuntimeError where it is not, but not in a graph, which is made before."""
        if tf.executing_eagerly() and not self.adapted:
            raise RuntimeError("prior: not adapted, so there is no mixture to score by; call fit or adapt_prior first.")

    def invalidate(self) -> None:
        """Marks what `adapt` stored as out of date, because the encoder is about to change."""

    def fresh(self) -> Prior:
        """A prior of the same configuration, not trained."""
        return type(self).from_config(self.get_config())

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """-log P(z) in nats of each example, (B, N) -> (B,)."""
        return -tf.cast(self.distribution.log_prob(tf.cast(z, self.distribution.dtype)), tf.float32)

    @property
    def distribution(self) -> tfp.distributions.Distribution:
        """The prior as a `tfp.distributions.Distribution` over R^N, for `log_prob` and `sample`."""
        raise NotImplementedError

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        """log density in nats of the coordinates of z (B, N) along orthonormal directions (n, N), (B,): of a marginal.

        Raises:
            NotImplementedError: n is below N and this prior has no closed-form marginals.
        """
        if directions.shape[0] == directions.shape[1]:
            return -self.rate(z)
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form marginal on {directions.shape[0]} of {directions.shape[1]}"
            " dimensions; train with fewer latent units, so that all are active."
        )

    def sample_each(self, seeds: tf.Tensor) -> tf.Tensor:
        """A latent for each seed (B,), (B, N) float32, which depends on that seed alone."""

        def draw(seed):
            return tf.cast(self.distribution.sample(seed=tf.stack([seed, 0])), tf.float32)

        return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(self.distribution.event_shape))

    def compress(self, z: tf.Tensor) -> bytes:
        """One string for the rounded latents (B, N)."""
        raise NotImplementedError(f"{type(self).__name__} has no range coder; train with a FactorizedPrior.")

    def decompress(self, strings: bytes) -> tf.Tensor:
        """The rounded latents (B, N) of a string of `compress`."""
        raise NotImplementedError(f"{type(self).__name__} has no range coder; train with a FactorizedPrior.")

    def adapt(self, latents: Iterable[tf.Tensor], refine: bool = True) -> None:
        """Fixes what scoring needs from the latents of the training set; re-iterable batches of (B, N).

        With `refine=False` a quick answer will do, as between the epochs of a training.
        """
