"""The arithmetic of the benchmark of steps, and that its other ways train; nothing is timed."""

import bench_steps
import families
import numpy as np
import pytest

FAMILY = "RaDOGAGA, mixture"
TIMES = {"forward": 1.0, "gradients": 3.0, "update": 3.5, "fit": 4.0, "few rows": 0.5, "distortion": 0.2, "XLA": 5.0}


def test_parts_are_shares_of_a_step_and_other_ways_ratios():
    head, _, line = bench_steps.table({FAMILY: TIMES}).splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [FAMILY, "1024", "4.00", "25%", "50%", "12%", "12%", "12%", "5%", "1.25", "", "", "", ""]
    assert head.count("|") == line.count("|")


@pytest.mark.slow  # traces and compiles nine trainings
def test_every_way_trains_the_same_rows(monkeypatch):
    monkeypatch.setitem(
        families.FAMILIES, FAMILY, families.dataclasses.replace(families.FAMILIES[FAMILY], batch_size=64)
    )
    ways = families.forms(FAMILY, families.rows(FAMILY, steps=2))
    assert set(ways) == {"fit", *bench_steps.WAYS} - {"bfloat16"}
    assert ways["two decoder calls"]() > 0 and ways["rows shuffled one by one"]() > 0


@pytest.mark.parametrize("family", families.FAMILIES)
def test_rows_are_those_that_the_family_takes(family):
    rows = families.rows(family, steps=1)
    checked = families.preprocessing(family).check(rows)
    assert len(rows) == families.FAMILIES[family].batch_size and np.isfinite(checked).all()
