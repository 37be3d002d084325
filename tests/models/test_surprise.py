"""The surprise at a latent and at the length of what it leaves out."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.image_models import radogaga, smooth_images
from helpers.linear_models import SCALE, linear_model, rotation_matrix
from helpers.linear_vae import optimum
from scipy import stats

from tf_radogaga import (
    DAGMM,
    BetaVAE,
    DenseNetwork,
    FactorizedPrior,
    MixturePrior,
    RaDOGAGA,
    StackedPrior,
    StructuralDissimilarity,
    export_saved_model,
    fit_together,
    load_model,
    save_model,
)
from tf_radogaga.serving.check import check_export
from tf_radogaga.training.copies import copy_model

NOISE = 0.1


def normal_rows(n=4000, seed=0):
    """Rows about a plane in six columns: in the axes of the plane, deviations 3 and 1."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(n, 2)) * [3, 1] @ rotation_matrix(6)[:2]
    return (plane + rng.normal(size=(n, 4)) @ rotation_matrix(6)[2:] * NOISE).astype(np.float32)


def model_of(rows, components=4):
    """The plane itself as a RaDOGAGA, with a normal prior; its joint prior fitted to the rows."""
    kernel = rotation_matrix(6)[:2] / math.sqrt(SCALE)
    model = linear_model(kernel, MixturePrior(2, 1), rows, joint_prior=StackedPrior(3, components))
    model.adapt_residuals(rows)
    return model


@pytest.fixture(scope="module")
def plane():
    return model_of(normal_rows())


def test_it_is_the_density_of_the_latent_and_of_the_log_length(plane):
    fresh = normal_rows(2000, seed=1)
    z = fresh @ rotation_matrix(6)[:2].T * math.sqrt(SCALE)
    length = np.linalg.norm(fresh @ rotation_matrix(6)[2:].T, axis=1)
    true = stats.multivariate_normal(np.zeros(2), SCALE * np.diag([9, 1])).logpdf(z)
    true += stats.chi(4, scale=NOISE).logpdf(length) + np.log(length)
    found = -plane.joint_prior.rate(plane.joint.coordinates(tf.constant(fresh))).numpy()
    assert abs(np.mean(found - true)) < 0.02 and np.median(np.abs(found - true)) < 0.12  # a log length is not normal


def test_it_is_two_sided_where_the_energy_and_the_length_are_blind(plane):
    model, fresh = plane, normal_rows(2000, seed=1)
    off = fresh @ rotation_matrix(6)[2:].T @ rotation_matrix(6)[2:]
    most = np.quantile(model.surprise(fresh), 0.99)
    for times in (0.1, 4):  # nearer to the plane than normal rows are, and further
        moved = fresh + (times - 1) * off
        np.testing.assert_allclose(model.energy(moved), model.energy(fresh), rtol=1e-3)
        assert np.mean(model.surprise(moved) > most) > 0.7
    along = 4 * (fresh - off) + off
    assert np.mean(model.surprise(along) > most) > 0.4


def test_of_normal_rows_it_is_the_sum_of_two_tests(plane):
    found = plane.surprise(normal_rows(4000, seed=1)).numpy()
    assert abs(found.mean() - 2) < 0.15 and (found >= 0).all()
    # the tests are not independent: the second is of a part of what the first is of
    assert 0.005 < np.mean(found > stats.gamma(2).ppf(0.99)) < 0.03


def test_lengths_are_judged_by_what_is_usual_at_such_a_latent():
    rng = np.random.default_rng(0)

    def rows(n):
        plane = rng.normal(size=(n, 2)) + 8 * rng.integers(2, size=(n, 1)) * [1, 0]
        noise = np.where(plane[:, :1] > 4, 1.0, 0.1) * rng.normal(size=(n, 4))
        return (plane @ rotation_matrix(6)[:2] + noise @ rotation_matrix(6)[2:]).astype(np.float32)

    model, fresh = model_of(rows(4000)), rows(1000)
    right = fresh @ rotation_matrix(6)[0] > 4
    off = fresh @ rotation_matrix(6)[2:].T @ rotation_matrix(6)[2:]
    exchanged = fresh - off + np.where(right[:, None], 0.1, 10) * off
    lengths = [np.linalg.norm(rows @ rotation_matrix(6)[2:].T, axis=1) for rows in (fresh, exchanged)]
    assert abs(np.mean(np.log(lengths[0]) - np.log(lengths[1]))) < 0.2  # lengths alone tell nothing
    assert np.mean(model.surprise(exchanged) > np.quantile(model.surprise(fresh), 0.99)) > 0.7


