"""The quick features of scores beside the plain ones in float64."""

import numpy as np
import tensorflow as tf

from tf_radogaga.reconstruction_features import with_features, with_scored_features


def _rows(scale, closeness, seed=0):
    """z, x and an x_hat off by `closeness` of x."""
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=(40, 30))
    x_hat = x + closeness * scale * rng.normal(size=x.shape)
    return [tf.constant(t, tf.float32) for t in (rng.normal(size=(40, 2)), x, x_hat)]


def test_quick_features_are_the_plain_ones():
    for closeness in (1e-4, 1e-2, 1.0, 3.0):
        rows = _rows(2.0, closeness)
        quick, plain = with_scored_features(*rows).numpy(), with_features(*rows).numpy()
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
    np.testing.assert_allclose(quick[::4], with_features(z, odd, x_hat).numpy()[::4], rtol=1e-12)
    usual = scales[:, 0] == 1
    np.testing.assert_array_equal(quick[usual], with_scored_features(z, x, x_hat).numpy()[usual])


def test_two_rows_of_zeros_are_at_distance_1_and_cosine_0():
    zeros = [tf.zeros((1, n)) for n in (2, 5, 5)]
    np.testing.assert_allclose(with_scored_features(*zeros), [[0, 0, 1, 0]])
    np.testing.assert_allclose(with_features(*zeros), [[0, 0, 1, 0]])


def test_a_row_that_is_not_finite_leaves_the_others_as_they_are():
    z, x, x_hat = _rows(1.0, 0.1)
    quick = with_scored_features(z, x, x_hat).numpy()
    bad = tf.tensor_scatter_nd_update(x, [[3, 4], [5, 0]], [np.nan, np.inf])
    others = np.delete(np.arange(40), [3, 5])
    found = with_scored_features(z, bad, x_hat).numpy()
    np.testing.assert_array_equal(found[others], quick[others])
    assert not np.isfinite(found[[3, 5]]).all(axis=1).any()
