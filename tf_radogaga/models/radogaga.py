"""RaDOGAGA: rate-distortion optimisation guided autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tf_radogaga._core import checks, seeds
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.distortions.functions import as_distortion
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.density import DIRECTIONS, PRIOR, RESIDUALS, SHEETS
from tf_radogaga.models.gauge_fitting import GAUGE
from tf_radogaga.models.gauges import GAUGES
from tf_radogaga.models.joint import JOINT
from tf_radogaga.models.parts import NOISE, output, outputs
from tf_radogaga.models.reconstruction_features import prior_input

LEAST_DISTORTION = 1e-10
"""Added to a distortion before its logarithm is taken."""


def log(distortion: tf.Tensor) -> tf.Tensor:
    return tf.math.log(distortion + LEAST_DISTORTION)


H = {"log": log, "identity": tf.identity}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class RaDOGAGA(Autoencoder):
    """Autoencoder whose latent is an isometric copy of the data, up to one known scale.

        z = f(x)      x_hat = g(z)      x_breve = g(z + eps),  E[eps] = 0, E[eps_i eps_j] = sigma2 delta_ij
        L = -log P(z) + lambda1 h(D1(x, x_hat)) + lambda2 D(x_hat, x_breve)

    At the optimum one unit of z moves x by 1 / sqrt(2 lambda2 sigma2), in orthogonal directions, and
    2 * coding / N, shown as `isometry` while training, is 1. This takes a prior that is learned: a fixed P(z) bends z
    towards itself.

    Sources: Kato et al., ICML 2020, Eq. 4-17; `gauge="learned"` is this package's addition, see `LatentGauge`.

    Args:
        encoder, decoder, prior: as `Autoencoder`.
        lambda1: weight of the reconstruction term.
        lambda2: weight of the coding term.
        h: "log" or "identity", of D1(x, x_hat): the papers' RaDOGAGA(log(d)) and RaDOGAGA(d).
        noise: "uniform" or "gaussian".
        sigma2: variance of the noise.
        gauge: "learned"; None for the papers' form; or "flow", which bends as well, at the end of `fit`, where the
            metric of the decoder still differs from row to row: `straightening` then holds the mean `divergence` from
            isometry before and after, in nats.
        noisy_rate: while training, take the rate at z + eps, as learned compression does; scores are taken at z. This
            keeps z from collapsing where the data repeat, and shortens dimensions whose variance is near that of the
            noise: `isometry` then tends to the mean of 1 - sigma2 / Var(z_i) (Gaussian prior).
        transform: D1 of the reconstruction term; default: the distortion, D, whose metric the latent copies. Kato et
            al., section 5.1.1, take the mean squared error, also where D is 1 - SSIM.
        **kwargs: preprocess, distortion, reconstruction_features, joint_prior, scoring_prior, name, as `Autoencoder`.

    Raises:
        ValueError: an argument outside its range, named.
    """

    end_of_fit = (GAUGE, PRIOR, DIRECTIONS, SHEETS, RESIDUALS, JOINT)

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        prior: Any,
        lambda1: float,
        lambda2: float,
        h: str = "log",
        noise: str = "uniform",
        sigma2: float = 1 / 12,
        gauge: str | None = "learned",
        noisy_rate: bool = False,
        transform: Distortion | Callable | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, decoder, prior, **kwargs)
        checks.one_of("h", h, H)
        checks.one_of("noise", noise, NOISE)
        checks.one_of("gauge", gauge, GAUGES)
        checks.positive(lambda1=lambda1, lambda2=lambda2, sigma2=sigma2)
        if not self.distortion.has_metric:
            raise ValueError(f"distortion: {type(self.distortion).__name__} has no metric tensor, so no isometry.")
        self.lambda1, self.lambda2, self.h = lambda1, lambda2, h
        self.transform = self.distortion if transform is None else as_distortion(transform, "transform")
        self.noise, self.sigma2, self.noisy_rate = noise, sigma2, noisy_rate
        if gauge == "flow" and self.reconstruction_features:
            raise ValueError("gauge: 'flow' needs a prior of z alone; train with reconstruction_features=False.")
        if gauge == "flow" and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError("gauge: 'flow' is fitted on one device; build the model outside of strategy.scope().")
        self._gauge_name = gauge
        self.straightening: dict[str, float] = {}
        log_unit = 0.0  # a distortion without a closed-form volume starts at that of the sum of squares
        if self.distortion.has_log_volume:
            log_unit = float(self.distortion.log_volume(tf.zeros((1, *self.preprocess.event_shape)), rank=1)[0])
        scale = math.sqrt(self.metric_scale) * math.exp(log_unit)
        self.gauge = GAUGES[gauge](self.latent_units, scale, rotate=self.prior.axis_aligned)

    @property
    def metric_scale(self) -> float:  # type: ignore[override]  # it follows lambda2 and sigma2, Eq. 13
        return 2 * self.lambda2 * self.sigma2

    @property
    def noise_variance(self) -> float:  # type: ignore[override]
        return self.sigma2

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        y = output(self.encoder, x, training)
        z = self.gauge(y, training=training)
        noisy_z = z + self.draw_noise(tf.shape(z), training)
        x_hat, x_breve = outputs(self.decoder, [y, self.gauge.inverse(noisy_z, training=training)], training)
        rated = noisy_z if training and self.noisy_rate else z
        seen = prior_input(self.reconstruction_features, rated, x, x_hat)
        return {
            "rate": self.prior.rate(seen, training),
            "reconstruction": self.lambda1 * H[self.h](self.transform.excess(x, x_hat)),
            "coding": self.lambda2 * self.distortion.excess(x_hat, x_breve),
        }

    def monitors(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`isometry`: 2 * coding / N, which tends to 1, or to n / N where n of N dimensions are active."""
        return {"isometry": 2 * terms["coding"] / self.latent_units}

    def draw_noise(self, shape: tf.Tensor, training: bool) -> tf.Tensor:
        """eps; the same at every call outside training, so that an evaluation can be repeated."""
        seed = seeds.next_seed(self.random) if training else tf.constant([0, 0])
        return NOISE[self.noise](shape, seed, self.sigma2)

    def encode_x(self, x: tf.Tensor) -> tf.Tensor:
        return self.gauge(super().encode_x(x))

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        return super().decode(self.gauge.inverse(tf.convert_to_tensor(z, tf.float32)))

    def get_config(self) -> dict:
        names = "lambda1", "lambda2", "h", "noise", "sigma2", "noisy_rate"
        transform = None if self.transform is self.distortion else self.transform
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "gauge": self._gauge_name, "transform": transform}
