import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.models import fitted, scaled, small_model

from tf_radogaga import (
    BinaryCrossEntropy,
    DenseNetwork,
    Distortion,
    EuclideanNorm,
    FactorizedPrior,
    FunctionDistortion,
    MeanSquaredError,
    MixturePrior,
    RaDOGAGA,
    StructuralDissimilarity,
    SumSquaredError,
    save_model,
)
from tf_radogaga.models.gauges import LatentGauge


def _linear(width, latent_units, **options):
    """Linear encoder and decoder, and a Gaussian prior fitted exactly to each batch."""
    return RaDOGAGA(
        DenseNetwork(width, (), latent_units),
        DenseNetwork(latent_units, (), width),
        MixturePrior(latent_units, components=1),
        **options,
    )


def _line(**options):
    """One dimension, started at a = b = 1: where z collapses to a point the loss of h = identity is lower still."""
    model = _linear(1, 1, noise="gaussian", sigma2=1.0, **options)
    for network in (model.encoder, model.decoder):
        network.dense[0].kernel.assign([[1.0]])
    return model


def _slopes(model):
    a = float(model.encode([[1.0]])[0, 0] - model.encode([[0.0]])[0, 0])
    return a, float(model.decode([[1.0]])[0, 0] - model.decode([[0.0]])[0, 0])


def _train(model, x, steps=1500, batch_size=512, rate=0.02, beta_2=0.999):
    schedule = tf.keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(tf.keras.optimizers.Adam(schedule, beta_2=beta_2), 500)
    model.fit(x, batch_size=batch_size, steps_per_epoch=steps, verbose=0)
    return model


def _normal_line(s):
    """(20000, 1) of mean 0 and standard deviation s exactly."""
    x = np.random.default_rng(0).normal(size=(20000, 1))
    return s * (x - x.mean()) / x.std()


@pytest.mark.thorough
@pytest.mark.parametrize("gauge", ["learned", pytest.param(None, marks=pytest.mark.slow)])
def test_identity_reaches_the_closed_form_in_one_dimension(gauge):
    """b = 1 / sqrt(2 lambda2), a b = (1 + sqrt(1 - 2 / (lambda1 s^2))) / 2, noise variance 1."""
    s, lambda1, lambda2 = 2.0, 2.0, 0.8
    a, b = _slopes(_train(_line(h="identity", lambda1=lambda1, lambda2=lambda2, gauge=gauge), _normal_line(s)))
    expected = 1 / math.sqrt(2 * lambda2)
    assert b == pytest.approx(expected, rel=0.02)
    assert a == pytest.approx((1 + math.sqrt(1 - 2 / (lambda1 * s**2))) / 2 / expected, rel=0.02)


@pytest.mark.thorough
def test_log_reaches_the_closed_form_in_one_dimension():
    """a b = 1, b = 1 / sqrt(2 lambda2). The gradient of log D has no variance, so Adam must forget sooner."""
    lambda2 = 0.8
    a, b = _slopes(_train(_line(h="log", lambda1=10.0, lambda2=lambda2), _normal_line(2.0), 2000, beta_2=0.9))
    assert b == pytest.approx(1 / math.sqrt(2 * lambda2), rel=0.02)
    assert a == pytest.approx(math.sqrt(2 * lambda2), rel=0.02)


