"""Drawing from a model, and range coding of its latents."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.linear_models import (
    PRIORS,
    SCALE,
    FittingNormal,
    dead_axis,
    dead_rows,
    isometric_kernel,
    linear_model,
    rows_along,
)
from helpers.marks import after
from helpers.models import adapted_model

from tf_radogaga import MixturePrior
from tf_radogaga._core.stack import HAS_RANGE_CODER
from tf_radogaga.priors import DistributionPrior, FactorizedPrior

tfd = tfp.distributions


def test_samples_of_a_linear_model_are_its_gaussian():
    kernel = isometric_kernel(2, 3)
    factor = np.array([[2.0, 0.0], [1.5, 0.5]])
    prior = DistributionPrior(lambda: tfd.MultivariateNormalTriL([1.0, -2.0], tf.constant(factor, tf.float32)))
    model = linear_model(kernel, prior, rows_along(kernel))
    model.decoder.dense[0].bias.assign([5.0, 0.0, -1.0])
    n = 20000
    sample = model.sample(n, seed=0).numpy()
    assert sample.shape == (n, 3) and sample.dtype == np.float32
    covariance = kernel.T @ factor @ factor.T @ kernel
    variance = np.diag(covariance)
    distance = np.abs(sample.mean(axis=0) - ([1.0, -2.0] @ kernel + [5, 0, -1]))
    assert (distance < 4 * np.sqrt(variance / n)).all()
    error = np.sqrt((covariance**2 + np.outer(variance, variance)) / n)
    assert (np.abs(np.cov(sample.T) - covariance) < 4 * error).all()


@pytest.mark.parametrize("prior", after(2, ["normal", "gaussian", "factorized"]))
def test_samples_of_every_prior_are_repeated_by_their_seed(prior):
    kernel = isometric_kernel(3, 4)
    model = linear_model(kernel, PRIORS[prior](3), rows_along(kernel))
    first, again, other = (model.sample(6, seed=seed).numpy() for seed in (1, 1, 2))
    assert first.shape == (6, 4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (model.sample(6).numpy() != model.sample(6).numpy()).any()


def test_samples_lie_where_the_data_do():
    """A mixture's samples have the moments of the latents it was adapted to."""
    kernel, inverse = dead_axis("both")
    x = dead_rows(kernel, inverse)
    sample = linear_model(kernel, MixturePrior(3, 2, em_iterations=3), x, inverse).sample(20000, seed=0).numpy()
    np.testing.assert_allclose(sample.mean(axis=0), x.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(sample.T), np.cov(x.T), atol=0.05)


@pytest.mark.parametrize("count", [0, -3])
def test_no_rows_cannot_be_sampled(count):
    kernel = isometric_kernel(2, 3)
    model = linear_model(kernel, FittingNormal(2), rows_along(kernel))
    with pytest.raises(ValueError, match=f"rows: {count} must be at least 1"):
        model.sample(count)


range_coder = pytest.mark.skipif(not HAS_RANGE_CODER, reason=f"no range coder for TensorFlow {tf.__version__}")


@pytest.mark.thorough
@range_coder
def test_decompressing_decodes_the_quantized_latents():
    kernel = isometric_kernel(2, 3)
    rows = rows_along(kernel, n=100) * 5
    model = linear_model(kernel, FactorizedPrior(2), rows)
    found = model.decompress(model.compress(rows))
    quantized = model.prior.quantize(model.encode(rows))
    np.testing.assert_array_equal(found, model.decode(quantized))
    z = model.encode(rows)
    assert np.abs(quantized - z).max() <= 0.5 + 1e-4
    error = tf.reduce_mean(tf.reduce_sum((found - rows) ** 2, axis=1))
    assert float(error) == pytest.approx(2 / 12 / SCALE, rel=0.2)  # the noise of the loss: sigma2 in each dimension


@range_coder
def test_a_row_too_far_for_the_coder_is_named():
    kernel = isometric_kernel(2, 3)
    rows = rows_along(kernel, n=100)
    model = linear_model(kernel, FactorizedPrior(2), rows)
    far = rows.copy()
    far[7] *= 1e12
    with pytest.raises(ValueError, match=r"z: row 7 has .* finite latents"):
        model.compress(far)


def test_reconstruction_features_cannot_be_sampled_nor_coded(rows):
    model = adapted_model(rows, reconstruction_features=True)
    for call in (lambda: model.sample(3), lambda: model.compress(rows)):
        with pytest.raises(NotImplementedError, match="with reconstruction_features the prior sees more than z"):
            call()


def test_a_model_whose_prior_has_no_range_coder_says_so(rows):
    model = adapted_model(rows)
    with pytest.raises(NotImplementedError, match="MixturePrior has no range coder; train with a FactorizedPrior"):
        model.compress(rows)


@pytest.mark.parametrize(
    "prior", after(2, ["gaussian", "mixture", "factorized", pytest.param("normal", marks=pytest.mark.slow)])
)
def test_a_sample_of_each_seed_is_the_one_sample_of_that_seed(prior):
    kernel = isometric_kernel(3, 4)
    prior = linear_model(kernel, PRIORS[prior](3), rows_along(kernel)).prior
    seeds = [4, 0, 4, -1]
    expected = [prior.distribution.sample(1, seed=tf.constant([seed, 0]))[0] for seed in seeds]
    np.testing.assert_allclose(prior.sample_each(tf.constant(seeds)), tf.stack(expected), rtol=1e-6, atol=1e-6)


class DrawnByIntegers(tfd.Distribution):
    """A distribution whose own sampler takes no stateless seeds."""

    def __init__(self):
        kind = tfd.FULLY_REPARAMETERIZED
        super().__init__(tf.float32, reparameterization_type=kind, validate_args=False, allow_nan_stats=False)

    def _event_shape(self):
        return tf.TensorShape([3])

    def _batch_shape(self):
        return tf.TensorShape([])

    def _log_prob(self, z):
        return -tf.reduce_sum(tf.square(z), axis=-1)

    def _sample_n(self, n, seed=None):
        return tf.random.normal((n, 3), seed=seed)


def test_a_distribution_that_takes_integer_seeds_alone_is_sampled():
    kernel = isometric_kernel(3, 4)
    model = linear_model(kernel, DistributionPrior(DrawnByIntegers), rows_along(kernel))
    assert model.sample(5).shape == (5, 4)


def test_a_prior_of_ones_own_tells_whether_it_can_be_sampled():
    class WithoutSampler(DistributionPrior):
        @property
        def distribution(self):
            raise NotImplementedError

    prior = DistributionPrior(lambda: tfd.MultivariateNormalDiag(tf.zeros(3)))
    assert prior.has_sampler and not WithoutSampler(lambda: tfd.MultivariateNormalDiag(tf.zeros(3))).has_sampler
