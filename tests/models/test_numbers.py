"""Energies as numbers: against float64, in any order and batch, far from the data, from many threads; and by seed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.marks import after
from helpers.models import clusters, encoded, fitted, scaled, small_model, table
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import tf_radogaga
from tf_radogaga import DenseNetwork, DistributionPrior, FactorizedPrior, MixturePrior, NormalPrior, RaDOGAGA
from tf_radogaga.priors.factorized import FAR

PRIORS = {
    "mixture": lambda: MixturePrior(2, 2, em_iterations=5, covariance_floor=1e-4),
    "factorized": lambda: FactorizedPrior(2),
    "normal": lambda: NormalPrior(2),
    "distribution": lambda: DistributionPrior(tfp.distributions.MultivariateNormalDiag([0.5, -1.0], [2.0, 0.3])),
}
BOUND = 1e-4
"""Of |float32 - float64| / max(1, |energy|); 6e-6 was the greatest where this was measured."""


def _model(prior, rows, activation="tanh"):
    tf.keras.utils.set_random_seed(7)
    networks = DenseNetwork(4, (8,), 2, activation), DenseNetwork(2, (8,), 4, activation)
    model = RaDOGAGA(*networks, PRIORS[prior](), 100, 100, preprocess=scaled(rows))
    if activation == "tanh":
        return fitted(model, rows, epochs=1)
    model.adapt_prior(rows)
    return model


@pytest.fixture(scope="module", params=PRIORS)
def scored(request):
    """A model by each prior, and rows."""
    return _model(request.param, clusters()), clusters()


# float64


def _energy_in_float64(model, rows):
    """By NumPy and SciPy, from the model's weights."""
    rows = np.asarray(rows, np.float32).astype(np.float64)  # as a model is given them
    h = (rows - model.preprocess.minimum.numpy()) / model.preprocess.range.numpy()
    for layer in model.encoder.dense:
        h = h @ layer.kernel.numpy().astype(np.float64) + layer.bias.numpy()
        h = np.tanh(h) if layer.activation is tf.keras.activations.tanh else h
    gauge = model.gauge
    lower = np.tril(gauge.lower.numpy().astype(np.float64), -1)
    matrix = gauge.scale * (
        np.diag(np.exp(gauge.speed * gauge.log_diagonal.numpy().astype(float))) + gauge.speed * lower
    )
    if gauge.rotate:
        turn = gauge.turn.numpy().astype(np.float64)
        skew = gauge.speed * (turn - turn.T)
        matrix = matrix @ np.linalg.solve(np.eye(2) + skew, np.eye(2) - skew)
    return -_log_prob_in_float64(model.prior, h @ matrix)


def _log_prob_in_float64(prior, z):
    if isinstance(prior, MixturePrior):
        weights, means, covariances, _ = (part.numpy() for part in prior.stored)
        parts = [w + multivariate_normal(m, c).logpdf(z) for w, m, c in zip(weights, means, covariances)]
        return logsumexp(parts, axis=0)
    if isinstance(prior, FactorizedPrior):
        return _factorized_log_prob(prior.noisy.base, z)
    mean, scale = prior.distribution.mean().numpy(), prior.distribution.stddev().numpy()
    return multivariate_normal(mean, np.diag(scale.astype(np.float64) ** 2)).logpdf(z)


def _factorized_log_prob(base, z):
    def logits(y):
        h = y.T[:, None, :]
        for step, matrix in enumerate(base._matrices):
            h = np.log1p(np.exp(matrix.numpy().astype(np.float64))) @ h + base._biases[step].numpy()
            if step < len(base._factors):
                h = h + np.tanh(base._factors[step].numpy().astype(np.float64)) * np.tanh(h)
        return h[:, 0, :].T

    low, high = logits(z - 0.5), logits(z + 0.5)
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)  # the tail in which float64 is exact
    return (-np.logaddexp(0, -high) + np.log1p(-np.exp(np.logaddexp(0, -high) - np.logaddexp(0, -low)))).sum(axis=1)


@pytest.mark.thorough
def test_energies_are_those_of_float64_within_a_bound(scored):
    model, rows = scored
    rng = np.random.default_rng(0)
    far = rows.mean(axis=0) + rng.normal(size=rows.shape) * rows.std(axis=0) * 10 ** rng.uniform(0, 2, (len(rows), 1))
    for some in (rows, far):
        expected = _energy_in_float64(model, some)
        difference = np.abs(model.energy(some) - expected) / np.maximum(1, np.abs(expected))
        assert difference.max() < BOUND, difference.max()


# Order and batches


