"""What loss equations are written with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tf_radogaga._core import replicas
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.distortions.functions import as_distortion
from tf_radogaga.networks import shapes
from tf_radogaga.preprocessing import PassThrough, Preprocessing
from tf_radogaga.preprocessing.images import ImageScaling
from tf_radogaga.priors.base import Prior
from tf_radogaga.priors.fixed import as_prior
from tf_radogaga.priors.stacked import StackedPrior


def output(network: keras.layers.Layer, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """In float32 also where the network computes in float16: priors, gauges and distortions need it."""
    return tf.cast(network(inputs, training=training), tf.float32)


def outputs(network: keras.layers.Layer, points: list[tf.Tensor], training: bool = False) -> list[tf.Tensor]:
    """Of several points of each row, by one call of the network."""
    return tf.split(output(network, tf.concat(points, axis=0), training), len(points))


def normal_noise(shape: tf.Tensor, seed: tf.Tensor, variance: float = 1.0) -> tf.Tensor:
    deviation = math.sqrt(variance)
    return replicas.own_rows(lambda all_: tf.random.stateless_normal(all_, seed, stddev=deviation), shape)


def uniform_noise(shape: tf.Tensor, seed: tf.Tensor, variance: float) -> tf.Tensor:
    half_width = math.sqrt(3 * variance)
    return replicas.own_rows(lambda all_: tf.random.stateless_uniform(all_, seed, -half_width, half_width), shape)


NOISE = {"uniform": uniform_noise, "gaussian": normal_noise}


def kl(mu: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """KL_j of a normal posterior from the standard normal, (B, N), in nats."""
    return 0.5 * (tf.square(mu) + tf.square(sigma) - 1) - tf.math.log(sigma)


def two_points(mu: tf.Tensor, sigma: tf.Tensor) -> list[tf.Tensor]:
    """Stand for the posterior where there is no noise (Nakagawa et al., appendix A.6)."""
    return [mu + sigma, mu - sigma]


def mean_excess(distortion: Distortion, x: tf.Tensor, x_hats: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([distortion.excess(x, x_hat) for x_hat in x_hats]) / len(x_hats)


def default_preprocessing(encoder: keras.layers.Layer) -> Preprocessing:
    """Where a model is given none."""
    shape = shapes.input_shape(encoder)
    if shape is None or len(shape) not in (1, 3):
        raise ValueError(
            f"preprocess: missing, and the encoder tells no shape of its input (found {shape}); give"
            " preprocess=PassThrough(columns), ImageScaling((height, width, channels)), or another adapted layer."
        )
    return ImageScaling(shape) if len(shape) == 3 else PassThrough(shape[0])


def fitting_prior(prior: Any, units: int) -> Prior:
    """It, or of a distribution, over so many units."""
    made = as_prior(prior)
    if (found := getattr(made, "latent_units", units)) != units:
        raise ValueError(f"prior: {found} units where the {units} latent units and features are needed.")
    if made.adapted and (found := made.rate(tf.zeros((1, units))).shape) != (1,):
        raise ValueError(f"prior: a rate of shape {found} for one latent; one number per example, (B,), is needed.")
    return made


def stacked_prior(argument: str, prior: Any, units: int) -> StackedPrior | None:
    """It, over so many units, or None; for a law that is fitted after a training and that no training may move."""
    if prior is None:
        return None
    if not isinstance(prior, StackedPrior):
        raise TypeError(f"{argument}: {prior!r} is no prior that is fitted to latents alone; give a StackedPrior.")
    if prior.latent_units != units:
        found = prior.latent_units
        raise ValueError(f"{argument}: {found} units where {units} are needed; give StackedPrior({units}).")
    prior.trainable = False
    return prior


def fitting_distortion(distortion: Distortion | Callable | None, example: tf.Tensor) -> Distortion:
    """It, or of a function, for rows such as this one, (1, *event)."""
    made = as_distortion(distortion)
    found = tf.convert_to_tensor(made(example, example)).shape
    if found != (1,):
        raise ValueError(f"distortion: {found} for {example.shape} rows; one number per example, (B,), is needed.")
    return made
