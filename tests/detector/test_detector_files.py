"""Saving and loading an `AnomalyDetector`."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.models import clusters, rotated, small_model, table
from sklearn.base import clone

import tf_radogaga
from tf_radogaga import AnomalyDetector
from tf_radogaga.detector.files import ARRAYS, STATE

LOAD_AND_SCORE = """
import sys, numpy as np, pandas as pd
from tf_radogaga import AnomalyDetector
for folder in sys.argv[1:]:
    detector, rows = AnomalyDetector.load(folder + "/detector"), pd.read_csv(folder + "/rows.csv")
    scores = detector.score_samples(rows), detector.explain(rows[:3]), detector.threshold_
    np.savez(folder + "/out.npz", *scores)
"""


@pytest.mark.thorough
def test_round_trip_through_a_fresh_process(tmp_path):
    """Numbers with a constant column, text, and a trained model."""
    model = small_model()
    model.compile(tf.keras.optimizers.Adam(1e-3), run_eagerly=True)
    numbers, columns = pd.DataFrame(np.insert(rotated(120), 1, 7.0, axis=1), columns=["a", "b", "c"]), list("abcd")
    cases = {
        "numbers": (AnomalyDetector(random_state=np.random.RandomState(0)), numbers),
        "text": (AnomalyDetector(categorical=("code",), random_state=0), table(100)),
        "model": (AnomalyDetector(model, epochs=1), pd.DataFrame(clusters(60), columns=columns)),
    }
    for name, (detector, rows) in cases.items():
        (tmp_path / name).mkdir()
        rows.to_csv(tmp_path / name / "rows.csv", index=False)
        detector.fit(rows).set_threshold(quantile=0.3).save(tmp_path / name / "detector")
    folders = [str(tmp_path / name) for name in cases]
    subprocess.run([sys.executable, "-c", LOAD_AND_SCORE, *folders], check=True, capture_output=True)
    for name, (detector, rows) in cases.items():
        expected = detector.score_samples(rows), detector.explain(rows[:3]), detector.threshold_
        tolerance = 1e-5 if name == "model" else 1e-12
        with np.load(tmp_path / name / "out.npz") as found:
            for values, key in zip(expected, found):
                np.testing.assert_allclose(found[key], values, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def fitted():
    return AnomalyDetector(random_state=0).fit(rotated(60))


@pytest.fixture
def saved(fitted, tmp_path):
    fitted.save(tmp_path / "detector")
    return tmp_path / "detector"


def test_what_is_loaded_is_the_estimator(fitted, saved):
    loaded = AnomalyDetector.load(saved)
    assert loaded.get_params() == fitted.get_params() and loaded.held_out_ == fitted.held_out_
    assert loaded.set_threshold(quantile=0.2).threshold_ == fitted.set_threshold(quantile=0.2).threshold_
    loaded.save(saved)  # in place of the first
    assert sorted(path.name for path in saved.parent.iterdir()) == ["detector"]
    np.testing.assert_array_equal(AnomalyDetector.load(saved).predict(rotated()), loaded.predict(rotated()))


def test_attributes_of_ones_own_are_saved(fitted, tmp_path):
    mine = copy.copy(fitted)
    mine.note = "mine"
    mine.save(tmp_path / "mine")
    assert AnomalyDetector.load(tmp_path / "mine").note == "mine"


@pytest.fixture(scope="module")
def of_a_tuple():
    """A table, and its scores by the detector whose categorical columns are a tuple."""
    rows = table(60)
    return rows, AnomalyDetector(categorical=("code",), random_state=0).fit(rows).score_samples(rows)


@pytest.mark.parametrize(
    "names",
    ["code", ["code"], {"code"}, frozenset(["code"]), {"code": 1}.keys(), pd.Index(["code"]), np.array(["code"])],
    ids=lambda names: type(names).__name__,
)
def test_categorical_takes_any_names_and_is_kept(names, of_a_tuple, tmp_path):
    rows, expected = of_a_tuple
    detector = AnomalyDetector(categorical=names, random_state=0)
    assert detector.categorical is names
    if not isinstance(names, type({}.keys())):  # which is not copied
        assert list(clone(detector).categorical) == list(names)
    detector.fit(rows).save(tmp_path / "detector")
    loaded = AnomalyDetector.load(tmp_path / "detector")
    assert loaded.categorical == ("code",)
    for found in (detector, loaded):
        np.testing.assert_array_equal(found.score_samples(rows), expected)


@pytest.mark.thorough
def test_copies_and_exports_keep_categorical_names(of_a_tuple, tmp_path):
    rows, expected = of_a_tuple
    detector = AnomalyDetector(categorical={"code"}, random_state=0).fit(rows)
    detector.save(tmp_path / "detector")
    for original in (detector, AnomalyDetector.load(tmp_path / "detector")):
        np.testing.assert_array_equal(clone(original).fit(rows).score_samples(rows), expected)
    detector.export(tmp_path / "export")
    served = tf.saved_model.load(str(tmp_path / "export" / "1")).signatures["serving_default"]
    texts = {
        name: rows[name].astype(str) if name in ("kind", "code") else tf.constant(rows[name], tf.float32)
        for name in rows
    }
    np.testing.assert_allclose(
        served(**{k: tf.constant(v) for k, v in texts.items()})["log_density"], expected, atol=1e-4
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (iter(["code"]), "categorical: a list_iterator, .*give a list of names"),
        (3, "categorical: 3 where names"),
        (b"a", "give a list"),
    ],
)
def test_categorical_that_names_no_columns_is_refused(names, message):
    with pytest.raises(TypeError, match=message):
        AnomalyDetector(categorical=names).fit(table(60))


@pytest.mark.parametrize("name", [STATE, ARRAYS])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "missing"])
def test_damaged_files_are_named(saved, name, damage):
    path = saved / name
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    if damage == "missing":
        path.unlink()
    else:
        other = b'{"format": "of another"}\n'
        path.write_bytes({"truncated": content[:-20], "flipped": flipped, "empty": b"", "foreign": other}[damage])
    with pytest.raises((ValueError, FileNotFoundError), match=name):
        AnomalyDetector.load(saved)


def test_classes_of_others_are_not_made(saved):
    from tf_radogaga.detector.files import state_digest

    content = json.loads((saved / STATE).read_text())
    for version, foreign in (
        (2, ["dict", [["model", ["object", ["Popen", ["dict", []]]]]]]),
        (4, {"model": ["Popen", 0]}),
    ):
        digests = {**content["sha256"], "state": state_digest(foreign)}
        (saved / STATE).write_text(json.dumps({**content, "version": version, "state": foreign, "sha256": digests}))
        with pytest.raises(ValueError, match=r"detector\.json: damaged, or of another version.*Popen"):
            AnomalyDetector.load(saved)


@pytest.mark.parametrize("version", [2, 3])
def test_files_of_older_versions_are_read(tmp_path, version):
    """Written by them, together with their scores: all densities, a column of text and a constant one."""
    folder = Path(__file__).with_name("data") / f"version_{version}"
    table = pd.read_csv(folder / "rows.csv", float_precision="round_trip")
    rows, scores = table.drop(columns="score"), table["score"]
    for place in (folder / "detector", tmp_path / "detector"):
        assert json.loads((place / STATE).read_text())["version"] == (version if place.is_relative_to(folder) else 4)
        detector = AnomalyDetector.load(place)
        assert detector.used_ == ("kernel", "mixture", "columns") and detector.false_positive_rate == 0.1
        np.testing.assert_allclose(detector.score_samples(rows), scores, rtol=1e-12)
        np.testing.assert_array_equal(detector.predict(rows) == -1, scores < detector.threshold_)
        assert detector.threshold_ == np.quantile(detector.training_scores_, 0.1)
        assert isinstance(detector.scorer_.average.log_normalizer, float)
        assert detector.explain(rows[:3]).shape == (3, 4)
        if place.is_relative_to(folder):
            detector.save(tmp_path / "detector")


def test_files_hold_arrays_of_densities_by_name(saved, fitted):
    with np.load(saved / ARRAYS) as arrays:
        np.testing.assert_array_equal(arrays["scorer_/average/kernel/centres"], fitted.scorer_.average.centres)
    assert "GaussianMixture" not in (saved / STATE).read_text()


def test_only_detectors_are_replaced(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds \['notes.txt'\], so it is not a detector"):
        fitted.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(FileNotFoundError, match=r"holds no detector\.json, so it is not a detector's directory"):
        AnomalyDetector.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a model directory"):
        tf_radogaga.load_model(tmp_path)


def test_a_save_that_fails_leaves_the_earlier_one(fitted, saved, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        fitted.save(saved)
    assert AnomalyDetector.load(saved).score(rotated()) == fitted.score(rotated())
    assert sorted(path.name for path in saved.parent.iterdir()) == ["detector"]
