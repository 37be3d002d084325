import math
import types

import numpy as np
import pytest
import tensorflow as tf
from helpers.isometric_models import SCALE, flat_data, isometric, linear, tanh_model
from helpers.marks import after
from helpers.models import scaled, small_model

from tf_radogaga import MeanSquaredError, MixturePrior, PassThrough, SumSquaredError, isometry
from tf_radogaga._core import blocks
from tf_radogaga.distortions import BinaryCrossEntropy, DownwardConvexError, FunctionDistortion
from tf_radogaga.isometry import tangents as geometry
from tf_radogaga.priors import FactorizedPrior

SHEAR = np.array([[1.0, 0.3, 0.0], [0.0, 0.9, -0.2], [0.0, 0.0, 1.2]])


@pytest.mark.parametrize("distortion", [SumSquaredError(), MeanSquaredError()], ids=["sum", "mean"])
def test_an_orthonormal_decoder_is_perfectly_isometric(distortion):
    rows, basis = flat_data()
    unit = 5 if isinstance(distortion, MeanSquaredError) else 1
    model = linear(rows, basis * math.sqrt(unit / SCALE), distortion=distortion)
    latent, data = isometry.tangent_pairs(model, rows, pairs=50)
    np.testing.assert_allclose(data, latent, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(isometry.gram_matrices(model, rows), np.tile(np.eye(3), (200, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(isometry.response(model, rows), np.ones((200, 3)), rtol=1e-4)
    np.testing.assert_allclose(isometry.isometry_gap(model, rows), np.zeros(200), atol=1e-5)
    report = isometry.isometry_report(model, rows)
    assert (report.tangent_r, report.tangent_slope) == pytest.approx((1, 1), abs=1e-6)
    assert report.verdict == (
        "isometric: Pearson r >= 0.99, slope 1 +- 0.05, reconstruction >= 0.99 and round trip <= 0.1"
    )


def test_a_decoder_c_times_too_long_shows_c_squared():
    rows, model = isometric()
    kernel, inverse = model.decoder.dense[0].kernel, model.encoder.dense[0].kernel
    before = isometry.isometry_report(model, rows)
    kernel.assign(3 * kernel)
    inverse.assign(inverse / 3)
    model.adapt_prior(rows)
    after = isometry.isometry_report(model, rows)
    for name in ("tangent_slope", "gram_diagonal_mean", "response_mean"):
        np.testing.assert_allclose(getattr(after, name), 9 * getattr(before, name), rtol=1e-4)
    assert after.tangent_r == pytest.approx(1, abs=1e-6)
    assert after.gap_mean == pytest.approx(-3 * math.log(3), abs=1e-4)
    assert after.verdict.startswith("isometric up to a scale") and "not slope 1" in after.verdict


def test_shear_shows_off_the_diagonal():
    rows, basis = flat_data()
    model = linear(rows, SHEAR @ basis / math.sqrt(SCALE))
    expected = SHEAR @ SHEAR.T
    np.testing.assert_allclose(isometry.gram_matrices(model, rows)[7], expected, atol=1e-5)
    length = np.sqrt(np.diag(expected))
    cosines = np.abs(expected / np.outer(length, length))[np.triu_indices(3, 1)]
    report = isometry.isometry_report(model, rows, jacobian_rows=10)  # along axes found on all rows
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
    after(
        2,
        [
            (SumSquaredError(), np.ones_like),
            (MeanSquaredError(), lambda x: np.full_like(x, 1 / 5)),
            (DownwardConvexError(), lambda x: np.tile(2 / 3 + 2 / 21 * (x**2).sum(1, keepdims=True), 5)),
            (BinaryCrossEntropy(), lambda x: 0.5 * (1 / x + 1 / (1 - x))),
            (FunctionDistortion(_weighted), lambda x: np.arange(1, 6) * (1 + x**2)),
        ],
    ),
    ids=["sum", "mean", "scaled", "cross-entropy", "function"],
)
def test_gram_equals_that_of_reverse_mode_jacobians(distortion, metric):
    rows = flat_data()[0]
    model = tanh_model(rows, distortion, output_activation="sigmoid")
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
    rows = flat_data()[0]
    model = tanh_model(rows, DownwardConvexError())
    seen, tangents = [], geometry.tangents

    def spy(decode, z, directions):
        seen.append((z, directions))
        return tangents(decode, z, directions)

    monkeypatch.setattr(geometry, "tangents", spy)
    latent, data = isometry.tangent_pairs(model, rows, pairs=40)
    ((z, vectors),) = seen
    v, w = vectors[:, 0].numpy(), vectors[:, 1].numpy()
    gram = model.metric_scale * geometry.gram(model.decode, model.distortion, z, tf.eye(3))
    np.testing.assert_allclose(latent, (v * w).sum(1), atol=1e-5)
    np.testing.assert_allclose(data, np.einsum("bi,bij,bj->b", v, gram, w), rtol=1e-3, atol=1e-5 * np.abs(data).max())
    distance = np.abs(z.numpy()[:, None] - model.encode(rows).numpy()).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-5 and len(set(distance.argmin(axis=1))) > 30  # each at some row's latent


def test_only_the_active_subspace_is_measured():
    """Of 3 latent units one is idle: the data are a plane, and the decoder stretches the idle direction 10 times."""
    rows, basis = flat_data(dimensions=2)
    idle = np.linalg.svd(basis)[2][2]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    decoder = turn @ np.vstack([basis, 10 * idle]) / math.sqrt(SCALE)
    model = linear(rows, decoder)
    assert model.active_dimensions == 2
    np.testing.assert_allclose(isometry.gram_matrices(model, rows), np.tile(np.eye(2), (200, 1, 1)), atol=1e-4)
    latent, data = isometry.tangent_pairs(model, rows, pairs=50)
    np.testing.assert_allclose(data, latent, rtol=1e-3, atol=1e-4)
    assert isometry.response(model, rows).shape == (200, 2)
    report = isometry.isometry_report(model, rows)
    assert (report.active_dimensions, report.latent_units, len(report.spectrum)) == (2, 3, 2)
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
    sizes, decode = [], model.decode
    monkeypatch.setattr(model, "decode", lambda z: sizes.append(len(z)) or decode(z))
    monkeypatch.setattr(blocks, "TANGENTS", 5 * 3 * 7)  # 7 rows of 3 vectors
    for function, expected in zip(functions, whole):
        np.testing.assert_allclose(function(model, rows[:30]), expected, rtol=1e-3, atol=1e-5 * expected.max())
    assert max(sizes) == 7 * 3


@pytest.mark.parametrize("prior", [MixturePrior, FactorizedPrior])
def test_spectrum_is_that_of_numpy(prior):
    rows = flat_data()[0]
    model = tanh_model(rows, prior=prior(3, 1) if prior is MixturePrior else prior(3))
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
    rows, model = isometric()
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
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z: tf.reshape(decode(z), (-1, 1, 5, 1)))
    assert isometry.traversals(model, rows).shape == (3, 9, 1, 5, 1)
    for function, expected in zip(functions, flat):
        np.testing.assert_allclose(function(model, rows[:20]), expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_errors_are_those_of_the_model(rows, monkeypatch):
    functions = (
        isometry.tangent_pairs,
        isometry.gram_matrices,
        isometry.latent_axes,
        isometry.latent_spectrum,
        isometry.response,
        isometry.traversals,
        isometry.isometry_gap,
        isometry.reconstructed_share,
        isometry.round_trips,
        isometry.isometry_report,
    )
    model = small_model(preprocess=scaled(rows))
    for function in functions:
        with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
            function(model, rows)
    model.adapt_prior(rows)
    bad = np.copy(rows)
    bad[250, 3] = np.nan
    for elements in (blocks.TANGENTS, 400):  # in one block, and in the third of several
        monkeypatch.setattr(blocks, "TANGENTS", elements)
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
        (isometry.isometry_report, {"pairs": 0}),
        (isometry.isometry_report, {"jacobian_rows": 0}),
    ):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"{name}: {value} must be"):
            function(model, rows, **wrong)


def test_any_object_that_offers_the_protocol_is_measured():
    """No model of the package, no Keras: z is on an orthonormal basis, in steps of 1/2."""
    rows, basis = flat_data()
    basis = tf.constant(basis, tf.float32)
    plane = types.SimpleNamespace(
        preprocess=PassThrough(5),
        distortion=SumSquaredError(),
        latent_units=3,
        active_dimensions=3,
        active_directions=tf.eye(3),
        axis_aligned=True,
        metric_scale=4.0,
        noise_variance=1.0,
        encode_x=lambda x: 2 * tf.matmul(x, basis, transpose_b=True),
        decode=lambda z: tf.matmul(z, basis) / 2,
        by_blocks=lambda rows, function: function(tf.constant(rows, tf.float32)),
        density=types.SimpleNamespace(obstacle=lambda volume: f"no density by {volume}"),
    )
    report = isometry.isometry_report(plane, rows)
    assert report.verdict.startswith("isometric: ") and report.model == "SimpleNamespace"
    assert report.gap_obstacle == "no density by jacobian" and report.gap_mean is None
    np.testing.assert_allclose(isometry.gram_matrices(plane, rows), np.tile(np.eye(3), (200, 1, 1)), atol=1e-5)
    with pytest.raises(TypeError, match="SimpleNamespace has no posterior"):
        isometry.unit_norms(plane, rows)
