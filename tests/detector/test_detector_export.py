"""The SavedModel of an `AnomalyDetector` answers as the detector does."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.exports import GREATEST, read_tensors, write_tensors
from helpers.models import clusters, rotated, small_model, table

from tf_radogaga import AnomalyDetector
from tf_radogaga._core import blocks
from tf_radogaga.detector.export import DensityModel
from tf_radogaga.serving.__main__ import main as serving
from tf_radogaga.serving.card import read_card
from tf_radogaga_trainers.shared import csv_rows

TOLERANCE = 2e-6
"""Between a score in the graph, float32, and `score_samples` of the same float32 rows, of max(1, |score|)."""


def assert_scores(outputs, expected):
    for name, sign in (("energy", -1), ("log_density", 1)):
        gap = np.abs(sign * outputs[name] - expected) / np.maximum(1, np.abs(expected))
        assert outputs[name].dtype == np.float32 and gap.max() < TOLERANCE


class Served:
    def __init__(self, detector, folder, **options):
        self.detector, self.version = detector, detector.export(folder, **options)
        self.loaded = tf.saved_model.load(str(self.version))

    def __call__(self, signature="serving_default", **inputs):
        return {name: value.numpy() for name, value in self.loaded.signatures[signature](**inputs).items()}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """Kernels, mixtures and columns, and a column that is constant."""
    rng = np.random.default_rng(0)
    rows = np.insert(rng.gamma(0.5, size=(200, 3)), 1, 7.0, axis=1).astype(np.float32)
    detector = AnomalyDetector(random_state=0, false_positive_rate=0.1).fit(rows)
    assert detector.used_ == ("kernel", "mixture", "columns")
    return rows, Served(detector, tmp_path_factory.mktemp("matrix"), warmup_rows=rows[:5], card={"data": "drawn"})


@pytest.mark.thorough
def test_scores_in_the_graph_are_those_of_the_estimator(matrix):
    rows, served = matrix
    rows = np.concatenate([rows, rows * 3, rows * 1e6]).astype(np.float32)
    rows[::7, 1] = 7.5
    outputs = served(features=tf.constant(rows))
    assert_scores(outputs, served.detector.score_samples(rows))
    np.testing.assert_array_equal(outputs["anomaly"], served.detector.predict(rows) == -1)
    assert outputs["valid"].all() and 0 < outputs["anomaly"].mean() < 1


def test_latents_lead_back_to_the_rows(matrix):
    rows, served = matrix
    latent = served("encode", features=tf.constant(rows))["latent"]
    assert latent.shape == (200, 3) and np.var(latent, axis=0).mean() == pytest.approx(1)
    np.testing.assert_allclose(served("decode", latent=tf.constant(latent))["reconstruction"], rows, atol=1e-5)
    np.testing.assert_allclose(served("reconstruct", features=tf.constant(rows))["reconstruction"], rows, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_row_is_marked_and_changes_no_other(matrix, bad):
    rows, served = matrix
    good = served(features=tf.constant(rows))
    worse = rows.copy()
    worse[17, 2] = bad
    found = served(features=tf.constant(worse))
    assert np.flatnonzero(~found["valid"]).tolist() == [17] and not found["anomaly"][17]
    assert found["energy"][17] == GREATEST and found["log_density"][17] == -GREATEST
    for name in good:
        np.testing.assert_array_equal(np.delete(found[name], 17), np.delete(good[name], 17))


def test_batches_of_any_size_score_alike(matrix):
    rows, served = matrix
    whole = served(features=tf.constant(rows))["energy"]
    parts = [served(features=tf.constant(part))["energy"] for part in np.split(rows, [1, 4, 90])]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6, atol=1e-6)
    assert served(features=tf.zeros((0, 4)))["energy"].shape == (0,)


def test_rows_past_a_block_score_alike(matrix, monkeypatch):
    rows, served = matrix
    whole = served(features=tf.constant(rows))["energy"]
    scorer = served.detector.scorer_
    monkeypatch.setattr(blocks, "SERVED_KERNELS", 30 * len(scorer.average.centres))
    model = DensityModel(scorer)
    assert model.prior.block == 30
    np.testing.assert_allclose(model.energy(rows), whole, rtol=1e-6, atol=1e-6)


def test_the_check_accepts_it_and_the_card_tells(matrix, capsys):
    _, served = matrix
    serving(["check", str(served.version)])
    assert "good" in capsys.readouterr().out
    card = read_card(served.version)
    assert card["threshold"] == pytest.approx(-served.detector.threshold_) and card["data"] == "drawn"


def test_the_threshold_is_a_variable_of_the_graph(matrix, tmp_path):
    rows, served = matrix
    (threshold,) = (v for v in tf.nest.flatten(served.loaded.variables) if v.name.startswith("threshold"))
    before = threshold.numpy()
    try:
        threshold.assign(-1e9)
        assert served(features=tf.constant(rows))["anomaly"].all()
    finally:
        threshold.assign(before)


@pytest.mark.thorough
def test_a_process_without_the_package_scores_alike(matrix, tmp_path):
    rows, served = matrix
    write_tensors(tmp_path / "in", {"features": tf.constant(rows)})
    (tmp_path / "out").mkdir()
    program = """
