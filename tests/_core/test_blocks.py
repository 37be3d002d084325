"""How many rows are worked on at once, and which are taken of many."""

import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga._core import blocks


@pytest.mark.parametrize("each", [1, 784 * 10, 12288 * 64])
def test_a_block_is_the_largest_within_the_limit(each):
    rows = blocks.block_rows(blocks.TANGENTS, each)
    assert rows * each <= blocks.TANGENTS < (rows + 1) * each


def test_a_block_has_a_row_in_any_case_and_no_more_than_the_most():
    assert blocks.block_rows(10, 90) == blocks.block_rows(10, 90, most=5) == 1
    assert blocks.block_rows(10, 0, most=5) == blocks.block_rows(10, 1, most=5) == 5


@pytest.mark.parametrize(("rows", "size"), [(0, 3), (1, 3), (9, 3), (10, 3)])
def test_slices_are_the_rows_in_order(rows, size):
    parts = [np.arange(rows)[part] for part in blocks.slices(rows, size)]
    assert parts and all(len(part) == size for part in parts[:-1])
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(rows))


@pytest.mark.parametrize(("rows", "most", "taken"), [(4, 9, 4), (9, 9, 9), (10, 9, 5), (1000, 9, 9)])
def test_places_are_evenly_spread(rows, most, taken):
    places = blocks.places(rows, most)
    assert len(places) == taken and len(set(np.diff(places))) == 1 and rows - places[-1] <= np.diff(places)[0]


@pytest.mark.parametrize("expected", [1, 900])
@pytest.mark.parametrize("cuts", [[], [1, 8, 500], range(1, 900)])
def test_a_sample_does_not_depend_on_the_batches(cuts, expected):
    sample = blocks.EvenSample(100, expected)
    for batch in np.split(np.arange(900), cuts):
        sample.add(tf.constant(batch))
    stride = sample.stride
    assert 50 <= len(sample.rows) <= 100
    np.testing.assert_array_equal(sample.rows, np.arange(0, 900, stride))
