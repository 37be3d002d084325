"""Encoder and decoder as inverses: closed forms of what comes back, and verdicts that the decoder alone cannot give."""

import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.isometric_models import SCALE, flat_data, isometric, linear, tanh_model
from helpers.marks import after

from tf_radogaga import (
    DAGMM,
    BinaryCrossEntropy,
    DenseNetwork,
    DownwardConvexError,
    MeanSquaredError,
    MixturePrior,
    PseudoHuberError,
    RaDOGAGA,
    StructuralDissimilarity,
    SumSquaredError,
    isometry,
)
from tf_radogaga._core import blocks
from tf_radogaga.isometry import reconstructed_share, round_trips
from tf_radogaga.priors import FactorizedPrior


def centred(count=500, width=5, spread=(4.0, 2.0, 1.0, 0.5, 0.25)):
    rows = np.random.default_rng(3).normal(size=(count, width)) * spread
    return (rows - rows.mean(axis=0)) @ np.linalg.qr(np.random.default_rng(4).normal(size=(width, width)))[0]


@pytest.mark.parametrize("kept", after(1, [2, 1, 4]))
@pytest.mark.parametrize("distortion", [SumSquaredError(), MeanSquaredError()], ids=["sum", "mean"])
def test_a_pca_keeps_its_share_of_the_eigenvalues_and_returns_to_where_it_was(kept, distortion):
    rows = centred()
    variances, directions = np.linalg.eigh(np.cov(rows.T))
    unit = 5 if isinstance(distortion, MeanSquaredError) else 1
    model = linear(rows, directions.T[::-1][:kept] * math.sqrt(unit / SCALE), distortion=distortion)
    share = variances[::-1][:kept].sum() / variances.sum()
    assert reconstructed_share(model, rows) == pytest.approx(share, abs=1e-5)
    np.testing.assert_allclose(round_trips(model, rows), 0, atol=1e-5)
    verdict = isometry.isometry_report(model, rows, pairs=100).verdict
    assert verdict.startswith("isometric: " if kept == 4 else "only the decoder is isometric: ")
    assert ("not reconstruction >= 0.99" in verdict) == (kept < 4) and "round trip <= 0.1" in verdict


@pytest.mark.parametrize("kind", [RaDOGAGA, DAGMM])
@pytest.mark.parametrize("u", after(2, [1.0, 0.8, 0.95, -1.0]))
def test_an_encoder_that_shortens_z_is_seen_where_the_decoder_is_perfect(u, kind):
    """Drift, as h = identity leaves it: the density is too high by -log u in each dimension."""
    rows, basis = flat_data(sd=(1.0, 1.0, 1.0))
    rows = rows - rows.mean(axis=0)
    whole = linear(rows, basis / math.sqrt(SCALE), model=kind)
    model = linear(rows, basis / math.sqrt(SCALE), model=kind, adapt=False)
    model.encoder.dense[0].kernel.assign(u * whole.encoder.dense[0].kernel)
    model.adapt_prior(rows)
    assert reconstructed_share(model, rows) == pytest.approx(1 - (1 - u) ** 2, abs=1e-5)
    variance = np.linalg.eigvalsh(np.cov(model.encode(rows).numpy().T, bias=True))
    noise = 0 if kind is DAGMM else model.sigma2
    expected = abs(1 - u) * math.sqrt(np.mean(variance / (variance + noise)))
    report = isometry.isometry_report(model, rows)
    assert report.round_trip_rms == pytest.approx(expected, abs=1e-4)
    assert report.round_trip_quantile == pytest.approx(np.quantile(round_trips(model, rows), 0.95))
    if kind is RaDOGAGA and u > 0:
        gained = np.mean(model.log_density(rows)) - np.mean(whole.log_density(rows))
        assert gained == pytest.approx(-3 * math.log(u), abs=1e-3)
    tangents = "isometric" if kind is RaDOGAGA else "isometric up to a scale"
    assert report.verdict.startswith(tangents if u > 0.9 else f"only the decoder is {tangents}")


