"""The densities of `Autoencoder.log_density`: their integrals, closed forms, dimensions, and what goes with them."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.linear_models import SCALE, VOLUMES, FittingNormal, isometric_kernel, linear_model, rows_along
from helpers.marks import after
from helpers.models import adapted_model, small_model
from scipy import stats

from tf_radogaga import DAGMM, DenseNetwork, MeanSquaredError, MixturePrior, RaDOGAGA, SumSquaredError
from tf_radogaga._core import blocks
from tf_radogaga.distortions import BinaryCrossEntropy, FunctionDistortion, ScaledSquaredError
from tf_radogaga.priors import DistributionPrior

tfd = tfp.distributions


class Exponential(ScaledSquaredError):
    """a(x) = exp(x_0 / 2), a metric without curvature: it has an isometric latent."""

    def scale(self, x):
        return tf.exp(0.5 * x[:, 0])


def _batch_volume(model, rows, directions=None):
    """1/2 log det(J' J) by reverse-mode differentiation, float64."""
    z = model.encode(rows)
    with tf.GradientTape() as tape:
        tape.watch(z)
        x_hat = model.decode(z)
    jacobian = tape.batch_jacobian(x_hat, z).numpy().astype(np.float64)
    if directions is not None:
        jacobian = jacobian @ np.transpose(directions)
    return 0.5 * np.linalg.slogdet(np.swapaxes(jacobian, 1, 2) @ jacobian)[1]


# Densities integrate


def _two_modes(n, rng):
    return np.where(rng.random((n, 1)) < 0.4, -1.0, 1.0) + 0.6 * rng.normal(size=(n, 1))


def _two_modes_log_density(x):
    return np.log(0.4 * stats.norm.pdf(x[:, 0], -1, 0.6) + 0.6 * stats.norm.pdf(x[:, 0], 1, 0.6))


def _wave(n, rng):
    x = rng.normal(size=(n, 2)) * [1.0, 0.6]
    return x + np.stack([np.zeros(n), 0.3 * np.sin(1.5 * x[:, 0])], axis=1)


def _wave_log_density(x):
    return stats.norm.logpdf(x[:, 0]) + stats.norm.logpdf(x[:, 1], 0.3 * np.sin(1.5 * x[:, 0]), 0.6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("draw", "truth", "components", "steps"),
    [
        pytest.param(_two_modes, _two_modes_log_density, 2, 1500, marks=pytest.mark.slow, id="one-dimension"),
        pytest.param(_wave, _wave_log_density, 3, 1200, id="two-dimensions"),
    ],
)
def test_a_trained_density_integrates_to_one_and_is_the_datas(draw, truth, components, steps):
    """Over a grid of eight standard deviations, which no datum leaves."""
    x = draw(4000, np.random.default_rng(0)).astype(np.float32)
    width = x.shape[1]
    networks = DenseNetwork(width, (16,), width), DenseNetwork(width, (16,), width)
    prior = MixturePrior(width, components, dropout=0.0, em_iterations=30)
    model = RaDOGAGA(*networks, prior, lambda1=1000.0, lambda2=100.0, h="identity")
    model.compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.03, steps)), 500)
    model.fit(x, batch_size=256, steps_per_epoch=steps, verbose=0)
    cell = 0.02 if width == 1 else 0.05
    axis = np.arange(-4.8, 4.8, cell)
    grid = np.stack(np.meshgrid(*[axis] * width), axis=-1).reshape(-1, width).astype(np.float32)
    integrals = {v: np.exp(model.log_density(grid, v)).sum() * cell**width for v in VOLUMES}
    assert integrals["isometric"] == pytest.approx(1, abs=0.05)
    assert integrals["jacobian"] == pytest.approx(1, abs=0.02)
    for volume in VOLUMES:
        assert np.mean(truth(x) - model.log_density(x, volume)) == pytest.approx(0, abs=0.03)


# Closed forms


@pytest.mark.parametrize(
    ("standard", "units", "width"), after(3, [(True, 2, 2), (True, 2, 3), (False, 1, 1), (False, 2, 2), (False, 3, 5)])
)
def test_a_linear_isometric_model_has_the_density_of_its_gaussian(standard, units, width):
    """On the manifold, where it is narrower than the data space."""
    kernel, rng = isometric_kernel(units, width), np.random.default_rng(2)
    mean, factor = np.zeros(units), np.eye(units)
    if not standard:
        mean, factor = rng.normal(size=units), np.tril(rng.normal(size=(units, units))) + 2 * np.eye(units)
    prior = FittingNormal(units)
    if not standard:
        parameters = tf.Variable(mean, dtype=tf.float32), tf.Variable(factor, dtype=tf.float32)
        prior = DistributionPrior(lambda: tfd.MultivariateNormalTriL(*parameters))
    rows = rows_along(kernel)
    model = linear_model(kernel, prior, rows)
    covariance = kernel.T @ factor @ factor.T @ kernel
    expected = stats.multivariate_normal(mean @ kernel, covariance, allow_singular=True).logpdf(rows)
    for volume in VOLUMES:
        np.testing.assert_allclose(model.log_density(rows, volume), expected, rtol=1e-5, atol=1e-4)


