"""What counts as rounding: of columns that are constant, and of values that are one."""

import numpy as np
import pandas as pd
import pytest

from tf_radogaga import MinMaxScaling
from tf_radogaga._core import rounding

NOISE = np.where(np.arange(40) % 3, 0.1 + 0.2, 0.3)


@pytest.mark.parametrize(
    ("low", "high", "constant"),
    [
        (0.3, 0.1 + 0.2, True),
        (1 - 2**-53, 1 + 2**-52, True),
        (-5.0, -5.0, True),
        (0.0, 0.0, True),
        (0.0, 1e-100, False),
        (1.7e9, 1.7e9 + 1e-3, False),
        (2.0**53, 2.0**53 + 1000, False),
        (-1e-30, 1e-30, False),
    ],
)
def test_a_spread_of_rounding_is_constant_at_any_scale(low, high, constant):
    for unit in (1, 2.0**-400, -(2.0**400)):
        ends = sorted([low * unit, high * unit])
        assert rounding.is_constant(*np.array(ends)[:, None]) == [constant]


def test_a_type_tells_its_rounding():
    total = np.float32([1, 1 + 2**-23, 1 - 2**-24])
    frame = pd.DataFrame({"wide": [1.0, 2.0, 3.0], "narrow": total, "whole": [1, 2, 3]})
    narrow = 8 * 2.0**-23
    x = frame.to_numpy(np.float64)
    np.testing.assert_array_equal(rounding.relative(frame, x), [rounding.FLOAT64, narrow, rounding.FLOAT64])
    np.testing.assert_array_equal(rounding.relative(x.astype(np.float32), x), 3 * [narrow])
    # float64 that float32 has made, as where columns of both types are put together
    np.testing.assert_array_equal(rounding.relative(x, x), [rounding.FLOAT64, narrow, rounding.FLOAT64])
    whole = np.array([[2.0**23], [2.0**23 + 1]])
    np.testing.assert_array_equal(rounding.relative(whole, whole), [rounding.FLOAT64])


def test_values_that_differ_by_rounding_are_one_and_no_others():
    levels = np.random.default_rng(0).choice([0.0, 0.1, 0.3, 7e9], (200, 2))
    noisy = levels.copy()
    noisy[::2] = np.nextafter(levels[::2], 1e10)
    merged = rounding.merged(noisy)
    assert [len(np.unique(column)) for column in merged.T] == [5, 5]  # 0 and the least number beside it stay two
    np.testing.assert_allclose(merged, levels, rtol=1e-15, atol=1e-300)
    assert rounding.merged(levels) is levels
    fine = 1 + 2.0**-52 * np.arange(1000)[:, None]  # as time in steps of its type
    np.testing.assert_array_equal(rounding.merged(fine), fine)


def test_scaling_takes_columns_of_rounding_as_constant_and_shows_others():
    rows = np.stack([NOISE, 1.7e9 * NOISE, np.arange(40.0)], axis=1)
    layer = MinMaxScaling(3)
    layer.adapt(rows)
    x = layer(layer.check(rows)).numpy()
    assert np.abs(x[:, :2]).max() < 2e-7 and x[:, 2].max() == 1
    rows[5, :2] = [0.8, 3 * rows[0, 1]]
    np.testing.assert_allclose(layer(layer.check(rows))[5, :2], [0.5, 2], rtol=1e-6)
    typed = MinMaxScaling(2)
    typed.adapt(iter([np.float32([[0.3, 0], [0.3 + 2**-25, 1]]), np.float32([[0.3 - 2**-25, 2]])]))
    np.testing.assert_array_equal(typed.range, [1, 2])
