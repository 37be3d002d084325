"""Models of known geometry, set by hand, for the tests of isometry and of certificates."""

import math

import numpy as np
import tensorflow as tf

from helpers.models import scaled
from tf_radogaga import DenseNetwork, MixturePrior, RaDOGAGA


def flat_data(dimensions=3, width=5, sd=(3.0, 2.0, 1.0)):
    """Rows (200, width) on a plane, and an orthonormal basis of it (dimensions, width)."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(width, dimensions)))[0].T
    return (rng.normal(size=(200, dimensions)) * sd[:dimensions]) @ basis + 0.5 * basis[0], basis


def linear(rows, decoder, adapt=True, prior=None, model=RaDOGAGA, **options):
    """An adapted model, not trained: x_hat = z decoder, and z = x times the pseudo-inverse."""
    units, width = decoder.shape
    parts = (DenseNetwork(width, (), units), DenseNetwork(units, (), width), prior or MixturePrior(units, 1))
    if model is RaDOGAGA:
        options = {"lambda1": 1.0, "lambda2": 24.0, "gauge": None, **options}
    model = model(*parts, **options)
    model.decoder.dense[0].kernel.assign(decoder)
    model.encoder.dense[0].kernel.assign(np.linalg.pinv(decoder))
    if adapt:
        model.adapt_prior(rows)
    return model


SCALE = 2 * 24 / 12  # metric_scale of `linear`


def isometric(**options):
    rows, basis = flat_data()
    return rows, linear(rows, basis / math.sqrt(SCALE), **options)


def tanh_model(rows, distortion=None, prior=None, output_activation=None):
    """An adapted model with a random curved decoder and a gauge that shears; all 3 latent units are active."""
    tf.keras.utils.set_random_seed(7)
    parts = DenseNetwork(5, (8,), 3), DenseNetwork(3, (8,), 5, output_activation=output_activation)
    model = RaDOGAGA(
        *parts, prior or MixturePrior(3, 1), 1.0, 1e4, preprocess=scaled(rows), distortion=distortion, sigma2=1e-4
    )
    model.gauge.lower.assign(np.tri(3) * 0.1)
    for network in (model.encoder, model.decoder):
        for layer in network.dense:
            layer.kernel.assign(2 * layer.kernel)
    model.adapt_prior(rows)
    assert model.active_dimensions == 3
    return model