def test_the_isometric_volume_trusts_the_scale_of_z_and_the_jacobian_measures_it():
    """The decoder scaled by c and the encoder by 1 / c: the same model of the data."""
    kernel, c = isometric_kernel(2, 3), 1.7
    rows = rows_along(kernel)
    model, stretched = (linear_model(k, MixturePrior(2, 1, covariance_floor=1e-9), rows) for k in (kernel, c * kernel))
    np.testing.assert_allclose(stretched.decode(stretched.encode(rows)), model.decode(model.encode(rows)), atol=1e-5)
    exact, again = (m.log_density(rows, "jacobian") for m in (model, stretched))
    np.testing.assert_allclose(exact, again, atol=1e-4)
    gain = stretched.log_density(rows, "isometric") - model.log_density(rows, "isometric")
    np.testing.assert_allclose(gain, 2 * math.log(c), atol=1e-4)


def test_the_metric_of_the_distortion_enters_the_isometric_volume_alone():
    """n/2 log a(x), a = 1, 1/M and exp(x_0 / 2), with n below M."""
    kernel = isometric_kernel(2, 3)
    rows = rows_along(kernel)
    expected = {SumSquaredError: 0.0, MeanSquaredError: math.log(1 / 3), Exponential: 0.5 * rows[:, 0]}
    plain = linear_model(kernel, FittingNormal(2), rows)
    for distortion, volume in expected.items():
        model = linear_model(kernel, FittingNormal(2), rows, distortion=distortion())
        gain = model.log_density(rows, "isometric") - plain.log_density(rows, "isometric")
        np.testing.assert_allclose(gain, np.broadcast_to(volume, 500), atol=1e-4)
        np.testing.assert_array_equal(model.log_density(rows, "jacobian"), plain.log_density(rows, "jacobian"))


def test_both_volumes_agree_where_the_decoder_is_isometric_in_the_mean_squared_error():
    kernel = isometric_kernel(2, 3) * math.sqrt(3)
    rows = rows_along(kernel)
    model = linear_model(kernel, FittingNormal(2), rows, distortion=MeanSquaredError())
    expected = stats.multivariate_normal(np.zeros(3), kernel.T @ kernel, allow_singular=True).logpdf(rows)
    for volume in VOLUMES:
        np.testing.assert_allclose(model.log_density(rows, volume), expected, atol=1e-4)


class Unrolled(tf.keras.layers.Layer):
    """x -> z, the isometric latent of `Exponential`: 4 sqrt(scale) exp(w / 4), complex in two dimensions; or back."""

    def __init__(self, units, back=False):
        super().__init__()
        self.input_units = self.output_units = units
        self.back = back

    def call(self, x):
        radius = 4 * math.sqrt(SCALE)
        if self.input_units == 1:
            return 4 * tf.math.log(x / radius) if self.back else radius * tf.exp(x / 4)
        if self.back:
            return 4 * tf.stack([0.5 * tf.math.log(tf.reduce_sum(x**2, 1) / radius**2), tf.atan2(x[:, 1], x[:, 0])], 1)
        return radius * tf.exp(x[:, :1] / 4) * tf.stack([tf.cos(x[:, 1] / 4), tf.sin(x[:, 1] / 4)], axis=1)


@pytest.mark.parametrize("units", after(1, [1, 2]))
def test_both_volumes_agree_where_a_curved_decoder_is_isometric_in_a_metric_that_varies(units):
    """And are the change of variables, p(x) = P(z) |dz/dx|, |dz/dx| = (metric_scale a(x))^(n/2)."""
    x = np.random.default_rng(0).normal(size=(500, units)).astype(np.float32)
    networks = Unrolled(units), Unrolled(units, back=True)
    model = RaDOGAGA(*networks, MixturePrior(units, 1), lambda1=1.0, lambda2=40.0, gauge=None, distortion=Exponential())
    model.adapt_prior(x)
    np.testing.assert_allclose(model.decode(model.encode(x)), x, atol=1e-4)
    assert model.active_dimensions == units
    expected = -model.energy(x) + 0.5 * units * (math.log(SCALE) + 0.5 * x[:, 0])
    for volume in VOLUMES:
        np.testing.assert_allclose(model.log_density(x, volume), expected, atol=1e-3)


