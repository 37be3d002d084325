"""Densities of all space: closed forms, integrals, samples, and what goes with them."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.image_models import radogaga, smooth_images
from helpers.linear_models import SCALE, VOLUMES, linear_model, rotation_matrix
from helpers.linear_vae import SD, optimum
from scipy import stats
from sklearn.decomposition import PCA

from tf_radogaga import (
    DAGMM,
    DenseNetwork,
    MeanSquaredError,
    MixturePrior,
    RaDOGAGA,
    export_saved_model,
    load_model,
    save_model,
)
from tf_radogaga.distortions import BinaryCrossEntropy, EuclideanNorm
from tf_radogaga.serving import check_export
from tf_radogaga.training.copies import copy_model


def normal_rows(n=4000, seed=0, noise=0.1):
    """Rows about a plane in six columns, centred."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 2)) * [3, 1] @ rotation_matrix(6)[:2] + noise * rng.normal(size=(n, 6))
    return rows - rows.mean(axis=0)


def model_of(rows, units=2, **options):
    """The principal components as a RaDOGAGA, with a normal prior; its residuals known."""
    scale = SCALE / rows.shape[1] if options else SCALE
    components = PCA(units).fit(rows).components_ / math.sqrt(scale)
    model = linear_model(components, MixturePrior(units, 1), rows.astype(np.float32), **options)
    model.adapt_residuals(rows)
    return model


@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("options", [{}, {"distortion": MeanSquaredError()}], ids=["sum", "mean"])
def test_a_linear_model_has_the_density_of_probabilistic_pca(volume, options):
    rows = normal_rows()
    options = {"lambda1": 1.0, "lambda2": 40.0, "gauge": None, **options} if options else {}
    model, fresh = model_of(rows, **options), normal_rows(500, seed=1)
    found = model.log_density(fresh, volume=volume, space="ambient").numpy()
    np.testing.assert_allclose(found, PCA(2).fit(rows).score_samples(fresh), atol=1e-2)  # at 4000 / 3999 the variance
    assert abs(np.mean(found) - PCA(2).fit(rows).score(fresh)) < 1e-3


def test_models_of_any_number_of_units_are_in_the_same_units():
    rows, fresh = normal_rows(), normal_rows(2000, seed=1)
    true = stats.multivariate_normal(np.zeros(6), np.cov(rows.T)).logpdf(fresh).mean()
    found = {units: model_of(rows, units).log_density(fresh, space="ambient").numpy().mean() for units in (1, 2, 3)}
    assert abs(found[2] - true) < 0.01
    for units in (1, 3):  # the law of the residuals knows directions, so it makes up for a unit of normal rows
        assert abs(found[units] - found[2]) < 0.05


@pytest.mark.parametrize("volume", VOLUMES)
def test_noise_that_differs_from_column_to_column_is_told(volume):
    rng = np.random.default_rng(0)
    deviations = np.array([0.05, 0.05, 0.1, 0.2, 0.8, 0.8])

    def rows(n):
        plane = rng.normal(size=(n, 2)) * [9, 6] @ np.eye(2, 6)
        return plane + deviations * rng.normal(size=(n, 6))

    seen, fresh = rows(3000), rows(1000)
    model = model_of(seen - seen.mean(axis=0))
    assert "scales" in model.residuals.residual_law
    true = stats.multivariate_normal(np.zeros(6), np.diag(deviations**2 + [81, 36, 0, 0, 0, 0])).logpdf(fresh)
    found = model.log_density(fresh - seen.mean(axis=0), volume=volume, space="ambient").numpy()
    assert abs(np.mean(found - true)) < 0.02 and np.median(np.abs(found - true)) < 0.1