@pytest.mark.parametrize(
    "distortion",
    [SumSquaredError(), pytest.param(MeanSquaredError(), marks=pytest.mark.slow)],
    ids=lambda d: type(d).__name__,
)
def test_gaussian_data_are_embedded_isometrically_with_their_density(distortion):
    """Columns of the decoder orthogonal, of squared length 1 / (2 lambda2 sigma2 a); log p(x) absolute."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    x = (rng.normal(size=(20000, 2)) @ factor).astype(np.float32)
    model = _train(_linear(2, 2, lambda1=100.0, lambda2=40.0, distortion=distortion), x, rate=0.005)
    columns = (model.decode(np.eye(2)) - model.decode(np.zeros((1, 2)))).numpy()
    unit = 2 * model.lambda2 * model.sigma2 * (0.5 if isinstance(distortion, MeanSquaredError) else 1)
    np.testing.assert_allclose(unit * columns @ columns.T, np.eye(2), atol=0.06)
    covariance = factor.T @ factor
    expected = -0.5 * np.einsum("bi,ij,bj->b", x, np.linalg.inv(covariance), x)
    expected -= 0.5 * np.linalg.slogdet(2 * math.pi * covariance)[1]
    assert np.median(np.abs(model.log_density(x) - expected)) < 0.06
    error = model.decode(model.encode(x)) - x
    assert np.var(error) < 1e-3 * np.var(x)  # h = log: decoding undoes encoding
    assert model.history.history["isometry"][-1] == pytest.approx(1, abs=0.1)


def test_loss_terms_are_the_equation(rows):
    x = tf.constant(scaled(rows)(tf.constant(rows, tf.float32)))
    model = small_model("identity", lambda1=3.0, lambda2=5.0, reconstruction_features=True)
    model.adapt_prior(x)
    terms = model.loss_terms(x)
    z = model.encode(x)
    x_hat = model.decode(z)
    x_breve = model.decode(z + model.draw_noise(z.shape, training=False))  # the same noise again
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(terms["reconstruction"], 3 * tf.reduce_sum((x - x_hat) ** 2, 1), **tolerance)
    np.testing.assert_allclose(terms["coding"], 5 * tf.reduce_sum((x_hat - x_breve) ** 2, 1), **tolerance)
    np.testing.assert_allclose(terms["rate"], model.energy(x), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(model.monitors(terms)["isometry"], 2 * terms["coding"] / 2)


def test_log_and_identity_differ_only_in_h(rows):
    x = tf.constant(rows, tf.float32)
    terms = []
    for kind in ("identity", "log"):
        tf.keras.utils.set_random_seed(0)
        terms.append(small_model(kind).loss_terms(x, training=True))
    np.testing.assert_allclose(terms[1]["reconstruction"], 100 * np.log(terms[0]["reconstruction"] / 100), rtol=1e-4)
    for name in ("rate", "coding"):
        np.testing.assert_allclose(terms[0][name], terms[1][name])


def test_reconstruction_features_are_relative_distance_and_cosine(rows):
    model = small_model(reconstruction_features=True)
    x = tf.constant(rows, tf.float32)
    z, features = model.encode(x), model.density.latents(x).numpy()
    x_hat = model.decode(z).numpy().astype(np.float64)
    norms = np.linalg.norm(rows, axis=1), np.linalg.norm(x_hat, axis=1)
    np.testing.assert_allclose(features[:, :2], z, rtol=1e-6)
    np.testing.assert_allclose(features[:, 2], np.linalg.norm(rows - x_hat, axis=1) / norms[0], rtol=1e-4)
    np.testing.assert_allclose(features[:, 3], (rows * x_hat).sum(1) / norms[0] / norms[1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("h", ["log", "identity"])
def test_linear_networks_and_a_factorized_prior_recover_principal_components(h):
    """orthogonal columns of squared length 1 / metric_scale, latent variances metric_scale x eigenvalues."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    x = (rng.normal(size=(4000, 5)) * np.sqrt([4, 1, 0.25, 0, 0]) @ basis.T).astype(np.float32)
    parts = (DenseNetwork(5, (), 3), DenseNetwork(3, (), 5), FactorizedPrior(3, init_scale=30.0))
    model = _train(RaDOGAGA(*parts, lambda1=100 if h == "log" else 1000, lambda2=400, h=h), x, steps=2000)
    variances, axes = np.linalg.eigh(np.cov(x.T))
    columns = model.decode(np.eye(3)).numpy() - model.decode(np.zeros((1, 3))).numpy()
    latent = model.encode(x).numpy().var(axis=0)
    order = np.argsort(latent)
    cosines = np.sum(columns[order] * axes[:, 2:].T, axis=1) / np.linalg.norm(columns[order], axis=1)
    assert np.abs(cosines).min() > 0.99
    np.testing.assert_allclose(np.sum(columns**2, axis=1) * model.metric_scale, 1, rtol=0.03)
    np.testing.assert_allclose(latent[order] / (model.metric_scale * variances[2:]), 1, rtol=0.03)
    assert model.active_dimensions == 3
    scores = (x - x.mean(axis=0)) @ axes[:, 2:]
    expected = -0.5 * np.sum(scores**2 / variances[2:] + np.log(2 * math.pi * variances[2:]), axis=1)
    assert np.median(np.abs(model.log_density(x) - expected)) < 0.1
    rate = model.prior.rate(model.prior.quantize(model.encode(x)))
    assert 8 * len(model.compress(x)) * math.log(2) == pytest.approx(float(tf.reduce_sum(rate)), rel=0.02)