def test_each_latent_dimension_counts_alike():
    """A small one that does not come back is not outweighed by a large one that does."""
    rows, basis = flat_data(sd=(100.0, 1.0), dimensions=2)
    model = linear(rows, basis / math.sqrt(SCALE), prior=FactorizedPrior(2))
    model.encoder.dense[0].kernel.assign(model.encoder.dense[0].kernel * [1.0, 0.3])
    model.adapt_prior(rows)
    report = isometry.isometry_report(model, rows)
    assert report.reconstructed_share > 0.999 and report.active_dimensions == 2
    assert report.verdict.startswith("only the decoder") and report.verdict.endswith("but not round trip <= 0.1")


class Folded(tf.keras.layers.Layer):
    """(s, t) -> (|s|, t), of a sheet that is bent back upon itself; the decoder puts both leaves half way between."""

    def __init__(self, forward):
        super().__init__()
        self.input_units, self.output_units = (3, 2) if forward else (2, 3)
        self.forward = forward

    def call(self, x):
        scale = math.sqrt(SCALE)
        return scale * x[:, :2] if self.forward else tf.concat([x / scale, 0 * x[:, :1]], axis=1)


@pytest.mark.thorough
def test_a_sheet_folded_double_has_a_perfect_decoder_and_is_refused():
    s, t = np.random.default_rng(0).normal(size=(2, 2000))
    sheet = np.stack([np.abs(s) + 0.5, t, 0.2 * np.sign(s)], axis=1).astype(np.float32)  # two leaves, 0.4 apart
    model = RaDOGAGA(Folded(True), Folded(False), MixturePrior(2, 2), lambda1=1.0, lambda2=24.0, gauge=None)
    model.adapt_prior(sheet)
    report = isometry.isometry_report(model, sheet)
    assert (report.tangent_r, report.tangent_slope) == pytest.approx((1, 1), abs=1e-5)
    assert report.gap_median_absolute == pytest.approx(0, abs=1e-5) and report.round_trip_rms < 1e-5
    assert report.reconstructed_share == pytest.approx(1 - 0.04 / sheet.var(axis=0).sum(), abs=1e-4)
    assert report.reconstructed_share > 0.95
    assert report.verdict.startswith("only the decoder is isometric: Pearson r >= 0.99, slope 1 +- 0.05 and round trip")
    assert report.verdict.endswith("but not reconstruction >= 0.99")


def _hyperbolic(x, y):
    return tf.reduce_sum(tf.math.cosh(y - x), axis=1)  # its D(x, x) is 5


@pytest.mark.parametrize(
    ("distortion", "formula"),
    after(
        1,
        [
            (DownwardConvexError(), lambda x, y: (2 / 3 + 2 / 21 * (x**2).sum(1)) * ((x - y) ** 2).sum(1)),
            (BinaryCrossEntropy(), lambda x, y: (x * np.log(x / y) + (1 - x) * np.log((1 - x) / (1 - y))).sum(1)),
            (PseudoHuberError(0.1), lambda x, y: 0.02 * (np.sqrt(1 + 100 * (x - y) ** 2) - 1).sum(1)),
            (_hyperbolic, lambda x, y: (np.cosh(y - x) - 1).sum(1)),
        ],
    ),
    ids=["scaled", "cross-entropy", "huber", "function"],
)
def test_the_share_is_one_of_the_distortion_counted_from_its_least_value(distortion, formula):
    rows = np.random.default_rng(0).uniform(0.05, 0.95, (300, 5)).astype(np.float32)
    model = tanh_model(rows, distortion, output_activation="sigmoid")
    x = model.preprocess(rows).numpy().astype(np.float64)
    x = np.clip(x, 1e-6, 1 - 1e-6)
    guesses = model.decode(model.encode(rows)).numpy().astype(np.float64), x.mean(axis=0)[None]
    left, whole = (formula(x, guess).sum() for guess in guesses)
    assert reconstructed_share(model, rows) == pytest.approx(1 - left / whole, rel=1e-3)


