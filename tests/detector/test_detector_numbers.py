"""Columns of any offset and scale: an `AnomalyDetector` scores them right, and what is served agrees or is refused."""

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.marks import after
from helpers.models import clusters, scaled, small_model

from tf_radogaga import AnomalyDetector, PassThrough
from tf_radogaga.detector.export import served_model

ROWS = 120
RNG = np.random.default_rng(0)
PLAIN = RNG.normal(size=ROWS)
OTHER = RNG.gamma(2.0, size=ROWS)
AGREEMENT = 1e-4
"""Of served scores, in nats."""


def beside(column):
    """A column together with one that varies plainly."""
    return np.stack([column, PLAIN], axis=1)


def fitted(rows):
    return AnomalyDetector(random_state=0, false_positive_rate=0.05).fit(rows)


def served(detector, rows):
    with np.errstate(over="ignore"):
        held = tf.constant(np.asarray(rows, np.float32))
    found = {name: values.numpy() for name, values in served_model(detector).scores(held).items()}
    assert found["valid"].all()
    return found


def assert_served_alike(detector, rows):
    found = served(detector, rows)
    for score in (found["log_density"], -found["energy"]):
        assert np.abs(score - detector.score_samples(rows)).max() < AGREEMENT
        assert np.abs(score - detector.score_samples(np.asarray(rows, np.float32))).max() < AGREEMENT
    np.testing.assert_array_equal(found["anomaly"], detector.predict(rows) == -1)


# Columns that are constant


def _shares(kind):
    shares = np.random.default_rng(1).random((ROWS, 30)).astype(kind)
    return sum(column for column in (shares / shares.sum(axis=1, keepdims=True)).T)


NOISY = {
    "sum": np.where(PLAIN > 0, 0.1 + 0.2, 0.3),
    "shares": _shares(np.float64),
    "shares of float32": _shares(np.float32),
    "one step": np.where(PLAIN > 0, 1.0, 1 + 2**-52),
    "between two numbers of float32": np.where(PLAIN > 0, 1 + 2**-24, 1 + 2**-24 + 2**-52),
    "greater": np.where(PLAIN > 0, 6e6 * (0.1 + 0.2), 6e6 * 0.3),
    "smaller": np.where(PLAIN > 0, 1e-30 * (0.1 + 0.2), 1e-30 * 0.3),
    "below the normal numbers": 5e-324 * np.arange(ROWS),
}


@pytest.mark.parametrize("name", after(3, NOISY))
def test_a_column_that_varies_by_rounding_alone_is_constant(name):
    rows = beside(NOISY[name])
    assert len(np.unique(rows[:, 0])) > 1
    detector, constant = fitted(rows), fitted(beside(np.full(ROWS, rows[0, 0])))
    scores = detector.score_samples(rows)
    np.testing.assert_allclose(scores, constant.score_samples(beside(rows[0, 0] + np.zeros(ROWS))), atol=1e-9)
    assert (detector.predict(rows) == -1).mean() < 0.1
    assert_served_alike(detector, rows)
    other = beside(rows[:, 0] + 0.5 + np.abs(rows[:, 0]))
    np.testing.assert_allclose(scores - detector.score_samples(other), math.log(ROWS + 1))
    assert_served_alike(detector, other)


def test_rounding_of_columns_is_that_of_their_type():
    total = NOISY["shares of float32"]
    frame = pd.DataFrame({"total": total, "other": PLAIN})
    for rows in (frame, beside(total).astype(np.float32), beside(total)):
        assert not fitted(rows).scorer_.latent.varies[0]
    text = frame.assign(kind=np.where(PLAIN > 0, "a", "b"))
    detector = fitted(text)
    varies, encoding = detector.scorer_.latent.varies, detector.scorer_.encoding
    assert not varies[0] and varies[1:].all()
    inputs = encoding.to_inputs(encoding.check(text))
    found = served_model(detector).scores(encoding.from_inputs(inputs))
    np.testing.assert_array_equal(found["anomaly"], detector.predict(text) == -1)


def test_levels_that_differ_by_rounding_are_one_level():
    levels = RNG.choice([0.1, 0.2, 0.3, 0.7], (ROWS, 2), p=[0.5, 0.3, 0.1, 0.1])
    noisy = np.where(RNG.random((ROWS, 2)) < 0.5, np.nextafter(levels, 1), levels)
    detector, clean = fitted(noisy), fitted(levels)
    assert detector.scorer_.average.centres.shape == clean.scorer_.average.centres.shape
    np.testing.assert_allclose(detector.score_samples(noisy), clean.score_samples(levels), atol=1e-6)
    assert detector.threshold_ == pytest.approx(clean.threshold_, abs=1e-6)


