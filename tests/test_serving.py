import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import encoded, fitted, scaled, small_model

import tf_radogaga
from tf_radogaga import serving

SCORE_WITH_TENSORFLOW_ALONE = """
import json, sys, numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
feed = {name: tf.constant(values) for name, values in json.load(open(sys.argv[2])).items()}
outputs = {name: f(**feed) for name, f in loaded.signatures.items() if name != "decode"}
outputs["decode"] = loaded.signatures["decode"](latent=outputs["encode"]["latent"])
np.savez(sys.argv[3], **{f"{s}.{n}": v.numpy() for s, values in outputs.items() for n, v in values.items()})
assert not [m for m in sys.modules if m.startswith(("tf_radogaga", "tensorflow_compression", "tensorflow_probability"))]
"""


def _feed(model, data):
    checked = model.preprocess.check(data)
    if not isinstance(checked, dict):
        return {"features": checked}
    return {model.preprocess.serving_names[column]: values for column, values in checked.items()}


@pytest.mark.parametrize(
    ("kind", "table", "features"),
    [("log", "rows", False), ("log", "frame", True), ("dagmm", "rows", True), ("dagmm", "frame", False)],
)
def test_a_process_with_tensorflow_alone_scores_the_same(kind, table, features, request, tmp_path):
    data = request.getfixturevalue(table)
    preprocess = scaled(data) if table == "rows" else encoded(data)
    model = fitted(small_model(kind, preprocess, reconstruction_features=features), data, epochs=1)
    model.set_threshold(model.energy(data).numpy(), 0.1)
    version = tf_radogaga.export_saved_model(model, tmp_path / "served")
    feed = {name: values.numpy().tolist() for name, values in _feed(model, data).items()}
    feed = {n: [v.decode() if isinstance(v, bytes) else v for v in values] for n, values in feed.items()}
    (tmp_path / "feed.json").write_text(json.dumps(feed))
    paths = [str(version), str(tmp_path / "feed.json"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", SCORE_WITH_TENSORFLOW_ALONE, *paths], check=True, capture_output=True)
    with np.load(tmp_path / "out.npz") as out:
        energy = model.energy(data).numpy()
        np.testing.assert_allclose(out["serving_default.energy"], energy, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(out["serving_default.anomaly"], energy > model.threshold)
        assert out["serving_default.anomaly"].sum() == 30 and out["serving_default.valid"].all()
        np.testing.assert_allclose(out["encode.latent"], model.encode(data), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(out["decode.reconstruction"], out["reconstruct.reconstruction"], atol=1e-4)
        assert out["reconstruct.reconstruction"].shape == (300, preprocess.width)
        assert ("serving_default.log_density" in out) == (kind == "log" and not features)
        if "serving_default.log_density" in out:
            np.testing.assert_allclose(
                out["serving_default.log_density"], model.log_density(data), rtol=1e-5, atol=1e-4
            )


@pytest.fixture
def model(rows):
    model = fitted(small_model(preprocess=scaled(rows), reconstruction_features=True), rows, epochs=1)
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    return model


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_row_is_marked_and_its_neighbours_keep_their_scores(model, rows, bad, tmp_path):
    loaded = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path)))
    good = loaded.signatures["serving_default"](features=tf.constant(rows, tf.float32))
    rows[[0, 17]] = bad
    outputs = loaded.signatures["serving_default"](features=tf.constant(rows, tf.float32))
    assert np.flatnonzero(~outputs["valid"].numpy()).tolist() == [0, 17]
    assert np.isnan(outputs["energy"].numpy()[[0, 17]]).all() and not outputs["anomaly"].numpy()[[0, 17]].any()
    for name in ("energy", "anomaly"):
        np.testing.assert_array_equal(np.delete(outputs[name], [0, 17]), np.delete(good[name], [0, 17]))
    for signature in ("encode", "reconstruct"):
        (value,) = loaded.signatures[signature](features=tf.constant(rows, tf.float32)).values()
        assert np.flatnonzero(np.isnan(value).any(axis=1)).tolist() == [0, 17]


def test_any_batch_size_gives_the_same_scores(model, rows, tmp_path):
    loaded = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path)))
    score, x = loaded.signatures["serving_default"], tf.constant(rows, tf.float32)
    single = np.concatenate([score(features=x[i : i + 1])["energy"] for i in range(20)])
    np.testing.assert_allclose(single, score(features=x)["energy"][:20], rtol=1e-5, atol=1e-5)


def test_versions_count_up_and_are_never_overwritten(model, tmp_path):
    assert tf_radogaga.export_saved_model(model, tmp_path).name == "1"
    assert tf_radogaga.export_saved_model(model, tmp_path, version=7).name == "7"
    assert tf_radogaga.export_saved_model(model, tmp_path).name == "8"
    with pytest.raises(FileExistsError, match="leave version out"):
        tf_radogaga.export_saved_model(model, tmp_path, version=7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "7", "8"]


def test_the_graph_holds_core_ops_only(model, tmp_path):
    ops = serving.check_ops(tf_radogaga.export_saved_model(model, tmp_path))
    assert "MatMul" in ops and not ops & {"PyFunc", "EagerPyFunc"}


def test_an_op_a_stock_server_lacks_is_named(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: tf.py_function(lambda y: y + 1, [x], tf.float32), [tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ValueError, match="EagerPyFunc"):
        serving.check_ops(tmp_path)


def test_a_failed_export_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def refuse(directory):
        raise ValueError("refused")

    monkeypatch.setattr(serving, "check_ops", refuse)
    with pytest.raises(ValueError, match="refused"):
        tf_radogaga.export_saved_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_not_fitted_is_not_exported(rows, tmp_path):
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        tf_radogaga.export_saved_model(small_model(preprocess=scaled(rows)), tmp_path)
