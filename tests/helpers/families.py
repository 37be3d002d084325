"""Every family of models, small, and rows for them."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from helpers.marks import after
from helpers.own_networks import NETWORKS
from tf_radogaga import (
    DAGMM,
    BetaVAE,
    EuclideanNorm,
    FactorizedPrior,
    MinMaxScaling,
    MixturePrior,
    NormalPrior,
    RaDOGAGA,
)

keras = tf.keras
WIDTH, UNITS = 4, 2


def radogaga_with(prior, **options):
    def build(encoder, decoder, **shared):
        return RaDOGAGA(encoder, decoder, prior(), **{"lambda1": 10, "lambda2": 10, **options, **shared})

    return build


def factorized():
    return FactorizedPrior(UNITS, init_scale=3)


def mixture(units=UNITS):
    return MixturePrior(units, components=2, covariance_floor=1e-3, em_iterations=3)


FAMILIES = {
    "radogaga": (radogaga_with(factorized), 1),
    "radogaga-papers": (radogaga_with(mixture, gauge=None, h="identity"), 1),
    "radogaga-mixture": (radogaga_with(mixture), 1),
    "radogaga-flow": (radogaga_with(factorized, gauge="flow"), 1),
    "radogaga-normal": (radogaga_with(lambda: NormalPrior(UNITS), noisy_rate=True, noise="gaussian"), 1),
    "radogaga-features": (radogaga_with(lambda: mixture(UNITS + 2), reconstruction_features=True), 1),
    "radogaga-tfp": (radogaga_with(lambda: tfp.distributions.MultivariateNormalDiag(tf.Variable([0.0, 0.1]))), 1),
    "dagmm": (lambda *networks, **shared: DAGMM(*networks, mixture(), **shared), 1),
    "beta-vae": (lambda *networks, **shared: BetaVAE(*networks, beta=0.1, **shared), 2),
    "beta-vae-decomposed": (
        lambda *networks, **shared: BetaVAE(*networks, lambda1=5, lambda2=10, transform=EuclideanNorm(), **shared),
        2,
    ),
}
"""Name -> encoder, decoder -> model; and outputs of the encoder for each latent unit."""

_OTHER_PARTS = ("radogaga-papers", "radogaga-flow", "radogaga-normal", "radogaga-tfp")
"""Differ from another family in a prior or gauge alone, which have tests of their own."""


_FIRST = ("radogaga", "beta-vae-decomposed")


def each(families=FAMILIES):
    """What tests are parametrized by: two families, the further ones left to the thorough tests or to the slow ones."""
    slow = [pytest.param(name, marks=pytest.mark.slow) for name in families if name in _OTHER_PARTS]
    further = [name for name in families if name not in (*_FIRST, *_OTHER_PARTS)]
    return [*after(len(_FIRST), [*_FIRST, *further]), *slow]


SAVED = [name for name in FAMILIES if name not in ("radogaga-tfp", "radogaga-flow")]
"""A distribution of no registered function is not saved; of flows tests/models/test_gauges.py has it."""


def data(rows=48):
    return (np.random.default_rng(5).normal(size=(rows, WIDTH)) * [1, 10, 0.1, 5] + [0, 50, 3, 1]).astype(np.float32)


def scaling():
    layer = MinMaxScaling(WIDTH)
    layer.adapt(data())
    return layer


def model_of(family, networks=NETWORKS["subclassed"], **options):
    build, heads = FAMILIES[family]
    return build(networks(WIDTH, heads * UNITS), networks(UNITS, WIDTH), preprocess=scaling(), **options)


def trained(model, epochs=1, rate=1e-2):
    model.compile(keras.optimizers.Adam(rate), run_eagerly=True)
    model.fit(data(), batch_size=24, epochs=epochs, verbose=0)
    return model


@functools.cache
def fitted_once(family):
    return trained(model_of(family))
