"""A level is the known one that it equals but for the way it is written, in Python, in graphs and in exports alike."""

import datetime

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.examples import SEVERAL, fuzzed
from helpers.frames import LIBRARIES, fit, with_column
from helpers.marks import after
from helpers.models import fitted, small_model
from hypothesis import strategies as st

import tf_radogaga
from tf_radogaga import AnomalyDetector, TableEncoding, load_model, save_model
from tf_radogaga.preprocessing.cells import canonical
from tf_radogaga.saving import copy_model

N = 40
CASES = {
    "spaces": (["blue", "red"], ["blue ", "\tred\u00a0\n"]),
    "spaces in training": ([" blue", "red "], ["blue", "red"]),
    "whole numbers as text": (["0", "1"], ["0.0", "1."]),
    "text of floats": (["0.0", "1.0"], [0, 1]),
    "whole numbers": ([10, -3], [" 10.00", "-3.0"]),
    "signs": ([0, 5], ["-0.0", "+5"]),
    "bools as ints": ([True, False], [1, 0]),
    "bools as floats": ([True, False], [1.0, 0.0]),
    "bools as text": ([True, False], ["true", "FALSE"]),
    "bools as digits": ([True, False], ["1", "0"]),
    "ints as bools": ([1, 0], [True, False]),
    "text of bools": (["true", "false"], [True, False]),
    "midnights": (list(pd.to_datetime(["2024-01-02", "2024-01-03"])), ["2024-01-02", datetime.date(2024, 1, 3)]),
    "beyond ASCII": (["größe", "日本"], [" größe", "日本\u3000"]),
}
case = pytest.mark.parametrize(("known", "written"), after(3, CASES.values()), ids=CASES)


def blocks(encoding, cells):
    """What an encoding of one column g makes of these cells."""
    column = np.empty(len(cells), object)
    column[:] = cells
    return encoding(encoding.check({"g": column})).numpy()


def loaded(export):
    return tf.saved_model.load(str(export / "1"))


def served(model, frame):
    # as a client has them: cells that Python has not read
    inputs = {
        name: tf.constant(column, tf.float32) if name == "x" else tf.constant([str(cell) for cell in column])
        for name, column in frame.items()
    }
    return model.signatures["serving_default"](**inputs)


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """A table with a column for each case, the detector of it, its scores and its export, loaded."""
    frame = with_column(["unused"])[["x"]]
    for number, (known, _) in enumerate(CASES.values()):
        frame[f"g{number}"] = with_column(known)["g"].sample(frac=1, random_state=number).to_numpy()
    detector = fit(frame, categorical=tuple(frame.columns[1:]))
    folder = tmp_path_factory.mktemp("every")
    detector.export(folder)
    return frame, detector, detector.score_samples(frame), loaded(folder)


