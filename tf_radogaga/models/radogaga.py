"""RaDOGAGA: rate-distortion optimisation guided autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_radogaga._core import checks, replicas, seeds
from tf_radogaga._core.constants import as_constant
from tf_radogaga.distortions.base import Distortion, as_distortion
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.gauges import CouplingFlow, straighten

keras = tf.keras


@keras.utils.register_keras_serializable(package="tf_radogaga")
class LatentGauge(keras.layers.Layer):
    """z = y A with a learned invertible A between the encoder's output y and the latent z.

    The decoder sees y for the reconstruction and (z + eps) A^-1 for the coding term, so the reconstruction has no
    gradient to A: the rate and the coding term alone set the scale and the orthogonality of z, which the
    reconstruction term otherwise drowns. A adds no capacity; it is a linear layer that the dense layers beside it
    could absorb.

    A = L R, L lower-triangular with a positive diagonal, R a rotation (Cayley transform of a skew-symmetric matrix).
    A prior that takes rotations in its stride, as a mixture of full covariances does, needs no R.

    Args:
        units: N.
        scale: A starts at `scale` times the identity.
        rotate: whether R is learned; for axis-aligned priors, whose dimensions then become principal ones.
        speed: step size of A relative to the other weights under Adam.
    """

    def __init__(self, units: int, scale: float, rotate: bool = False, speed: float = 5.0, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self.units, self.scale, self.rotate, self.speed = units, scale, rotate, speed
        self.log_diagonal = self.add_weight("log_diagonal", (units,), initializer="zeros")
        self.lower = self.add_weight("lower", (units, units), initializer="zeros")
        self.turn = self.add_weight("turn", (units, units), initializer="zeros") if rotate else None

    def _triangle(self) -> tf.Tensor:
        off_diagonal = tf.linalg.band_part(self.lower, -1, 0) - tf.linalg.diag(tf.linalg.diag_part(self.lower))
        return self.scale * (tf.linalg.diag(tf.exp(self.speed * self.log_diagonal)) + self.speed * off_diagonal)

    def _rotation(self) -> tf.Tensor:
        skew, identity = self.speed * (self.turn - tf.transpose(self.turn)), tf.eye(self.units)
        return tf.linalg.solve(identity + skew, identity - skew)

    def matrix(self) -> tf.Tensor:
        """A, (N, N)."""
        return self._triangle() @ self._rotation() if self.rotate else self._triangle()

    def inverse_matrix(self) -> tf.Tensor:
        """A^-1, (N, N)."""
        inverse = tf.linalg.triangular_solve(self._triangle(), tf.eye(self.units))
        return tf.linalg.matmul(self._rotation(), inverse, transpose_a=True) if self.rotate else inverse

    def call(self, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        return y @ as_constant(self.matrix)

    def inverse(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """y = z A^-1. L is inverted against the identity: transposing the batch would break fused CPU kernels."""
        return z @ as_constant(self.inverse_matrix)

    def get_config(self) -> dict:
        return {"units": self.units, "scale": self.scale, "rotate": self.rotate, "speed": self.speed}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class FlowGauge(LatentGauge):
    """z = phi(y A): a `LatentGauge`, and behind it a `CouplingFlow` that bends.

    The loss trains A as if phi were not there. At the end of `fit`, when the decoder is what it is, `straighten` fits
    phi to its metric. Like A it leaves every x_hat alone.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.flow = CouplingFlow(self.units)

    def call(self, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        u = super().call(y)
        return u if training else self.flow(u)

    def inverse(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        return super().inverse(z if training else self.flow.inverse(z))


GAUGES = {"learned": LatentGauge, "flow": FlowGauge}


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
        **kwargs: preprocess, distortion, reconstruction_features, name, as `Autoencoder`.

    Raises:
        ValueError: an argument outside its range, named.
    """

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
        checks.one_of("h", h, ("log", "identity"))
        checks.one_of("noise", noise, ("uniform", "gaussian"))
        checks.one_of("gauge", gauge, (*GAUGES, None))
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
        self.gauge, self._gauge_name = None, gauge
        self.straightening: dict[str, float] = {}
        if gauge:
            log_unit = 0.0  # a distortion without a closed-form volume starts at that of the sum of squares
            if self.distortion.has_log_volume:
                log_unit = float(self.distortion.log_volume(tf.zeros((1, *self.preprocess.event_shape)), rank=1)[0])
            scale = math.sqrt(self.metric_scale) * math.exp(log_unit)
            self.gauge = GAUGES[gauge](self.latent_units, scale, rotate=self.prior.axis_aligned)

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        y = self._encoder_output(x, training)
        z = self.gauge(y, training=training) if self.gauge else y
        noisy = z + self._draw_noise(tf.shape(z), training)
        noisy_y = self.gauge.inverse(noisy, training=training) if self.gauge else noisy
        x_hat, x_breve = tf.split(self._decoder_output(tf.concat([y, noisy_y], axis=0), training), 2)
        distortion = self.transform.excess(x, x_hat)
        return {
            "rate": self.prior.rate(
                self._prior_input(noisy if training and self.noisy_rate else z, x, x_hat), training
            ),
            "reconstruction": self.lambda1 * (tf.math.log(distortion + 1e-10) if self.h == "log" else distortion),
            "coding": self.lambda2 * self.distortion.excess(x_hat, x_breve),
        }

    def monitors(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`isometry`: 2 * coding / N, which tends to 1, or to n / N where n of N dimensions are active."""
        return {"isometry": 2 * terms["coding"] / self.latent_units}

    def _draw_noise(self, shape: tf.Tensor, training: bool) -> tf.Tensor:
        """eps; the same at every call outside training, so that an evaluation can be repeated."""
        seed = seeds.next_seed(self.random) if training else tf.constant([0, 0])
        if self.noise == "gaussian":
            deviation = math.sqrt(self.sigma2)
            return replicas.own_rows(lambda all_: tf.random.stateless_normal(all_, seed, stddev=deviation), shape)
        half_width = math.sqrt(3 * self.sigma2)
        return replicas.own_rows(lambda all_: tf.random.stateless_uniform(all_, seed, -half_width, half_width), shape)

    def encode_x(self, x: tf.Tensor) -> tf.Tensor:
        y = self._encoder_output(x)
        return self.gauge(y) if self.gauge else y

    def _decode(self, z: tf.Tensor) -> tf.Tensor:
        return self._decoder_output(self.gauge.inverse(z) if self.gauge else z)

    def _invalidate(self) -> None:
        super()._invalidate()
        self.straightening = {}
        if isinstance(self.gauge, FlowGauge):
            self.gauge.flow.reset()

    def _adapt(self, dataset: tf.data.Dataset, cache: bool = False, refine: bool = True) -> None:
        if isinstance(self.gauge, FlowGauge) and refine:
            self.gauge.flow.reset()
            self._find_active(dataset)
            self.straightening = straighten(self, self.gauge.flow, dataset)
        super()._adapt(dataset, cache, refine)

    @property
    def metric_scale(self) -> float:
        """2 lambda2 sigma2 (Eq. 13)."""
        return 2 * self.lambda2 * self.sigma2

    @property
    def noise_variance(self) -> float:
        return self.sigma2

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "lambda1": self.lambda1,
            "lambda2": self.lambda2,
            "h": self.h,
            "noise": self.noise,
            "sigma2": self.sigma2,
            "gauge": self._gauge_name,
            "noisy_rate": self.noisy_rate,
            "transform": None if self.transform is self.distortion else self.transform,
        }
