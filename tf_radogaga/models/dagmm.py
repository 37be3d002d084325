"""DAGMM: deep autoencoding Gaussian mixture model, the baseline of the papers."""

from __future__ import annotations

from typing import Any

from tf_radogaga._core.stack import keras, tf
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.parts import output
from tf_radogaga.models.reconstruction_features import prior_input
from tf_radogaga.priors.gaussians import LEAST_LOG_WEIGHT
from tf_radogaga.priors.mixture import MixturePrior


@keras.utils.register_keras_serializable(package="tf_radogaga")
class DAGMM(Autoencoder):
    """Autoencoder with a mixture on its latent, and no isometry.

        L = D(x, x_hat) + lambda1 R(z) + lambda2 sum_k sum_i 1 / Sigma_k[i, i],     D the sum of squared errors

    Sources: Zong et al., ICLR 2018; Kato et al., ICML 2020, section 5.2, and arXiv v1 Eq. 20.

    Args:
        encoder, decoder, prior: as `Autoencoder`.
        lambda1: weight of the rate R.
        lambda2: weight of the singularity penalty.
        **kwargs: preprocess, distortion, reconstruction_features, joint_prior, scoring_prior, name, as `Autoencoder`.

    Raises:
        TypeError: the prior is not a `MixturePrior`.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        prior: MixturePrior,
        lambda1: float = 0.1,
        lambda2: float = 0.005,
        **kwargs: Any,
    ):
        if not isinstance(prior, MixturePrior):
            raise TypeError(f"prior: {type(prior).__name__}, but DAGMM penalises the covariances of a MixturePrior.")
        super().__init__(encoder, decoder, prior, **kwargs)
        self.lambda1, self.lambda2 = lambda1, lambda2

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        z = output(self.encoder, x, training)
        x_hat = output(self.decoder, z, training)
        features = tf.cast(prior_input(self.reconstruction_features, z, x, x_hat), tf.float64)
        mixture = self.prior.batch_mixture(features) if training else self.prior.stored
        weighing = tf.cast(mixture.log_weights > LEAST_LOG_WEIGHT, tf.float64)[:, None]  # a stack is padded
        penalty = tf.reduce_sum(weighing / tf.linalg.diag_part(mixture.covariance))
        return {
            "reconstruction": self.distortion(x, x_hat),
            "rate": self.lambda1 * tf.cast(mixture.energy(features), tf.float32),
            "singularity": tf.fill(tf.shape(x)[:1], tf.cast(self.lambda2 * penalty, tf.float32)),
        }

    def get_config(self) -> dict:
        return {**super().get_config(), "lambda1": self.lambda1, "lambda2": self.lambda2}
