"""The beta-VAE, read as a scaled isometric embedding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tf_radogaga._core import checks, seeds
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.distortions.functions import as_distortion
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.density import Density, without_nan
from tf_radogaga.models.parts import kl, mean_excess, normal_noise, output, outputs, two_points
from tf_radogaga.priors.fixed import NormalPrior

LOG_VARIANCE_RANGE = (-30.0, 5.0)
"""Of the posterior. Trained ones lie far inside; rows far from the data must not overflow."""


LEAST_RATE = 0.05
"""A latent dimension of a VAE is active when its mean rate KL_j exceeds this many nats; that of an idle one tends to 0.
A variance 1.1 times that of the noise takes 1/2 log 1.1 = 0.048."""


class PosteriorDensity(Density):
    """That of a beta-VAE, whose posterior deviations tell the volume."""

    model: BetaVAE
    volume_by_prior = False

    def energy(self, x: tf.Tensor) -> tf.Tensor:
        mu, sigma = self.model.posterior_x(x)
        rate = tf.reduce_sum(kl(mu, sigma), axis=-1)
        x_hats = outputs(self.model.decoder, two_points(mu, sigma))
        return without_nan(rate + self.model.lambda2 * mean_excess(self.model.distortion, x, x_hats), math.inf)

    def log_density(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        """By the isometric volume; Eq. 21 and 57."""
        count = self.model.active_dimensions
        constant = 0.5 * count * (1 - math.log(self.model.beta * math.pi * math.e))
        return without_nan(constant + self.model.distortion.log_volume(x, count) - self._scored(x, energy), -math.inf)

    def log_density_of_x_hat(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        """With D(x_check, x_hat) in place of D(x, x_hat), which is nearly all D(x, x_check) far off the manifold."""
        mu, sigma = self.model.posterior_x(x)
        rate = tf.reduce_sum(kl(mu, sigma), axis=-1)
        x_check, *x_hats = outputs(self.model.decoder, [mu, *two_points(mu, sigma)])
        coding = self.model.lambda2 * mean_excess(self.model.distortion, x_check, x_hats)
        return self.log_density(x, rate + coding)

    def _log_prob(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        return self.model.prior.log_prob_along(self.model.encode_x(x), self.model.active_directions)

    def find_active(self, dataset: tf.data.Dataset) -> None:
        """Those of a mean rate above `LEAST_RATE`, that of the greatest first."""
        units = self.model.latent_units
        rows, total = 0, tf.zeros(units, tf.float64)
        for rates in dataset.map(lambda x: kl(*self.model.posterior_x(x))):
            rows, total = rows + len(rates), total + tf.reduce_sum(tf.cast(rates, tf.float64), axis=0)
        self._keep(tf.eye(units), total / rows > LEAST_RATE, total)


@keras.utils.register_keras_serializable(package="tf_radogaga")
class BetaVAE(Autoencoder):
    """Variational autoencoder, whose latent is an isometric copy of the data once each step of z_j is divided by its
    posterior deviation sigma_j(x).

        mu, sigma = f(x)      x_check = g(mu)      x_hat = g(mu + sigma eps),  eps ~ N(0, I)
        conventional   L = KL + 1/beta D(x, x_hat)
        decomposed     L = KL + lambda1 D1(x, x_check) + lambda2 D(x_check, x_hat),      lambda2 = 1/beta
        KL = sum_j 1/2 (mu_j^2 + sigma_j^2 - log sigma_j^2 - 1)

    At the optimum dy_j = sqrt(beta/2) / sigma_j dmu_j are isometric coordinates. Energies are KL + 1/beta D(x, x_hat)
    for either form, in nats, the expectation over eps taken as the mean over the two points mu + sigma and mu - sigma;
    so is the loss outside training. D counts from D(x, x). At the optimum an energy is -log p(y) up to a constant, so
    `log_density` by the isometric volume is

        log p(x) = -energy + n/2 (1 - log(beta pi e)) + 1/2 sum_j log alpha_j(A(x)),

    lower by D(x, x_check) / beta where x lies off the manifold; that by the Jacobian takes p(z) for the density of mu.

    Source: Nakagawa et al., ICML 2021, Eq. 1-24 and 95, appendices A.5, A.6 and H.2.

    Args:
        encoder: x -> 2 N units: mu beside log sigma^2.
        decoder: N units -> x_hat.
        beta: of the conventional form, the weight of the rate against D, in units of D per nat.
        lambda1, lambda2: in place of beta, weights of the transform and the coding term of the decomposed form.
        transform: D1 of the decomposed form, such as `EuclideanNorm`; default: the distortion.
        **kwargs: preprocess, distortion, joint_prior, name, as `Autoencoder`.

    Raises:
        TypeError: neither beta nor lambda1 and lambda2, or all of them.
        ValueError: an argument outside its range, named.
    """

    heads = 2
    own_prior = NormalPrior
    density_class = PosteriorDensity
    axis_aligned = True

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        beta: float | None = None,
        lambda1: float | None = None,
        lambda2: float | None = None,
        transform: Distortion | Callable | None = None,
        **kwargs: Any,
    ):
        if kwargs.get("scoring_prior") is not None:
            raise TypeError("scoring_prior: leave it out; a BetaVAE has its own prior, and its energy is its loss.")
        super().__init__(encoder, decoder, None, **kwargs)
        weights = {"beta": beta, "lambda1": lambda1, "lambda2": lambda2}
        if (beta is None) == (lambda1 is None) or (lambda1 is None) != (lambda2 is None):
            raise TypeError(f"{weights}: give either beta, or lambda1 and lambda2 for the decomposed form.")
        given = {name: value for name, value in weights.items() if value is not None}
        checks.positive(**given)
        if not self.distortion.has_metric:
            raise ValueError(
                f"distortion: {type(self.distortion).__name__} has no metric tensor, so no isometry; give it as"
                " transform, with lambda1 and lambda2."
            )
        if transform is not None and lambda1 is None:
            raise ValueError("transform: belongs to the decomposed form; give lambda1 and lambda2 in place of beta.")
        self.decomposed = lambda1 is not None
        self.beta = 1 / given["lambda2"] if self.decomposed else given["beta"]
        self.lambda1, self.lambda2 = lambda1, given["lambda2"] if self.decomposed else 1 / self.beta
        self.transform = self.distortion if transform is None else as_distortion(transform, "transform")

    # The loss

    def posterior_x(self, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """mu and sigma of preprocessed x, (B, N) each."""
        mu, log_variance = tf.split(output(self.encoder, x, training), 2, axis=-1)
        # the gradient goes through the border, or a variance that once left the range would stay there
        clipped = tf.clip_by_value(log_variance, *LOG_VARIANCE_RANGE)
        return mu, tf.exp(0.5 * (log_variance + tf.stop_gradient(clipped - log_variance)))

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        mu, sigma = self.posterior_x(x, training)
        rate = tf.reduce_sum(kl(mu, sigma), axis=-1)
        if training:
            points = [mu + sigma * normal_noise(tf.shape(mu), seeds.next_seed(self.random))]
        else:
            points = two_points(mu, sigma)
        if not self.decomposed:
            x_hats = outputs(self.decoder, points, training)
            return {"rate": rate, "distortion": self.lambda2 * mean_excess(self.distortion, x, x_hats)}
        x_check, *x_hats = outputs(self.decoder, [mu, *points], training)
        return {
            "rate": rate,
            "transform": self.lambda1 * self.transform.excess(x, x_check),
            "coding": self.lambda2 * mean_excess(self.distortion, x_check, x_hats),
        }

    def monitors(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`isometry`, of the decomposed form: 2 * coding / N, which tends to n / N where n of N dimensions are
        active (Eq. 54). The conventional form does not tell coding from transform loss."""
        return {"isometry": 2 * terms["coding"] / self.latent_units} if self.decomposed else {}

    # Scoring

    def encode_x(self, x: tf.Tensor) -> tf.Tensor:
        return self.posterior_x(x)[0]

    def posterior(self, rows: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """mu and sigma of raw rows, (B, N) each.

        Raises:
            TypeError, ValueError: bad rows, naming column and row.
        """
        return self.by_blocks(rows, self.posterior_x, fitted=False)

    def rates(self, rows: Any) -> tf.Tensor:
        """KL_j of raw rows, (B, N), in nats; the mean of dimensions that mean something is well above 0.

        Source: Nakagawa et al., ICML 2021, Eq. 2 and Proposition 3.
        """
        return kl(*self.posterior(rows))

    def transform_and_coding(self, rows: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Transform loss D(x, x_check) and coding loss D(x_check, x_hat) of raw rows, (B,) each, in units of D.

        Source: Nakagawa et al., ICML 2021, Lemma 1.
        """

        def both(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            mu, sigma = self.posterior_x(x)
            x_check, *x_hats = outputs(self.decoder, [mu, *two_points(mu, sigma)])
            return self.distortion.excess(x, x_check), mean_excess(self.distortion, x_check, x_hats)

        return self.by_blocks(rows, both, fitted=False)

    def get_config(self) -> dict:
        config = super().get_config()
        del config["prior"], config["scoring_prior"], config["reconstruction_features"]
        weights = {"lambda1": self.lambda1, "lambda2": self.lambda2} if self.decomposed else {"beta": self.beta}
        transform = None if self.transform is self.distortion else self.transform
        return {**config, **weights, "transform": transform}
