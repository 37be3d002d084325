import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from tf_radogaga.mixtures import Mixture, Statistics


def _clusters(n=900, spread=6.0):
    """Three well separated unit clusters in the plane, (n, 2) float64."""
    rng = np.random.default_rng(1)
    centres = spread * np.array([[0, 0], [1, 0], [0, 1]])
    return centres[np.arange(n) % 3] + rng.normal(size=(n, 2))


def _mixture(components=3, units=2, covariance_floor=1e-6):
    """A mixture of unlike, overlapping components with full covariances."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(400, units)) @ rng.normal(size=(units, units)) + 1
    gamma = rng.dirichlet(np.full(components, 0.2), 400) * np.arange(1, components + 1)
    gamma /= gamma.sum(axis=1, keepdims=True)
    return Statistics.of(tf.constant(z), tf.constant(gamma)).mixture(covariance_floor)


def _scikit(mixture: Mixture) -> GaussianMixture:
    model = GaussianMixture(mixture.mean.shape[0])
    model.weights_ = np.exp(mixture.log_weights)
    model.means_ = np.array(mixture.mean)
    model.covariances_ = np.array(mixture.covariance)
    model.precisions_cholesky_ = np.swapaxes(np.array(mixture.inverse_cholesky), 1, 2)
    return model


def _scipy_log_density(mixture: Mixture, z):
    components = zip(np.array(mixture.log_weights), np.array(mixture.mean), np.array(mixture.covariance))
    return special.logsumexp(
        [w + stats.multivariate_normal(mean, cov).logpdf(z) for w, mean, cov in components], axis=0
    )


def test_moments_are_the_weighted_moments_of_numpy():
    z = _clusters(60)
    gamma = np.random.default_rng(0).dirichlet([1, 1, 1], 60)
    mixture = Statistics.of(tf.constant(z), tf.constant(gamma)).mixture(covariance_floor=0.25)
    np.testing.assert_allclose(np.exp(mixture.log_weights), gamma.mean(axis=0))
    for k in range(3):
        np.testing.assert_allclose(mixture.mean[k], np.average(z, axis=0, weights=gamma[:, k]), rtol=1e-6)
        expected = np.cov(z.T, aweights=gamma[:, k], ddof=0) + 0.25 * np.eye(2)
        np.testing.assert_allclose(mixture.covariance[k], expected, rtol=1e-6)
        whitened = mixture.inverse_cholesky[k] @ expected @ tf.transpose(mixture.inverse_cholesky[k])
        np.testing.assert_allclose(whitened, np.eye(2), atol=1e-6)


def test_statistics_of_parts_add_up_to_those_of_the_whole():
    z = tf.constant(_clusters(60))
    gamma = tf.constant(np.random.default_rng(0).dirichlet([1, 1, 1], 60))
    summed = Statistics.of(z[:7], gamma[:7]) + Statistics.of(z[7:], gamma[7:])
    for part, whole in zip(summed, Statistics.of(z, gamma)):
        np.testing.assert_allclose(part, whole, rtol=1e-12)


@pytest.mark.parametrize(("components", "units"), [(1, 1), (3, 1), (1, 4), (3, 2), (5, 4)])
def test_energy_is_minus_the_log_density_of_scipy(components, units):
    mixture = _mixture(components, units)
    z = 2 * np.random.default_rng(3).normal(size=(50, units))
    np.testing.assert_allclose(mixture.energy(tf.constant(z)), -_scipy_log_density(mixture, z), rtol=1e-8)


def test_energy_of_no_rows_has_no_rows():
    assert _mixture().energy(tf.zeros((0, 2), tf.float64)).shape == (0,)


def test_expectation_is_scikit_learns():
    z, mixture = np.random.default_rng(3).normal(size=(50, 2)), _mixture()
    likelihood, statistics = mixture.expectation(tf.constant(z))
    assert float(likelihood) / 50 == pytest.approx(_scikit(mixture).score(z), rel=1e-8)
    gamma = _scikit(mixture).predict_proba(z)
    for found, expected in zip(statistics, Statistics.of(tf.constant(z), tf.constant(gamma))):
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_along_a_direction_is_the_integral_over_the_other():
    mixture, angle = _mixture(), 0.7
    along, across = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    s = np.linspace(-30, 30, 6001)
    t = np.linspace(-4, 6, 9)
    points = t[:, None, None] * along + s[:, None] * across
    expected = np.exp(_scipy_log_density(mixture, points)).sum(axis=1) * (s[1] - s[0])
    found = np.exp(-mixture.along(tf.constant(along[None])).energy(tf.constant(t[:, None])))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_along_a_rotation_is_the_same_density_in_other_coordinates():
    mixture = _mixture(3, 4)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    z = np.random.default_rng(3).normal(size=(50, 4))
    found = mixture.along(tf.constant(rotation)).energy(tf.constant(z @ rotation.T))
    np.testing.assert_allclose(found, mixture.energy(tf.constant(z)), rtol=1e-8)


def test_along_no_direction_every_row_is_certain():
    z = tf.zeros((5, 2), tf.float64)
    marginal = _mixture().along(tf.zeros((0, 2)))
    np.testing.assert_allclose(marginal.energy(z[:, :0]), np.zeros(5), atol=1e-12)


def test_component_without_members_stays_finite():
    z = tf.constant(_clusters(30))
    gamma = tf.constant(np.tile([0.5, 0.5, 0.0], (30, 1)))
    mixture = Statistics.of(z, gamma).mixture(1e-6)
    two = Statistics.of(z, gamma[:, :2]).mixture(1e-6)
    np.testing.assert_allclose(mixture.energy(z), two.energy(z), rtol=1e-8)


def test_narrow_latents_stay_finite():
    z = tf.constant(1000 + 1e-7 * _clusters(100))
    gamma = tf.constant(np.full((100, 3), 1 / 3))
    assert np.isfinite(Statistics.of(z, gamma).mixture(1e-6).energy(z)).all()
