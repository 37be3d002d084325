"""What cells of a user's columns may hold: levels, numbers, dates, and what is none of them."""

import datetime
import enum
import uuid
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from helpers.frames import N, fit, numbers, with_column
from helpers.marks import after
from helpers.models import scaled, small_model

import tf_radogaga
from tf_radogaga import AnomalyDetector, MinMaxScaling, PassThrough, TableEncoding
from tf_radogaga.isometry.report import draw
from tf_radogaga.preprocessing.tables import MOST_LEVELS
from tf_radogaga.serving import data_hash


@pytest.fixture(scope="module")
def detector():
    return fit(numbers())


# Levels


class Colour(enum.Enum):
    RED, BLUE = 1, 2


class Word(str, enum.Enum):
    RED, BLUE = "red", "blue"


LEVELS = {
    "intervals": ([pd.Interval(0, 1), pd.Interval(1, 2)], ["(0, 1]", "(1, 2]"]),
    "enum": ([Colour.RED, Colour.BLUE], ["Colour.BLUE", "Colour.RED"]),
    "text enum": ([Word.RED, Word.BLUE], None),
    "uuid": ([uuid.UUID(int=1), uuid.UUID(int=2)], None),
    "bytes": ([b"a", b"b"], ["a", "b"]),
    "text and numbers": ([1, "a", 2.0, 2.5, np.float32(3)], ["1", "2", "2.5", "3", "a"]),
    "bools": ([True, False], ["False", "True"]),
    "dates": ([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], ["2024-01-01", "2024-01-02"]),
    "times": ([datetime.time(1), datetime.time(2)], ["01:00:00", "02:00:00"]),
    "periods": (list(pd.period_range("2024", periods=2, freq="M")), ["2024-01", "2024-02"]),
    "zoned": (list(pd.date_range("2024", periods=1, tz="UTC")), ["2024-01-01 00:00:00+00:00"]),
    "durations": ([pd.Timedelta("1s"), pd.Timedelta("2s")], None),
    "decimals": ([Decimal("1.5"), Decimal(2)], ["1.5", "2"]),
    "fractions": ([Fraction(1, 3), Fraction(2, 3)], ["1/3", "2/3"]),
}


@pytest.mark.parametrize(("cells", "texts"), after(4, LEVELS.values()), ids=LEVELS)
def test_levels_of_any_type_are_saved_as_text(cells, texts, tmp_path):
    frame = with_column(cells)
    detector = fit(frame, categorical=("g",))
    if texts is not None:
        assert detector.scorer_.encoding.columns["g"] == texts
    detector.save(tmp_path / "detector")
    loaded = AnomalyDetector.load(tmp_path / "detector")
    scores, few = detector.score_samples(frame), frame[:3]
    np.testing.assert_array_equal(loaded.score_samples(frame), scores)
    np.testing.assert_array_equal(
        scores, loaded.score_samples(frame.assign(g=[tf_radogaga.preprocessing.cells.level(v) for v in frame["g"]]))
    )
    assert loaded.typical_rows(few).equals(detector.typical_rows(few))
    contributions = loaded.explain(few)
    np.testing.assert_array_equal(contributions, detector.explain(few))
    gap = scores[:3] - detector.score_samples(detector.typical_rows(few))
    np.testing.assert_allclose(contributions.sum(axis=1), gap, atol=1e-9)