def test_directions_are_not_told_of_residuals_that_lie_along_the_manifold():
    rows = normal_rows() + 0.3 * np.random.default_rng(1).normal(size=(4000, 6)) * [1, 1, 1, 3, 3, 9]
    kernel = PCA(2).fit(rows).components_ / math.sqrt(SCALE)
    slanted = np.linalg.pinv(kernel) + 0.3 * PCA(4).fit(rows).components_[2:].T * math.sqrt(SCALE)
    model = linear_model(kernel, MixturePrior(2, 1), rows.astype(np.float32), inverse=slanted)
    model.adapt_residuals(rows)
    assert "scales" not in model.residuals.residual_law
    assert "scales" in model_of(rows - rows.mean(axis=0)).residuals.residual_law


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_linear_vae_leaves_its_distortion_out_where_the_residual_law_speaks(volume):
    model, on_plane = optimum(width=6)
    noise = 0.15 * np.random.default_rng(5).normal(size=(400, 6))
    basis = np.linalg.svd(on_plane, full_matrices=False)[2][:3]
    rows = (on_plane + noise - noise @ basis.T @ basis).astype(np.float32)
    model.adapt_residuals(rows)
    along = stats.multivariate_normal(np.zeros(3), np.cov(on_plane @ basis.T, rowvar=False)).logpdf(rows @ basis.T)
    off = stats.multivariate_normal(np.zeros(6), 0.15**2 * np.eye(6)).logpdf(noise)
    off -= stats.multivariate_normal(np.zeros(3), 0.15**2 * np.eye(3)).logpdf(noise @ basis.T)
    found = model.log_density(rows, volume=volume, space="ambient").numpy()
    assert abs(np.mean(found - along - off)) < 0.05 and np.median(np.abs(found - along - off)) < 0.05
    assert len(SD) == model.active_dimensions


def test_far_off_the_manifold_of_a_vae_the_density_of_x_hat_is_that_of_the_same_x_hat():
    model, rows = optimum(width=6)
    normal = np.linalg.svd(rows, full_matrices=True)[2][-1]
    far = np.stack([rows[0] + distance * normal for distance in (0, 1, 100, 1e4)]).astype(np.float32)
    found = model.density.log_density_of_x_hat(tf.constant(far)).numpy()
    np.testing.assert_allclose(found[1:], found[0], atol=2e-2)
    model.adapt_residuals(rows + np.random.default_rng(0).normal(0, 0.1, rows.shape))
    scores = model.log_density(far, space="ambient").numpy()
    assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize("heavy", [False, True])
