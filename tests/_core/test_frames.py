"""Frames of any library, and the names of their columns."""

import datetime
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf
from helpers.frames import LIBRARIES, N, fit, numbers, with_column
from helpers.marks import after
from helpers.models import clusters, encoded, scaled, small_model, table

import tf_radogaga
from tf_radogaga import AnomalyDetector, MinMaxScaling, PassThrough, TableEncoding
from tf_radogaga._core.frames import column_names, to_pandas
from tf_radogaga.serving import data_hash

library = pytest.mark.parametrize("library", after(1, LIBRARIES.values()), ids=LIBRARIES)
ANY_NAMES = [
    ["a", "b"],
    [2024, 2025],
    [("sum", "A"), ("sum", "B")],
    [1.5, "a"],
    list(pd.date_range("2024", periods=2)),
]
any_names = pytest.mark.parametrize("names", ANY_NAMES, ids=["text", "integers", "tuples", "mixed", "dates"])


@pytest.fixture(scope="module")
def detector():
    return fit(numbers())


# Reading


@library
def test_frames_become_the_pandas_frame(library):
    frame = pd.DataFrame({"f": [1.5, 2.0], "i": [2**60 + 1, 3], "b": [True, False], "t": ["x", "y"]})
    found = to_pandas(library(frame))
    assert found.to_dict("list") == frame.to_dict("list")
    assert [found[c].dtype.kind for c in "fib"] == ["f", "i", "b"]


def test_cells_of_frames_are_values_of_python():
    day, amount = datetime.date(2024, 1, 2), Decimal("1.50")
    frame = {"d": [day, None], "amount": [amount, None], "i": [1, None], "l": [[1], [2]]}
    for given in (pl.DataFrame(frame), pa.table(frame)):
        found = to_pandas(given)
        assert found["d"].tolist() == [day, None] and found["amount"].tolist() == [amount, None]
        assert found["i"].tolist() == [1, None] and found["l"].tolist() == [[1], [2]]
    chunks = to_pandas(pa.concat_tables([pa.table({"a": [1, 2]}), pa.table({"a": [3]})]))
    assert chunks["a"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "given",
    [
        pl.DataFrame({"k": ["x", "y"]}, schema={"k": pl.Categorical}),
        pl.DataFrame({"k": ["x", "y"]}, schema={"k": pl.Enum(["x", "y"])}),
        pa.table({"k": pa.array(["x", "y"]).dictionary_encode()}),
    ],
    ids=["categorical", "enum", "dictionary"],
)
def test_categories_stay_categories(given):
    assert to_pandas(given)["k"].tolist() == ["x", "y"] and isinstance(to_pandas(given)["k"].dtype, pd.CategoricalDtype)
    codes = to_pandas(pa.table({"k": pa.array([1, 2]).dictionary_encode()}))
    assert TableEncoding.for_table(codes).columns["k"] == ["1", "2"]


def test_what_is_no_frame_in_memory_is_left_or_refused():
    for value in (np.eye(2), {"a": [1]}, [[1]], pl.Series([1]), None, tf.ones(2)):
        assert to_pandas(value) is value
    frame = pl.DataFrame({"a": [1.0, 2.0]})
    for method in (to_pandas, AnomalyDetector().fit, PassThrough(1).check, MinMaxScaling(1).adapt):
        with pytest.raises(TypeError, match=r"rows: a lazy LazyFrame, not read yet; call \.collect\(\)"):
            method(frame.lazy())
    with pytest.raises(TypeError, match="rows: a RecordBatch; give"):
        to_pandas(pa.RecordBatch.from_pydict({"a": [1.0]}))


# Names


@library
def test_detectors_of_frames_of_any_library_score_alike(library):
    mixed = with_column(["u", "v", "w"]).assign(flag=np.arange(N) % 2 == 0, amount=[Decimal(i) / 4 for i in range(N)])
    for frame in (pd.DataFrame(numbers(), columns=["a", "b"]), mixed):
        expected, detector = fit(frame), fit(library(frame))
        assert detector.feature_names_in_.tolist() == list(frame) and detector.threshold_ == expected.threshold_
        for method in ("score_samples", "predict", "typical_rows", "explain"):
            found, few = getattr(detector, method)(library(frame[:6])), frame[:6]
            np.testing.assert_array_equal(found, getattr(expected, method)(few))
        assert detector.set_threshold(library(frame), quantile=0.2).threshold_ == np.quantile(
            expected.score_samples(frame), 0.2
        )


@library
def test_columns_in_another_order_or_of_other_names_are_refused(library):
    frame = pd.DataFrame(numbers(), columns=["a", "b"])
    detector, scaling, passing = fit(library(frame)), MinMaxScaling(2), PassThrough(2, names=["a", "b"])
    scaling.adapt(library(frame))
    np.testing.assert_array_equal(scaling.check(library(frame)), np.float32(frame))
    for method in (detector.score_samples, detector.explain, detector.predict, scaling.check, scaling.adapt):
        for other in (frame[["b", "a"]], frame.set_axis(["q", "z"], axis=1)):
            with pytest.raises(ValueError, match=r"columns \['.', '.'\] where those of fit belong, \['a', 'b'\]"):
                method(library(other))
    with pytest.raises(ValueError, match=r"quantile|columns \['b', 'a'\]"):
        detector.set_threshold(library(frame[["b", "a"]]), quantile=0.1)
    with pytest.raises(ValueError, match=r"columns \['b', 'a'\] where those of fit"):
        passing.check(library(frame[["b", "a"]]))