@pytest.mark.thorough
@case
def test_levels_written_otherwise_score_as_the_known_ones(known, written, every):
    frame, detector, scores, export = every
    name = f"g{list(CASES.values()).index((known, written))}"
    other = frame.assign(**{name: [written[known.index(cell)] for cell in frame[name]]})
    np.testing.assert_array_equal(detector.score_samples(other), scores)
    found = served(export, other)
    np.testing.assert_allclose(found["log_density"], scores, atol=1e-4)
    np.testing.assert_array_equal(found["anomaly"], detector.predict(frame) == -1)
    new = frame.assign(**{name: ["never seen" if cell == known[0] else cell for cell in frame[name]]})
    where = (frame[name] == known[0]).to_numpy()
    assert (detector.score_samples(new)[where] < scores[where] - 1).all()
    np.testing.assert_allclose(served(export, new)["log_density"], detector.score_samples(new), atol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_bools_may_come_as_numbers_in_frames_of_any_library(library):
    frame = with_column([True, False])
    detector = fit(frame, categorical=("g",))
    for cells in ([1, 0], [1.0, 0.0], ["true", "false"]):
        other = LIBRARIES[library](with_column(cells))
        np.testing.assert_array_equal(detector.score_samples(other), detector.score_samples(frame))


@pytest.mark.thorough
def test_a_model_reads_them_too_and_so_do_its_copies(tmp_path):
    frame, other = with_column([True, False]), with_column(["1.0", " false"])
    model = fitted(small_model(preprocess=TableEncoding.for_table(frame, ["g"])), frame, epochs=1)
    energy = model.energy(frame).numpy()
    save_model(model, tmp_path / "model")
    tf_radogaga.export_saved_model(model, tmp_path / "export")
    for twin in (model, copy_model(model), load_model(tmp_path / "model")):
        np.testing.assert_array_equal(twin.energy(other).numpy(), energy)
    np.testing.assert_allclose(served(loaded(tmp_path / "export"), other)["energy"], energy, atol=1e-4)
    history = model.fit(other, epochs=1, verbose=0).history["loss"]
    assert np.isfinite(history).all()


def test_saved_detectors_read_them_as_before_they_were_saved(tmp_path):
    detector = fit(with_column(["blue", "red"]))
    detector.save(tmp_path / "detector")
    other = with_column(["blue ", " red"])
    scores = AnomalyDetector.load(tmp_path / "detector").score_samples(other)
    np.testing.assert_array_equal(scores, detector.score_samples(with_column(["blue", "red"])))


def test_the_letter_goes_first_and_alone_where_known_levels_are_written_so():
    encoding = TableEncoding({"g": ["1", "True", "a", "a ", "b"]})
    np.testing.assert_array_equal(blocks(encoding, ["1", "True", "a", "a ", "b"]), np.eye(5))
    np.testing.assert_array_equal(blocks(encoding, [" a", "a\t", "true", 1.0, " b"]).argmax(axis=1)[[3, 4]], [0, 4])
    np.testing.assert_array_equal(blocks(encoding, [" a", "a\t", "true", "1.0", "+1"]), 0)


@pytest.mark.parametrize(
    "cell", ["A", "a b", "01", "1.5", "1.50", "10", "1e0", "yes", "t", "+", "-", "2024-01-02 00:00:01", "\0a"]
)
def test_what_differs_by_more_is_not_known(cell):
    encoding = TableEncoding({"g": ["1", "0", "a", "ab", "2.5", "2024-01-02", "True story"]})
    assert not blocks(encoding, [cell]).any()


def test_a_column_without_levels_to_tell_apart_knows_none():
    encoding = TableEncoding({"g": ["a", "a "]})
    np.testing.assert_array_equal(blocks(encoding, ["a ", " a"]), [[0, 1], [0, 0]])


TEXTS = st.one_of(st.text(max_size=4), st.integers(-99, 99).map(str), st.sampled_from(["True", "1.", "\0", ""]))
SPACES = st.text(" \t\n\v\f\r\u00a0\u2003\u3000", max_size=2)


@pytest.mark.thorough
@SEVERAL
def test_writings_of_any_level_are_one(examples):
    def test(drawn):
        known, before, after = drawn
        encoding = TableEncoding({"g": sorted({text.rstrip("\0") for text in known})})
        texts = encoding.columns["g"]
        np.testing.assert_array_equal(blocks(encoding, texts), np.eye(len(texts)))
        read = [text.decode() for text in canonical(tf.constant(texts)).numpy()]
        assert [text.decode() for text in canonical(tf.constant(read)).numpy()] == read
        for text, form in zip(texts, read):
            whole = form.isascii() and form.isdigit()
            writings = [before + text + after, *([f"{form}.0", f"{form}.", int(form)] if whole else [])]
            found = blocks(encoding, writings)
            for writing, block in zip(writings, found):
                letter = str(writing).rstrip("\0")
                if letter not in texts:
                    assert block.sum() == (read.count(form) == 1) and block[texts.index(text)] == block.sum()
            graph = tf.function(lambda g: encoding({"g": g}))(tf.constant(list(map(str, writings))))
            np.testing.assert_array_equal(graph, found)

    fuzzed(examples, st.tuples(st.lists(TEXTS, min_size=1, max_size=4), SPACES, SPACES), test)
