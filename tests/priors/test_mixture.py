import weakref

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from tf_radogaga.priors import MixturePrior
from tf_radogaga.priors.gaussians import Mixture, Statistics
from tf_radogaga.priors.stacking import stacked


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


# MixturePrior


@pytest.mark.parametrize("batch", [1, 7, 100, 149])
def test_streamed_statistics_equal_the_full_batch(batch):
    z, prior = tf.constant(_clusters(150)), MixturePrior(2, 3)
    whole = Statistics.of(z, prior.memberships(z)).mixture(1e-6)
    prior.adapt([z[i : i + batch] for i in range(0, len(z), batch)], refine=False)
    for streamed, full in zip(prior.stored, whole):
        np.testing.assert_allclose(streamed, full, rtol=1e-5, atol=1e-9)  # float32 memberships


def test_log_density_is_scikit_learns_and_tensorflow_probabilitys():
    z, prior = _clusters(), MixturePrior(2, 3)
    prior.adapt([z])
    energy = prior.rate(tf.constant(z))
    np.testing.assert_allclose(energy, -_scikit(prior.stored).score_samples(z), rtol=1e-5)
    np.testing.assert_allclose(energy, -prior.distribution.log_prob(z), rtol=1e-5)
    exact = Mixture(*(tf.identity(v) for v in prior.stored)).energy(tf.constant(z))
    np.testing.assert_allclose(exact, -prior.distribution.log_prob(z), rtol=1e-11)  # by a triangular solve


def test_em_repairs_a_network_that_merges_clusters():
    z, prior = _clusters(), MixturePrior(2, 3, em_iterations=200)
    prior.adapt([z[:500], z[500:]])
    best = GaussianMixture(3, n_init=5, random_state=0, reg_covar=1e-6).fit(z)
    assert prior.adaptation["nll_network"] > prior.adaptation["nll_em"] + 0.1  # untrained: all clusters merged
    assert prior.adaptation["nll_em"] == pytest.approx(-best.score(z), abs=1e-3)
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), 1 / 3, atol=0.02)


def test_em_revives_a_component_to_which_the_network_gives_no_members():
    """Weights 0.67 / 0.33 / 0, two clusters merged: EM started there alone would stay there."""
    z, prior = _clusters(), MixturePrior(2, 3, units=())
    prior.logits.kernel.assign([[0, 8, 0], [0, 0, 0]])
    prior.logits.bias.assign([0, -24, -60])  # the second component begins at z_0 = 3, the third nowhere
    prior.adapt([z], refine=False)
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), [2 / 3, 1 / 3, 0], atol=0.01)
    prior.adapt([z])
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), 1 / 3, atol=0.01)
    means = np.array(prior.stored.mean)
    np.testing.assert_allclose(means[np.lexsort(means.round().T)], [[0, 0], [6, 0], [0, 6]], atol=0.3)
    best = GaussianMixture(3, n_init=5, random_state=0, reg_covar=1e-6).fit(z)
    assert float(tf.reduce_mean(prior.rate(tf.constant(z)))) == pytest.approx(-best.score(z), abs=1e-3)


@pytest.mark.parametrize(("seed", "floor"), [(0, 1e-6), (1, 0.5), (2, 5.0)])
def test_em_never_costs_likelihood(seed, floor):
    tf.keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(300, 2)) * [3, 0.3] + rng.choice([0, 1, 5], (300, 1))
    prior, rates = MixturePrior(2, 3, covariance_floor=floor, em_iterations=20), []
    for refine in (False, True):
        prior.adapt([z[:90], z[90:]], refine=refine)
        rates.append(float(tf.reduce_mean(prior.rate(tf.constant(z)))))
    assert rates[1] < rates[0] + 1e-6
    assert [prior.adaptation["nll_network"], prior.adaptation["nll_em"]] == pytest.approx(rates, abs=1e-4)


@pytest.mark.thorough
def test_em_keeps_the_statistics_of_a_few_batches_however_many_there_are(monkeypatch):
    z, prior, made, most = _clusters(300), MixturePrior(2, 3, em_iterations=2), [], []
    of = Statistics.of

    def watched(latents, memberships):
        statistics = of(latents, memberships)
        made.append(weakref.ref(statistics.outer))
        most.append(sum(one() is not None for one in made))
        return statistics

    monkeypatch.setattr(Statistics, "of", watched)
    prior.adapt(np.split(z, 60))
    assert len(made) == 60 * 7 and max(most) <= 4  # a pass of the network, and three of each start