@any_names
def test_names_of_any_type_are_known(names, tmp_path):
    frame = pd.DataFrame(numbers(), columns=pd.Index(names, tupleize_cols=True))
    scaling, detector = scaled(frame), fit(frame)
    assert scaling.column_names == [str(name) for name in frame.columns]
    detector.save(tmp_path / "detector")
    for judge in (detector.score_samples, AnomalyDetector.load(tmp_path / "detector").score_samples, scaling.check):
        judge(frame)
        for other in (frame.iloc[:, ::-1], frame.set_axis([7, 8], axis=1)):
            with pytest.raises(ValueError, match="where those of fit belong"):
                judge(other)


def test_without_names_columns_go_by_position(detector):
    rows = numbers()
    scaling = scaled(rows)
    named = pd.DataFrame(rows, columns=["a", "b"])
    assert scaling.column_names is None and scaled(pd.DataFrame(rows)).column_names is None
    np.testing.assert_array_equal(detector.score_samples(named), detector.score_samples(rows))
    np.testing.assert_array_equal(scaling.check(named), scaling.check(rows))
    np.testing.assert_array_equal(scaled(named).check(rows), scaling.check(rows))
    for judge in (fit(pd.DataFrame(rows)).score_samples, scaling.check):
        with pytest.raises(ValueError, match=r"columns \['1', '0'\] where those of fit belong, \['0', '1'\]"):
            judge(pd.DataFrame(rows).iloc[:, ::-1])


def test_a_matrix_for_a_detector_with_names_is_warned_of_as_in_scikit_learn():
    frame = pd.DataFrame(numbers(), columns=["a", "b"])
    detector = fit(frame)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but AnomalyDetector was fitted with"):
        scores = detector.score_samples(frame.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(detector.score_samples(frame), scores)
        detector.explain(frame[:2])


def test_names_that_do_not_differ_are_refused():
    frame = pd.DataFrame(numbers(), columns=["a", "a"])
    twice = pa.Table.from_arrays([pa.array([1.0, 2.0]), pa.array([2.0, 3.0])], names=["a", "a"])
    for given in (frame, frame.set_axis([1, "1"], axis=1), twice):
        for method in (AnomalyDetector().fit, MinMaxScaling(2).adapt):
            with pytest.raises(ValueError, match=r"columns: .*(must differ|have one name).*rename"):
                method(given)
    with pytest.raises(ValueError, match=r"names: \['a'\] where 2 that differ are expected"):
        PassThrough(2, names=["a"])
    assert column_names(frame.set_axis([5, 6], axis=1)) == ["5", "6"]


def test_names_and_reader_are_saved_with_a_model(tmp_path):
    frame = pd.DataFrame(clusters(20), columns=["a", "b", "c", "größe"])
    model = small_model(preprocess=scaled(frame))
    model.preprocess.reader = {"separator": ";", "header": True, "columns": ["a"]}
    model.adapt_prior(frame)
    tf_radogaga.save_model(model, tmp_path / "model")
    loaded = tf_radogaga.load_model(tmp_path / "model")
    assert loaded.preprocess.column_names == list(frame) and loaded.preprocess.reader == model.preprocess.reader
    for given in (frame, pl.DataFrame(frame.to_dict("list")), pa.table(frame.to_dict("list"))):
        np.testing.assert_array_equal(loaded.energy(given), model.energy(frame))
    with pytest.raises(ValueError, match=r"columns .* where those of fit belong"):
        loaded.energy(frame.iloc[:, ::-1])
    encoding = encoded(table(20))
    assert encoding.column_names == list(table(20)) and "reader" not in encoding.get_config()
    encoding.reader = {"header": True}
    assert TableEncoding.from_config(encoding.get_config()).reader == {"header": True}
    assert set(MinMaxScaling(4).get_config()) == {"width"} and PassThrough(4).reader is None


@library
def test_models_know_the_frames_of_any_library(library):
    frame = table(20)
    model = small_model(preprocess=TableEncoding.for_table(library(frame), ["code"]))
    assert model.preprocess.get_config() == encoded(frame).get_config()
    checked, expected = (model.preprocess.check(rows) for rows in (library(frame[::-1]), frame[::-1]))
    np.testing.assert_array_equal(model.preprocess(checked), model.preprocess(expected))
    model.adapt_prior(frame)
    report, same = (
        tf_radogaga.isometry_report(model, rows, pairs=5, jacobian_rows=3) for rows in (library(frame), frame)
    )
    assert report.tangent_r == pytest.approx(same.tangent_r, rel=1e-5)
    assert data_hash(library(frame)) == data_hash(frame)