# The volume by the Jacobian


def test_the_jacobian_volume_is_half_the_log_determinant_of_the_jacobians_gram_matrix(rows):
    model = adapted_model(rows)
    assert model.active_dimensions == 2
    expected = -model.energy(rows) - _batch_volume(model, rows)
    np.testing.assert_allclose(model.log_density(rows, "jacobian"), expected, rtol=1e-4, atol=1e-4)


def test_densities_do_not_depend_on_the_batch(rows, monkeypatch):
    rows = rows[:60]
    model = adapted_model(rows)
    whole = {volume: model.log_density(rows, volume) for volume in VOLUMES}
    monkeypatch.setattr(blocks, "TANGENTS", 8 * model.active_dimensions * 4)
    assert blocks.block_rows(blocks.TANGENTS, 4 * model.active_dimensions) == 8
    for volume in VOLUMES:
        assert whole[volume].shape == (60,)
        np.testing.assert_allclose(model.log_density(rows, volume), whole[volume], rtol=1e-4)
        np.testing.assert_allclose(model.log_density(rows[59:], volume), whole[volume][59:], rtol=1e-4)


# What has no density


def test_dagmm_has_the_density_of_the_change_of_variables_alone():
    """Linear and with one component, it is the Gaussian of the data's moments, whatever the scale of z."""
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(500, 2)) @ rng.normal(size=(2, 2)) + [1, 2]).astype(np.float32)
    expected = stats.multivariate_normal(rows.mean(axis=0), np.cov(rows.T, ddof=0)).logpdf(rows)
    for scale in (1.0, 5.0):
        model = linear_model(
            scale * rng.normal(size=(2, 2)), MixturePrior(2, 1, covariance_floor=1e-9), rows, kind=DAGMM
        )
        assert not model.has_log_density
        with pytest.raises(NotImplementedError, match="loss of DAGMM does not fix the volume of z; use volume="):
            model.log_density(rows)
        np.testing.assert_allclose(model.log_density(rows, "jacobian"), expected, atol=1e-3)


def test_dagmm_counts_every_dimension(rows):
    model = adapted_model(rows, "dagmm")
    assert model.active_dimensions == 2
    expected = -model.energy(rows) - _batch_volume(model, rows)
    np.testing.assert_allclose(model.log_density(rows, "jacobian"), expected, rtol=1e-4, atol=1e-3)


def _quartic(x, y):
    return tf.reduce_sum((x - y) ** 2 + (x - y) ** 4, axis=1)


@pytest.mark.parametrize(
    "distortion", after(1, [FunctionDistortion(_quartic), BinaryCrossEntropy()]), ids=["own", "entropy"]
)
def test_a_distortion_without_a_closed_volume_has_the_jacobians_density(rows, distortion):
    model = adapted_model(rows, distortion=distortion)
    assert not model.has_log_density
    with pytest.raises(NotImplementedError, match=f"{type(distortion).__name__} has no closed-form volume; use volume"):
        model.log_density(rows)
    expected = -model.energy(rows) - _batch_volume(model, rows)
    np.testing.assert_allclose(model.log_density(rows, "jacobian"), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["log", "dagmm"])
@pytest.mark.parametrize("volume", VOLUMES)
def test_with_reconstruction_features_there_is_no_density(rows, kind, volume):
    model = adapted_model(rows, kind, reconstruction_features=True)
    assert not model.has_log_density
    with pytest.raises(NotImplementedError, match="reconstruction_features: the prior sees more than z"):
        model.log_density(rows, volume)


def test_an_unknown_volume_is_refused(rows):
    with pytest.raises(ValueError, match="volume: 'other' is not one of"):
        small_model().log_density(rows, volume="other")


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_model_that_was_not_fitted_has_no_density(rows, volume):
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        small_model().log_density(rows, volume)
    kernel = isometric_kernel(2, 3)
    model = linear_model(kernel, FittingNormal(2), rows_along(kernel))
    fresh = RaDOGAGA(model.encoder, model.decoder, model.prior, 1.0, 40.0, gauge=None)
    with pytest.raises(NotImplementedError, match=r"active_dimensions: 0.*call fit or adapt_prior"):
        fresh.log_density(rows_along(kernel), volume)