def test_reconstruction_features_of_a_zero_row_are_finite(rows):
    model = small_model(reconstruction_features=True)
    x = tf.zeros((3, 4))
    with tf.GradientTape() as tape:
        terms = model.loss_terms(tf.concat([x, tf.constant(rows, tf.float32)], 0), training=True)
        loss = tf.add_n([tf.reduce_mean(t) for t in terms.values()])
    assert np.isfinite(model.density.latents(x)).all()
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, model.trainable_variables))


@pytest.mark.parametrize(("noise", "limit"), [("uniform", math.sqrt(3 * 0.5)), ("gaussian", math.inf)])
def test_noise_has_mean_zero_and_variance_sigma2(noise, limit):
    eps = small_model(noise=noise, sigma2=0.5).draw_noise((200000, 2), training=True).numpy()
    assert eps.mean() == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(np.cov(eps.T), 0.5 * np.eye(2), atol=0.01)
    assert np.abs(eps).max() <= limit


def test_gauge_is_triangular_invertible_and_out_of_reach_of_the_reconstruction(rows):
    model = small_model()
    gauge: LatentGauge = model.gauge
    gauge.log_diagonal.assign([0.1, -0.2])
    gauge.lower.assign([[9.0, 9.0], [0.3, 9.0]])
    matrix = gauge.matrix().numpy()
    assert matrix[0, 1] == 0 and (np.diag(matrix) > 0).all()
    y = tf.random.normal((50, 2))
    np.testing.assert_allclose(gauge.inverse(gauge(y)), y, atol=1e-5)
    with tf.GradientTape() as tape:
        reconstruction = model.loss_terms(tf.constant(rows, tf.float32), training=True)["reconstruction"]
    for gradient in tape.gradient(reconstruction, gauge.trainable_variables):
        np.testing.assert_array_equal(gradient, 0)


def test_a_rotating_gauge_is_inverted_exactly_and_belongs_to_axis_aligned_priors():
    gauge = LatentGauge(3, 2.0, rotate=True)
    np.testing.assert_allclose(gauge.matrix(), 2 * np.eye(3), atol=1e-6)
    for weight in gauge.trainable_variables:
        weight.assign(tf.random.normal(weight.shape, stddev=0.3))
    y = tf.random.normal((50, 3))
    np.testing.assert_allclose(gauge.inverse(gauge(y)), y, atol=1e-4)
    np.testing.assert_allclose(gauge.rotation() @ tf.transpose(gauge.rotation()), np.eye(3), atol=1e-5)
    networks = (DenseNetwork(4, (), 3), DenseNetwork(3, (), 4))
    assert RaDOGAGA(*networks, FactorizedPrior(3), 1, 1).gauge.rotate
    assert not RaDOGAGA(*networks, MixturePrior(3, 2), 1, 1).gauge.rotate


