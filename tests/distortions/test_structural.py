"""1 - SSIM: against a plain NumPy implementation, and its invariances."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.distortions import gradients_of, uniform

from tf_radogaga import StructuralDissimilarity


def _plain_windows(x, y, window=11, c1=0.01**2, c2=0.03**2):
    """SSIM of each window and channel: NumPy float64, by the definition, one window after another."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    x, y = (np.lib.stride_tricks.sliding_window_view(t, (window, window), axis=(1, 2)) for t in (x, y))
    x, y = (t.reshape(*t.shape[:4], -1) for t in (x, y))
    mean_x, mean_y = x.mean(-1), y.mean(-1)
    covariance = ((x - mean_x[..., None]) * (y - mean_y[..., None])).mean(-1)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (x.var(-1) + y.var(-1) + c2)
    return luminance * structure


def _plain_ssim(*arguments, **constants):
    return _plain_windows(*arguments, **constants).mean(axis=(1, 2, 3))


def _pairs(*shape):
    """Pairs of float32 images: unlike, alike, bright and nearly flat, two flat zones."""
    one, other = (uniform(*shape, low=0, high=1, seed=seed).numpy() for seed in (1, 2))
    zones = np.where(np.arange(shape[2])[:, None] < shape[2] // 2, 0.01, 0.97)
    pairs = {
        "unlike": (one, other),
        "alike": (one, 0.99 * one + 0.01 * other),
        "bright flat": (0.95 + 0.03 * one, 0.9 + 0.03 * other),
        "bright flatter": (0.95 + 1e-4 * one, 0.95 + 1e-4 * other),
        "two zones": (zones + 0.02 * one, zones + 0.02 * other),
    }
    return {name: tuple(tf.constant(t, tf.float32) for t in pair) for name, pair in pairs.items()}


@pytest.mark.parametrize("shape", [(2, 11, 11, 1), (2, 11, 30, 3), (2, 40, 24, 2), (3, 32, 32, 3)])
def test_structural_dissimilarity_equals_one_minus_plain_ssim(shape):
    for name, (x, y) in _pairs(*shape).items():
        expected = 1 - _plain_ssim(x, y)
        assert StructuralDissimilarity()(x, y).dtype == tf.float32
        np.testing.assert_allclose(StructuralDissimilarity()(x, y), expected, rtol=3e-7, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("window", [1, 4, 9])
def test_structural_dissimilarity_of_other_windows_and_ranges(window):
    x, y = uniform(2, 9, 12, 2), uniform(2, 9, 12, 2, seed=2)
    distortion = StructuralDissimilarity(window, k1=0.02, k2=0.05, max_value=255)
    expected = 1 - _plain_ssim(255 * x, 255 * y, window, (0.02 * 255) ** 2, (0.05 * 255) ** 2)
    np.testing.assert_allclose(distortion(255 * x, 255 * y), expected, rtol=1e-9)


def test_structural_dissimilarity_without_constants_is_the_formula_of_the_papers():
    for name, (x, y) in _pairs(2, 13, 16, 3).items():
        expected = 1 - _plain_ssim(x, y, c1=0, c2=0)
        np.testing.assert_allclose(StructuralDissimilarity(k1=0, k2=0)(x, y), expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_structural_dissimilarity_without_constants_in_flat_windows(dtype):
    levels = [uniform(50, 1, 1, 1, dtype=dtype, seed=seed) for seed in (3, 4)]
    a, b = (tf.tile(level, (1, 14, 13, 1)) for level in levels)
    black, textured = tf.zeros_like(a), uniform(50, 14, 13, 1, dtype=dtype)
    distortion = StructuralDissimilarity(k1=0, k2=0)
    a_level, b_level = (tf.reshape(level, (-1,)) for level in levels)
    expected = (a_level - b_level) ** 2 / (a_level**2 + b_level**2)
    np.testing.assert_allclose(distortion(a, b), expected, rtol=1e-4)
    np.testing.assert_array_equal(distortion(a, a), np.zeros(50))
    np.testing.assert_array_equal(distortion(black, black), np.zeros(50))
    np.testing.assert_allclose(distortion(a, textured), np.ones(50), rtol=1e-6)
    expected = b_level**2 / (2 * a_level**2)
    np.testing.assert_allclose(distortion.inner_product(a, b, b), expected, rtol=1e-4)
    # the structure of a flat window is left out, not divided by nearly nothing
    np.testing.assert_array_less(distortion.inner_product(a, textured, textured), 100)
    np.testing.assert_array_equal(distortion.inner_product(black, b, b), np.zeros(50))
    for x, y in itertools.product((a, b, black), repeat=2):
        for gradient in gradients_of(distortion, x, y):
            assert np.isfinite(gradient).all() and np.max(abs(gradient)) < 1


def test_structural_dissimilarity_is_symmetric_and_blind_to_flips():
    distortion = StructuralDissimilarity()
    for x, y in _pairs(2, 14, 17, 2).values():
        value = distortion(x, y)
        np.testing.assert_array_less(0, value)
        np.testing.assert_allclose(distortion(x, x), [0, 0], atol=1e-12)
        np.testing.assert_allclose(distortion(y, x), value, rtol=1e-6)
        for axes in ([1], [2], [1, 2], [3]):
            np.testing.assert_allclose(distortion(tf.reverse(x, axes), tf.reverse(y, axes)), value, rtol=1e-6)
            turned = tf.reverse(distortion.contributions(tf.reverse(x, axes), tf.reverse(y, axes)), axes)
            np.testing.assert_allclose(turned, distortion.contributions(x, y), rtol=1e-5)
        transposed = [tf.transpose(t, (0, 2, 1, 3)) for t in (x, y)]
        np.testing.assert_allclose(distortion(*transposed), value, rtol=1e-6)


def test_structural_dissimilarity_in_a_graph_of_unknown_batch_size():
    x, y = _pairs(2, 14, 17, 2)["alike"]
    distortion = StructuralDissimilarity()
    compiled = tf.function(distortion, input_signature=[tf.TensorSpec((None, 14, 17, 2))] * 2)
    np.testing.assert_allclose(compiled(x, y), distortion(x, y), rtol=1e-6)
    unknown = tf.function(distortion.inner_product, input_signature=[tf.TensorSpec((None,) * 4)] * 3)
    np.testing.assert_allclose(unknown(x, y, x), distortion.inner_product(x, y, x), rtol=1e-6)
    gradients = tf.function(functools.partial(gradients_of, distortion))(x, y)
    for gradient, other in zip(gradients, gradients_of(distortion, *(tf.cast(t, tf.float64) for t in (x, y)))):
        np.testing.assert_allclose(gradient, other, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("window", [1, 4, 9])
def test_contributions_share_each_window_among_its_pixels(window):
    x, y = uniform(2, 9, 12, 2), uniform(2, 9, 12, 2, seed=2)
    values = 1 - _plain_windows(x, y, window)
    expected = np.zeros(x.shape)
    for i, j in np.ndindex(values.shape[1:3]):
        expected[:, i : i + window, j : j + window] += values[:, i : i + 1, j : j + 1] / (window**2 * values[0].size)
    distortion = StructuralDissimilarity(window)
    np.testing.assert_allclose(distortion.contributions(x, y), expected, rtol=1e-9, atol=1e-15)
    unknown = tf.function(distortion.contributions, input_signature=[tf.TensorSpec((None,) * 4, tf.float64)] * 2)
    np.testing.assert_allclose(unknown(x, y), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_contributions_are_those_of_windows_that_see_a_difference(dtype):
    x = uniform(2, 40, 44, 2, dtype=dtype)
    y, seen = x.numpy(), np.zeros(x.shape, bool)
    y[:, 15:18, 20:22, 1] += 0.1
    seen[:, 15 - 10 : 18 + 10, 20 - 10 : 22 + 10, 1] = True  # within 11 pixels, in that channel
    contributions = StructuralDissimilarity().contributions(x, tf.constant(y)).numpy()
    np.testing.assert_array_less(0, contributions[seen])
    np.testing.assert_array_equal(contributions[~seen], 0)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 10, 64, 3), r"\(2, 10, 64, 3\) is smaller than the 11 x 11 window; .* at most 10"),
        ((2, 64, 8, 3), r"\(2, 64, 8, 3\) is smaller than the 11 x 11 window; .* at most 8"),
        ((2, 192), r"\(2, 192\) is not \(B, H, W, C\); reshape"),
        ((2, 4, 64, 64, 3), r"\(2, 4, 64, 64, 3\) is not \(B, H, W, C\); reshape"),
        ((2, 64, 64), r"\(2, 64, 64\) is not \(B, H, W, C\); reshape"),
    ],
)
def test_images_that_do_not_fit(shape, message):
    x = tf.zeros(shape)
    with pytest.raises(ValueError, match=message):
        StructuralDissimilarity()(x, x)
    with pytest.raises(ValueError, match=message):
        StructuralDissimilarity().inner_product(x, x, x)


@pytest.mark.parametrize("argument", [{"window": 0}, {"k1": -1}, {"k2": -0.1}, {"max_value": 0}])
def test_structural_dissimilarity_names_a_bad_argument(argument):
    with pytest.raises(ValueError, match=f"{next(iter(argument))}: "):
        StructuralDissimilarity(**argument)
