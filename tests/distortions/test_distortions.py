import functools
import inspect
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tf_radogaga
from tf_radogaga.distortions import (
    BinaryCrossEntropy,
    Distortion,
    DownwardConvexError,
    EuclideanNorm,
    FunctionDistortion,
    MeanSquaredError,
    PseudoHuberError,
    ScaledSquaredError,
    StructuralDissimilarity,
    SumSquaredError,
    UpwardConvexError,
)
from tf_radogaga.distortions.base import as_distortion


@tf.keras.utils.register_keras_serializable(package="tests")
def shifted_quartic(x, y):
    """3 + |y - x|^2 (1 + y_0^2), so D(x, x) = 3."""
    difference = tf.reshape(y - x, (tf.shape(x)[0], -1))
    return 3 + tf.reduce_sum(difference**2, axis=1) * (1 + tf.reshape(y, (tf.shape(y)[0], -1))[:, 0] ** 2)


SCALED = [SumSquaredError(), MeanSquaredError(), DownwardConvexError(), UpwardConvexError()]
WITH_CONSTANTS = StructuralDissimilarity(window=3)
AS_PRINTED = StructuralDissimilarity(window=3, k1=0, k2=0)
METRIC = [*SCALED, PseudoHuberError(0.5), BinaryCrossEntropy(), WITH_CONSTANTS, AS_PRINTED]
CASES = [
    (distortion, event)
    for distortion in METRIC
    for event in ([(6, 4, 2)] if isinstance(distortion, StructuralDissimilarity) else [(5,), (3, 4, 2)])
]
for_each_case = pytest.mark.parametrize(
    ("distortion", "event"),
    CASES,
    ids=lambda v: type(v).__name__ if isinstance(v, Distortion) else "x".join(map(str, v)),
)
for_each_scaled = pytest.mark.parametrize("distortion", SCALED, ids=lambda d: type(d).__name__)


class _General(Distortion):
    """The same D without its closed forms."""

    def __init__(self, of):
        self.of = of

    def __call__(self, x, y):
        return self.of(x, y)


def _normal(*shape, dtype=tf.float64):
    return tf.constant(np.random.default_rng(0).normal(size=shape), dtype)


def _uniform(*shape, dtype=tf.float64, low=0.1, high=0.9, seed=1):
    return tf.constant(np.random.default_rng(seed).uniform(low, high, size=shape), dtype)


def _gradient(distortion, x, y):
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = distortion(x, y)
    return tape.gradient(value, [x, y])


# Geometry


@for_each_case
@pytest.mark.parametrize(
    ("dtype", "accuracy"), [pytest.param(tf.float32, 1e-5, marks=pytest.mark.slow), (tf.float64, 1e-9)]
)
def test_inner_product_follows_the_hessian_rule(distortion, event, dtype, accuracy):
    x, (v, w) = _uniform(6, *event, dtype=dtype), tf.unstack(_normal(2, 6, *event, dtype=dtype))
    expected = _General(distortion).inner_product(x, v, w)
    lengths = tf.sqrt(distortion.inner_product(x, v, v) * distortion.inner_product(x, w, w))
    assert expected.dtype == distortion.inner_product(x, v, w).dtype == dtype
    np.testing.assert_array_less(abs(distortion.inner_product(x, v, w) - expected) / lengths, accuracy)


@for_each_case
def test_excess_is_the_squared_length_nearby(distortion, event):
    x, dx = _uniform(6, *event), 1e-5 * _normal(6, *event)
    np.testing.assert_allclose(distortion.excess(x, x + dx), distortion.inner_product(x, dx, dx), rtol=1e-3)
    np.testing.assert_allclose(distortion.excess(x, x), np.zeros(6), atol=1e-15)


@for_each_case
def test_excess_is_the_distortion_above_that_of_x_with_itself(distortion, event):
    x, y = _uniform(6, *event), _uniform(6, *event, seed=2)
    np.testing.assert_allclose(distortion.self_distortion(x), distortion(x, x), atol=1e-12)
    np.testing.assert_allclose(distortion.excess(x, y), distortion(x, y) - distortion(x, x), rtol=1e-9)
    np.testing.assert_array_less(0, distortion.excess(x, y))


@for_each_case
def test_inner_product_is_symmetric_bilinear_and_positive(distortion, event):
    x, (u, v, w) = _uniform(6, *event), tf.unstack(_normal(3, 6, *event))
    product = functools.partial(distortion.inner_product, x)
    np.testing.assert_allclose(product(v, w), product(w, v), rtol=1e-10)
    np.testing.assert_allclose(product(u, 2 * v - 3 * w), 2 * product(u, v) - 3 * product(u, w), rtol=1e-8)
    np.testing.assert_array_less(0, product(v, v))