@pytest.mark.parametrize(
    "column",
    [
        pd.cut(numbers()[:, 0], 3),
        pd.Categorical([1, 2] * (N // 2)),
        pd.Categorical(list(pd.date_range("2024", periods=2)) * (N // 2)),
        pd.array(["a", "b"] * (N // 2), dtype="string[pyarrow]"),
    ],
    ids=["intervals", "numbers", "dates", "arrow"],
)
def test_columns_of_categories_are_saved(column, tmp_path):
    frame = pd.DataFrame({"x": numbers()[:, 0], "g": column}, index=np.arange(N)[::-1] * 3)
    detector = fit(frame)
    detector.save(tmp_path / "detector")
    loaded = AnomalyDetector.load(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.score_samples(frame), detector.score_samples(frame))
    np.testing.assert_array_equal(loaded.explain(frame[:3]), detector.explain(frame[:3]))


def test_different_levels_of_one_text_are_refused():
    class Day:
        def __init__(self, number):
            self.number = number

        def __str__(self):
            return "day"

    for cells, message in (
        ([Day(1), Day(2)], "both read 'day'"),
        ([pd.Period("2024", freq="Y"), 2024], "both read '2024'"),
    ):
        frame = with_column(cells)
        for given in (frame, iter([frame[:1], frame[1:]])):
            with pytest.raises(ValueError, match=f"column 'g': .* are different levels, but {message}"):
                TableEncoding.for_table(given, ["g"])
    assert TableEncoding.for_table(with_column([1, "1", 1.0, b"1"])).columns["g"] == ["1"]  # text is what it reads


@pytest.mark.parametrize(
    "cells",
    [[[1], [2]], [{1: 2}], [np.zeros(2), np.ones(2)], [(1, 2)], [{1}], [object()], [1j, 2j]],
    ids=["lists", "dicts", "arrays", "tuples", "sets", "objects", "complex"],
)
def test_cells_that_are_no_level_and_no_number_are_named(cells):
    frame = with_column(cells)
    encoding = TableEncoding({"x": None, "g": ["a"]})
    for method in (AnomalyDetector().fit, TableEncoding.for_table, encoding.check):
        with pytest.raises(TypeError, match=r"column 'g', row 0: .* where one level belongs"):
            method(frame)
    numeric = TableEncoding({"x": None, "g": None})
    for method in (numeric.check, PassThrough(2).check, MinMaxScaling(2).adapt):
        with pytest.raises(TypeError, match=r"column 'g', row 0: .* where a number belongs"):
            method(frame)


# Numbers


@pytest.mark.parametrize(
    "kind", [Decimal, Fraction, np.float64, lambda v: v], ids=["decimal", "fraction", "numpy", "float"]
)
def test_exact_numbers_in_objects_are_numbers(kind):
    rows = np.round(numbers() * 4) / 4
    frame = pd.DataFrame(rows, columns=["a", "b"])
    exact = frame.assign(a=pd.Series([kind(v) for v in frame["a"]], dtype=object))
    expected = fit(frame)
    np.testing.assert_array_equal(fit(exact).score_samples(frame), expected.score_samples(frame))
    np.testing.assert_array_equal(expected.score_samples(exact), expected.score_samples(frame))
    np.testing.assert_array_equal(scaled(exact).check(exact), np.float32(rows))
    mixed = exact.assign(kind=["u", "v"] * (N // 2))
    assert TableEncoding.for_table(mixed).numeric == ["a", "b"]
    exact.loc[4, "a"] = kind(float("nan")) if kind is not Fraction else None
    for judge in (expected.score_samples, PassThrough(2).check, TableEncoding.for_table):
        with pytest.raises(ValueError, match="column 'a', row 4: nan is not a finite"):
            judge(exact)


@pytest.mark.parametrize("kind", ["float", "integer", "objects", "rows"])
def test_a_masked_cell_is_a_missing_one(detector, kind):
    rows = np.round(numbers())
    whole, scaling = np.ma.array(rows), scaled(rows)
    np.testing.assert_array_equal(detector.score_samples(whole), detector.score_samples(rows))
    np.testing.assert_array_equal(scaling.check(whole), scaling.check(rows))
    masked = np.ma.array(rows.astype({"integer": int, "objects": object}.get(kind, float)))
    masked[7, 1] = np.ma.masked
    given = list(masked) if kind == "rows" else masked
    methods = [AnomalyDetector().fit, detector.score_samples, scaling.check, PassThrough(2).check]
    for method in methods if kind == "rows" else [*methods, scaling.adapt]:
        with pytest.raises(ValueError, match="column '1', row 7: nan is not a finite"):
            method(given)
    columns = {"a": masked[:, 0], "b": masked[:, 1]}
    with pytest.raises(ValueError, match="column 'b', row 7: nan is not a finite"):
        TableEncoding({"a": None, "b": None}).check(columns)
    with pytest.raises(ValueError, match="column 'b', row 7: no value"):
        TableEncoding({"a": None, "b": ["1"]}).check(columns)


def test_masks_count_in_hashes_and_thresholds():
    rows, masked = numbers(), np.ma.array(numbers())
    assert data_hash(masked) == data_hash(rows)
    masked[3, 0] = np.ma.masked
    missing = rows.copy()
    missing[3, 0] = np.nan
    assert data_hash(masked) == data_hash(missing) != data_hash(rows)
    assert np.isnan(draw(masked, N, 0)).sum() == 1
    with pytest.raises(ValueError, match=r"energies: .* must be finite"):
        small_model().set_threshold(masked[:, 0], 0.1)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            lambda: (row for row in numbers()),
            TypeError,
            r"a generator, which can be read only once; give list\(\.\.\.\)",
        ),
        (lambda: map(list, numbers()), TypeError, r"a map, which can be read only once; give list\(\.\.\.\)"),
        (lambda: {"a": [1, 2], "b": [3, 4]}, TypeError, r"a dict, .*give pd\.DataFrame\(\.\.\.\)"),
        (lambda: [{"a": 1, "b": 2}, {"a": 3, "b": 4}], TypeError, r"rows: a list of dicts; give pd\.DataFrame\(rows\)"),
        (lambda: {1, 2}, TypeError, "a set, which has no rows in order"),
        (lambda: np.array([(1.0, 2.0)], [("a", float), ("b", float)]), TypeError, r"structured array of \('a', 'b'\)"),
        (lambda: np.rec.array([(1.0, 2.0)], [("a", float), ("b", float)]), TypeError, "structured array"),
        (lambda: scipy.sparse.csr_matrix(np.eye(2)), TypeError, r"[Ss]parse.*\.toarray\(\)"),
        (lambda: np.array([[1, "tcp"], [2, "udp"]], object), (TypeError, ValueError), "column '1', row 0: 'tcp'"),
        (lambda: [[1, 2], [3, None]], ValueError, "column '1', row 1: nan is not a finite"),
        (lambda: [[1, np.inf], [3, 4]], ValueError, "column '1', row 0: inf is not a finite"),
        (lambda: [[1, 2], [3]], ValueError, "lists where one number"),
        (lambda: np.array([["2024", "2025"]], "M8[s]"), TypeError, "column '0', row 0: .*make seconds of it"),
        (lambda: np.array([[1, 2]], "m8[s]"), TypeError, "column '0', row 0: .*make seconds of it"),
        (lambda: np.array([[1j, 2]]), (TypeError, ValueError), "column '0', row 0: 1j"),
    ],
)
def test_rows_that_are_none_are_refused_with_the_remedy(detector, rows, error, message):
    for method in (AnomalyDetector().fit, detector.score_samples, PassThrough(2).check):
        with pytest.raises(error, match=message):
            method(rows())


def test_lists_of_dicts_are_refused_wherever_rows_go():
    rows = [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}]
    encoding = TableEncoding.for_table(pd.DataFrame(rows))
    for method in (TableEncoding.for_table, MinMaxScaling(2).adapt, encoding.check):
        with pytest.raises(TypeError, match=r"rows: a list of dicts; give pd\.DataFrame\(rows\)"):
            method(rows)


def test_missing_numbers_of_frames_are_named_with_column_and_row():
    for column in ([1.0, None, 3.0], pd.array([1, None, 3], dtype="Int64"), pd.array([True, None, True], "boolean")):
        frame = pd.DataFrame({"a": column, "b": [1.0, 2, 4]}, index=[9, 8, 7])
        for method in (AnomalyDetector().fit, MinMaxScaling(2).adapt, PassThrough(2).check):
            with pytest.raises(ValueError, match=r"column 'a', row 1: nan is not a finite .*drop or impute"):
                method(frame)


# Dates and identifiers


@pytest.mark.parametrize(
    "column",
    [
        pd.date_range("2024", periods=N),
        pd.date_range("2024", periods=N, tz="UTC"),
        pd.period_range("2024", periods=N, freq="D"),
        pd.timedelta_range("1s", periods=N),
        pd.Series(pd.date_range("2024", periods=N).date),
        pd.Series([datetime.time(minute=i) for i in range(N)]),
    ],
    ids=["datetime", "zoned", "period", "timedelta", "date", "time"],
)
def test_dates_and_times_are_refused_with_the_remedy(column):
    frame = pd.DataFrame({"when": column, "a": numbers()[:, 0]})
    for method in (AnomalyDetector().fit, TableEncoding.for_table):
        with pytest.raises(TypeError, match=r"column 'when', row 0: .*total_seconds\(\), or name .* categorical"):
            method(frame)
    for method in (PassThrough(2).check, TableEncoding({"when": None, "a": None}).check):
        with pytest.raises(TypeError, match=r"column 'when', row 0: .* where a number belongs; make seconds"):
            method(frame)
    for given in (
        pl.DataFrame({"when": [datetime.date(2024, 1, 1)]}),
        pa.table({"when": [datetime.datetime(2024, 1, 1)]}),
    ):
        with pytest.raises(TypeError, match="column 'when', row 0: "):
            AnomalyDetector().fit(given)


def test_the_remedy_for_dates_works():
    frame = pd.DataFrame({"when": pd.date_range("2024", periods=N), "a": numbers()[:, 0]})
    with pytest.raises(TypeError) as refused:
        AnomalyDetector().fit(frame)
    remedy = str(refused.value).split("for example ")[1].split(", or name")[0]
    seconds = eval(remedy, {"pd": pd, "frame": frame})
    assert seconds.tolist() == [86400.0 * day for day in range(N)]
    assert np.isfinite(fit(frame.assign(when=seconds)).score_samples(frame.assign(when=seconds))).all()


def test_identifiers_are_refused_above_a_bound():
    few, many = (pd.DataFrame({"id": [f"u{i}" for i in range(n)]}) for n in (MOST_LEVELS, MOST_LEVELS + 1))
    with pytest.warns(UserWarning, match="column 'id': 1000 levels in 1000 rows"):
        assert TableEncoding.for_table(few).width == MOST_LEVELS
    for method in (TableEncoding.for_table, AnomalyDetector().fit):
        with pytest.raises(ValueError, match=r"column 'id': 1001 levels in 1001 rows.*drop the column if it is"):
            method(many)
    assert TableEncoding.for_table(pd.concat([many] * 10)).width == MOST_LEVELS + 1  # ten rows a level
    with pytest.raises(ValueError, match=r"column 'id': 1001 levels, of 1002 columns .* 10000 rows take at most 419"):
        AnomalyDetector().fit(pd.concat([many] * 10).assign(a=0.0))


TIME_CELLS = {
    "spans of NumPy": np.timedelta64(90, "s"),
    "dates of NumPy": np.datetime64("2024-01-02"),
    "spans": datetime.timedelta(seconds=90),
    "dates": datetime.datetime(2024, 1, 2),
    "days": datetime.date(2024, 1, 2),
    "stamps": pd.Timestamp("2024-01-02"),
    "spans of pandas": pd.Timedelta(90, "s"),
    "periods": pd.Period("2024-01"),
}


@pytest.mark.parametrize("cell", TIME_CELLS.values(), ids=TIME_CELLS)
@pytest.mark.parametrize("rows", [1, 0], ids=["later", "first"])
def test_times_among_numbers_are_refused_in_matrices_and_lists(detector, cell, rows):
    nested = [[0.5 + row, cell if row >= rows else 2.0] for row in range(4)]
    methods = (AnomalyDetector().fit, detector.score_samples, MinMaxScaling(2).adapt, MinMaxScaling(2).check)
    matrix = np.empty((4, 2), object)
    matrix[:] = nested
    for method in methods:
        for given in (nested, matrix):
            with pytest.raises(TypeError, match=rf"column '1', row {rows}: .*make seconds of it"):
                method(given)