def test_gauge_starts_at_the_theoretical_scale_of_the_distortion():
    for distortion, elements in ((SumSquaredError(), 1), (MeanSquaredError(), 4)):
        model = small_model(lambda2=600.0, distortion=distortion)
        np.testing.assert_allclose(model.gauge.matrix(), math.sqrt(2 * 600 / 12 / elements) * np.eye(2), rtol=1e-6)


def test_log_density_is_undefined_with_concatenated_features(rows):
    model = fitted(small_model(preprocess=scaled(rows), reconstruction_features=True), rows, epochs=1)
    assert not model.has_log_density
    with pytest.raises(NotImplementedError, match="reconstruction_features"):
        model.log_density(rows)


def test_far_off_rows_keep_finite_and_growing_energies(rows):
    model = fitted(small_model(preprocess=scaled(rows), reconstruction_features=True), rows, epochs=1)
    far = np.abs(rows[:1]) * np.array([[10.0**k] for k in range(2, 30, 3)])
    energy = model.energy(far).numpy()
    assert np.isfinite(energy).all() and (energy > model.energy(rows).numpy().max()).all()


def test_a_distortion_without_closed_forms_trains_and_says_it_has_no_density(rows):
    class Cosine(Distortion):
        def __call__(self, x, y):
            return tf.reduce_sum((x - y) ** 2, axis=1) * (1 + x[:, 0] ** 2)

    model = fitted(small_model(preprocess=scaled(rows), distortion=Cosine()), rows, epochs=1)
    assert np.isfinite(model.energy(rows)).all() and not model.has_log_density
    with pytest.raises(NotImplementedError, match="no closed-form volume"):
        model.log_density(rows)
    with pytest.raises(TypeError, match="Cosine: not registered"):
        save_model(model, "unused")


@pytest.mark.parametrize(
    ("distortion", "message"),
    [
        (lambda x, y: (x - y) ** 2, "one number per example"),
        (lambda x, y: tf.reduce_sum((x - y) ** 2), "one number per example"),
        (StructuralDissimilarity(), "reshape the rows to images"),
    ],
)
def test_a_distortion_that_does_not_fit_the_rows_is_refused_at_once(distortion, message):
    with pytest.raises(ValueError, match=message):
        small_model(distortion=distortion)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["bce", pytest.param("ssim", marks=pytest.mark.slow)])
def test_other_metrics_train_and_have_the_jacobians_density(name, rows):
    """Rows of 4 as images of 2 x 2, all within 0..1."""
    preprocess = scaled(rows)
    distortion = BinaryCrossEntropy()
    if name == "ssim":
        ssim = StructuralDissimilarity(window=2)
        distortion = FunctionDistortion(lambda x, y: ssim(tf.reshape(x, (-1, 2, 2, 1)), tf.reshape(y, (-1, 2, 2, 1))))
    decoder = DenseNetwork(2, (8,), 4, output_activation="sigmoid")
    model = RaDOGAGA(
        DenseNetwork(4, (8,), 2), decoder, MixturePrior(2, 2), 10, 100, distortion=distortion, preprocess=preprocess
    )
    first, last = fitted(model, rows, epochs=30, compiled=True).history.history["loss"][::29]
    assert last < first
    assert not model.has_log_density and np.isfinite(model.log_density(rows, "jacobian")).all()


def test_a_distortion_without_a_metric_is_refused():
    with pytest.raises(ValueError, match="EuclideanNorm has no metric tensor"):
        small_model(distortion=EuclideanNorm())


@pytest.mark.parametrize(
    "wrong", [{"h": "sqrt"}, {"noise": "laplace"}, {"gauge": "free"}, {"lambda1": 0}, {"lambda2": -1}, {"sigma2": 0}]
)
def test_wrong_arguments_are_named(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}: {value!r}".replace("'", ".")):
        small_model(**wrong)


def test_the_scale_follows_the_weights_of_the_loss(rows):
    model = small_model()
    before = model.metric_scale
    model.lambda2, model.sigma2 = 10 * model.lambda2, 2 * model.sigma2
    assert model.metric_scale == pytest.approx(20 * before) and model.noise_variance == model.sigma2
