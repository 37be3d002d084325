"""What each element adds to -log p(x)."""

import math

import numpy as np
import pytest
from helpers.image_models import radogaga, smooth_images
from helpers.linear_models import SCALE, linear_model, rotation_matrix
from helpers.linear_vae import optimum

from tf_radogaga import MixturePrior, explain

NOISE = 0.1


def rows_near_axes(n=2000, seed=0):
    """In five columns: the first two along the plane, of deviations 3 and 1, the others noise."""
    return (np.random.default_rng(seed).normal(size=(n, 5)) * [3, 1, NOISE, NOISE, NOISE]).astype(np.float32)


@pytest.fixture(scope="module")
def plane():
    kernel = np.eye(2, 5) / math.sqrt(SCALE)
    model = linear_model(kernel, MixturePrior(2, 1), rows_near_axes())
    model.adapt_residuals(rows_near_axes(seed=1))
    return model


def log_p(model, rows):
    return model.log_density(rows, space="ambient").numpy()


def test_a_gaussian_has_the_parts_of_its_closed_form(plane):
    rows, normal = rows_near_axes(20, seed=2) * 2, rows_near_axes(300, seed=3)
    found = explain(plane, rows, normal)
    squares = [np.square(x.astype(float)) / np.square([3, 1, NOISE, NOISE, NOISE]) / 2 for x in (rows, found.typical)]
    parts = squares[0] - squares[1]
    np.testing.assert_allclose(found.on_manifold[:, :2], parts[:, :2], atol=0.1, rtol=0.1)
    np.testing.assert_allclose(found.off_manifold[:, 2:], parts[:, 2:], atol=0.1, rtol=0.1)
    np.testing.assert_allclose(found.on_manifold[:, 2:], 0, atol=1e-3)
    np.testing.assert_allclose(found.off_manifold[:, :2], 0, atol=1e-3)


def test_the_parts_sum_to_what_the_row_is_less_likely_by(plane):
    rows, normal = rows_near_axes(20, seed=2) * 2, rows_near_axes(300, seed=3)
    found = explain(plane, rows, normal)
    gap = log_p(plane, found.typical) - log_p(plane, rows)
    np.testing.assert_allclose(np.sum(found.on_manifold + found.off_manifold, axis=1), gap, rtol=1e-3, atol=1e-3)
    assert (log_p(plane, found.typical) >= np.median(log_p(plane, normal))).all()
    assert {row.tobytes() for row in found.typical} <= {row.tobytes() for row in normal}
    some = explain(plane, rows[3:4], normal)  # others change nothing
    np.testing.assert_allclose(some.off_manifold[0], found.off_manifold[3], rtol=1e-4, atol=1e-4)


def test_a_rotation_of_the_columns_turns_the_gradients_with_it():
    turn = rotation_matrix(5)
    rows = rows_near_axes() @ turn.astype(np.float32)
    model = linear_model(turn[:2] / math.sqrt(SCALE), MixturePrior(2, 1), rows)
    model.adapt_residuals(rows)
    moved = rows[:9].copy()
    moved[:, 0] += 1.0
    found = explain(model, moved, rows[100:400])
    assert (np.argmax(found.off_manifold, axis=1) == 0).all()


@pytest.mark.thorough
def test_images_are_explained_by_pixels():
    model = radogaga()
    images = smooth_images(160)
    model.compile("adam")
    model.fit(images[:100], epochs=1, verbose=0)
    model.adapt_residuals(images[100:])
    spoilt = images[:3].copy()
    spoilt[:, 2:4, 2:4] = 255 - spoilt[:, 2:4, 2:4]
    found = explain(model, spoilt, images[:100])
    assert found.on_manifold.shape == found.off_manifold.shape == found.typical.shape == model.preprocess(spoilt).shape
    total = np.sum(found.on_manifold + found.off_manifold, axis=(1, 2, 3))
    raw = np.clip(np.round(found.typical * 255), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(total, log_p(model, raw) - log_p(model, spoilt), rtol=0.05, atol=1)


def test_a_vae_has_parts_too():
    model, rows = optimum()
    model.adapt_residuals(rows)
    found = explain(model, rows[:5], rows)
    gap = log_p(model, found.typical) - log_p(model, rows[:5])
    np.testing.assert_allclose(np.sum(found.on_manifold + found.off_manifold, axis=1), gap, rtol=1e-3, atol=1e-2)


def test_what_has_no_density_of_all_space_is_refused(plane):
    unknown = linear_model(np.eye(2, 5) / math.sqrt(SCALE), MixturePrior(2, 1), rows_near_axes())
    with pytest.raises(NotImplementedError, match="the law of residuals is not known"):
        explain(unknown, rows_near_axes(3), rows_near_axes(3))
    for bad, message in ((np.empty((0, 5)), "empty"), (rows_near_axes(3)[:, :2], r"shape \(3, 2\)")):
        with pytest.raises(ValueError, match=f"normal_rows: rows: .*{message}"):
            explain(plane, rows_near_axes(3), bad)
    far = np.float32([5 * [1e25], 5 * [1e25], 5 * [0]])
    np.testing.assert_array_equal(explain(plane, rows_near_axes(3), far).typical, far[[2, 2, 2]])
    with pytest.raises(ValueError, match="normal_rows: float32 overflows at all of them"):
        explain(plane, rows_near_axes(3), far[:2])
    with pytest.raises(ValueError, match="row 1"):
        explain(plane, np.float32([5 * [0], 5 * [np.nan]]), rows_near_axes(3))