def test_it_integrates_to_one_in_two_dimensions(heavy):
    rng = np.random.default_rng(0)
    noise = rng.standard_t(2, 2000) if heavy else rng.normal(size=2000)
    rows = np.stack([rng.normal(size=2000), 0.2 * noise], axis=1)
    kernel = np.array([[1.0, 0.0]]) / math.sqrt(SCALE)
    model = linear_model(kernel, MixturePrior(1, 1), rows.astype(np.float32))
    model.adapt_residuals(rows)
    assert ("weights" in model.residuals.residual_law) == heavy
    along, off = np.linspace(-6, 6, 61), np.exp(np.linspace(-16, 9, 1001))
    points = np.stack(np.meshgrid(along, off, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(model.log_density(points, space="ambient").numpy().astype(float)).reshape(61, 1001)
    per_log = density * off  # d off = off d log off
    assert abs(2 * np.trapz(np.trapz(per_log, np.log(off), axis=1), along) - 1) < 2e-3


def test_samples_follow_it():
    rows = normal_rows()
    model = model_of(rows)
    drawn = model.sample(20_000, seed=3, space="ambient").numpy()
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(rows.T), atol=0.15)
    lengths, own = (np.linalg.norm(model.residuals.of(tf.constant(x, tf.float32)), axis=1) for x in (drawn, rows))
    assert stats.ks_2samp(lengths, own).pvalue > 1e-3
    np.testing.assert_allclose(model.encode(drawn), model.encode(model.sample(20_000, seed=3)), atol=1e-3)


@pytest.mark.thorough
def test_fit_learns_the_residuals_of_validation_rows(tmp_path):
    rows, options = normal_rows(600).astype(np.float32), {"epochs": 2, "batch_size": 100, "verbose": 0}

    def untrained():
        tf.keras.utils.set_random_seed(0)
        networks = DenseNetwork(6, (8,), 2), DenseNetwork(2, (8,), 6)
        model = RaDOGAGA(*networks, MixturePrior(2, 2), 100.0, 100.0)
        model.compile("adam", steps_per_execution=4)
        return model

    model, without = untrained(), untrained()
    model.fit(rows, validation_split=0.2, **options)
    held_out = model.residuals.residual_law
    assert held_out["codimension"] == 6 - model.active_dimensions
    model.adapt_residuals(rows[480:])
    assert model.residuals.residual_law == held_out
    scores = model.log_density(rows, space="ambient").numpy()
    save_model(model, tmp_path / "model")
    for other in (load_model(tmp_path / "model"), copy_model(model)):
        np.testing.assert_array_equal(other.log_density(rows, space="ambient"), scores)
    model.adapt_prior(rows)
    assert model.residuals.residual_law is None
    without.fit(rows, **options)
    for method in (lambda m: m.log_density(rows, space="ambient"), lambda m: m.sample(2, space="ambient")):
        with pytest.raises(NotImplementedError, match="residuals is not known: give fit at least 50 validation rows"):
            method(without)
    few = untrained()
    few.fit(rows, validation_data=rows[:49], **options)  # too few to tell the law
    assert few.residuals.residual_law is None


def test_weights_from_elsewhere_leave_nothing_of_the_residuals(tmp_path):
    model, other = model_of(normal_rows()), model_of(normal_rows(noise=1.0))
    other.save_weights(tmp_path / "weights")
    model.load_weights(tmp_path / "weights")
    with pytest.raises(NotImplementedError, match="law of residuals is not known"):
        model.log_density(normal_rows(), space="ambient")


@pytest.mark.thorough
def test_what_has_no_density_of_all_space_trains_with_validation_rows_all_the_same():
    rows = normal_rows(200).astype(np.float32)
    for units, distortion in ((2, EuclideanNorm()), (2, None), (7, None)):
        networks = DenseNetwork(6, (8,), units), DenseNetwork(units, (8,), 6)
        model = DAGMM(*networks, MixturePrior(units, 2), distortion=distortion)
        model.compile("adam", steps_per_execution=2)
        model.fit(rows, validation_split=0.5, epochs=2, verbose=0)
        assert (model.residuals.residual_law is None) == (units == 7 or distortion is not None)
        assert model.prior.adapted


def test_validation_rows_that_come_only_once_tell_no_law():
    rows = normal_rows(300).astype(np.float32)
    once = iter([rows[:100], rows[100:200]])
    spec = tf.TensorSpec((None, 6), tf.float32)
    validation = tf.data.Dataset.from_generator(lambda: once, output_signature=spec)
    model = RaDOGAGA(DenseNetwork(6, (8,), 2), DenseNetwork(2, (8,), 6), MixturePrior(2, 2), 100.0, 100.0)
    model.compile("adam", steps_per_execution=1)
    model.fit(rows, validation_data=validation, epochs=1, verbose=0)
    assert model.residuals.residual_law is None and model.prior.adapted


def test_samples_repeat_by_seed():
    model = model_of(normal_rows())
    for seed in (7, -1):
        first, again = (model.sample(5, seed=seed, space="ambient") for _ in range(2))
        np.testing.assert_array_equal(first, again)
    drawn = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(0)
        drawn.append(model.sample(5, space="ambient").numpy())
    np.testing.assert_array_equal(*drawn)


def test_obstacles_and_bad_rows_are_named():
    rows = normal_rows(200)
    model = model_of(rows)
    with pytest.raises(ValueError, match="rows: 49; the law of residuals needs at least 50"):
        model.adapt_residuals(rows[:49])
    with pytest.raises(ValueError, match="space: 'everywhere'"):
        model.log_density(rows, space="everywhere")
    far = rows.copy()
    far[7, 0] = 1e30
    with pytest.raises(ValueError, match="row 7 is so far off"):
        model.adapt_residuals(far)
    assert np.isneginf(model.log_density(far, space="ambient").numpy()[7])
    model.distortion = BinaryCrossEntropy()
    with pytest.raises(NotImplementedError, match="no closed-form volume off the manifold"):
        model.log_density(rows, volume="jacobian", space="ambient")


def test_where_the_latent_fills_all_columns_both_spaces_are_one():
    rows = normal_rows(noise=1.0)
    model = model_of(rows, units=6)
    assert model.residuals.residual_law is None
    np.testing.assert_array_equal(model.log_density(rows, space="ambient"), model.log_density(rows))


def test_a_bad_row_changes_nothing_for_its_neighbours():
    rows = normal_rows(300).astype(np.float32)
    model = model_of(rows)
    together = model.log_density(np.concatenate([rows[:5], 1e30 * rows[:1]]), space="ambient").numpy()
    np.testing.assert_array_equal(together[:5], model.log_density(rows[:5], space="ambient"))


def test_images_have_it_too():
    images = smooth_images(60)
    model = radogaga()
    model.density.keep_all()
    model.prior.adapt([model.encode(images)])
    model.adapt_residuals(images)
    scores = model.log_density(images[:7], space="ambient").numpy()
    assert np.isfinite(scores).all() and model.residuals.codimension == 16 * 18 * 3 - 3
    one_by_one = [model.log_density(images[i : i + 1], space="ambient").numpy()[0] for i in range(7)]
    np.testing.assert_allclose(one_by_one, scores, rtol=1e-5)
    assert model.sample(3, seed=0, space="ambient").shape == (3, 16, 18, 3)


@pytest.mark.parametrize("deviations", [1.0, np.array([1, 1, 1, 3, 3, 9])], ids=["alike", "unlike"])
def test_the_served_density_is_the_ambient_one_where_asked(tmp_path, deviations):
    rows = (normal_rows(300) + 0.1 * np.random.default_rng(0).normal(size=(300, 6)) * deviations).astype(np.float32)
    model = model_of(rows)
    assert ("scales" in model.residuals.residual_law) == (np.ndim(deviations) > 0)
    for space in ("manifold", "ambient"):
        directory = export_saved_model(model, tmp_path / space, space=space)
        served = tf.saved_model.load(str(directory))
        found = served.signatures["serving_default"](features=tf.constant(rows))["log_density"]
        np.testing.assert_allclose(found, model.log_density(rows, space=space), rtol=1e-5)
        told = json.loads((directory / "assets" / "card.json").read_text())["log_density"]
        assert told == {"manifold": "nats, along the manifold", "ambient": "nats, in all columns"}[space]
    model.threshold_on = "log_density"
    with pytest.raises(ValueError, match="space: 'ambient', but the threshold is of the density on the manifold"):
        export_saved_model(model, tmp_path / "none", space="ambient")
    model.set_threshold(-model.log_density(rows, space="ambient").numpy(), 0.1, "ambient")
    with pytest.raises(ValueError, match="space: 'manifold', but the threshold is of the density of all space"):
        export_saved_model(model, tmp_path / "none")
    directory = export_saved_model(model, tmp_path / "flagged", space="ambient", warmup_rows=rows[:9])
    assert "scores      those at export" in check_export(directory)
    served = tf.saved_model.load(str(directory)).signatures["serving_default"](features=tf.constant(rows))
    lowest = model.log_density(rows, space="ambient").numpy() < -model.threshold.numpy()
    assert lowest.sum() == 30
    for flagged in (served["anomaly"], model.scores(tf.constant(rows))["anomaly"]):
        np.testing.assert_array_equal(flagged, lowest)
    model.adapt_prior(rows)
    assert model.threshold_on == "energy" and math.isinf(model.threshold.numpy())
    model.residuals.residual_law = None
    with pytest.raises(RuntimeError, match="the law of residuals is not known"):
        model.set_threshold(np.arange(9.0), 0.1, "ambient")
    with pytest.raises(NotImplementedError, match="space: the law of residuals is not known"):
        export_saved_model(model, tmp_path / "none", space="ambient")
    assert not (tmp_path / "none").exists()