@pytest.mark.parametrize("kind", after(1, ["vae", "log"]))
def test_a_row_has_one_score_in_any_order_and_batch(kind):
    rows = table(200)
    features = {} if kind == "vae" else {"reconstruction_features": True}
    model = fitted(small_model(kind, encoded(rows), **features), rows, epochs=1)
    expected = model.energy(rows).numpy()
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_allclose(model.energy(rows.iloc[order]), expected[order], rtol=1e-5, atol=1e-5)
    for size in (1, 3, 64):
        parts = [model.energy(rows.iloc[i : i + size]) for i in range(0, 40, size)]
        np.testing.assert_allclose(np.concatenate(parts)[:40], expected[:40], rtol=1e-5, atol=1e-5)
    names = ["energy", "latent"]
    predicted = model.predict(dict(rows.items()), batch_size=7, verbose=0)
    for name, values in zip(names, (expected, model.encode(rows).numpy())):
        np.testing.assert_allclose(predicted[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


# Far from the data

DISTANCES = 10.0 ** np.arange(1, 7)
"""In standard deviations."""


def _rays(rows, count=8):
    directions = np.random.default_rng(1).normal(size=(count, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return rows.mean(axis=0) + DISTANCES[:, None, None] * directions * rows.std(axis=0)


@pytest.mark.parametrize("prior", after(2, PRIORS))
def test_energy_grows_and_stays_finite_along_rays_where_the_latent_does(prior):
    rows = clusters()
    model = _model(prior, rows, activation="linear")
    rays = _rays(rows)
    energy = model.energy(rays.reshape(-1, 4)).numpy().reshape(rays.shape[:2])
    assert np.isfinite(energy).all() and (np.diff(energy, axis=0) > 0).all()


@pytest.mark.thorough
@pytest.mark.parametrize("features", [False, True])
def test_where_the_encoder_saturates_the_energy_does_and_stays_high(features):
    rows = clusters()
    model = fitted(small_model("log", scaled(rows), reconstruction_features=features), rows, epochs=2)
    rays = _rays(rows)
    energy = model.energy(rays.reshape(-1, 4)).numpy().reshape(rays.shape[:2])
    assert np.isfinite(energy).all() and (energy[-1] > np.quantile(model.energy(rows), 0.99)).all()
    np.testing.assert_allclose(energy[-1], energy[-2], rtol=1e-3)  # tanh has come to its end


def test_a_vae_scores_by_its_reconstruction_so_its_energy_grows_though_the_encoder_saturates():
    rows = clusters()
    model = fitted(small_model("vae", scaled(rows)), rows, epochs=2)
    rays = _rays(rows)
    energy = model.energy(rays.reshape(-1, 4)).numpy().reshape(rays.shape[:2])
    assert np.isfinite(energy).all() and (np.diff(energy, axis=0) > 0).all()


def test_a_factorized_prior_goes_on_straight_where_float32_ends():
    prior = FactorizedPrior(2, init_scale=3.0)
    steps = tf.constant([[FAR - 64], [FAR], [FAR + 64], [1e9], [1e30]]) * [1.0, -1.0]
    energy = -prior.noisy.log_prob(steps).numpy()
    before, after = energy[1] - energy[0], energy[2] - energy[1]
    np.testing.assert_allclose(after, before, rtol=1e-3)
    np.testing.assert_allclose(energy[3], 1e9 / 64 * after, rtol=1e-2)
    assert np.isfinite(energy).all()
    near = tf.random.normal((100, 2)) * 1000
    library = super(type(prior.noisy), prior.noisy)._log_prob(near)
    np.testing.assert_array_equal(prior.noisy.log_prob(near), library)
    assert np.isfinite(prior.rate(tf.constant([[1e38, -1e38]]))).all()


def test_an_energy_beyond_float32_is_infinite_and_an_anomaly():
    rows = clusters()
    model = _model("normal", rows, activation="linear")
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    huge = np.float32([[3e38, -3e38, 3e38, -3e38], [1e30, 0, 0, 0], *rows[:1]])
    energy = model.energy(huge).numpy()
    assert np.isposinf(energy[:2]).all() and np.isfinite(energy[2])
    scores = model.scores(tf.constant(huge))
    assert scores["valid"].numpy().all() and scores["anomaly"].numpy()[:2].all()


# Threads


@pytest.mark.thorough
def test_16_threads_get_the_scores_of_one(tmp_path):
    rows = clusters(320)
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=1)
    tf_radogaga.save_model(model, tmp_path / "model")
    serve = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path / "served")))
    signature = serve.signatures["serving_default"]
    parts = np.split(rows.astype(np.float32), 32)
    expected = [signature(features=tf.constant(part)) for part in parts]
    fresh = tf_radogaga.load_model(tmp_path / "model")  # its graph is traced by whichever thread comes first
    energies = [model.energy(part).numpy() for part in parts]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(2):
            for found, one in zip(pool.map(lambda part: signature(features=tf.constant(part)), parts), expected):
                for name, values in one.items():
                    np.testing.assert_array_equal(found[name], values)
            for found, one in zip(pool.map(fresh.energy, parts), energies):
                np.testing.assert_array_equal(found, one)


# Seeds


def _trained(seed, kind="noisy-rate"):
    tf.keras.utils.set_random_seed(seed)
    rows = clusters(128)
    model = small_model(kind, scaled(rows))
    fitted(model, rows, epochs=2, validation_data=rows[:30])
    return model


@pytest.mark.parametrize("kind", [pytest.param("noisy-rate", marks=pytest.mark.slow), "vae"])
def test_one_seed_gives_one_model_to_the_bit(kind):
    first, again, other = (_trained(seed, kind) for seed in (3, 3, 4))
    rows = clusters(50)
    for weight, same in zip(first.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(same, weight)
    np.testing.assert_array_equal(again.energy(rows), first.energy(rows))
    kernels = [
        (one, two) for one, two in zip(first.get_weights(), other.get_weights()) if one.shape in ((4, 8), (8, 4))
    ]
    assert kernels and all((one != two).any() for one, two in kernels)
    np.testing.assert_array_equal(again.sample(5, seed=1), first.sample(5, seed=1))