def test_images_have_theirs():
    shape, images = (11, 11, 1), np.random.default_rng(0).uniform(size=(8, 11, 11, 1)).astype(np.float32)
    networks = DenseNetwork(shape, (), 2), DenseNetwork(2, (), shape, output_activation="sigmoid")
    model = RaDOGAGA(*networks, FactorizedPrior(2), 1.0, 1.0, distortion=StructuralDissimilarity())
    model.adapt_prior(images)
    guesses = model.decode(model.encode(images)), np.tile(images.mean(axis=0), (8, 1, 1, 1))
    left, whole = (float(tf.reduce_sum(model.distortion(images, guess))) for guess in guesses)
    assert reconstructed_share(model, images) == pytest.approx(1 - left / whole, abs=1e-4)


def test_blocks_and_order_change_nothing(monkeypatch):
    rows = flat_data()[0]
    model = tanh_model(rows)
    share, trips = reconstructed_share(model, rows), round_trips(model, rows)
    assert share == pytest.approx(reconstructed_share(model, rows[::-1]), abs=1e-5)
    monkeypatch.setattr(blocks, "SCORED_ROWS", 7)
    assert share == pytest.approx(reconstructed_share(model, rows), abs=1e-5)
    np.testing.assert_allclose(round_trips(model, rows), trips, rtol=1e-3)
    np.testing.assert_allclose(round_trips(model, rows[::-1]), trips[::-1], rtol=1e-3)


def test_the_gauge_belongs_to_encoder_and_decoder():
    rows = flat_data()[0]
    model = tanh_model(rows)
    z = model.encode(rows).numpy().astype(np.float64)
    moved = model.gauge(model.encoder(model.decode(z))).numpy().astype(np.float64) - z
    whitening = np.linalg.inv(np.cov(z.T, bias=True) + model.sigma2 * np.eye(3))
    np.testing.assert_allclose(
        round_trips(model, rows), np.sqrt(np.einsum("bi,ij,bj->b", moved, whitening, moved) / 3), rtol=1e-3
    )


def test_what_the_decoder_does_not_hear_need_not_come_back():
    """The third latent unit copies a column that the decoder leaves out."""
    rows, basis = flat_data(dimensions=2)
    rows = rows + np.random.default_rng(5).normal(size=(200, 1)) * 0.01 * np.linalg.svd(basis)[2][2]
    decoder = np.vstack([basis, np.zeros(5)]) / math.sqrt(SCALE)
    model = linear(rows, decoder, adapt=False)
    kernel = np.linalg.pinv(decoder)
    kernel[:, 2] = 1000 * np.linalg.svd(basis)[2][2]
    model.encoder.dense[0].kernel.assign(kernel)
    model.adapt_prior(rows)
    report = isometry.isometry_report(model, rows)
    assert report.active_dimensions == 2 and report.round_trip_rms < 1e-3
    assert report.verdict.startswith("isometric: ")


@pytest.mark.parametrize("kind", [RaDOGAGA, DAGMM])
def test_a_decoder_that_answers_nothing_explains_nothing(kind):
    rows, basis = flat_data()
    model = linear(rows - rows.mean(axis=0), basis, model=kind, adapt=False)
    model.decoder.dense[0].kernel.assign(np.zeros((3, 5)))
    model.adapt_prior(rows - rows.mean(axis=0))
    report = isometry.isometry_report(model, rows - rows.mean(axis=0))
    assert report.reconstructed_share == pytest.approx(0, abs=1e-5)
    assert report.verdict.startswith("not isometric") and "not Pearson r >= 0.99" in report.verdict


def test_rows_that_do_not_vary_have_no_share():
    rows, model = isometric()
    report = isometry.isometry_report(model, np.repeat(rows[:1], 5, axis=0))
    assert math.isnan(report.reconstructed_share) and report.to_dict()["reconstructed_share"] is None
    assert "not reconstruction" in report.verdict
