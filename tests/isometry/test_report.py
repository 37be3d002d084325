import json
import math

import numpy as np
import pytest
from helpers.isometric_models import SCALE, flat_data, linear
from helpers.models import encoded, scaled, small_model

from tf_radogaga import DAGMM, RaDOGAGA, isometry


def test_the_report_is_that_of_the_functions_and_depends_on_the_seed_alone(curved):
    rows, model = curved
    report = isometry.isometry_report(model, rows, pairs=100, seed=5, jacobian_rows=1000)
    latent, data = isometry.tangent_pairs(model, rows, pairs=100, seed=5)
    gram, gap = isometry.gram_matrices(model, rows).numpy(), isometry.isometry_gap(model, rows).numpy()
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    step = math.sqrt(model.sigma2)
    responses = isometry.response(model, rows).numpy()
    for found, expected in (
        (report.rows, 200),
        (report.jacobian_rows, 200),
        (report.tangent_r, np.corrcoef(latent, data)[0, 1]),
        (report.tangent_slope, np.polyfit(np.r_[latent, -latent], np.r_[data, -data], 1)[0]),
        (report.gram_diagonal_mean, diagonal.mean()),
        (report.gram_diagonal_sd, diagonal.std()),
        (report.response_step, step),
        (report.response_mean, responses.mean(axis=0)),
        (report.response_sd, responses.std(axis=0)),
        (report.gap_mean, gap.mean()),
        (report.gap_sd, gap.std()),
        (report.gap_median_absolute, np.median(np.abs(gap))),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    np.testing.assert_array_equal(report.spectrum, isometry.latent_spectrum(model, rows)[0])

    def again(seed):
        return isometry.isometry_report(model, rows, pairs=100, seed=seed, jacobian_rows=50).to_dict()

    first, other = again(5), again(6)
    assert first == again(5)
    assert first["tangent_r"] != other["tangent_r"] and first["gap_mean"] != other["gap_mean"]
    assert first["jacobian_rows"] == 50 and first["rows"] == 200


def test_the_certificate_holds_the_numbers_and_json_takes_them(curved):
    rows, model = curved
    report = isometry.isometry_report(model, rows, pairs=50, jacobian_rows=20)
    text = str(report)
    assert text.startswith("RaDOGAGA: 200 rows, Jacobians at 20, 50 tangent pairs")
    lines = {line[:33].strip(): line[33:].split() for line in text.splitlines()}
    for name, value, right in (
        ("tangent pairs, Pearson r", report.tangent_r, "1"),
        ("tangent pairs, slope", report.tangent_slope, "1"),
        ("Gram diagonal, mean", report.gram_diagonal_mean, "1"),
        ("Gram diagonal, sd", report.gram_diagonal_sd, "0"),
        ("Gram off-diagonal, mean |cosine|", report.gram_offdiagonal_mean, "0"),
        ("Gram off-diagonal, greatest", report.gram_offdiagonal_max, "0"),
        ("reconstruction, share of D", report.reconstructed_share, "1"),
        ("round trip, root mean square", report.round_trip_rms, "0"),
        ("round trip, 95 % below", report.round_trip_quantile, "0"),
        ("torn rows, share", report.torn_share, "0"),
        ("local dimension", report.local_dimension, "3"),
        ("response, least dimension", report.response_mean.min(), "1"),
        ("response, greatest dimension", report.response_mean.max(), "1"),
        ("isometry gap, mean", report.gap_mean, "0"),
        ("isometry gap, sd", report.gap_sd, "0"),
        ("isometry gap, median absolute", report.gap_median_absolute, "0"),
    ):
        assert lines[name][:2] == [f"{value:.4g}", right], name
    assert lines["metric scale"][0] == f"{report.metric_scale:.4g}"
    assert lines["latent variance, greatest"][0] == f"{report.spectrum[0]:.4g}"
    assert lines["active dimensions"] == ["3", "of", "3"]
    assert text.endswith(f"verdict: {report.verdict}") and 15 <= len(text.splitlines()) <= 23
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert read["spectrum"] == report.spectrum.tolist() and read["verdict"] == report.verdict
    assert set(read) == {*vars(report), "verdict"}


def test_the_certificate_counts_the_dimensions_that_hold_most_variance():
    rows, basis = flat_data(sd=(3.0, 2.0, 0.3))
    text = str(isometry.isometry_report(linear(rows, basis / math.sqrt(SCALE)), rows))
    assert "dimensions that hold 95 % of it           2         of 3" in text


def test_a_loss_that_fixes_no_scale_has_it_fitted():
    rows, basis = flat_data()
    model = linear(rows, 7 * basis, model=DAGMM)
    np.testing.assert_allclose(isometry.gram_matrices(model, rows), np.tile(49 * np.eye(3), (200, 1, 1)), atol=1e-3)
    report = isometry.isometry_report(model, rows)
    assert report.scale_is_fitted and report.metric_scale == pytest.approx(1 / 49, rel=1e-4)
    assert (report.tangent_slope, report.gram_diagonal_mean) == pytest.approx((1, 1), rel=1e-4)
    np.testing.assert_allclose(report.response_mean, 1, rtol=1e-3)
    assert report.response_step == pytest.approx(0.1 * math.sqrt(report.spectrum.mean()))
    assert report.gap_mean is None and "does not fix the volume" in report.gap_obstacle
    assert "fitted" in str(report) and report.gap_obstacle in str(report)
    assert report.verdict.startswith("isometric up to a scale")


def test_reconstruction_features_leave_a_geometry_without_a_gap(rows):
    model = small_model(preprocess=scaled(rows), reconstruction_features=True)
    model.adapt_prior(rows)
    report = isometry.isometry_report(model, rows, jacobian_rows=20)
    assert (report.active_dimensions, len(report.spectrum)) == (0, 2)
    assert isometry.gram_matrices(model, rows[:5]).shape == (5, 2, 2)
    assert "not determined: all are measured" in str(report) and "reconstruction_features" in report.gap_obstacle
    with pytest.raises(NotImplementedError, match="reconstruction_features"):
        isometry.isometry_gap(model, rows)


def test_one_dimension_has_no_off_diagonal():
    rows, basis = flat_data(dimensions=1)
    report = isometry.isometry_report(linear(rows, basis / math.sqrt(SCALE)), rows)
    assert report.gram_offdiagonal_mean is None and report.gram_offdiagonal_max is None
    assert "off-diagonal" not in str(report) and report.verdict.startswith("isometric:")
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("kind", [RaDOGAGA, DAGMM])
def test_a_decoder_that_answers_nothing_is_reported_as_such(kind):
    rows, basis = flat_data()
    model = linear(rows, basis, model=kind, adapt=False)
    model.decoder.dense[0].kernel.assign(np.zeros((3, 5)))
    model.adapt_prior(rows)
    report = isometry.isometry_report(model, rows)
    assert report.to_dict()["tangent_r"] is None and report.gap_mean is None
    assert "not isometric" in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_named_columns_as_frame_and_as_mapping(frame):
    model = small_model(preprocess=encoded(frame))
    model.adapt_prior(frame)
    reports = [
        isometry.isometry_report(model, table, pairs=20, jacobian_rows=20).to_dict()
        for table in (frame, {name: frame[name].to_numpy() for name in frame})
    ]
    assert reports[0] == reports[1] and reports[0]["rows"] == 300
