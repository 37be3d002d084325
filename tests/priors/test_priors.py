"""Laws of every prior, and the training of a factorized one."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.distributions import correlated_normal
from helpers.factorized import bimodal_and_normal, model_with, perturbed
from helpers.models import fitted
from scipy import special, stats

from tf_radogaga import DenseNetwork, MixturePrior, RaDOGAGA
from tf_radogaga.priors import DistributionPrior, FactorizedPrior, NormalPrior, Prior

tfd = tfp.distributions


# Laws of every prior


@functools.cache
def _prior(name, units=2):
    """A prior whose mass lies within 60 of the origin."""
    if name == "mixture":
        prior = MixturePrior(units, 3)
        rng = np.random.default_rng(5)
        shape = np.array([[1.0, 0.8], [0.0, 1.5]])[:units, :units]
        prior.adapt([rng.choice([-4, 0, 9], (400, 1)) + rng.normal(size=(400, units)) @ shape])
        return prior
    if name == "distribution":
        return DistributionPrior(correlated_normal if units == 2 else lambda: tfd.MultivariateNormalDiag([1.0], [3.0]))
    kinds = {"normal": NormalPrior, "factorized": lambda n: FactorizedPrior(n, init_scale=2.0)}
    return perturbed(kinds[name](units))


PRIORS = ("factorized", "mixture", "normal", "distribution")


def _noisy_densities(t):
    """The densities of the two columns of `bimodal_and_normal` plus uniform noise, (2, len(t))."""

    def cumulatives(t):
        modes = 0.5 * (stats.norm.cdf(t, -5, 0.7) + stats.norm.cdf(t, 5, 0.7))
        return np.stack([modes, stats.norm.cdf(t, 0.3, 3.0)])

    return cumulatives(t + 0.5) - cumulatives(t - 0.5)


def _along_axis(prior, axis, t):
    """The density of coordinate `axis` of z at t, by `log_prob_along`."""
    z = np.zeros((len(t), prior.latent_units), np.float32)
    z[:, axis] = t
    return np.exp(prior.log_prob_along(tf.constant(z), tf.eye(prior.latent_units)[axis : axis + 1]))


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("units", [1, 2])
def test_density_integrates_to_one(name, units):
    t = np.arange(-60, 60, 0.01 if units == 1 else 0.2)
    grid = np.stack(np.meshgrid(*[t] * units), axis=-1).reshape(-1, units)
    integral = np.exp(-_prior(name, units).rate(tf.constant(grid, tf.float32))).sum() * (t[1] - t[0]) ** units
    assert integral == pytest.approx(1, abs=1e-3)


@pytest.mark.thorough
def test_density_of_a_trained_factorized_prior_integrates_to_one(trained_prior):
    t = np.arange(-40, 40, 0.4)
    grid = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2)
    assert np.exp(-trained_prior.rate(tf.constant(grid, tf.float32))).sum() * 0.16 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_rate_is_minus_the_log_prob_of_the_distribution(name):
    prior, z = _prior(name), 3 * np.random.default_rng(0).normal(size=(50, 2))
    expected = -prior.distribution.log_prob(z.astype(prior.distribution.dtype.as_numpy_dtype))
    for dtype in (tf.float32, tf.float64):
        rate = prior.rate(tf.constant(z, dtype))
        assert rate.shape == (50,)
        np.testing.assert_allclose(rate, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PRIORS)
def test_along_all_axes_is_the_whole_density(name):
    prior, z = _prior(name), tf.constant(3 * np.random.default_rng(0).normal(size=(50, 2)), tf.float32)
    for axes in (tf.eye(2), tf.eye(2)[::-1]):
        along = prior.log_prob_along(z, axes)
        assert along.shape == (50,)
        np.testing.assert_allclose(along, -prior.rate(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mixture", "normal"])
def test_along_a_rotated_direction_is_the_integral_over_the_other(name):
    prior, angle = _prior(name), 0.7
    along, across = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    s = np.arange(-60, 60, 0.02)
    for t in (-3.0, 0.0, 0.4, 5.0):
        found = np.exp(prior.log_prob_along(tf.constant([t * along], tf.float32), tf.constant([along], tf.float32)))
        density = np.exp(-prior.rate(tf.constant(t * along + s[:, None] * across, tf.float32)))
        assert found == pytest.approx(density.sum() * 0.02, rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["factorized", "mixture", "normal"])
def test_along_an_axis_is_the_integral_over_the_other(name, axis):
    prior, s = _prior(name), np.arange(-60, 60, 0.02)
    for t in (-3.0, 0.0, 5.0):
        z = np.stack([np.full_like(s, t), s], axis=1)[:, [axis, 1 - axis]]
        expected = np.exp(-prior.rate(tf.constant(z, tf.float32))).sum() * 0.02
        assert _along_axis(prior, axis, [t]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["factorized", "normal"])
def test_marginals_ignore_the_other_coordinates(name):
    prior = _prior(name, units=3)
    z = np.random.default_rng(0).normal(size=(20, 3))
    axes = tf.eye(3)[::2]
    along = [prior.log_prob_along(tf.constant(rows, tf.float32), axes) for rows in (z, z + np.array([0, 7, 0]))]
    assert along[0].shape == (20,)
    np.testing.assert_allclose(*along, rtol=1e-5)


class Shell(Prior):
    """A prior of the user's own, without marginals."""

    @property
    def distribution(self):
        return tfd.MultivariateStudentTLinearOperator(3.0, tf.zeros(3), tf.linalg.LinearOperatorIdentity(3))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (lambda: DistributionPrior(correlated_normal), "DistributionPrior has no closed-form marginal on 1 of 2"),
        (Shell, "Shell has no closed-form marginal on 2 of 3"),
    ],
    ids=["distribution", "own"],
)
def test_a_prior_without_marginals_names_itself_and_the_dimensions(prior, message):
    prior = prior()
    units = prior.distribution.event_shape[0]
    z = tf.ones((4, units))
    np.testing.assert_allclose(prior.log_prob_along(z, tf.eye(units)), -prior.rate(z))
    with pytest.raises(NotImplementedError, match=message):
        prior.log_prob_along(z, tf.eye(units)[1:])


