"""Distributions of one's own as priors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.distributions import correlated_normal, trainable_normal
from helpers.factorized import model_with
from helpers.models import fitted
from scipy import stats

from tf_radogaga import DenseNetwork, RaDOGAGA, load_model, save_model
from tf_radogaga.priors import DistributionPrior

tfd = tfp.distributions


def test_a_fixed_distribution_is_used_and_has_nothing_to_learn(rows):
    prior = DistributionPrior(correlated_normal)
    model = fitted(model_with(prior), rows, epochs=1, steps_per_epoch=1)
    assert prior.trainable_variables == []
    expected = stats.multivariate_normal([1, -2], [[4, 3], [3, 2.5]]).logpdf(model.encode(rows))
    np.testing.assert_allclose(model.energy(rows), -expected, rtol=1e-4)


@pytest.mark.thorough
def test_a_trainable_distribution_learns_the_moments_of_the_latents():
    x = np.random.default_rng(0).normal(size=(4000, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [1, 3]
    prior = DistributionPrior(trainable_normal)
    networks = DenseNetwork(2, (), 2), DenseNetwork(2, (), 2)
    model = RaDOGAGA(*networks, prior, lambda1=100.0, lambda2=10.0, h="identity")
    identities = {id(variable) for variable in model.trainable_variables}
    assert [v.name for v in prior.trainable_variables] == ["loc:0", "scale:0"]
    assert all(id(variable) in identities for variable in prior.trainable_variables)
    model.compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.05, 500)), 250)
    model.fit(x, batch_size=256, steps_per_epoch=500, verbose=0)
    z = model.encode(x).numpy()
    np.testing.assert_allclose(prior.distribution.mean(), z.mean(axis=0), atol=0.1)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(z.T, ddof=0))[1]
    assert entropy - 1e-3 < np.mean(model.energy(x)) < entropy + 0.02


@pytest.mark.thorough
def test_a_learned_distribution_survives_saving(rows, tmp_path):
    model = fitted(model_with(DistributionPrior(trainable_normal)), rows, epochs=1, steps_per_epoch=1)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded.prior, DistributionPrior)
    for found, kept, fresh in zip(
        loaded.prior.trainable_variables,
        model.prior.trainable_variables,
        DistributionPrior(trainable_normal).trainable_variables,
    ):
        np.testing.assert_array_equal(found, kept)
        assert (found.numpy() != fresh.numpy()).any()
    np.testing.assert_array_equal(loaded.energy(rows), model.energy(rows))


@pytest.mark.parametrize("build", [lambda: correlated_normal(), correlated_normal()], ids=["function", "distribution"])
def test_an_unregistered_distribution_is_not_saved(build, tmp_path):
    model = model_with(DistributionPrior(build))
    np.testing.assert_array_equal(
        model.prior.rate(tf.ones((3, 2))), DistributionPrior(correlated_normal).rate(tf.ones((3, 2)))
    )
    with pytest.raises(TypeError, match="build: <lambda> is not registered"):
        save_model(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_registered_name_stands_for_its_function():
    prior, z = DistributionPrior("test_priors>correlated_normal"), tf.ones((3, 2))
    np.testing.assert_array_equal(prior.rate(z), DistributionPrior(correlated_normal).rate(z))
    with pytest.raises(ValueError, match="build: 'test_priors>nothing' is not a registered function"):
        DistributionPrior("test_priors>nothing")


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (lambda: tfd.Normal(0.0, 1.0), r"batch shape \(\) and event shape \(\)"),
        (lambda: tfd.Normal([0.0, 0.0], 1.0), r"batch shape \(2,\) and event shape \(\)"),
        (lambda: tfd.MultivariateNormalDiag(tf.zeros((3, 2))), r"batch shape \(3,\) and event shape \(2,\)"),
        (lambda: tfd.Sample(tfd.Normal(0.0, 1.0), (2, 2)), r"batch shape \(\) and event shape \(2, 2\)"),
    ],
    ids=["scalar", "batch", "batch-of-vectors", "matrix"],
)
def test_a_distribution_of_another_shape_is_refused(build, shapes):
    with pytest.raises(ValueError, match=f"build: .*{shapes}; one event of shape .N,. is needed"):
        DistributionPrior(build)


def test_a_distribution_of_another_width_than_the_latent_is_refused():
    with pytest.raises(ValueError, match="prior: 3 units where the 2 latent units"):
        model_with(DistributionPrior(lambda: tfd.MultivariateNormalDiag(tf.zeros(3))))
