"""The prior that is fitted after a training."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tf_radogaga import DenseNetwork, RaDOGAGA, StackedPrior
from tf_radogaga.priors.stacked import FLOORS
from tf_radogaga.priors.stacking import MEMBERS


def fitted(z, components=8):
    prior = StackedPrior(z.shape[1], components)
    prior.adapt(tf.data.Dataset.from_tensor_slices(z.astype(np.float32)).batch(97))
    return prior


def clusters(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, 1)) < 0.3, [4.0, 0.0], [-4.0, 1.0]) + rng.normal(size=(n, 2)) * [1.0, 0.3]


def test_it_is_the_density_that_rows_were_drawn_from():
    fresh = clusters(1000, seed=1)
    parts = [0.3 * stats.norm(4).pdf(fresh[:, 0]) * stats.norm(0, 0.3).pdf(fresh[:, 1])]
    parts += [0.7 * stats.norm(-4).pdf(fresh[:, 0]) * stats.norm(1, 0.3).pdf(fresh[:, 1])]
    found = -fitted(clusters(5000)).rate(tf.constant(fresh, tf.float32)).numpy()
    assert abs(np.mean(found - np.log(sum(parts)))) < 0.02


def test_it_integrates_to_one_and_its_distribution_and_marginals_agree():
    prior = fitted(clusters(800))
    assert prior.adapted and prior.adaptation["mixtures"] <= MEMBERS
    axes = [np.linspace(-12, 12, 400), np.linspace(-3, 4, 300)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    density = np.exp(-prior.rate(tf.constant(grid.reshape(-1, 2), tf.float32)).numpy()).reshape(400, 300)
    np.testing.assert_allclose(np.trapz(np.trapz(density, axes[1]), axes[0]), 1, rtol=1e-3)
    points = clusters(50, seed=2)
    rate = prior.rate(tf.constant(points, tf.float32)).numpy()
    np.testing.assert_allclose(-prior.distribution.log_prob(points), rate, rtol=1e-4, atol=1e-4)
    marginal = prior.log_prob_along(tf.constant(grid[:, :1, :].reshape(-1, 2), tf.float32), tf.eye(2)[:1]).numpy()
    np.testing.assert_allclose(np.exp(marginal), np.trapz(density, axes[1]), atol=1e-4)


def test_columns_in_other_units_have_the_density_of_other_units():
    z, scale, shift = clusters(800).astype(np.float32), np.float32([128, 0.25]), np.float32([64, -32])
    first, other = fitted(z), fitted(z * scale + shift)
    rates = first.rate(tf.constant(z[:50])).numpy() + np.log(scale).sum()
    np.testing.assert_allclose(other.rate(tf.constant(z[:50] * scale + shift)).numpy(), rates, rtol=1e-3, atol=1e-3)


def test_few_repeated_and_constant_rows_have_a_density():
    z = clusters(3)[np.arange(12) % 3]
    assert np.isfinite(fitted(z).rate(tf.constant(z, tf.float32))).all()
    z = np.c_[clusters(100), np.full(100, 7.0)]
    prior = fitted(z)
    assert np.isfinite(prior.rate(tf.constant(z, tf.float32))).all()
    assert prior.distribution.sample(3, seed=0).shape == (3, 3)


def test_it_takes_no_more_components_than_rows_allow():
    assert {options["n_components"] for options in StackedPrior(3)._tried(np.empty((100, 3)), 64)} == {1, 2, 4, 8, 16}
    assert {options["n_components"] for options in StackedPrior(3)._tried(np.empty((10_000, 3)), 5)} == {1, 2, 4}
    assert len(StackedPrior(60)._tried(np.empty((50, 60)), 64)) == len(FLOORS)


def test_what_it_cannot_be_fitted_to_and_what_it_cannot_do_is_told():
    with pytest.raises(ValueError, match="z: 4 rows leave none to hold out; give at least 5"):
        fitted(clusters(4))
    with pytest.raises(FloatingPointError, match="latents: they hold NaN or infinity"):
        fitted(np.full((9, 2), np.nan))
    with pytest.raises(ValueError, match="components: 0"):
        StackedPrior(2, 0)
    model = RaDOGAGA(DenseNetwork(3, (), 2), DenseNetwork(2, (), 3), StackedPrior(2), lambda1=1.0, lambda2=1.0)
    model.compile("adam")
    with pytest.raises(NotImplementedError, match="StackedPrior: is fitted after a training; train with another prior"):
        model.fit(np.zeros((60, 3)), verbose=0)