def test_fit_finds_it_of_validation_rows_and_forgets_it_with_the_weights(tmp_path):
    tf.keras.utils.set_random_seed(0)
    networks = DenseNetwork(6, (8,), 2), DenseNetwork(2, (8,), 6)
    model = RaDOGAGA(*networks, FactorizedPrior(2), lambda1=1.0, lambda2=40.0, joint_prior=StackedPrior(3, 2))
    model.compile("adam")
    model.fit(normal_rows(500), epochs=1, verbose=0)
    with pytest.raises(RuntimeError, match="joint_prior: not fitted; give fit at least 50 validation rows"):
        model.surprise(normal_rows(5))
    assert "surprise" not in model.scores(normal_rows(5))
    model.fit(normal_rows(500), epochs=1, verbose=0, validation_data=normal_rows(100, seed=1))
    first = model.surprise(normal_rows(5)).numpy()
    model.adapt_prior(normal_rows(500))  # of the same weights
    np.testing.assert_array_equal(model.surprise(normal_rows(5)), first)
    model.save_weights(str(tmp_path / "weights"))
    model.load_weights(str(tmp_path / "weights"))
    with pytest.raises(RuntimeError, match="joint_prior: not fitted"):
        model.surprise(normal_rows(5))


def test_a_threshold_on_it_is_forgotten_with_it(tmp_path):
    rows = normal_rows(300)
    model = model_of(rows, components=1)
    model.set_threshold(model.surprise(rows).numpy(), 0.1, "surprise")
    model.save_weights(str(tmp_path / "weights"))
    model.load_weights(str(tmp_path / "weights"))
    assert model.threshold_on == "energy" and math.isinf(model.threshold.numpy())
    assert set(model.scores(tf.constant(rows))) == {"energy", "log_density", "valid", "anomaly"}
    with pytest.raises(RuntimeError, match="joint_prior: not fitted"):
        model.set_threshold(np.arange(9.0), 0.1, "surprise")
    with pytest.raises(ValueError, match="on: 'log_density'"):
        model.set_threshold(np.arange(9.0), 0.1, "log_density")


@pytest.mark.thorough
def test_it_is_of_the_latent_that_there_is():
    tf.keras.utils.set_random_seed(0)
    options = {"lambda1": 1.0, "lambda2": 40.0, "gauge": "flow", "joint_prior": StackedPrior(3, 1)}
    model = RaDOGAGA(*_networks(1), MixturePrior(2, 1), **options)
    model.adapt_prior(normal_rows(300))
    model.adapt_residuals(normal_rows(300, seed=1))
    model.adapt_prior(normal_rows(300, seed=2))  # fits the flow again
    with pytest.raises(RuntimeError, match="joint_prior: not fitted"):
        model.surprise(normal_rows(5))


def test_a_fit_of_it_that_is_interrupted_leaves_none(monkeypatch):
    rows = normal_rows(300)
    model = model_of(rows, components=1)

    def stop(latents):
        raise KeyboardInterrupt

    monkeypatch.setattr(model.joint_prior, "adapt", stop)
    with pytest.raises(KeyboardInterrupt):
        model.adapt_residuals(rows)
    with pytest.raises(RuntimeError, match="joint_prior: not fitted"):
        model.surprise(rows)


def test_saved_copied_and_served_it_is_the_same(tmp_path):
    rows = normal_rows(600)
    model = model_of(rows, components=2)
    threshold = model.set_threshold(model.surprise(rows).numpy(), 0.05, "surprise")
    energies = model.surprise(rows).numpy()
    save_model(model, tmp_path / "model")
    for other in (load_model(tmp_path / "model"), copy_model(model)):
        np.testing.assert_array_equal(other.surprise(rows), energies)
        assert other.threshold_on == "surprise"
    version = export_saved_model(model, tmp_path / "served", warmup_rows=rows[:3])
    assert json.loads((version / "assets" / "card.json").read_text())["threshold_on"] == "surprise"
    assert "scores      those at export" in check_export(version)
    spoiled = np.concatenate([rows, np.full((1, 6), np.nan, np.float32)])
    served = tf.saved_model.load(str(version)).signatures["serving_default"](features=tf.constant(spoiled))
    np.testing.assert_allclose(served["surprise"][:-1], energies, rtol=1e-5)
    np.testing.assert_array_equal(served["anomaly"][:-1], energies > np.float32(threshold))
    assert served["surprise"][-1] == np.finfo(np.float32).max and not served["anomaly"][-1] and not served["valid"][-1]
    assert 0.03 < np.mean(served["anomaly"]) < 0.07
    model.set_threshold(model.energy(rows).numpy(), 0.05)
    assert model.threshold_on == "energy"


