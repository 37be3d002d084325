"""Latent dimensions that carry no data are found, and change no density."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.linear_models import (
    PRIORS,
    VOLUMES,
    FittingNormal,
    dead_axis,
    dead_rows,
    isometric_kernel,
    linear_model,
    rotation_matrix,
    rows_along,
)
from helpers.marks import after

from tf_radogaga import (
    DenseNetwork,
    MixturePrior,
    RaDOGAGA,
    export_saved_model,
    load_model,
    save_model,
)
from tf_radogaga.priors import DistributionPrior

tfd = tfp.distributions


@pytest.mark.parametrize(
    ("prior", "how"),
    after(
        3,
        [
            ("normal", "both"),
            ("gaussian", "deaf decoder"),
            ("gaussian", "mute encoder"),
            ("gaussian", "both"),
            ("factorized", "both"),
            ("factorized", "deaf decoder"),
        ],
    ),
)
def test_a_dead_dimension_does_not_count(prior, how):
    """The density is that of the model without it."""
    kernel, inverse = dead_axis(how)
    rows = dead_rows(kernel, inverse)
    model = linear_model(kernel, PRIORS[prior](3), rows, inverse)
    narrow = linear_model(kernel[[0, 2]], PRIORS[prior](2), rows, inverse[:, [0, 2]])
    assert (model.active_dimensions, narrow.active_dimensions) == (2, 2)
    directions = model.active_directions
    np.testing.assert_allclose(tf.matmul(directions, directions, transpose_b=True), np.eye(2), atol=1e-5)
    np.testing.assert_allclose(directions[:, 1], 0, atol=0.05)
    for volume in VOLUMES:
        found, expected = (m.log_density(rows, volume) for m in (model, narrow))
        assert found.shape == (400,)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.02 if how == "deaf decoder" else 2e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_a_dead_direction_is_found_aslant_where_the_prior_allows_it(prior):
    kernel, inverse = dead_axis("both")
    rows, rotation = dead_rows(kernel, inverse), rotation_matrix(3)
    model = linear_model(rotation @ kernel, PRIORS[prior](3), rows, inverse @ rotation.T)
    narrow = linear_model(kernel[[0, 2]], PRIORS[prior](2), rows, inverse[:, [0, 2]])
    assert model.active_dimensions == 2
    np.testing.assert_allclose(model.active_directions @ rotation[:, 1:2], 0, atol=1e-3)
    for volume in VOLUMES:
        np.testing.assert_allclose(
            model.log_density(rows, volume), narrow.log_density(rows, volume), rtol=1e-3, atol=2e-3
        )


def test_a_direction_the_decoder_leaves_out_is_found_among_others_of_the_same_variance():
    """Principal directions of the latent alone would be arbitrary here."""
    kernel, inverse = dead_axis("deaf decoder")
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3))
    z = (z - z.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, ddof=0))).T @ rotation_matrix(3)
    rows = (z @ kernel + z[:, 1:2] * np.eye(4)[3]).astype(np.float32)
    model = linear_model(kernel, FittingNormal(3), rows, inverse)
    assert model.active_dimensions == 2
    np.testing.assert_allclose(model.active_directions[:, 1], 0, atol=1e-3)
    narrow = linear_model(kernel[[0, 2]], FittingNormal(2), rows, inverse[:, [0, 2]])
    for volume in VOLUMES:
        np.testing.assert_allclose(model.log_density(rows, volume), narrow.log_density(rows, volume), atol=1e-3)


@pytest.mark.thorough
def test_the_active_dimensions_survive_saving_and_are_served(tmp_path):
    kernel, inverse = dead_axis("both")
    rows = dead_rows(kernel, inverse)
    model = linear_model(kernel, MixturePrior(3, 2, em_iterations=3), rows, inverse)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.active_dimensions == 2
    np.testing.assert_array_equal(loaded.active_directions, model.active_directions)
    for volume in VOLUMES:
        np.testing.assert_allclose(loaded.log_density(rows, volume), model.log_density(rows, volume), rtol=1e-6)
    served = tf.saved_model.load(str(export_saved_model(model, tmp_path / "served")))
    found = served.signatures["serving_default"](features=tf.constant(rows))["log_density"]
    np.testing.assert_allclose(found, model.log_density(rows), rtol=1e-4, atol=1e-4)


def test_a_prior_without_marginals_has_no_density_where_a_dimension_is_dead():
    kernel, inverse = dead_axis("both")
    rows = dead_rows(kernel, inverse)
    model = linear_model(
        kernel, DistributionPrior(lambda: tfd.MultivariateNormalDiag(tf.Variable(tf.zeros(3)))), rows, inverse
    )
    assert not model.has_log_density  # so that it can still be exported
    for volume in VOLUMES:
        with pytest.raises(NotImplementedError, match="DistributionPrior has no closed-form marginal on 2 of 3"):
            model.log_density(rows, volume)


@pytest.mark.thorough
def test_under_a_fixed_prior_the_jacobian_alone_gives_a_density():
    """The latent bends towards N(0, 1), so 1 / sqrt(metric_scale) is not its unit: the integral is 1 nevertheless."""
    rows = np.random.default_rng(0).normal(0, 2, (4000, 1)).astype(np.float32)
    model = RaDOGAGA(DenseNetwork(1, (), 1), DenseNetwork(1, (), 1), tfd.MultivariateNormalDiag(tf.zeros(1)), 100, 100)
    rate = tf.keras.optimizers.schedules.CosineDecay(0.02, 1000)
    model.compile(tf.keras.optimizers.Adam(rate, beta_2=0.9), 500)  # the gradient of log D has heavy tails
    model.fit(rows, batch_size=256, steps_per_epoch=1000, verbose=0)
    grid = np.linspace(-16, 16, 2001, dtype=np.float32)[:, None]
    assert np.exp(model.log_density(grid, "jacobian")).sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=0.002)
    with pytest.raises(NotImplementedError, match=r"DistributionPrior is fixed.*volume='jacobian'"):
        model.log_density(rows)


@pytest.mark.parametrize("prior", ["normal", "gaussian", "factorized"])
def test_a_collapsed_model_has_no_density(prior):
    rows = rows_along(isometric_kernel(3, 4))
    model = linear_model(np.zeros((3, 4)), PRIORS[prior](3), rows)
    assert model.active_dimensions == 0 and not model.has_log_density
    for volume in VOLUMES:
        with pytest.raises(NotImplementedError, match="active_dimensions: 0"):
            model.log_density(rows, volume)
