"""The shipped distortions: their geometry, their digits and their closed forms."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.distortions import (
    CASES,
    SCALED,
    WITH_CONSTANTS,
    for_each_scaled,
    gradients_of,
    normal,
    shifted_quartic,
    shipped,
    uniform,
)

from tf_radogaga.distortions import (
    BinaryCrossEntropy,
    Distortion,
    DownwardConvexError,
    EuclideanNorm,
    FunctionDistortion,
    MeanSquaredError,
    PseudoHuberError,
    SumSquaredError,
    UpwardConvexError,
)

for_each_case = pytest.mark.parametrize(
    ("distortion", "event"),
    CASES,
    ids=lambda v: type(v).__name__ if isinstance(v, Distortion) else "x".join(map(str, v)),
)


class _General(Distortion):
    """The same D without its closed forms."""

    def __init__(self, of):
        self.of = of

    def __call__(self, x, y):
        return self.of(x, y)


# Geometry


@for_each_case
@pytest.mark.parametrize(
    ("dtype", "accuracy"), [pytest.param(tf.float32, 1e-5, marks=pytest.mark.slow), (tf.float64, 1e-9)]
)
def test_inner_product_follows_the_hessian_rule(distortion, event, dtype, accuracy):
    x, (v, w) = uniform(6, *event, dtype=dtype), tf.unstack(normal(2, 6, *event, dtype=dtype))
    expected = _General(distortion).inner_product(x, v, w)
    lengths = tf.sqrt(distortion.inner_product(x, v, v) * distortion.inner_product(x, w, w))
    assert expected.dtype == distortion.inner_product(x, v, w).dtype == dtype
    np.testing.assert_array_less(abs(distortion.inner_product(x, v, w) - expected) / lengths, accuracy)


@for_each_case
def test_excess_is_the_squared_length_nearby(distortion, event):
    x, dx = uniform(6, *event), 1e-5 * normal(6, *event)
    np.testing.assert_allclose(distortion.excess(x, x + dx), distortion.inner_product(x, dx, dx), rtol=1e-3)
    np.testing.assert_allclose(distortion.excess(x, x), np.zeros(6), atol=1e-15)


@for_each_case
def test_excess_is_the_distortion_above_that_of_x_with_itself(distortion, event):
    x, y = uniform(6, *event), uniform(6, *event, seed=2)
    np.testing.assert_allclose(distortion.self_distortion(x), distortion(x, x), atol=1e-12)
    np.testing.assert_allclose(distortion.excess(x, y), distortion(x, y) - distortion(x, x), rtol=1e-9)
    np.testing.assert_array_less(0, distortion.excess(x, y))


@for_each_case
def test_inner_product_is_symmetric_bilinear_and_positive(distortion, event):
    x, (u, v, w) = uniform(6, *event), tf.unstack(normal(3, 6, *event))
    product = functools.partial(distortion.inner_product, x)
    np.testing.assert_allclose(product(v, w), product(w, v), rtol=1e-10)
    np.testing.assert_allclose(product(u, 2 * v - 3 * w), 2 * product(u, v) - 3 * product(u, w), rtol=1e-8)
    np.testing.assert_array_less(0, product(v, v))


@pytest.mark.thorough
@for_each_case
def test_arrays_are_as_good_as_tensors(distortion, event):
    x, v, w = uniform(3, 6, *event, dtype=tf.float32)
    for route in (distortion, distortion.excess, distortion.contributions):
        np.testing.assert_array_equal(route(x.numpy(), v.numpy()), route(x, v))
    for route in (distortion.inner_product, _General(distortion).inner_product):
        np.testing.assert_array_equal(route(x.numpy(), v.numpy(), w.numpy()), route(x, v, w))


@for_each_scaled
def test_log_volume_is_half_the_log_determinant_of_the_metric(distortion):
    x, axes = normal(3, 5), tf.eye(5, dtype=tf.float64)
    for row, volume in zip(x, distortion.log_volume(x, 5)):
        products = [[distortion.inner_product(row[None], v[None], w[None])[0] for w in axes] for v in axes]
        np.testing.assert_allclose(volume, 0.5 * np.linalg.slogdet(np.array(products))[1], rtol=1e-10, atol=1e-10)


@for_each_scaled
def test_log_volume_of_an_unknown_number_of_examples(distortion):
    volume = tf.function(lambda x: distortion.log_volume(x, 2), input_signature=[tf.TensorSpec((None, 5))])
    x = tf.concat([tf.zeros((1, 5)), normal(2, 5, dtype=tf.float32)], axis=0)
    expected = tf.math.log(distortion.scale(x))  # of rank 2: 2/2 log a(x)
    np.testing.assert_allclose(volume(x), expected, rtol=1e-6)
    np.testing.assert_allclose(volume(x[:1]), expected[:1], rtol=1e-6)


@for_each_scaled
def test_scale_is_finite_at_zero(distortion):
    expected = {SumSquaredError: 1, MeanSquaredError: 1 / 5, DownwardConvexError: 2 / 3, UpwardConvexError: 3 / 2}
    np.testing.assert_allclose(distortion.scale(tf.zeros((1, 5))), [expected[type(distortion)]], rtol=1e-6)


def test_convex_scales_are_those_of_the_paper():
    x = tf.constant([[1.0, 2.0, 2.0]])
    np.testing.assert_allclose(DownwardConvexError().scale(x), [2 / 3 + 18 / 21], rtol=1e-6)
    np.testing.assert_allclose(UpwardConvexError().scale(x), [1 / (2 / 3 + 18 / 21)], rtol=1e-6)


def test_log_volume_exists_where_the_metric_is_a_multiple_of_the_identity():
    assert all(distortion.has_log_volume for distortion in SCALED)
    for distortion in (BinaryCrossEntropy(), WITH_CONSTANTS, FunctionDistortion(shifted_quartic)):
        assert not distortion.has_log_volume
        with pytest.raises(NotImplementedError, match=f"{type(distortion).__name__} has no closed-form volume"):
            distortion.log_volume(uniform(2, 5, 4, 1), 2)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_own_distortion_gets_its_geometry_from_the_hessian(dtype):
    class Scaled(Distortion):
        def __call__(self, x, y):
            return (1 + x[:, 0] ** 2) * tf.reduce_sum((x - y) ** 2, axis=1)

    x, v, w = tf.unstack(normal(3, 6, 5, dtype=dtype))
    expected = (1 + x[:, 0] ** 2) * tf.reduce_sum(v * w, axis=1)
    np.testing.assert_allclose(Scaled().inner_product(x, v, w), expected, rtol=1e-5, atol=1e-5)
    in_a_graph = tf.function(Scaled().inner_product, input_signature=[tf.TensorSpec((None, 5), dtype)] * 3)
    np.testing.assert_allclose(in_a_graph(x, v, w), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("flat", [lambda x, y: tf.reduce_sum(x, axis=1), lambda x, y: tf.reduce_sum(x * y, axis=1)])
def test_hessian_rule_is_zero_where_nothing_bends(flat):
    product = FunctionDistortion(flat).inner_product
    x, v, w = tf.unstack(normal(3, 6, 5))
    np.testing.assert_array_equal(product(x, v, w), np.zeros(6))
    np.testing.assert_array_equal(tf.function(product)(x, v, w), np.zeros(6))


def test_named_distortions_differ():
    x, y = uniform(4, 12, 11, 1), uniform(4, 12, 11, 1, seed=2)
    named = [cls() for cls in shipped() if cls is not FunctionDistortion]
    for one, other in itertools.combinations(named, 2):
        assert np.all(abs(one.excess(x, y) / other.excess(x, y) - 1) > 0.01), (one, other)


# Binary cross entropy


def test_binary_cross_entropy_is_the_bernoulli_log_likelihood():
    x, y = tf.cast(uniform(6, 5) > 0.5, tf.float64), uniform(6, 5, seed=2)
    expected = -tf.reduce_sum(tfp.distributions.Bernoulli(probs=y).log_prob(x), axis=1)
    np.testing.assert_allclose(BinaryCrossEntropy()(x, y), expected, rtol=1e-9)


def test_binary_cross_entropy_excess_is_the_kullback_leibler_divergence():
    x, y = uniform(6, 5), uniform(6, 5, seed=2)
    p, q = tfp.distributions.Bernoulli(probs=x), tfp.distributions.Bernoulli(probs=y)
    np.testing.assert_allclose(BinaryCrossEntropy().excess(x, y), tf.reduce_sum(p.kl_divergence(q), axis=1), rtol=1e-9)
    np.testing.assert_allclose(BinaryCrossEntropy().self_distortion(x), tf.reduce_sum(p.entropy(), axis=1), rtol=1e-9)


def test_binary_cross_entropy_excess_keeps_its_digits_beside_a_large_entropy():
    x = uniform(8, 784, dtype=tf.float32)
    y = x + 0.005 * normal(8, 784, dtype=tf.float32)
    exact = BinaryCrossEntropy().excess(tf.cast(x, tf.float64), tf.cast(y, tf.float64))
    np.testing.assert_allclose(BinaryCrossEntropy().excess(x, y), exact, rtol=3e-4)


def test_binary_cross_entropy_keeps_its_digits_in_the_dark():
    x, y = tf.zeros((1, 1)), tf.constant([[1.1e-5]])
    np.testing.assert_allclose(BinaryCrossEntropy()(x, y), [-np.log1p(-1.1e-5)], rtol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_binary_cross_entropy_is_finite_at_black_and_white(dtype):
    x, y = (tf.reshape(t, (-1, 1)) for t in tf.meshgrid(*[tf.constant([0, 1e-6, 0.5, 1 - 1e-6, 1], dtype)] * 2))
    distortion = BinaryCrossEntropy()
    values = [distortion(x, y), distortion.excess(x, y), distortion.inner_product(x, y, y)]
    for value in [*values, *gradients_of(distortion, x, y), *gradients_of(distortion.excess, x, y)]:
        assert np.isfinite(value).all()
    np.testing.assert_array_less(-1e-7, distortion.excess(x, y))


@pytest.mark.parametrize("epsilon", [1e-6, 1e-3])
def test_epsilon_bounds_the_cross_entropy_and_its_metric(epsilon):
    zero, one = tf.zeros((1, 1)), tf.ones((1, 1))
    distortion = BinaryCrossEntropy(epsilon)
    np.testing.assert_allclose(distortion(one, zero), [-np.log(epsilon)], rtol=1e-3)
    np.testing.assert_allclose(distortion(zero, one), [-np.log(epsilon)], rtol=1e-3)
    np.testing.assert_allclose(distortion.inner_product(zero, one, one), [0.5 / epsilon], rtol=2e-3)


@pytest.mark.parametrize("epsilon", [0, 1e-8, 0.5, float("nan")])
def test_epsilon_out_of_range(epsilon):
    with pytest.raises(ValueError, match=r"epsilon: .* outside"):
        BinaryCrossEntropy(epsilon)


# Euclidean norm


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_euclidean_norm_and_its_gradient(dtype):
    x, y = normal(6, 3, 2, dtype=dtype), uniform(6, 3, 2, dtype=dtype)
    norms = np.linalg.norm((x - y).numpy().reshape(6, -1), axis=1)
    np.testing.assert_allclose(EuclideanNorm()(x, y), norms, rtol=1e-6)
    gradient_x, gradient_y = gradients_of(EuclideanNorm(), x, y)
    np.testing.assert_allclose(gradient_y, (y - x) / norms[:, None, None], rtol=1e-5)
    np.testing.assert_array_equal(gradient_x, -gradient_y)


@pytest.mark.parametrize("apart", [0, 1e-25, 1e-20])
def test_euclidean_norm_has_a_finite_gradient_at_and_near_x(apart):
    x = normal(6, 5, dtype=tf.float32) * 0
    assert np.array_equal(EuclideanNorm()(x, x), np.zeros(6))
    for gradient in gradients_of(EuclideanNorm(), x, x + apart):
        assert np.isfinite(gradient).all() and np.all(abs(gradient) <= 1)


def test_euclidean_norm_has_no_metric():
    x = normal(6, 5)
    distortion = EuclideanNorm()
    assert not distortion.has_metric and not distortion.has_log_volume
    for geometry in (lambda: distortion.inner_product(x, x, x), lambda: distortion.log_volume(x, 2)):
        with pytest.raises(NotImplementedError, match=r"EuclideanNorm has no metric tensor.*transform loss"):
            geometry()


def test_pseudo_huber_is_squared_within_delta_and_absolute_beyond():
    x, error = tf.zeros((1, 3), tf.float64), PseudoHuberError(0.1)
    near, far = tf.constant([[1e-4, -2e-4, 0]], tf.float64), tf.constant([[50.0, -70.0, 0]], tf.float64)
    np.testing.assert_allclose(error(x, near), SumSquaredError()(x, near), rtol=1e-5)
    np.testing.assert_allclose(error(x, far), 2 * 0.1 * 120, rtol=2e-3)
    huge = tf.constant([[1e30, -2e30, 0]], tf.float32)
    np.testing.assert_allclose(error.contributions(tf.zeros((1, 3)), huge), 0.2 * abs(huge), rtol=1e-6)
    np.testing.assert_array_equal(error.log_volume(x, rank=2), [0.0])
    assert PseudoHuberError(**error.get_config()).delta == 0.1
    with pytest.raises(ValueError, match="delta: 0 must be positive"):
        PseudoHuberError(0)
