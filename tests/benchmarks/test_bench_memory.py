"""The benchmark of memory: its table, and that both sides train; nothing is measured."""

import bench_memory
import numpy as np
import pytest


def test_a_line_a_side():
    lines = bench_memory.table({"a": {"compiled": 0.26, "fit": 3.0, "clear_session": 2.0}}).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["a", "0.3", "3.0", "2.0"]


@pytest.mark.parametrize("side", bench_memory.SIDES)
def test_both_sides_have_the_same_layers(side):
    model, _ = bench_memory.SIDES[side](np.zeros((4, bench_memory.COLUMNS), np.float32))
    shapes = {tuple(variable.shape) for variable in model.trainable_variables}
    assert {(16, 32), (32, 3), (3, 32), (32, 16)} <= shapes


def test_memory_is_that_of_the_process():
    before = bench_memory.resident()
    held = np.ones(25_000_000)
    assert 150 < bench_memory.resident() - before < 250 and held[-1] == 1