def _assert_drawn_from(sample, t, density):
    cumulative = np.cumsum(density) * (t[1] - t[0])
    assert cumulative[-1] == pytest.approx(1, abs=1e-3)
    result = stats.kstest(sample, lambda x: np.interp(x, t + (t[1] - t[0]) / 2, cumulative))
    assert result.pvalue > 1e-3


@pytest.mark.parametrize("name", ["factorized", "mixture", "normal"])
def test_samples_follow_the_density_along_each_axis(name):
    prior, t = _prior(name), np.arange(-80, 80, 0.01)
    sample = prior.distribution.sample(4000, seed=(0, 3)).numpy()
    assert sample.shape == (4000, 2)
    for axis in (0, 1):
        _assert_drawn_from(sample[:, axis], t, _along_axis(prior, axis, t))
    if name != "mixture":  # independent axes
        assert abs(stats.spearmanr(*sample.T).statistic) < 4 / np.sqrt(4000)


def test_samples_of_a_mixture_follow_its_density_aslant():
    prior, t, slant = _prior("mixture"), np.arange(-80, 80, 0.01), np.array([[0.6, -0.8]])
    sample = prior.distribution.sample(4000, seed=(0, 3)) @ slant.T
    density = np.exp(prior.log_prob_along(tf.constant(t[:, None] * slant), tf.constant(slant)))
    _assert_drawn_from(sample[:, 0], t, density)


@pytest.mark.thorough
def test_samples_of_a_trained_factorized_prior_follow_its_density(trained_prior):
    t = np.arange(-80, 80, 0.01)
    sample = trained_prior.distribution.sample(4000, seed=(0, 3)).numpy()
    for axis in (0, 1):
        _assert_drawn_from(sample[:, axis], t, _along_axis(trained_prior, axis, t))