def test_a_far_row_is_infinitely_odd_and_changes_nothing_for_its_neighbours():
    rows = normal_rows(300)
    model = model_of(rows, components=1)
    energies = model.surprise(np.concatenate([rows[:5], 1e38 * rows[:1]])).numpy()
    np.testing.assert_array_equal(energies[:5], model.surprise(rows[:5]))
    assert energies[5] == np.inf
    far = rows.copy()
    far[7] = 1e38
    with pytest.raises(ValueError, match="rows: some are so far off that float32 overflows"):
        model.adapt_residuals(far)


def test_images_are_scored_and_dropped_by_it():
    images = smooth_images(60)
    model = radogaga(joint_prior=StackedPrior(4, 2))
    model.prior.adapt([model.encode(images)])
    model.adapt_residuals(images)
    energies = model.surprise(images).numpy()
    model.set_threshold(energies, 0.1, "surprise")
    np.testing.assert_allclose(model.score_images(tf.constant(images))["surprise"], energies, rtol=1e-4)
    assert len(model.keep_normal_images(tf.constant(images))) == np.sum(energies <= model.threshold.numpy())


@pytest.mark.thorough
def test_metrics_and_families_without_a_law_of_residuals_have_it():
    images = smooth_images(60)
    ssim = radogaga(joint_prior=StackedPrior(4, 2), distortion=StructuralDissimilarity(window=5))
    vae = BetaVAE(*_networks(2), beta=0.1, joint_prior=StackedPrior(3, 2))
    features = DAGMM(*_networks(1), MixturePrior(4, 2), reconstruction_features=True, joint_prior=StackedPrior(3, 2))
    for model, rows in ((ssim, images), (vae, normal_rows(200)), (features, normal_rows(200))):
        model.adapt_prior(rows)
        model.adapt_residuals(rows)
        assert np.isfinite(model.surprise(rows)).all()
    assert optimum()[0].joint.obstacle().startswith("joint_prior: the model was made without one")


def _networks(heads):
    tf.keras.utils.set_random_seed(0)
    return DenseNetwork(6, (8,), 2 * heads), DenseNetwork(2, (8,), 6)


@pytest.mark.thorough
def test_models_that_are_trained_together_have_it():
    models = [
        RaDOGAGA(*_networks(1), FactorizedPrior(2), lambda1=1.0, lambda2=40.0, joint_prior=StackedPrior(3, 2))
        for _ in range(2)
    ]
    for model in models:
        model.compile("adam")
    fit_together(models, [normal_rows(300)] * 2, epochs=1, verbose=0)
    for model in models:
        model.adapt_residuals(normal_rows(100, seed=1))
        assert np.isfinite(model.surprise(normal_rows(5))).all()


def test_no_training_follows_it():
    prior = StackedPrior(3)
    model = RaDOGAGA(*_networks(1), FactorizedPrior(2), lambda1=1.0, lambda2=40.0, joint_prior=prior)
    trained = {id(variable) for variable in model.trainable_variables}
    assert trained and not trained & {id(variable) for variable in prior.variables}


def test_what_is_no_joint_prior_of_the_model_is_refused():
    def made(prior):
        RaDOGAGA(*_networks(1), FactorizedPrior(2), lambda1=1.0, lambda2=40.0, joint_prior=prior)

    with pytest.raises(ValueError, match=r"joint_prior: 2 units where 3 are needed; give StackedPrior\(3\)"):
        made(StackedPrior(2))
    with pytest.raises(TypeError, match=r"joint_prior: .* is no prior that is fitted to latents alone"):
        made(FactorizedPrior(3))
    with pytest.raises(ValueError, match="rows: 49; the joint prior needs at least 50"):
        model_of(normal_rows(49))
