import numpy as np
import pytest
import tensorflow as tf
from sklearn.mixture import GaussianMixture

from tf_radogaga import MixturePrior
from tf_radogaga.mixtures import Mixture, Statistics


def _clusters(n=900, spread=6.0):
    """Three well separated unit clusters in the plane, (n, 2) float64."""
    rng = np.random.default_rng(1)
    centres = spread * np.array([[0, 0], [1, 0], [0, 1]])
    return centres[np.arange(n) % 3] + rng.normal(size=(n, 2))


def _scikit(mixture: Mixture) -> GaussianMixture:
    model = GaussianMixture(mixture.mean.shape[0])
    model.weights_ = np.exp(mixture.log_weights)
    model.means_ = np.array(mixture.mean)
    model.covariances_ = np.array(mixture.covariance)
    model.precisions_cholesky_ = np.swapaxes(np.array(mixture.inverse_cholesky), 1, 2)
    return model


@pytest.mark.parametrize("batch", [1, 7, 300, 899])
def test_streamed_statistics_equal_the_full_batch(batch):
    z, prior = tf.constant(_clusters()), MixturePrior(2, 3)
    whole = Statistics.of(z, prior.memberships(z)).mixture(1e-6)
    prior.adapt([z[i : i + batch] for i in range(0, len(z), batch)], refine=False)
    for streamed, full in zip(prior.stored, whole):
        np.testing.assert_allclose(streamed, full, rtol=1e-5, atol=1e-9)  # float32 memberships


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


def test_log_density_is_scikit_learns_and_tensorflow_probabilitys():
    z, prior = _clusters(), MixturePrior(2, 3)
    prior.adapt([z])
    energy = prior.rate(tf.constant(z))
    np.testing.assert_allclose(energy, -_scikit(prior.stored).score_samples(z), rtol=1e-5)
    np.testing.assert_allclose(energy, -prior.distribution.log_prob(z), rtol=1e-5)


def test_stored_mixture_integrates_to_one_by_sampling():
    prior = MixturePrior(2, 3)
    prior.adapt([_clusters()])
    sample = prior.distribution.sample(20000, seed=0)
    box = np.prod(np.ptp(sample, axis=0))
    uniform = np.random.default_rng(0).uniform(np.min(sample, axis=0), np.max(sample, axis=0), (200000, 2))
    assert box * np.exp(-prior.rate(tf.constant(uniform))).mean() == pytest.approx(1, abs=0.02)


def test_em_repairs_a_network_that_merges_clusters():
    z, prior = _clusters(), MixturePrior(2, 3, em_iterations=200)
    prior.adapt([z[:500], z[500:]])
    best = GaussianMixture(3, n_init=5, random_state=0, reg_covar=1e-6).fit(z)
    assert prior.adaptation["nll_network"] > prior.adaptation["nll_em"] + 0.1  # untrained: all clusters merged
    assert prior.adaptation["nll_em"] == pytest.approx(-best.score(z), abs=1e-3)
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), 1 / 3, atol=0.02)


def test_em_iterations_zero_keeps_the_networks_mixture():
    z, prior = tf.constant(_clusters()), MixturePrior(2, 3, em_iterations=0)
    prior.adapt([z])
    expected = Statistics.of(z, prior.memberships(z)).mixture(1e-6)
    np.testing.assert_allclose(prior.stored.mean, expected.mean)
    assert prior.adaptation["nll_network"] == prior.adaptation["nll_em"]


def test_component_without_members_stays_finite():
    z = tf.constant(_clusters(30))
    gamma = tf.constant(np.tile([0.5, 0.5, 0.0], (30, 1)))
    assert np.isfinite(Statistics.of(z, gamma).mixture(1e-6).energy(z)).all()


def test_narrow_latents_stay_finite():
    z = tf.constant(1000 + 1e-7 * _clusters(100))
    gamma = tf.constant(np.full((100, 3), 1 / 3))
    assert np.isfinite(Statistics.of(z, gamma).mixture(1e-6).energy(z)).all()


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
