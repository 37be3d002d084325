"""The beta-VAE: its loss, its deterministic score, its closed forms, its density, and its round trips."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.linear_vae import BETA, SD, optimum
from helpers.marks import after
from helpers.models import fitted, scaled, small_model

from tf_radogaga import (
    BetaVAE,
    DenseNetwork,
    EuclideanNorm,
    PseudoHuberError,
    RaDOGAGA,
    SumSquaredError,
    export_saved_model,
    load_model,
    save_model,
)

tfd = tfp.distributions


def test_rates_are_the_divergence_from_the_prior():
    model, rows = optimum()
    mu, sigma = model.posterior(rows)
    expected = tfd.kl_divergence(tfd.Normal(mu, sigma), tfd.Normal(0.0, 1.0))
    np.testing.assert_allclose(model.rates(rows), expected, rtol=1e-4, atol=1e-5)


def test_the_loss_outside_training_and_the_energy_are_the_two_point_rule():
    model, rows = optimum()
    mu, sigma = model.posterior(rows)
    distortion = 0.5 * sum(model.distortion(rows, model.decode(mu + sign * sigma)) for sign in (1, -1))
    terms = model.loss_terms(tf.constant(rows))
    np.testing.assert_allclose(terms["distortion"], distortion / BETA, rtol=1e-4)
    np.testing.assert_allclose(model.energy(rows), terms["rate"] + terms["distortion"], rtol=1e-4)


def test_transform_and_coding_loss_add_up_to_the_distortion_of_a_linear_decoder():
    """Lemma 1, exact where the decoder is linear: the cross terms of both points cancel."""
    model, rows = optimum(sd=SD)
    transform, coding = model.transform_and_coding(rows)
    np.testing.assert_allclose(transform + coding, BETA * model.loss_terms(tf.constant(rows))["distortion"], rtol=1e-4)
    # sum_j b_j^2 sigma_j^2 = 3 beta/2 up to the shrinkage, and (x beta/2 / s^2)^2 in the mean
    np.testing.assert_allclose(coding, np.sum((SD**2 - BETA / 2) * BETA / (2 * SD**2)), rtol=1e-4)
    assert np.mean(transform) == pytest.approx(np.sum((BETA / 2) ** 2 / SD**2), rel=0.2)


def test_training_averages_over_the_posterior():
    model, rows = optimum()
    x = tf.constant(rows[:1].repeat(20_000, axis=0))
    trained, scored = model.loss_terms(x, training=True), model.loss_terms(x[:1])
    assert np.mean(trained["distortion"]) == pytest.approx(float(scored["distortion"][0]), rel=0.03)
    again = model.loss_terms(x, training=True)["distortion"]
    assert not np.array_equal(trained["distortion"], again)


def test_the_decomposed_form_weighs_transform_and_coding_loss():
    model, rows = optimum(lambda1=3.0, lambda2=1 / BETA, transform=EuclideanNorm())
    conventional, _ = optimum()
    transform, coding = conventional.transform_and_coding(rows)
    terms = model.loss_terms(tf.constant(rows))
    np.testing.assert_allclose(terms["transform"], 3 * np.sqrt(transform), rtol=1e-4)
    np.testing.assert_allclose(terms["coding"], coding / BETA, rtol=1e-4)
    np.testing.assert_allclose(model.energy(rows), conventional.energy(rows), rtol=1e-5)
    monitored = model.monitors(terms)["isometry"]
    np.testing.assert_allclose(monitored, 2 * terms["coding"] / 3, rtol=1e-6)


def test_a_variance_beyond_the_range_comes_back():
    model, rows = optimum()
    bias = model.encoder.dense[0].bias
    bias.assign(tf.concat([tf.zeros(3), tf.fill([3], -200.0)], axis=0))
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_mean(term) for term in model.loss_terms(tf.constant(rows), training=True).values()])
    assert (tape.gradient(loss, bias)[3:] < -0.1).numpy().all()  # a step of descent raises it


@pytest.mark.parametrize("form", after(1, [{"lambda1": 10.0, "lambda2": 10.0}, {"beta": 0.1}]))
def test_a_trained_line_reaches_the_exact_closed_form(form):
    """One dimension: b = sqrt(s^2 - beta/2), a = b / s^2, sigma^2 = beta / (2 s^2). The decomposed form with equal
    weights has the same optimum, as the loss of a linear decoder splits exactly."""
    rows = np.random.default_rng(0).normal(size=(4096, 1))
    rows = 0.8 * (rows - rows.mean()) / rows.std()
    model = BetaVAE(DenseNetwork(1, (), 2), DenseNetwork(1, (), 1), **form)
    steps = 3000
    model.compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(1e-2, steps), beta_2=0.99))
    model.fit(rows, batch_size=512, steps_per_epoch=steps, verbose=0)
    square, beta = 0.8**2, 0.1
    b = abs(float(model.decoder.dense[0].kernel[0, 0]))
    a = abs(float(model.encoder.dense[0].kernel[0, 0]))
    sigma2 = float(tf.reduce_mean(tf.square(model.posterior(rows)[1])))
    expected = math.sqrt(square - beta / 2)
    assert (b, a, sigma2) == pytest.approx((expected, expected / square, beta / (2 * square)), rel=0.02)


# Round trips and errors


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["vae", "vae-decomposed"])
def test_a_model_comes_back_from_disk_and_from_a_saved_model(kind, rows, tmp_path):
    model = fitted(small_model(kind, scaled(rows)), rows, epochs=10)
    model.set_threshold(model.energy(rows), 0.1)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, BetaVAE) and again.get_config().keys() == model.get_config().keys()
    assert (again.beta, again.lambda1, again.decomposed) == (model.beta, model.lambda1, model.decomposed)
    assert type(again.transform) is type(model.transform)
    np.testing.assert_array_equal(again.energy(rows), model.energy(rows))
    x = model.feed.checked(rows)
    for name, term in model.loss_terms(x).items():
        np.testing.assert_array_equal(again.loss_terms(x)[name], term, err_msg=name)

    loaded = tf.saved_model.load(str(export_saved_model(model, tmp_path / "served")))
    bad = rows.astype(np.float32).copy()
    bad[3, 1] = np.nan
    outputs = loaded.signatures["serving_default"](features=tf.constant(bad))
    assert not outputs["valid"][3] and outputs["energy"][3] == np.finfo(np.float32).max
    rest = np.arange(len(rows)) != 3
    np.testing.assert_allclose(outputs["energy"].numpy()[rest], model.energy(bad[rest]), rtol=1e-5)
    np.testing.assert_allclose(outputs["log_density"].numpy()[rest], model.log_density(bad[rest]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("distortion", [SumSquaredError(), PseudoHuberError()])
def test_rows_far_from_the_data_have_growing_energies_and_no_nan(distortion, rows):
    model = fitted(small_model("vae", scaled(rows), distortion=distortion), rows)
    energy = model.energy(rows[:1] * 10.0 ** np.arange(7)[:, None]).numpy()
    assert np.isfinite(energy).all() and (np.diff(energy) > 0).all()
    assert (model.energy(rows[:1] * [[1e15], [1e25]]).numpy() > energy[-1]).all()


def test_samples_of_the_prior_are_decoded():
    model, _ = optimum()
    drawn = model.sample(20_000, seed=1).numpy()
    kernel = model.decoder.dense[0].kernel.numpy()
    np.testing.assert_allclose(np.cov(drawn.T), kernel.T @ kernel, atol=0.1)
    np.testing.assert_array_equal(drawn[:5], model.sample(20_000, seed=1)[:5])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "give either beta, or lambda1 and lambda2"),
        ({"beta": 1, "lambda1": 1, "lambda2": 1}, TypeError, "give either beta"),
        ({"lambda1": 1}, TypeError, "give either beta"),
        ({"beta": 1, "lambda2": 1}, TypeError, "give either beta"),
        ({"beta": 0}, ValueError, "beta: 0 must be positive"),
        ({"lambda1": -1, "lambda2": 1}, ValueError, "lambda1: -1 must be positive"),
        ({"beta": 1, "transform": EuclideanNorm()}, ValueError, "transform: belongs to the decomposed form"),
        ({"beta": 1, "distortion": EuclideanNorm()}, ValueError, "distortion: EuclideanNorm has no metric tensor"),
        ({"lambda1": 1, "lambda2": 1, "transform": 3}, TypeError, "transform: 3 is neither a Distortion"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        BetaVAE(DenseNetwork(3, (), 4), DenseNetwork(2, (), 3), **options)


def test_an_encoder_without_two_heads_is_refused():
    with pytest.raises(ValueError, match="encoder: 2 units where the 4 outputs for the latent units"):
        BetaVAE(DenseNetwork(3, (), 2), DenseNetwork(2, (), 3), beta=1)
    assert RaDOGAGA.heads == 1