def test_samples_of_a_given_distribution_follow_the_density():
    prior, t = _prior("distribution", units=1), np.arange(-80, 80, 0.01)
    sample = prior.distribution.sample(4000, seed=(0, 3)).numpy()
    _assert_drawn_from(sample[:, 0], t, np.exp(-prior.rate(tf.constant(t[:, None], tf.float32))))


@pytest.mark.parametrize("name", PRIORS)
def test_a_seed_decides_the_sample(name):
    distribution = _prior(name).distribution
    first, again, other = (distribution.sample(5, seed=(0, seed)).numpy() for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# FactorizedPrior: training


def test_a_factorized_prior_is_learned_with_its_model(rows):
    prior = FactorizedPrior(2)
    model = model_with(prior)
    identities = {id(variable) for variable in model.trainable_variables}
    assert prior.trainable_variables and all(id(v) in identities for v in prior.trainable_variables)
    before = [variable.numpy() for variable in prior.trainable_variables]
    fitted(model, rows, epochs=1, steps_per_epoch=1)
    assert all((v.numpy() != b).all() for v, b in zip(prior.trainable_variables, before))


def test_gradients_reach_every_variable_of_a_factorized_prior():
    prior, z = FactorizedPrior(2), bimodal_and_normal(100)
    with tf.GradientTape() as tape:
        tape.watch(z)
        rate = tf.reduce_mean(prior.rate(z, training=True))
    for gradient in tape.gradient(rate, [*prior.trainable_variables, z]):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_trained_factorized_prior_reaches_the_entropy(trained_prior):
    """The cross entropy of the noisy density exceeds its entropy, by little."""
    t = np.arange(-30, 30, 0.01)
    for axis, density in enumerate(_noisy_densities(t)):
        entropy = special.entr(density).sum() * 0.01
        cross_entropy = -(density * np.log(_along_axis(trained_prior, axis, t))).sum() * 0.01
        assert entropy - 1e-3 < cross_entropy < entropy + 0.05


def test_far_latents_keep_finite_rates_and_gradients(trained_prior):
    z = tf.constant([[10.0**k, -(10.0**k)] for k in range(2, 7)])
    with tf.GradientTape() as tape:
        tape.watch(z)
        rate = trained_prior.rate(z)
    gradient = tape.gradient(rate, z).numpy()
    assert np.isfinite(rate).all() and (np.diff(rate) > 0).all()
    assert np.isfinite(gradient).all() and (np.sign(gradient) == np.sign(z)).all()


@pytest.mark.parametrize("name", ["mixture", "normal", "distribution"])
def test_other_priors_say_that_they_have_no_range_coder(name):
    prior = _prior(name)
    message = f"{type(prior).__name__} has no range coder; train with a FactorizedPrior"
    with pytest.raises(NotImplementedError, match=message):
        prior.compress(tf.zeros((3, 2)))
    with pytest.raises(NotImplementedError, match=message):
        prior.decompress(b"abcd")


# Arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalPrior(0), "latent_units: 0 must be at least 1"),
        (lambda: FactorizedPrior(2, init_scale=-1.0), "init_scale: -1.0 must be positive"),
        (lambda: MixturePrior(2, 0), "components: 0 must be at least 1"),
        (lambda: MixturePrior(2, 2, dropout=1.0), r"dropout: 1.0 is outside \[0, 1\)"),
        (lambda: MixturePrior(2, 2, covariance_floor=-1.0), "covariance_floor: -1.0"),
    ],
)
def test_wrong_arguments_of_priors_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("prior", [None, NormalPrior, 3])
def test_what_is_no_prior_is_refused_by_name(prior):
    with pytest.raises(TypeError, match=r"prior: .* is neither a Prior nor a tfp.distributions.Distribution"):
        RaDOGAGA(DenseNetwork(3, (), 2), DenseNetwork(2, (), 3), prior, 1, 1)
    with pytest.raises(TypeError, match="build: "):
        DistributionPrior(lambda: prior)
