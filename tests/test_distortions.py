import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga import Distortion, MeanSquaredError, SumSquaredError

DISTORTIONS = [SumSquaredError(), MeanSquaredError()]


class _General(Distortion):
    """The same D without its closed forms."""

    def __init__(self, of):
        self.of = of

    def __call__(self, x, y):
        return self.of(x, y)


def _normal(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("event", [(5,), (3, 4, 2)])
def test_inner_product_follows_the_hessian_rule(distortion, event):
    x, v, w = tf.unstack(_normal(3, 6, *event))
    expected = _General(distortion).inner_product(x, v, w)
    np.testing.assert_allclose(distortion.inner_product(x, v, w), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: type(d).__name__)
def test_distortion_is_the_squared_length_nearby(distortion):
    x, dx = tf.unstack(_normal(2, 6, 5))
    np.testing.assert_allclose(distortion(x, x + dx), distortion.inner_product(x, dx, dx), rtol=1e-5)
    np.testing.assert_array_equal(distortion(x, x), np.zeros(6))


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: type(d).__name__)
def test_log_volume_is_half_the_log_determinant_of_the_metric(distortion):
    x = _normal(1, 5)
    metric = [
        [float(distortion.inner_product(x, tf.one_hot([i], 5), tf.one_hot([j], 5))[0]) for j in range(5)]
        for i in range(5)
    ]
    np.testing.assert_allclose(distortion.log_volume(x, 5), [0.5 * np.linalg.slogdet(metric)[1]], rtol=1e-5, atol=1e-6)


def test_own_distortion_gets_its_geometry_from_the_hessian():
    class Scaled(Distortion):
        def __call__(self, x, y):
            return (1 + x[:, 0] ** 2) * tf.reduce_sum((x - y) ** 2, axis=1)

    x, v, w = tf.unstack(_normal(3, 6, 5))
    expected = (1 + x[:, 0] ** 2) * tf.reduce_sum(v * w, axis=1)
    np.testing.assert_allclose(Scaled().inner_product(x, v, w), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(NotImplementedError, match="no closed-form volume"):
        Scaled().log_volume(x, 5)
