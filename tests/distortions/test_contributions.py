"""How much each element adds to a distortion; of structural dissimilarity, see also there."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.distortions import CASES, SCALED, for_each_scaled, normal, shifted_quartic, uniform

from tf_radogaga.distortions import BinaryCrossEntropy, Distortion, EuclideanNorm, FunctionDistortion, PseudoHuberError


@pytest.mark.parametrize(("distortion", "event"), [*CASES, (EuclideanNorm(), (5,)), (EuclideanNorm(), (3, 4, 2))])
@pytest.mark.parametrize(("dtype", "accuracy"), [(tf.float32, 2e-6), (tf.float64, 1e-12)])
def test_contributions_sum_to_the_excess(distortion, event, dtype, accuracy):
    x, y = uniform(6, *event, dtype=dtype), uniform(6, *event, dtype=dtype, seed=2)
    contributions = distortion.contributions(x, y)
    assert contributions.dtype == dtype and contributions.shape == x.shape
    total = tf.reduce_sum(tf.reshape(contributions, (6, -1)), axis=1)
    np.testing.assert_allclose(total, distortion.excess(x, y), rtol=accuracy)
    np.testing.assert_array_equal(distortion.contributions(x, x), tf.zeros_like(x))


@pytest.mark.parametrize("distortion", [*SCALED, PseudoHuberError(0.5), BinaryCrossEntropy()])
def test_a_contribution_is_the_excess_of_moving_that_element_alone(distortion):
    x, y = uniform(6, 5), uniform(6, 5, seed=2)
    alone = [distortion.excess(x, tf.where(tf.range(5) == i, y, x)) for i in range(5)]
    in_a_graph = tf.function(distortion.contributions, input_signature=[tf.TensorSpec((None, 5), tf.float64)] * 2)
    for contributions in (distortion.contributions, in_a_graph):
        np.testing.assert_allclose(contributions(x, y), tf.stack(alone, axis=1), rtol=1e-12)


def test_contributions_to_the_norm_are_squares_divided_by_it():
    x, y = tf.zeros((2, 3)), tf.constant([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(EuclideanNorm().contributions(x, y), [[9 / 5, 0, 16 / 5], [0, 0, 0]], rtol=1e-6)


@for_each_scaled
def test_general_contributions_to_a_square_error_are_its_own(distortion):
    x, y = normal(2, 6, 3, 2)
    twin = FunctionDistortion(lambda x, y: distortion(x, y))
    np.testing.assert_allclose(twin.contributions(x, y), distortion.contributions(x, y), rtol=1e-14)


def test_general_contributions_split_the_squared_length():
    x, delta = normal(2, 6, 5)
    coupled = FunctionDistortion(lambda x, y: tf.reduce_sum(y - x, axis=1) ** 2)  # A(x) is 1 everywhere
    split = coupled.contributions(x, x + delta)
    np.testing.assert_allclose(split, delta * tf.reduce_sum(delta, axis=1, keepdims=True), rtol=1e-9)
    assert np.min(split) < 0
    quartic = FunctionDistortion(shifted_quartic)
    for step, accuracy in ((1e-2, 0.1), (1e-5, 1e-4)):
        total = tf.reduce_sum(quartic.contributions(x, x + step * delta), axis=1)
        np.testing.assert_allclose(total, step**2 * quartic.inner_product(x, delta, delta), rtol=1e-9)
        np.testing.assert_allclose(total, quartic.excess(x, x + step * delta), rtol=accuracy)


def test_contributions_without_metric_or_formula_are_refused():
    class Absolute(Distortion):
        has_metric = False

    with pytest.raises(NotImplementedError, match="Absolute has no metric tensor"):
        Absolute().contributions(normal(2, 5), normal(2, 5))
