import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga._core.squares import sum_of_squares


@pytest.mark.parametrize(("shape", "first_axis"), [((4, 3), 1), ((2, 3, 3, 2), 1), ((4, 2, 3), 2), ((3,), 1)])
@pytest.mark.parametrize("compiled", [False, True])
def test_values_and_derivatives_of_both_orders_are_those_of_the_plain_sum(shape, first_axis, compiled):
    rng = np.random.default_rng(0)
    values, direction = (tf.constant(rng.normal(size=shape)) for _ in range(2))

    def plain(values):
        return tf.reduce_sum(tf.square(values), axis=list(range(first_axis, len(shape))))

    def derivatives(function):
        with tf.GradientTape() as outer:
            outer.watch(values)
            with tf.GradientTape() as inner:
                inner.watch(values)
                sums = function(values)
                total = tf.reduce_sum(tf.sin(sums))
            gradient = inner.gradient(total, values)
        with tf.autodiff.ForwardAccumulator(values, direction) as forward:
            sums = function(values)
        return sums, gradient, outer.gradient(gradient, values, output_gradients=direction), forward.jvp(sums)

    evaluated = tf.function(derivatives) if compiled else derivatives
    for found, expected in zip(evaluated(functools.partial(sum_of_squares, first_axis=first_axis)), derivatives(plain)):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_gradient_taken_inside_of_a_vectorized_map_is_kept():
    values = tf.constant(np.random.default_rng(0).normal(size=(5, 4, 3)))

    def gradient(rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            sums = sum_of_squares(rows)
        return tape.gradient(sums, rows)

    np.testing.assert_allclose(tf.vectorized_map(gradient, values), 2 * values, rtol=1e-12)
