"""The rows and the arithmetic of the benchmark of scale; nothing is timed."""

import bench_scale
import numpy as np
import pytest


def record(activity, rows, columns, seconds, peak_memory):
    return {"activity": activity, "rows": rows, "columns": columns, "seconds": seconds, "peak_memory": peak_memory}


RECORDS = [
    record("train", 10_000_000, 16, 200, 630.0),
    record("train", 1_000_000, 16, 20, 600.0),
    record("train", 100_000, 16, 2, 590.0),
    record("train", 1_000_000, 512, 80, 900.0),
    record("score", 1_000_000, 16, 4, 500.0),
    record("score", 10_000_000, 16, 40, 490.0),
]


def test_the_stream_ends_in_a_part_of_a_batch_and_is_the_same_at_each_pass():
    stream = bench_scale.stream(2 * bench_scale.BATCH + 5, 3)
    first, second = ([batch.numpy() for batch in stream] for _ in range(2))
    assert [batch.shape for batch in first] == [(bench_scale.BATCH, 3)] * 2 + [(5, 3)]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))
    assert len(stream) == 3


def test_growth_is_that_of_the_usual_columns():
    assert bench_scale.growth(RECORDS, "train") == pytest.approx(0.05)
    assert bench_scale.growth(RECORDS, "score") == pytest.approx(-0.02)


def test_the_table_has_a_line_a_measurement():
    lines = bench_scale.table(RECORDS).splitlines()
    assert len(lines) == 2 + len(RECORDS)
    assert lines[2] == "| train | 10,000,000 | 16 | 200.0 | 50,000 | 630 |"


def test_lines_of_the_figure_go_by_rows_or_by_columns():
    seconds, memory, columns = (axes.lines[0].get_xydata() for axes in bench_scale.figure(RECORDS).axes)
    np.testing.assert_array_equal(seconds, [[1e5, 2], [1e6, 20], [1e7, 200]])
    np.testing.assert_array_equal(memory, [[1e5, 590], [1e6, 600], [1e7, 630]])
    np.testing.assert_array_equal(columns, [[16, 20], [512, 80]])