@for_each_case
def test_arrays_are_as_good_as_tensors(distortion, event):
    x, v, w = _uniform(3, 6, *event, dtype=tf.float32)
    for route in (distortion, distortion.excess, distortion.contributions):
        np.testing.assert_array_equal(route(x.numpy(), v.numpy()), route(x, v))
    for route in (distortion.inner_product, _General(distortion).inner_product):
        np.testing.assert_array_equal(route(x.numpy(), v.numpy(), w.numpy()), route(x, v, w))


@for_each_scaled
def test_log_volume_is_half_the_log_determinant_of_the_metric(distortion):
    x, axes = _normal(3, 5), tf.eye(5, dtype=tf.float64)
    for row, volume in zip(x, distortion.log_volume(x, 5)):
        products = [[distortion.inner_product(row[None], v[None], w[None])[0] for w in axes] for v in axes]
        np.testing.assert_allclose(volume, 0.5 * np.linalg.slogdet(np.array(products))[1], rtol=1e-10, atol=1e-10)


@for_each_scaled
def test_log_volume_of_an_unknown_number_of_examples(distortion):
    volume = tf.function(lambda x: distortion.log_volume(x, 2), input_signature=[tf.TensorSpec((None, 5))])
    x = tf.concat([tf.zeros((1, 5)), _normal(2, 5, dtype=tf.float32)], axis=0)
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
            distortion.log_volume(_uniform(2, 5, 4, 1), 2)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_own_distortion_gets_its_geometry_from_the_hessian(dtype):
    class Scaled(Distortion):
        def __call__(self, x, y):
            return (1 + x[:, 0] ** 2) * tf.reduce_sum((x - y) ** 2, axis=1)

    x, v, w = tf.unstack(_normal(3, 6, 5, dtype=dtype))
    expected = (1 + x[:, 0] ** 2) * tf.reduce_sum(v * w, axis=1)
    np.testing.assert_allclose(Scaled().inner_product(x, v, w), expected, rtol=1e-5, atol=1e-5)
    in_a_graph = tf.function(Scaled().inner_product, input_signature=[tf.TensorSpec((None, 5), dtype)] * 3)
    np.testing.assert_allclose(in_a_graph(x, v, w), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("flat", [lambda x, y: tf.reduce_sum(x, axis=1), lambda x, y: tf.reduce_sum(x * y, axis=1)])
def test_hessian_rule_is_zero_where_nothing_bends(flat):
    product = FunctionDistortion(flat).inner_product
    x, v, w = tf.unstack(_normal(3, 6, 5))
    np.testing.assert_array_equal(product(x, v, w), np.zeros(6))
    np.testing.assert_array_equal(tf.function(product)(x, v, w), np.zeros(6))


def test_named_distortions_differ():
    x, y = _uniform(4, 12, 11, 1), _uniform(4, 12, 11, 1, seed=2)
    named = [cls() for cls in _shipped() if cls is not FunctionDistortion]
    for one, other in itertools.combinations(named, 2):
        assert np.all(abs(one.excess(x, y) / other.excess(x, y) - 1) > 0.01), (one, other)


# Binary cross entropy


def test_binary_cross_entropy_is_the_bernoulli_log_likelihood():
    x, y = tf.cast(_uniform(6, 5) > 0.5, tf.float64), _uniform(6, 5, seed=2)
    expected = -tf.reduce_sum(tfp.distributions.Bernoulli(probs=y).log_prob(x), axis=1)
    np.testing.assert_allclose(BinaryCrossEntropy()(x, y), expected, rtol=1e-9)


def test_binary_cross_entropy_excess_is_the_kullback_leibler_divergence():
    x, y = _uniform(6, 5), _uniform(6, 5, seed=2)
    p, q = tfp.distributions.Bernoulli(probs=x), tfp.distributions.Bernoulli(probs=y)
    np.testing.assert_allclose(BinaryCrossEntropy().excess(x, y), tf.reduce_sum(p.kl_divergence(q), axis=1), rtol=1e-9)
    np.testing.assert_allclose(BinaryCrossEntropy().self_distortion(x), tf.reduce_sum(p.entropy(), axis=1), rtol=1e-9)


def test_binary_cross_entropy_excess_keeps_its_digits_beside_a_large_entropy():
    x = _uniform(8, 784, dtype=tf.float32)
    y = x + 0.005 * _normal(8, 784, dtype=tf.float32)
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
    for value in [*values, *_gradient(distortion, x, y), *_gradient(distortion.excess, x, y)]:
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
    x, y = _normal(6, 3, 2, dtype=dtype), _uniform(6, 3, 2, dtype=dtype)
    norms = np.linalg.norm((x - y).numpy().reshape(6, -1), axis=1)
    np.testing.assert_allclose(EuclideanNorm()(x, y), norms, rtol=1e-6)
    gradient_x, gradient_y = _gradient(EuclideanNorm(), x, y)
    np.testing.assert_allclose(gradient_y, (y - x) / norms[:, None, None], rtol=1e-5)
    np.testing.assert_array_equal(gradient_x, -gradient_y)


@pytest.mark.parametrize("apart", [0, 1e-25, 1e-20])
def test_euclidean_norm_has_a_finite_gradient_at_and_near_x(apart):
    x = _normal(6, 5, dtype=tf.float32) * 0
    assert np.array_equal(EuclideanNorm()(x, x), np.zeros(6))
    for gradient in _gradient(EuclideanNorm(), x, x + apart):
        assert np.isfinite(gradient).all() and np.all(abs(gradient) <= 1)


def test_euclidean_norm_has_no_metric():
    x = _normal(6, 5)
    distortion = EuclideanNorm()
    assert not distortion.has_metric and not distortion.has_log_volume
    for geometry in (lambda: distortion.inner_product(x, x, x), lambda: distortion.log_volume(x, 2)):
        with pytest.raises(NotImplementedError, match=r"EuclideanNorm has no metric tensor.*transform loss"):
            geometry()


# A user's own function, and saving


def _shipped():
    """Every distortion class of the package that can be made."""
    return [
        cls
        for _, cls in inspect.getmembers(tf_radogaga, inspect.isclass)
        if issubclass(cls, Distortion) and cls not in (Distortion, ScaledSquaredError)
    ]


def test_function_distortion_is_its_function_with_geometry():
    x, (v, w) = _normal(6, 5), tf.unstack(_normal(2, 6, 5))
    distortion = as_distortion(shifted_quartic)
    np.testing.assert_array_equal(distortion(x, v), shifted_quartic(x, v))
    assert distortion.get_config() == {"function": "tests>shifted_quartic"}
    np.testing.assert_allclose(distortion.self_distortion(x), 3 * np.ones(6))
    expected = (1 + x[:, 0] ** 2) * tf.reduce_sum(v * w, axis=1)
    np.testing.assert_allclose(distortion.inner_product(x, v, w), expected, rtol=1e-9)
    compiled = FunctionDistortion(tf.function(shifted_quartic))
    np.testing.assert_allclose(compiled.inner_product(x, v, w), expected, rtol=1e-9)


def test_as_distortion():
    own = MeanSquaredError()
    assert as_distortion(own) is own
    assert type(as_distortion(None)) is SumSquaredError
    assert as_distortion(shifted_quartic).function is shifted_quartic
    with pytest.raises(TypeError, match=r"distortion: 'mse' is neither a Distortion nor a function"):
        as_distortion("mse")
    with pytest.raises(TypeError, match=r"transform_distortion: 3 is neither"):
        as_distortion(3, name="transform_distortion")
    with pytest.raises(TypeError, match=r"write MeanSquaredError\(\)"):
        as_distortion(MeanSquaredError)


def test_function_must_give_one_number_per_example():
    x = _normal(6, 5)
    with pytest.raises(ValueError, match=r"function: returned shape \(6, 5\)"):
        FunctionDistortion(lambda x, y: (x - y) ** 2)(x, x)
    with pytest.raises(ValueError, match=r"function: returned shape \(\)"):
        FunctionDistortion(lambda x, y: tf.reduce_sum((x - y) ** 2))(x, x)


ARGUMENTS = {
    BinaryCrossEntropy: {"epsilon": 1e-2},
    StructuralDissimilarity: {"window": 5, "k1": 0.1, "k2": 0.2, "max_value": 2.0},
    FunctionDistortion: {"function": shifted_quartic},
}


@pytest.mark.parametrize("cls", _shipped(), ids=lambda cls: cls.__name__)
def test_config_round_trip(cls):
    distortion = cls(**ARGUMENTS.get(cls, {}))
    name = tf.keras.utils.get_registered_name(cls)
    assert name == f"tf_radogaga>{cls.__name__}"
    again = tf.keras.utils.get_registered_object(name)(**json.loads(json.dumps(distortion.get_config())))
    x, y = _uniform(2, 12, 11, 1, low=0, high=1), _uniform(2, 12, 11, 1, low=0, high=1, seed=2)
    x = tf.round(x)  # so that epsilon counts
    np.testing.assert_array_equal(again(x, y), distortion(x, y))
    if distortion.has_metric:
        np.testing.assert_array_equal(again.inner_product(x, y, y), distortion.inner_product(x, y, y))
    assert again.get_config() == distortion.get_config()


@pytest.mark.parametrize(
    "function",
    [lambda x, y: 0, functools.partial(shifted_quartic), tf.keras.losses.mse],
    ids=["lambda", "partial", "mse"],
)
def test_unregistered_function_cannot_be_saved(function):
    with pytest.raises(TypeError, match=r"function: .* is not registered.*register_keras_serializable"):
        FunctionDistortion(function).get_config()


@pytest.mark.parametrize("name", ["tests>nothing", "tf_radogaga>SumSquaredError"])
def test_function_by_an_unknown_name(name):
    with pytest.raises(ValueError, match=f"function: '{name}' is not a registered function"):
        FunctionDistortion(name)


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