import sys
from pathlib import Path
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
from tensorflow.core.framework import tensor_pb2
inputs = {p.name: tf.constant(tf.make_ndarray(tensor_pb2.TensorProto.FromString(p.read_bytes())))
          for p in Path(sys.argv[2]).iterdir()}
for name, value in loaded.signatures["serving_default"](**inputs).items():
    Path(sys.argv[3], name).write_bytes(tf.make_tensor_proto(value).SerializeToString())
assert "tf_radogaga" not in sys.modules and "tensorflow_compression" not in sys.modules
"""
    command = [sys.executable, "-c", program, str(served.version), str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    assert_scores(read_tensors(tmp_path / "out"), served.detector.score_samples(rows))


@pytest.mark.thorough
def test_columns_of_text_are_inputs_of_their_own(tmp_path):
    frame = table(100)
    detector = AnomalyDetector(categorical=("code",), random_state=0).fit(frame)
    served = Served(detector, tmp_path)
    odd = frame.assign(kind=np.where(np.arange(100) == 3, "never seen", frame["kind"]))
    encoding = detector.scorer_.encoding
    inputs = encoding.to_inputs(encoding.check(odd))
    assert set(inputs) == {"blood_pressure", "kind", "code", "dose"}
    assert_scores(served(**inputs), detector.score_samples(odd))


@pytest.mark.thorough
def test_columns_may_be_named_as_python_keeps_for_itself(tmp_path):
    _assert_served_by_name(table(60).set_axis(["class", "kind", "self", "lambda"], axis=1), tmp_path, without_card=True)


@pytest.mark.thorough
def test_any_column_names_are_served(tmp_path):
    rng = np.random.default_rng(0)
    names = [
        "",
        "a b",
        "a_b",
        "A_B",
        "images",
        "features",
        "größe",
        "grüße",
        "日本",
        "None",
        "x" * 300,
        "1",
        "a/../b:0",
    ]
    frame = pd.DataFrame(rng.normal(size=(60, len(names))), columns=names).assign(kind=list("uvw") * 20)
    _assert_served_by_name(frame, tmp_path, without_card=False)


def _assert_served_by_name(frame, tmp_path, without_card):
    detector = AnomalyDetector(random_state=0).fit(frame)
    served = Served(detector, tmp_path, warmup_rows=frame[:3])
    encoding = detector.scorer_.encoding
    inputs = encoding.to_inputs(encoding.check(frame))
    assert read_card(served.version)["columns"] == {served: name for name, served in encoding.serving_names.items()}
    assert_scores(served(**inputs), detector.score_samples(frame))
    path = tmp_path / "rows.csv"
    frame[frame.columns[::-1]].to_csv(path, index=False)
    specs = served.loaded.signatures["serving_default"].structured_input_signature[1]
    for card in (read_card(served.version), *([{}] if without_card else [])):
        found = csv_rows.feed(next(csv_rows.blocks(path, specs, 99, card=card)), specs)
        for name, values in inputs.items():
            np.testing.assert_array_equal(found[name].astype(str), values.numpy().astype(str))


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "features"), [("vae-decomposed", False), ("dagmm", True)])
def test_a_model_is_exported_with_the_threshold_of_the_detector(kind, features, tmp_path):
    options = {"reconstruction_features": True} if features else {}
    model, rows = small_model(kind, **options), clusters(100).astype(np.float32)
    model.compile(tf.keras.optimizers.Adam(1e-3), run_eagerly=True)
    detector = AnomalyDetector(model, epochs=1, false_positive_rate=0.3).fit(rows)
    served = Served(detector, tmp_path / "model", warmup_rows=pd.DataFrame(rows[:5]))
    outputs = served(features=tf.constant(rows))
    np.testing.assert_array_equal(outputs["anomaly"], detector.predict(rows) == -1)
    assert 0 < outputs["anomaly"].mean() < 1
    scores = -outputs["energy"] if features else outputs["log_density"]
    np.testing.assert_allclose(scores, detector.score_samples(rows), rtol=1e-5, atol=1e-5)
    serving(["check", str(tmp_path / "model")])


def test_few_rows_and_a_single_column_are_exported(tmp_path):
    rows = rotated(30)[:, :1].astype(np.float32)
    detector = AnomalyDetector(random_state=0).fit(rows)
    assert detector.used_ == ("kernel",) or "columns" in detector.used_
    assert_scores(Served(detector, tmp_path)(features=tf.constant(rows)), detector.score_samples(rows))