def test_the_clustered_start_is_from_spread_rows_whatever_the_batches():
    z, prior = _clusters(900), MixturePrior(2, 3)
    whole = prior.clustered([z], 50_000)  # as if there were more: every fifth row
    for batches in (np.split(z, 300), np.split(z, [1, 8, 500])):
        for streamed, full in zip(prior.clustered(batches, 50_000), whole):
            np.testing.assert_array_equal(streamed, full)
    expected = GaussianMixture(3, n_init=3, reg_covar=1e-6, random_state=0).fit(z[::5])
    np.testing.assert_allclose(whole.mean, expected.means_)


def test_a_stack_is_stored_whole():
    z, prior = _clusters(), MixturePrior(2, 4, selection="stacked")
    prior.adapt([z[:500], z[500:]])
    stack = stacked(z, 4, prior.covariance_floor)
    told = {"mixtures": stack.members, "components": len(stack.weights), "nll_held_out": -stack.held_out}
    assert prior.adaptation == told
    far = np.array([[0, 0], [100, -100], [1e4, 1e4]])
    points = np.concatenate([z[:50], far])  # the components that weigh nothing are not heard far off either
    normals = [stats.multivariate_normal(*moments) for moments in zip(stack.means, stack.covariances)]
    expected = special.logsumexp([normal.logpdf(points) for normal in normals], axis=0, b=stack.weights[:, None])
    np.testing.assert_allclose(prior.rate(tf.constant(points)), -expected, rtol=1e-5)
    np.testing.assert_allclose(prior.rate(tf.constant(points)), -prior.distribution.log_prob(points), rtol=1e-5)
    again = MixturePrior.from_config(prior.get_config())
    again.store(Mixture(*(tf.identity(v) for v in prior.stored)))
    np.testing.assert_array_equal(again.rate(tf.constant(z)), prior.rate(tf.constant(z)))


def test_a_stack_is_nearer_to_the_density_of_the_data():
    """By about sqrt(parameters / rows) nats: 17 of 3 components, 47 of 8."""
    z, fresh, errors = _clusters(3000), _clusters(6000)[3000:], {}
    true = special.logsumexp([-0.5 * ((fresh - c) ** 2).sum(1) for c in 6.0 * np.array([[0, 0], [1, 0], [0, 1]])], 0)
    true -= np.log(3 * 2 * np.pi)
    for selection in (None, "stacked"):
        prior = MixturePrior(2, 8, selection=selection)
        prior.adapt([z])
        errors[selection] = np.sqrt(np.mean((prior.rate(tf.constant(fresh)).numpy() + true) ** 2))
    assert errors["stacked"] < 1.5 * np.sqrt(17 / 3000) < errors[None]


def test_selection_is_one_of_the_known():
    with pytest.raises(ValueError, match="selection: 'aic'"):
        MixturePrior(2, 3, selection="aic")


def test_a_stack_needs_a_floor():
    with pytest.raises(ValueError, match="covariance_floor: 0, with which EM cannot start"):
        MixturePrior(2, 3, covariance_floor=0, selection="stacked")


def test_a_stack_needs_five_rows():
    with pytest.raises(ValueError, match="give at least 5 rows"):
        MixturePrior(2, 3, selection="stacked").adapt([_clusters(12)[:4]])


def test_em_iterations_zero_keeps_the_networks_mixture():
    z, prior = tf.constant(_clusters()), MixturePrior(2, 3, em_iterations=0)
    prior.adapt([z])
    expected = Statistics.of(z, prior.memberships(z)).mixture(1e-6)
    np.testing.assert_allclose(prior.stored.mean, expected.mean)
    assert prior.adaptation["nll_network"] == prior.adaptation["nll_em"]


def test_energy_grows_and_stays_finite_far_away():
    prior = MixturePrior(2, 3)
    prior.adapt([_clusters()])
    far = tf.constant([[10.0**k, -(10.0**k)] for k in range(1, 7)], tf.float64)
    energy = prior.rate(far).numpy()
    assert np.isfinite(energy).all() and (np.diff(energy) > 0).all()


def test_dropout_is_for_training_only():
    z, prior = tf.constant(_clusters(64)), MixturePrior(2, 3, dropout=0.5)
    np.testing.assert_array_equal(prior.memberships(z), prior.memberships(z))
    assert np.abs(prior.memberships(z, training=True) - prior.memberships(z, training=True)).max() > 1e-3


def test_too_few_rows_for_the_components():
    with pytest.raises(ValueError, match="2 rows cannot determine components=3"):
        MixturePrior(2, 3).adapt([_clusters(2)])


def test_latents_that_are_not_finite():
    z = _clusters(20)
    z[4] = np.nan
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        MixturePrior(2, 3).adapt([z])