def test_a_new_value_in_a_constant_column_is_told_from_rounding():
    detector = fitted(beside(np.full(ROWS, 1.7e9)))
    same, new, later, rounded = detector.score_samples([[1.7e9 + d, 0] for d in (0, 50, 1000, 1e-6)])
    assert same == rounded and new == later == pytest.approx(same - math.log(ROWS + 1))
    third = fitted(beside(np.full(ROWS, 0.3)))
    # float32 does not tell 0.3 + 1e-9 from 0.3
    values = [0.3, 0.1 + 0.2, np.float32(0.3), 0.3 + 1e-9, np.nextafter(np.float32(0.3), np.float32(1)), 0.3 + 1e-7]
    scores = third.score_samples([[value, 0] for value in values])
    np.testing.assert_allclose(scores[0] - scores, [0, 0, 0, 0, math.log(ROWS + 1), math.log(ROWS + 1)])
    found = served(third, [[values[0], 0], [values[2], 0], [values[4], 0]])["log_density"]
    np.testing.assert_allclose(found, scores[[0, 2, 4]], atol=1e-5)


@pytest.mark.parametrize("constant", after(3, [1e-310, 0.3, 123456.789, 0, 1e-40, -1e-30, -7, 1e5, 2.0**24 - 1]))
def test_any_value_beside_a_constant_is_served_as_it_is_scored(constant):
    detector = fitted(beside(np.full(ROWS, constant)))
    step = max(float(np.spacing(np.float32(np.abs(constant)))), 1e-45)
    offsets = np.outer([-1, 1], [0, 1e-12, 1e-3, 0.3, 0.49, 0.51, 1, 1.4, 3, 1e6, 1e12]).ravel() * step
    rows = np.stack([constant + np.append(offsets, [1e-300, 1e-39, 1, 1e30]), np.zeros(len(offsets) + 4)], axis=1)
    assert_served_alike(detector, rows)
    scores = detector.score_samples(rows)
    assert scores.min() == pytest.approx(scores.max() - math.log(ROWS + 1))


def test_what_float32_misses_beside_a_constant_is_none_of_the_scores():
    detector = fitted(beside(np.full(ROWS, 1e5)))
    scores = detector.score_samples([[1e5 + d, 0] for d in (0, 0.001, -0.001, 0.008, 1)])
    np.testing.assert_allclose(scores[0] - scores, [0, 0, 0, math.log(ROWS + 1), math.log(ROWS + 1)])


def test_rows_that_are_equal_but_for_rounding_are_refused():
    with pytest.raises(ValueError, match=r"X: all 120 rows are equal"):
        fitted(NOISY["sum"][:, None])


# Columns that vary


