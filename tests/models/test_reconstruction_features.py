"""The quick features of scores and of training beside the plain ones in float64."""

import numpy as np
import tensorflow as tf

from tf_radogaga.models.reconstruction_features import with_exact_features, with_features, with_scored_features


def _rows(scale, closeness, seed=0):
    """z, x and an x_hat off by `closeness` of x."""
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=(40, 30))
    x_hat = x + closeness * scale * rng.normal(size=x.shape)
    return [tf.constant(t, tf.float32) for t in (rng.normal(size=(40, 2)), x, x_hat)]


def test_quick_features_are_the_plain_ones():
    for closeness in (1e-4, 1e-2, 1.0, 3.0):
        rows = _rows(2.0, closeness)
        quick, plain = with_scored_features(*rows).numpy(), with_exact_features(*rows).numpy()
        np.testing.assert_array_equal(quick[:, :2], plain[:, :2])
        np.testing.assert_allclose(quick[:, 2], plain[:, 2], rtol=5e-7)
        np.testing.assert_allclose(quick[:, 3], plain[:, 3], rtol=0, atol=1e-6 * min(closeness, 1))


def test_rows_of_another_order_than_x_hat_are_done_in_float64_each_for_itself():
    z, x, x_hat = _rows(1.0, 0.1)
    scales = np.ones((40, 1))
    scales[::4, 0] = [1e25, -1e6, 1e3, 0, 1e-5, 1e-20, 7, -1e38, 1e19, 0.05]
    odd = x * tf.constant(scales, tf.float32)
    quick = with_scored_features(z, odd, x_hat).numpy()
    assert np.isfinite(quick).all()
    np.testing.assert_allclose(quick[::4], with_exact_features(z, odd, x_hat).numpy()[::4], rtol=1e-12)
    usual = scales[:, 0] == 1
    np.testing.assert_array_equal(quick[usual], with_scored_features(z, x, x_hat).numpy()[usual])


def test_two_rows_of_zeros_are_at_distance_1_and_cosine_0():
    zeros = [tf.zeros((1, n)) for n in (2, 5, 5)]
    np.testing.assert_allclose(with_scored_features(*zeros), [[0, 0, 1, 0]])
    np.testing.assert_allclose(with_exact_features(*zeros), [[0, 0, 1, 0]])


def test_a_row_that_is_not_finite_leaves_the_others_as_they_are():
    z, x, x_hat = _rows(1.0, 0.1)
    quick = with_scored_features(z, x, x_hat).numpy()
    bad = tf.tensor_scatter_nd_update(x, [[3, 4], [5, 0]], [np.nan, np.inf])
    others = np.delete(np.arange(40), [3, 5])
    found = with_scored_features(z, bad, x_hat).numpy()
    np.testing.assert_array_equal(found[others], quick[others])
    assert not np.isfinite(found[[3, 5]]).all(axis=1).any()


def _with_gradients(features, z, x, x_hat):
    """Features and, for a loss that weighs distance and cosine alike, the gradients to x and x_hat."""
    with tf.GradientTape() as tape:
        tape.watch([x, x_hat])
        found = features(z, x, x_hat)
        loss = tf.reduce_sum(found[:, 2] + 1e3 * (1 - found[:, 3]))
    return found, tape.gradient(loss, [x, x_hat])


def test_features_of_training_and_their_gradients_are_the_plain_ones():
    for closeness in (1e-2, 1.0, 3.0):
        rows = _rows(0.5, closeness)
        found, gradients = _with_gradients(with_features, *rows)
        plain, plain_gradients = _with_gradients(with_exact_features, *rows)
        np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6 * min(closeness, 1))
        for gradient, right in zip(gradients, plain_gradients):
            np.testing.assert_allclose(gradient, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())


def test_training_on_rows_of_zeros_has_finite_gradients():
    for x, x_hat in ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        _, gradients = _with_gradients(with_features, tf.zeros((1, 2)), tf.fill((1, 5), x), tf.fill((1, 5), x_hat))
        assert np.isfinite(gradients).all()
