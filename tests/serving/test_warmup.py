"""Warm-up requests, and the check that makes them again."""

import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.exports import model_and_rows, rows32

import tf_radogaga
from tf_radogaga import serving
from tf_radogaga.serving import __main__ as command
from tf_radogaga.serving import warmup

prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")


@pytest.fixture(scope="module")
def model():
    return model_and_rows("log-matrix")[0]


@pytest.fixture(scope="module")
def base_dir(model, tmp_path_factory):
    base_dir = tmp_path_factory.mktemp("served") / "clusters"
    tf_radogaga.export_saved_model(model, base_dir, card={"data": "clusters"}, warmup_rows=rows32()[:40])
    return base_dir


@pytest.fixture
def version(base_dir, tmp_path):
    """A copy, to damage."""
    return shutil.copytree(base_dir / "1", tmp_path / "1")


def _logs(version):
    records = tf.data.TFRecordDataset(str(version / warmup.PATH))
    return [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]


def _rewrite(version, logs):
    with tf.io.TFRecordWriter(str(version / warmup.PATH)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def test_requests_are_those_of_a_client_with_the_models_answers(model, base_dir):
    logs = {log.predict_log.request.model_spec.signature_name: log.predict_log for log in _logs(base_dir / "1")}
    loaded = tf.saved_model.load(str(base_dir / "1"))
    assert set(logs) == set(loaded.signatures)
    request = logs["serving_default"].request
    assert request.model_spec.name == "clusters"
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["features"]), rows32()[:40])
    answers = logs["serving_default"].response.outputs
    np.testing.assert_allclose(tf.make_ndarray(answers["energy"]), model.energy(rows32()[:40]), rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind", ["log-table-features", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("images", "vae-matrix"))]
)
def test_every_signature_of_every_kind_of_model_is_warmed_up(kind, tmp_path):
    model, rows = model_and_rows(kind)
    version = tf_radogaga.export_saved_model(model, tmp_path, warmup_rows=rows[:3])
    loaded = tf.saved_model.load(str(version))
    replayed = warmup.replay(version, loaded)
    assert sorted(record.signature for record in replayed) == sorted(loaded.signatures)
    assert f"{len(replayed)} requests replayed" in serving.check_export(version)


def test_a_good_export_is_reported_in_a_few_lines(base_dir, capsys):
    command.main(["check", str(base_dir)])
    report = capsys.readouterr().out
    for expected in (
        "signatures  decode, encode, reconstruct, sample, serving_default, serving_examples",
        "all of core TensorFlow",
        "data clusters",
        "6 requests replayed",
        "greatest difference 0.0e+00",
    ):
        assert expected in report
    assert report.splitlines()[-1] == "  good" and len(report.splitlines()) == 7


def _refused(version, message):
    with pytest.raises(SystemExit, match=message) as caught:
        command.main(["check", str(version)])
    assert isinstance(caught.value.code, str)  # so that the process ends with 1


@pytest.mark.thorough
def test_weights_of_another_model_are_found_out(version, tmp_path):
    tf.keras.utils.set_random_seed(99)
    other, _ = model_and_rows("log-matrix")
    other.encoder.dense[0].kernel.assign(1.01 * other.encoder.dense[0].kernel)
    other = tf_radogaga.export_saved_model(other, tmp_path / "other")
    shutil.rmtree(version / "variables")
    shutil.copytree(other / "variables", version / "variables")
    _refused(version, "gives another .* than at export")


def test_a_card_with_another_threshold_is_found_out(version):
    path = version / "assets" / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "threshold": card["threshold"] + 1}))
    _refused(version, "does not flag by the threshold")
    for content in ("{", "[1]"):
        path.write_text(content)
        _refused(version, r"card.json: damaged")


def _set(version, signature, name, values):
    """Another input in the recorded request of a signature."""
    logs = _logs(version)
    for number, log in enumerate(logs):
        request = log.predict_log.request
        if request.model_spec.signature_name == signature:
            request.inputs.clear()
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            found = number
    _rewrite(version, logs)
    return found


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("features", np.zeros((3, 5), np.float32), r"takes .*\(None, 4\).*not .*\(3, 5\)"),
        ("features", np.zeros((3, 4)), "not .*float64"),
        ("rows", np.zeros((3, 4), np.float32), "not .*rows"),
    ],
)
def test_a_request_of_a_wrong_kind_is_named(version, name, values, message):
    number = _set(version, "encode", name, values)
    _refused(version, f"record {number}: encode .*{message}")


def test_a_request_that_fails_is_named(version):
    number = _set(version, "serving_examples", "examples", [b"?"])
    _refused(version, f"(?s)record {number}: serving_examples fails .*Could not parse example")


def test_a_request_of_no_signature_is_named(version):
    logs = _logs(version)
    logs[0].predict_log.request.model_spec.signature_name = "predict"
    _rewrite(version, logs)
    _refused(version, "record 0: signature 'predict', of")


def test_damaged_files_are_named(version, tmp_path):
    path = version / warmup.PATH
    path.write_bytes(path.read_bytes()[:-3])
    _refused(version, "tf_serving_warmup_requests: damaged")
    for file in ("variables/variables.data-00000-of-00001", "variables/variables.index"):
        path = version / file
        path.write_bytes(path.read_bytes()[:100])
        _refused(version, "does not load")
    path = version / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:1000])
    _refused(version, "saved_model.pb: damaged")
    _refused(tmp_path / "nothing", "is no version of a model and holds none")


@pytest.mark.thorough
def test_a_request_that_fails_is_never_published(model, tmp_path, monkeypatch):
    def tampered(directory, *args):
        record(directory, *args)
        _set(directory, "serving_default", "features", np.zeros((3, 9), np.float32))

    record = warmup.record
    monkeypatch.setattr(warmup, "record", tampered)
    with pytest.raises(ValueError, match=r"serving_default takes .*; a server refuses the version"):
        tf_radogaga.export_saved_model(model, tmp_path, warmup_rows=rows32()[:3])
    assert list(tmp_path.iterdir()) == []


def test_bad_rows_are_refused_before_anything_is_written(model, tmp_path):
    rows = rows32()[:3]
    rows[1, 2] = np.nan
    with pytest.raises(ValueError, match="column '2', row 1: nan"):
        tf_radogaga.export_saved_model(model, tmp_path / "served", warmup_rows=rows)
    assert not (tmp_path / "served").exists()


def test_without_the_api_warm_up_says_what_to_install(model, version, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"pip install 'tf_radogaga\[serving\]'"):
        tf_radogaga.export_saved_model(model, tmp_path / "served", warmup_rows=rows32()[:3])
    assert not (tmp_path / "served").exists()
    _refused(version, "tensorflow-serving-api: not installed")
    tf_radogaga.export_saved_model(model, tmp_path / "served")  # needs none


def test_what_was_exported_without_rows_has_nothing_to_compare(model, tmp_path):
    report = serving.check_export(tf_radogaga.export_saved_model(model, tmp_path))
    assert "warm-up     none" in report and "scores      not compared" in report


def test_a_model_that_is_no_export_of_this_package_is_refused(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, [tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.f})
    _refused(tmp_path, r"signature serving_default with outputs .* is needed, found \{'y'\}")
