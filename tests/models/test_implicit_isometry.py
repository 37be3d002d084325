"""The implicit isometry of a beta-VAE: its unit norms and coordinates, its density and its report."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.linear_vae import BETA, SD, optimum
from helpers.models import scaled, small_model
from scipy.integrate import trapezoid

from tf_radogaga import (
    BetaVAE,
    BinaryCrossEntropy,
    DownwardConvexError,
    isometry,
)

tfd = tfp.distributions


# Implicit isometry


def test_unit_norms_importance_and_coordinates_at_the_optimum():
    model, rows = optimum()
    norms = isometry.unit_norms(model, rows).numpy()
    np.testing.assert_allclose(norms, np.tile(1 - BETA / (2 * SD**2), (400, 1)), rtol=1e-4)
    np.testing.assert_allclose(BETA / 2 * isometry.inverse_variances(model, rows), SD**2, rtol=1e-4)
    mu, sigma = model.posterior(rows)
    y = isometry.isometric_coordinates(model, rows).numpy()
    np.testing.assert_allclose(y, math.sqrt(BETA / 2) * mu / sigma, rtol=1e-3, atol=1e-4)
    # distances in y are those in the data, up to the shrinkage of the least dimension
    apart = np.linalg.norm(rows[:200] - rows[200:], axis=1)
    np.testing.assert_allclose(np.linalg.norm(y[:200] - y[200:], axis=1), apart, rtol=0.03)


def test_coordinates_integrate_a_curved_scale(monkeypatch):
    """sigma_j = sqrt(beta/2) / cosh(z_j) gives y_j = sinh(z_j)."""
    model, rows = optimum()

    def curved(x):
        mu = tf.matmul(x, tf.linalg.pinv(model.decoder.dense[0].kernel))  # the encoder inverts the decoder
        return mu, math.sqrt(BETA / 2) / tf.cosh(mu)

    monkeypatch.setattr(model, "posterior_x", curved)
    mu = model.posterior(rows)[0]
    np.testing.assert_allclose(isometry.isometric_coordinates(model, rows), np.sinh(mu), rtol=1e-3, atol=1e-4)


def test_implicit_gram_matrices_and_tangents():
    model, rows = optimum()
    gram = isometry.gram_matrices(model, rows[:10], implicit=True)
    np.testing.assert_allclose(gram, np.tile(np.diag(1 - BETA / (2 * SD**2)), (10, 1, 1)), atol=1e-4)
    plain = isometry.gram_matrices(model, rows[:10])
    np.testing.assert_allclose(plain, np.tile(np.diag(SD**2 - BETA / 2), (10, 1, 1)), atol=1e-4)
    implicit, in_z = (np.corrcoef(*isometry.tangent_pairs(model, rows, implicit=i))[0, 1] for i in (True, False))
    assert implicit > 0.999 > 0.95 > in_z


@pytest.mark.parametrize("distortion", [DownwardConvexError(), BinaryCrossEntropy()])
def test_unit_norms_are_the_limit_of_small_steps_and_of_any_metric(distortion, rows):
    preprocess = scaled(rows)
    model = small_model("vae", preprocess, distortion=distortion)
    if isinstance(distortion, BinaryCrossEntropy):
        model.decoder.dense[-1].activation = tf.keras.activations.sigmoid
    model.adapt_prior(rows)
    mu, sigma = (t.numpy() for t in model.posterior(rows[:20]))
    norms = isometry.unit_norms(model, rows[:20]).numpy()
    for j in range(2):
        moved = model.decode(mu + 0.02 * np.eye(2, dtype=np.float32)[j])
        back = model.decode(mu - 0.02 * np.eye(2, dtype=np.float32)[j])
        both = distortion.excess(model.decode(mu), moved) + distortion.excess(model.decode(mu), back)
        np.testing.assert_allclose(norms[:, j], sigma[:, j] ** 2 / model.beta * both / 0.02**2, rtol=0.05)
    diagonal = np.diagonal(isometry.gram_matrices(model, rows[:20], implicit=True), axis1=1, axis2=2)
    axes = np.argmax(model.active_directions, axis=1)
    assert len(axes)
    np.testing.assert_allclose(diagonal, norms[:, axes], rtol=1e-3)


def test_idle_dimensions_are_found_and_change_no_density():
    model, rows = optimum(idle=2)
    whole, _ = optimum()
    assert (model.active_dimensions, whole.active_dimensions) == (3, 3)
    np.testing.assert_allclose(isometry.unit_norms(model, rows)[:, 3:], 0, atol=1e-6)
    np.testing.assert_allclose(isometry.inverse_variances(model, rows)[3:], 1, rtol=1e-5)
    for volume in ("isometric", "jacobian"):
        np.testing.assert_allclose(model.log_density(rows, volume), whole.log_density(rows, volume), rtol=1e-4)
    report = isometry.implicit_report(model, rows, jacobian_rows=50)
    assert list(report.dimension[:3]) == [0, 1, 2] and report.active_dimensions == 3


# Density


def test_all_estimates_tend_to_the_exact_log_density():
    errors = []
    for beta in (0.02, 0.002):
        model, rows = optimum(beta=beta)
        exact = -0.5 * np.sum((model.posterior(rows)[0] * SD / np.sqrt(SD**2 - beta / 2)) ** 2, axis=1)
        exact -= np.sum(np.log(SD)) + 1.5 * math.log(2 * math.pi)
        estimates = isometry.density_estimates(model, rows)
        np.testing.assert_allclose(estimates["loss_scaled"], model.log_density(rows), rtol=1e-5)
        errors.append(
            [np.abs(found - exact).max() for found in (estimates["posterior"], model.log_density(rows, "jacobian"))]
        )
        assert np.abs(estimates["loss"] - exact).max() < 0.02 * beta / 0.02 + 1e-3  # of the order of (beta / s^2)^2
    np.testing.assert_allclose(np.divide(*errors), 10, rtol=0.2)  # of the order of beta / s^2, as mu is too narrow


def test_the_factor_of_the_metric_is_added():
    model, rows = optimum()
    other = BetaVAE(model.encoder, model.decoder, beta=BETA, distortion=DownwardConvexError())
    other.adapt_prior(rows)
    estimates = isometry.density_estimates(other, rows)
    factor = 1.5 * np.log(DownwardConvexError().scale(rows))
    for name in ("posterior", "loss"):
        np.testing.assert_allclose(estimates[f"{name}_scaled"], estimates[name] + factor, rtol=1e-5)


def test_the_density_of_a_line_integrates_to_one():
    model, _ = optimum(sd=np.array([1.0]), beta=0.01, width=1)
    grid = np.linspace(-8, 8, 4001)[:, None].astype(np.float32)
    for volume in ("isometric", "jacobian"):
        total = trapezoid(np.exp(model.log_density(grid, volume)), grid[:, 0])
        assert total == pytest.approx(1, abs=0.01), volume


def test_a_metric_without_volume_leaves_the_jacobian(rows):
    model = small_model("vae", scaled(rows), distortion=BinaryCrossEntropy())
    model.adapt_prior(rows)
    assert not model.has_log_density
    with pytest.raises(
        NotImplementedError, match="BinaryCrossEntropy has no closed-form volume; use volume='jacobian'"
    ):
        model.log_density(rows)
    assert set(isometry.density_estimates(model, rows)) == {"prior", "posterior", "loss"}
    assert np.isfinite(model.log_density(rows, "jacobian")).all()


# Reports


def test_the_report_holds_what_the_functions_measure():
    model, rows = optimum()
    report = isometry.implicit_report(model, rows, pairs=200, seed=3, jacobian_rows=1000)
    inverse = isometry.inverse_variances(model, rows)
    order = np.argsort(-inverse)
    np.testing.assert_array_equal(report.dimension, order)
    np.testing.assert_allclose(
        report.unit_norm_mean, np.mean(isometry.unit_norms(model, rows), axis=0)[order], rtol=1e-5
    )
    np.testing.assert_allclose(report.response_mean, (SD**2 - BETA / 2)[order], rtol=1e-4)
    np.testing.assert_allclose(report.variance, BETA / 2 * inverse[order])
    np.testing.assert_allclose(report.rate, np.mean(model.rates(rows), axis=0)[order], rtol=1e-5)
    coordinates = isometry.isometric_coordinates(model, rows).numpy()
    np.testing.assert_allclose(report.coordinate_variance, coordinates.var(axis=0)[order], rtol=1e-4)
    latent, data = isometry.tangent_pairs(model, rows, 200, 3, implicit=True)
    assert report.tangent_r == pytest.approx(np.corrcoef(latent, data)[0, 1])
    assert report.gram_offdiagonal_max < 1e-4
    lost = BETA / 2 / SD**2  # 1 - u, by which mu is short of where it came from, in each dimension
    assert report.round_trip_rms == pytest.approx(math.sqrt(np.mean(lost**2)), rel=0.02)
    x = rows - rows.mean(axis=0)
    errors = np.sum((rows - model.decode(model.encode(rows)).numpy()) ** 2)
    assert report.reconstructed_share == pytest.approx(1 - errors / np.sum(x**2), abs=1e-6)
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(read) == {*vars(report), "verdict"} and report.verdict.startswith("implicitly isometric")
    assert dataclasses.replace(report, tangent_r=0.7).verdict.startswith("not implicitly isometric")
    for wrong, named in (
        ({"reconstructed_share": 0.9}, "reconstruction >="),
        ({"round_trip_rms": 0.2}, "round trip <="),
    ):
        verdict = dataclasses.replace(report, **wrong).verdict
        assert verdict.startswith("only the decoder is implicitly isometric") and f"but not {named}" in verdict
    text = str(report)
    assert f"reconstruction, share of D: {report.reconstructed_share:.4f}" in text
    assert f"root mean square {report.round_trip_rms:.4f}, 95 % below {report.round_trip_quantile:.4f}" in text
    assert "active dimensions: 3 of 3" in text and f"{report.inverse_variance[0]:.4g}" in text
    spectrum, share = isometry.latent_spectrum(model, rows)
    np.testing.assert_allclose(spectrum, report.variance, rtol=1e-5)
    assert share[-1] == pytest.approx(1)


def test_the_gap_is_not_that_of_a_vae():
    with pytest.raises(NotImplementedError, match="a BetaVAE differ by D"):
        isometry.isometry_gap(*optimum())


def test_only_a_vae_has_an_implicit_isometry(rows):
    model = small_model(preprocess=scaled(rows))
    model.adapt_prior(rows)
    for function in (
        isometry.unit_norms,
        isometry.inverse_variances,
        isometry.isometric_coordinates,
        isometry.density_estimates,
        isometry.implicit_report,
        lambda *a: isometry.gram_matrices(*a, implicit=True),
        lambda *a: isometry.tangent_pairs(*a, implicit=True),
    ):
        with pytest.raises(TypeError, match="model: RaDOGAGA has no posterior, so no implicit isometry; a BetaVAE has"):
            function(model, rows)
