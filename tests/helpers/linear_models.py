"""Linear models set by hand, whose density is known, for the tests of densities and samples."""

import math

import numpy as np

from tf_radogaga import DenseNetwork, MixturePrior, RaDOGAGA
from tf_radogaga.priors import FactorizedPrior, NormalPrior


class FittingNormal(NormalPrior):
    """Stands for a learned prior that has reached the law of z, which these models are set to have."""

    learned = True


SCALE = 2 * 40.0 / 12
"""metric_scale of the models that are set by hand."""


VOLUMES = ("isometric", "jacobian")
"""Of `Autoencoder.log_density`."""


def rotation_matrix(units, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(units, units)))[0]


def linear_model(kernel, prior, rows, inverse=None, kind=RaDOGAGA, **options):
    """x_hat = z kernel, z = x inverse, by default of the pseudoinverse, set by hand; the prior adapted to the rows."""
    units, width = kernel.shape
    if kind is RaDOGAGA:
        options = {"lambda1": 1.0, "lambda2": 40.0, "gauge": None, **options}
    model = kind(DenseNetwork(width, (), units), DenseNetwork(units, (), width), prior, **options)
    model.decoder.dense[0].kernel.assign(kernel)
    model.encoder.dense[0].kernel.assign(np.linalg.pinv(kernel) if inverse is None else inverse)
    model.adapt_prior(rows)
    return model


def isometric_kernel(units, width):
    """Orthonormal rows / sqrt(metric_scale)."""
    return rotation_matrix(width)[:units] / math.sqrt(SCALE)


def rows_along(kernel, n=500, seed=1):
    """Rows on the manifold of the decoder, from standard normal latents."""
    return (np.random.default_rng(seed).normal(size=(n, len(kernel))) @ kernel).astype(np.float32)


def dead_axis(how):
    """A linear model of three latent units in four columns whose second unit carries nothing, as kernel and inverse."""
    kernel = np.zeros((3, 4))
    kernel[[0, 2]] = isometric_kernel(2, 3) @ np.eye(3, 4)
    inverse = np.linalg.pinv(kernel)
    if how == "deaf decoder":  # the second unit copies the fourth column, which the decoder leaves out
        inverse[3, 1] = 1
    if how == "mute encoder":  # the second unit stays at 0, which the decoder would put into the fourth column
        kernel[1, 3] = 1
    return kernel, inverse


def dead_rows(kernel, inverse):
    """Rows on the manifold of the two live units, with noise in the fourth column where the encoder looks."""
    rng = np.random.default_rng(1)
    z = np.where(rng.random((400, 1)) < 0.5, [4.0, 0.0], [-4.0, 1.0]) + rng.normal(size=(400, 2)) * [1.0, 0.5]
    noise = 2 * rng.normal(size=(400, 1)) * np.eye(4)[3] * inverse[3, 1]
    return (z @ kernel[[0, 2]] + noise).astype(np.float32)


def _perturbed_factorized(units):
    """A FactorizedPrior each of whose dimensions differs; those of two units are the first and last of three."""
    prior, rng = FactorizedPrior(units, init_scale=2.0), np.random.default_rng(0)
    for variable in prior.trainable_variables:
        values = rng.normal(0, 0.5, (3, *variable.shape[1:]))
        variable.assign_add(values if units == 3 else values[::2])
    for variable in prior.trainable_variables:
        if "bias" in variable.name:  # these start at random
            values = rng.normal(0, 0.5, (3, *variable.shape[1:]))
            variable.assign(values if units == 3 else values[::2])
    return prior


PRIORS = {
    "normal": FittingNormal,
    "gaussian": lambda units: MixturePrior(units, 1),
    "mixture": lambda units: MixturePrior(units, 2, em_iterations=3),
    "factorized": _perturbed_factorized,
}
