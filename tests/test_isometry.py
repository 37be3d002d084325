import json
import math

import numpy as np
import pytest
import tensorflow as tf
from conftest import encoded, scaled, small_model

from tf_radogaga import (
    DAGMM,
    DenseNetwork,
    MeanSquaredError,
    MixturePrior,
    RaDOGAGA,
    SumSquaredError,
    certificate,
    geometry,
    isometry,
)
from tf_radogaga.distortions import BinaryCrossEntropy, DownwardConvexError, FunctionDistortion
from tf_radogaga.priors import FactorizedPrior

SHEAR = np.array([[1.0, 0.3, 0.0], [0.0, 0.9, -0.2], [0.0, 0.0, 1.2]])


def _flat_data(dimensions=3, width=5, sd=(3.0, 2.0, 1.0)):
    """Rows (200, width) on a plane, and an orthonormal basis of it (dimensions, width)."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(width, dimensions)))[0].T
    return (rng.normal(size=(200, dimensions)) * sd[:dimensions]) @ basis + 0.5 * basis[0], basis


def _linear(rows, decoder, adapt=True, prior=None, model=RaDOGAGA, **options):
    """An adapted model, not trained: x_hat = z decoder, and z = x times the pseudo-inverse."""
    units, width = decoder.shape
    parts = (DenseNetwork(width, (), units), DenseNetwork(units, (), width), prior or MixturePrior(units, 1))
    if model is RaDOGAGA:
        options = {"lambda1": 1.0, "lambda2": 24.0, "gauge": None, **options}
    model = model(*parts, **options)
    model.decoder.dense[0].kernel.assign(decoder)
    model.encoder.dense[0].kernel.assign(np.linalg.pinv(decoder))
    if adapt:
        model.adapt_prior(rows)
    return model


SCALE = 2 * 24 / 12  # metric_scale of `_linear`


def _isometric(**options):
    rows, basis = _flat_data()
    return rows, _linear(rows, basis / math.sqrt(SCALE), **options)


def _tanh(rows, distortion=None, prior=None, output_activation=None):
    """An adapted model with a random curved decoder and a gauge that shears; all 3 latent units are informative."""
    tf.keras.utils.set_random_seed(7)
    parts = DenseNetwork(5, (8,), 3), DenseNetwork(3, (8,), 5, output_activation=output_activation)
    model = RaDOGAGA(
        *parts, prior or MixturePrior(3, 1), 1.0, 1e4, preprocess=scaled(rows), distortion=distortion, sigma2=1e-4
    )
    model.gauge.lower.assign(np.tri(3) * 0.1)
    for network in (model.encoder, model.decoder):
        for layer in network.dense:
            layer.kernel.assign(2 * layer.kernel)
    model.adapt_prior(rows)
    assert model.informative_dimensions == 3
    return model


@pytest.fixture(scope="module")
def curved():
    """200 rows and a model that is not isometric; its own distortion is the sum of squares."""
    rows = _flat_data()[0]
    return rows, _tanh(rows)


@pytest.mark.parametrize("distortion", [SumSquaredError(), MeanSquaredError()], ids=["sum", "mean"])
def test_an_orthonormal_decoder_is_perfectly_isometric(distortion):
    rows, basis = _flat_data()
    unit = 5 if isinstance(distortion, MeanSquaredError) else 1
    model = _linear(rows, basis * math.sqrt(unit / SCALE), distortion=distortion)
    latent, data = isometry.tangent_pairs(model, rows, pairs=50)
    np.testing.assert_allclose(data, latent, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(isometry.gram_matrices(model, rows), np.tile(np.eye(3), (200, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(isometry.response(model, rows), np.ones((200, 3)), rtol=1e-4)
    np.testing.assert_allclose(isometry.isometry_gap(model, rows), np.zeros(200), atol=1e-5)
    report = certificate.isometry_report(model, rows)
    assert (report.tangent_r, report.tangent_slope) == pytest.approx((1, 1), abs=1e-6)
    assert report.verdict.startswith("isometric: Pearson r >= 0.99 and slope 1 +- 0.05")


def test_a_decoder_c_times_too_long_shows_c_squared():
    rows, model = _isometric()
    kernel = model.decoder.dense[0].kernel
    before = certificate.isometry_report(model, rows)
    kernel.assign(3 * kernel)
    after = certificate.isometry_report(model, rows)
    for name in ("tangent_slope", "gram_diagonal_mean", "response_mean"):
        np.testing.assert_allclose(getattr(after, name), 9 * getattr(before, name), rtol=1e-4)
    assert after.tangent_r == pytest.approx(1, abs=1e-6)
    assert after.gap_mean == pytest.approx(-3 * math.log(3), abs=1e-4)
    assert after.verdict.startswith("isometric up to a scale") and "not slope 1" in after.verdict


def test_shear_shows_off_the_diagonal():
    rows, basis = _flat_data()
    model = _linear(rows, SHEAR @ basis / math.sqrt(SCALE))
    expected = SHEAR @ SHEAR.T
    np.testing.assert_allclose(isometry.gram_matrices(model, rows)[7], expected, atol=1e-5)
    length = np.sqrt(np.diag(expected))
    cosines = np.abs(expected / np.outer(length, length))[np.triu_indices(3, 1)]
    report = certificate.isometry_report(model, rows, jacobian_rows=10)  # along axes found on all rows
    assert report.gram_offdiagonal_mean == pytest.approx(cosines.mean(), rel=1e-4)
    assert report.gram_offdiagonal_max == pytest.approx(cosines.max(), rel=1e-4)
    assert report.gram_diagonal_mean == pytest.approx(np.diag(expected).mean(), rel=1e-4)
    assert report.gram_diagonal_sd == pytest.approx(np.diag(expected).std(), rel=1e-4)
    assert report.gap_mean == pytest.approx(-np.linalg.slogdet(SHEAR)[1], abs=1e-4)
    axes = isometry.latent_axes(model, rows)[1]
    np.testing.assert_allclose(report.response_mean, np.diag(axes @ expected @ axes.T), rtol=1e-3)
    assert report.tangent_r < 0.99 and report.verdict.startswith("not isometric")


def _weighted(x, y):
    return tf.reduce_sum(tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]) * (1 + x**2) * (x - y) ** 2, axis=1)


@pytest.mark.parametrize(
    ("distortion", "metric"),
    [
        (SumSquaredError(), np.ones_like),
        (MeanSquaredError(), lambda x: np.full_like(x, 1 / 5)),
        (DownwardConvexError(), lambda x: np.tile(2 / 3 + 2 / 21 * (x**2).sum(1, keepdims=True), 5)),
        (BinaryCrossEntropy(), lambda x: 0.5 * (1 / x + 1 / (1 - x))),
        (FunctionDistortion(_weighted), lambda x: np.arange(1, 6) * (1 + x**2)),
    ],
    ids=["sum", "mean", "scaled", "cross-entropy", "function"],
)
def test_gram_equals_that_of_reverse_mode_jacobians(distortion, metric):
    rows = _flat_data()[0]
    model = _tanh(rows, distortion, output_activation="sigmoid")
    z = model.encode(rows[:20])
    with tf.GradientTape() as tape:
        tape.watch(z)
        x_hat = model.decode(z)
    jacobian = tape.batch_jacobian(x_hat, z).numpy()
    expected = model.metric_scale * np.einsum("bmi,bm,bmj->bij", jacobian, metric(x_hat.numpy()), jacobian)
    gram = isometry.gram_matrices(model, rows[:20])
    np.testing.assert_allclose(gram, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    order = np.argsort(-np.diagonal(expected.mean(0)))  # a small step sees what the derivatives see
    axes = np.eye(3)[order]
    found = isometry.response(model, rows[:20], step=0.02 * float(tf.math.reduce_std(z)), axes=axes)
    np.testing.assert_allclose(found, np.diagonal(expected, axis1=1, axis2=2)[:, order], rtol=0.1)


def test_tangent_pairs_are_products_in_the_metric_of_the_gram_matrix(monkeypatch):
    rows = _flat_data()[0]
    model = _tanh(rows, DownwardConvexError())
    seen, tangents = [], geometry.tangents

    def spy(decode, z, directions):
        seen.append((z, directions))
        return tangents(decode, z, directions)

    monkeypatch.setattr(geometry, "tangents", spy)
    latent, data = isometry.tangent_pairs(model, rows, pairs=40)
    ((z, vectors),) = seen
    v, w = vectors[:, 0].numpy(), vectors[:, 1].numpy()
    gram = model.metric_scale * geometry.gram(model._decode, model.distortion, z, tf.eye(3))
    np.testing.assert_allclose(latent, (v * w).sum(1), atol=1e-5)
    np.testing.assert_allclose(data, np.einsum("bi,bij,bj->b", v, gram, w), rtol=1e-3, atol=1e-5 * np.abs(data).max())
    distance = np.abs(z.numpy()[:, None] - model.encode(rows).numpy()).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-5 and len(set(distance.argmin(axis=1))) > 30  # each at some row's latent


def test_only_the_informative_subspace_is_measured():
    """Of 3 latent units one is idle: the data are a plane, and the decoder stretches the idle direction 10 times."""
    rows, basis = _flat_data(dimensions=2)
    idle = np.linalg.svd(basis)[2][2]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    decoder = turn @ np.vstack([basis, 10 * idle]) / math.sqrt(SCALE)
    model = _linear(rows, decoder)
    assert model.informative_dimensions == 2
    np.testing.assert_allclose(isometry.gram_matrices(model, rows), np.tile(np.eye(2), (200, 1, 1)), atol=1e-4)
    latent, data = isometry.tangent_pairs(model, rows, pairs=50)
    np.testing.assert_allclose(data, latent, rtol=1e-3, atol=1e-4)
    assert isometry.response(model, rows).shape == (200, 2)
    report = certificate.isometry_report(model, rows)
    assert (report.informative_dimensions, report.latent_units, len(report.spectrum)) == (2, 3, 2)
    assert report.gap_median_absolute == pytest.approx(0, abs=1e-4)


def test_the_gap_is_half_the_log_determinant_of_the_gram_matrix(curved):
    rows, model = curved
    expected = -0.5 * np.linalg.slogdet(isometry.gram_matrices(model, rows[:50]).numpy().astype(np.float64))[1]
    assert expected.std() > 0.01
    np.testing.assert_allclose(isometry.isometry_gap(model, rows[:50]), expected, atol=2e-3)


def test_rows_do_not_see_each_other(curved):
    rows, model = curved
    axes = isometry.latent_axes(model, rows)[1]
    for function in (
        isometry.gram_matrices,
        isometry.isometry_gap,
        lambda model, rows: isometry.response(model, rows, axes=axes),
    ):
        whole = function(model, rows[:60]).numpy()
        tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(whole).max()}
        np.testing.assert_allclose(function(model, rows[:60][::-1])[::-1], whole, **tolerance)
        parts = [function(model, rows[i : i + 25]) for i in range(0, 60, 25)]
        np.testing.assert_allclose(np.concatenate(parts)[:60], whole, **tolerance)
    for a, b in zip(isometry.latent_axes(model, rows), isometry.latent_axes(model, rows[::-1])):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_blocks_equal_the_whole_and_are_small(curved, monkeypatch):
    rows, model = curved
    functions = (
        isometry.gram_matrices,
        isometry.response,
        lambda *a: isometry.tangent_pairs(*a, pairs=30)[1],
        lambda *a: isometry.latent_axes(*a)[2],
    )
    whole = [np.asarray(function(model, rows[:30])) for function in functions]
    sizes, decode = [], model._decode
    monkeypatch.setattr(model, "_decode", lambda z: sizes.append(len(z)) or decode(z))
    monkeypatch.setattr(geometry, "ELEMENTS", 5 * 3 * 7)  # 7 rows of 3 vectors
    for function, expected in zip(functions, whole):
        np.testing.assert_allclose(function(model, rows[:30]), expected, rtol=1e-3, atol=1e-5 * expected.max())
    assert max(sizes) == 7 * 3


@pytest.mark.parametrize("prior", [MixturePrior, FactorizedPrior])
def test_spectrum_is_that_of_numpy(prior):
    rows = _flat_data()[0]
    model = _tanh(rows, prior=prior(3, 1) if prior is MixturePrior else prior(3))
    z = model.encode(rows).numpy().astype(np.float64)
    covariance = np.cov(z.T, bias=True)
    expected = np.linalg.eigvalsh(covariance) if prior is MixturePrior else np.diag(covariance)
    variance, share = isometry.latent_spectrum(model, rows)
    np.testing.assert_allclose(variance, np.sort(expected)[::-1], rtol=1e-6)
    np.testing.assert_allclose(share, np.cumsum(variance) / variance.sum())
    mean, axes, _ = isometry.latent_axes(model, rows)
    np.testing.assert_allclose(mean, z.mean(axis=0))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    assert (axes.max(axis=1) == np.abs(axes).max(axis=1)).all()  # a sign that does not depend on the solver
    np.testing.assert_allclose(np.diag(axes @ covariance @ axes.T), variance, rtol=1e-6)


def test_traversals_move_one_axis_by_its_standard_deviation():
    rows, model = _isometric()
    mean, axes, variance = isometry.latent_axes(model, rows)
    decoded = isometry.traversals(model, rows, dimensions=2, steps=5)
    assert decoded.shape == (2, 5, 5)
    coordinates = (model.encode(tf.reshape(decoded, (10, 5))) - mean) @ axes.T
    expected = np.zeros((2, 5, 3))
    for i in range(2):
        expected[i, :, i] = np.array([-2, -1, 0, 1, 2]) * math.sqrt(variance[i])
    np.testing.assert_allclose(tf.reshape(coordinates, (2, 5, 3)), expected, atol=1e-4)
    assert isometry.traversals(model, rows).shape == (3, 9, 5)
    wide = isometry.traversals(model, rows, dimensions=1, steps=3, span=4.0)
    np.testing.assert_allclose(wide[0, 1:] - wide[0, 1], 2 * (decoded[0, 2::2] - decoded[0, 2]), atol=1e-4)


def test_image_events_are_measured_as_their_elements_are(curved, monkeypatch):
    rows, model = curved
    functions = (
        isometry.gram_matrices,
        isometry.response,
        lambda *a: isometry.tangent_pairs(*a, pairs=20)[1],
        lambda *a: tf.reshape(isometry.traversals(*a), (3, 9, 5)),
    )
    flat = [np.asarray(function(model, rows[:20])) for function in functions]
    decode = model._decode
    monkeypatch.setattr(model, "_decode", lambda z: tf.reshape(decode(z), (-1, 1, 5, 1)))
    assert isometry.traversals(model, rows).shape == (3, 9, 1, 5, 1)
    for function, expected in zip(functions, flat):
        np.testing.assert_allclose(function(model, rows[:20]), expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_the_report_is_that_of_the_functions_and_depends_on_the_seed_alone(curved):
    rows, model = curved
    report = certificate.isometry_report(model, rows, pairs=100, seed=5, jacobian_rows=1000)
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
        return certificate.isometry_report(model, rows, pairs=100, seed=seed, jacobian_rows=50).to_dict()

    first, other = again(5), again(6)
    assert first == again(5)
    assert first["tangent_r"] != other["tangent_r"] and first["gap_mean"] != other["gap_mean"]
    assert first["jacobian_rows"] == 50 and first["rows"] == 200


def test_the_certificate_holds_the_numbers_and_json_takes_them(curved):
    rows, model = curved
    report = certificate.isometry_report(model, rows, pairs=50, jacobian_rows=20)
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
        ("response, least dimension", report.response_mean.min(), "1"),
        ("response, greatest dimension", report.response_mean.max(), "1"),
        ("isometry gap, mean", report.gap_mean, "0"),
        ("isometry gap, sd", report.gap_sd, "0"),
        ("isometry gap, median absolute", report.gap_median_absolute, "0"),
    ):
        assert lines[name][:2] == [f"{value:.4g}", right], name
    assert lines["metric scale"][0] == f"{report.metric_scale:.4g}"
    assert lines["latent variance, greatest"][0] == f"{report.spectrum[0]:.4g}"
    assert lines["informative dimensions"] == ["3", "of", "3"]
    assert text.endswith(f"verdict: {report.verdict}") and 12 <= len(text.splitlines()) <= 18
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert read["spectrum"] == report.spectrum.tolist() and read["verdict"] == report.verdict
    assert set(read) == {*report._fields, "verdict"}


def test_the_certificate_counts_the_dimensions_that_hold_most_variance():
    rows, basis = _flat_data(sd=(3.0, 2.0, 0.3))
    text = str(certificate.isometry_report(_linear(rows, basis / math.sqrt(SCALE)), rows))
    assert "dimensions that hold 95 % of it           2         of 3" in text


def test_a_loss_that_fixes_no_scale_has_it_fitted():
    rows, basis = _flat_data()
    model = _linear(rows, 7 * basis, model=DAGMM)
    np.testing.assert_allclose(isometry.gram_matrices(model, rows), np.tile(49 * np.eye(3), (200, 1, 1)), atol=1e-3)
    report = certificate.isometry_report(model, rows)
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
    report = certificate.isometry_report(model, rows, jacobian_rows=20)
    assert (report.informative_dimensions, len(report.spectrum)) == (0, 2)
    assert isometry.gram_matrices(model, rows[:5]).shape == (5, 2, 2)
    assert "not judged: all are measured" in str(report) and "reconstruction_features" in report.gap_obstacle
    with pytest.raises(NotImplementedError, match="reconstruction_features"):
        isometry.isometry_gap(model, rows)


def test_one_dimension_has_no_off_diagonal():
    rows, basis = _flat_data(dimensions=1)
    report = certificate.isometry_report(_linear(rows, basis / math.sqrt(SCALE)), rows)
    assert report.gram_offdiagonal_mean is None and report.gram_offdiagonal_max is None
    assert "off-diagonal" not in str(report) and report.verdict.startswith("isometric:")
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("kind", [RaDOGAGA, DAGMM])
def test_a_decoder_that_answers_nothing_is_reported_as_such(kind):
    rows, basis = _flat_data()
    model = _linear(rows, basis, model=kind, adapt=False)
    model.decoder.dense[0].kernel.assign(np.zeros((3, 5)))
    model.adapt_prior(rows)
    report = certificate.isometry_report(model, rows)
    assert report.to_dict()["tangent_r"] is None and report.gap_mean is None
    assert "not isometric" in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_named_columns_as_frame_and_as_mapping(frame):
    model = small_model(preprocess=encoded(frame))
    model.adapt_prior(frame)
    reports = [
        certificate.isometry_report(model, table, pairs=20, jacobian_rows=20).to_dict()
        for table in (frame, {name: frame[name].to_numpy() for name in frame})
    ]
    assert reports[0] == reports[1] and reports[0]["rows"] == 300


def test_errors_are_those_of_the_model(rows, monkeypatch):
    functions = (
        isometry.tangent_pairs,
        isometry.gram_matrices,
        isometry.latent_axes,
        isometry.latent_spectrum,
        isometry.response,
        isometry.traversals,
        isometry.isometry_gap,
        certificate.isometry_report,
    )
    model = small_model(preprocess=scaled(rows))
    for function in functions:
        with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
            function(model, rows)
    model.adapt_prior(rows)
    bad = np.copy(rows)
    bad[250, 3] = np.nan
    for elements in (geometry.ELEMENTS, 400):  # in one block, and in the third of several
        monkeypatch.setattr(geometry, "ELEMENTS", elements)
        for function in functions:
            with pytest.raises(ValueError, match="column '3', row 250"):
                function(model, bad)
            with pytest.raises(ValueError, match="the table is empty"):
                function(model, rows[:0])
    for function, wrong in (
        (isometry.tangent_pairs, {"pairs": 0}),
        (isometry.traversals, {"dimensions": 0}),
        (isometry.traversals, {"steps": 0}),
        (isometry.response, {"step": 0.0}),
        (certificate.isometry_report, {"pairs": 0}),
        (certificate.isometry_report, {"jacobian_rows": 0}),
    ):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"{name}: {value} must be"):
            function(model, rows, **wrong)