@pytest.mark.parametrize("unit", [2.0**600, 2.0**-600, 2.0**1000, 2.0**-1000])
def test_units_of_any_size_shift_the_density_and_nothing_else(unit):
    rows = beside(OTHER)
    expected = fitted(rows).score_samples(rows)
    rows = rows * [unit, 1]
    np.testing.assert_allclose(fitted(rows).score_samples(rows), expected - math.log(unit), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
def test_a_spread_beyond_float64_is_refused():
    with pytest.raises(ValueError, match=r"X: columns \[0\] spread over more than float64 holds; divide"):
        fitted(beside(np.where(PLAIN > 0, 1.5e308, -1.5e308)))


AGREEING = {
    "offset of 30 deviations": 30 + PLAIN,
    "decimals": 1000 + np.round(10 * PLAIN, 1),
    "1e-30": 1e-30 * OTHER,
    "1e30": 1e30 * OTHER,
    "0 and 1": PLAIN > 0,
    "ages": RNG.integers(18, 90, ROWS),
    "whole numbers up to 2^24": 16_000_000 + RNG.integers(0, 100, ROWS),
    "whole numbers far beyond 2^24": RNG.integers(0, 2**50, ROWS),
    "days in seconds": 1.7e9 + 86400.0 * RNG.integers(0, 365, ROWS),
    "float32 in metres": (4.5e6 + 30 * PLAIN).astype(np.float32),
    "an outlier of 1e12": np.where(np.arange(ROWS) == 7, 1e12, PLAIN),
    "twice": PLAIN,
    "constant": np.full(ROWS, 0.3),
    "constant below float32": np.full(ROWS, 1e-310),
}


@pytest.mark.parametrize("name", after(4, AGREEING))
def test_served_scores_and_flags_are_those_of_the_detector(name):
    rows = beside(AGREEING[name]).astype(np.float64)
    detector = fitted(rows)
    assert_served_alike(detector, rows)


REFUSED = {
    "metres": (4.5e6 + 0.3 * PLAIN, r"reaches 450000\d\.\d+, where float32.* has steps of 0\.5; .*subtract a constant"),
    "seconds": (1.7e9 + 20 * PLAIN, r"varies by about .*has steps of 128; .*subtract a constant"),
    "whole seconds": (1_700_000_000 + RNG.integers(0, 120, ROWS), r"has steps of 128; .*subtract a constant"),
    "1e-44": (1e-44 * OTHER, r"served scores would differ.*multiply it by a constant before fit"),
    "1e200": (1e200 * OTHER, r"which float32.* does not hold; divide it by a constant before fit"),
    "constant of 1.7e9": (np.full(ROWS, 1.7e9), r"is constant at 1700000000, .*steps of 128.*subtract .* or drop it"),
    "constant of 1e300": (np.full(ROWS, 1e300), r"does not hold; divide it by a constant before fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_float32_spoils_is_refused_at_export_and_named(name, tmp_path):
    column, message = REFUSED[name]
    frame = pd.DataFrame({"plain": PLAIN, "far away": column})
    detector = fitted(frame)
    assert np.isfinite(detector.score_samples(frame)).all()
    with pytest.raises(ValueError, match=f"^X: column 'far away' .*{message}"):
        detector.export(tmp_path)
    assert not list(tmp_path.iterdir())


def test_all_columns_that_float32_spoils_are_named():
    with pytest.raises(ValueError, match=r"X: column [12] .* The same holds for [12]\.$"):
        served_model(fitted(np.stack([PLAIN, 1e6 + OTHER, 1e6 + PLAIN**2], axis=1)))


@pytest.mark.parametrize("share", after(1, [0.05, 0, 0.01, 0.1]))
def test_a_row_at_the_threshold_is_served_as_it_is_scored(share):
    rows = beside(50 + PLAIN)[:101]
    detector = fitted(rows).set_threshold(rows, quantile=share)
    assert (detector.score_samples(rows) == detector.threshold_).any()
    np.testing.assert_array_equal(served(detector, rows)["anomaly"], detector.predict(rows) == -1)
    levels = np.round(rows)
    detector = fitted(levels).set_threshold(levels, quantile=share)
    np.testing.assert_array_equal(served(detector, levels)["anomaly"], detector.predict(levels) == -1)


def test_a_threshold_moves_no_further_than_scores_may_differ():
    detector = fitted(beside(OTHER))
    for threshold, around, served_threshold in [
        (-3.0, (-4.0, -2.0), 3.0),
        (-2.0, (-4.0, -2.0), 2.0 + 1e-4),
        (-2.0, (-2.00001, -2.0), 2.000005),
        (-2.0, (-2.0 - 1e-9, -2.0), 2.0),
        (-2.0, (-math.inf, -2.0), 2.0 + 1e-4),
        (-3.0, (-1.0, 0.0), 3.0),  # set by hand since
    ]:
        vars(detector).update(threshold_=threshold, _around_threshold=around)
        assert served_model(detector).threshold.numpy() == pytest.approx(served_threshold, abs=3e-7)


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.filterwarnings("ignore:columns .*float32 keeps fewer than 1000 steps")
def test_a_model_is_served_as_it_scores_at_any_offset(scaling):
    rows = clusters(ROWS) * [20, 1, 1, 1] + [1.7e9, 0, 0, 0]
    model = small_model("vae-decomposed", scaled(rows) if scaling else PassThrough(4))
    model.compile(tf.keras.optimizers.Adam(1e-4), run_eagerly=True)
    detector = AnomalyDetector(model, epochs=1, false_positive_rate=0.1).fit(rows)
    found = served(detector, rows)
    np.testing.assert_allclose(found["log_density"], detector.score_samples(rows), rtol=1e-6, atol=AGREEMENT)
    np.testing.assert_array_equal(found["anomaly"], detector.predict(rows) == -1)


@pytest.mark.parametrize("start", [10**15, 10**18])
def test_whole_numbers_that_float64_does_not_tell_apart_are_refused(start):
    rows = np.stack([start + np.arange(ROWS) % 10, np.arange(ROWS) % 7], axis=1)
    for table in (rows, pd.DataFrame(rows, columns=["id", "b"]), pd.DataFrame(rows).convert_dtypes()):
        with pytest.raises(ValueError, match=rf"column '(0|id)': its whole numbers, from {start} to .* subtract"):
            fitted(table)
    assert fitted(np.where([True, False], start, rows)).n_features_in_ == 2
