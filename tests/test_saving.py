import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.marks import after
from helpers.models import encoded, fitted, scaled, small_model

import tf_radogaga
from tf_radogaga.saving import CONFIG

LOAD_AND_SCORE = """
import sys, numpy as np, pandas as pd, tf_radogaga
model = tf_radogaga.load_model(sys.argv[1])
rows = pd.read_pickle(sys.argv[2])
np.savez(sys.argv[3], energy=model.energy(rows), threshold=model.threshold, latent=model.encode(rows))
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "table"),
    [("log", "frame"), *(pytest.param(kind, "rows", marks=pytest.mark.slow) for kind in ("no-gauge", "dagmm"))],
)
def test_round_trip_through_a_fresh_process(kind, table, request, tmp_path):
    data = request.getfixturevalue(table)
    preprocess = scaled(data) if table == "rows" else encoded(data)
    model = fitted(small_model(kind, preprocess, reconstruction_features=True), data, epochs=1)
    rng = np.random.default_rng(0)  # perturbed, so that a part that is rebuilt instead of restored shows
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.1, variable.shape))
    model.adapt_prior(data)
    model.set_threshold(model.energy(data).numpy(), 0.1)
    tf_radogaga.save_model(model, tmp_path / "model")
    import pandas as pd

    pd.to_pickle(data, tmp_path / "rows.pkl")
    command = [sys.executable, "-c", LOAD_AND_SCORE, str(tmp_path / "model"), str(tmp_path / "rows.pkl")]
    subprocess.run([*command, str(tmp_path / "out.npz")], check=True, capture_output=True)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["energy"], model.energy(data), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(out["latent"], model.encode(data), rtol=1e-5, atol=1e-5)
        assert out["threshold"] == model.threshold.numpy()


@pytest.fixture
def saved(rows, tmp_path):
    model = small_model(preprocess=scaled(rows))
    model.adapt_prior(rows)
    tf_radogaga.save_model(model, tmp_path / "model")
    return model, tmp_path / "model"


def test_config_is_plain_json_and_gives_the_same_config_again(saved):
    _, directory = saved
    before = (directory / CONFIG).read_text()
    tf_radogaga.save_model(tf_radogaga.load_model(directory), directory.with_name("again"))
    assert (directory.with_name("again") / CONFIG).read_text() == before


def test_a_newer_model_replaces_the_older_whole(saved, rows):
    model, directory = saved
    model.set_threshold([1.0, 2.0], 0.5)
    tf_radogaga.save_model(model, directory)
    assert float(tf_radogaga.load_model(directory).threshold) == 1.5
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_older_model(saved, rows, monkeypatch):
    model, directory = saved
    energy = model.energy(rows).numpy()
    monkeypatch.setattr(Path, "write_text", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        tf_radogaga.save_model(model, directory)
    monkeypatch.undo()
    np.testing.assert_array_equal(tf_radogaga.load_model(directory).energy(rows), energy)
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_an_interrupted_replacement_leaves_the_older_model(saved, rows, monkeypatch):
    model, directory = saved
    energy = model.energy(rows).numpy()
    real = Path.rename

    def interrupted(self, target):
        if self.name == "new":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tf_radogaga.save_model(model, directory)
    monkeypatch.undo()
    np.testing.assert_array_equal(tf_radogaga.load_model(directory).energy(rows), energy)


def test_a_folder_of_other_things_is_not_overwritten(saved, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    (tmp_path / "thesis" / CONFIG).write_text("{}")
    with pytest.raises(FileExistsError, match="not a model"):
        tf_radogaga.save_model(saved[0], tmp_path / "thesis")


def test_damaged_files_are_named(saved):
    _, directory = saved
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        tf_radogaga.load_model(directory.parent)
    data = next(directory.glob("weights.data*"))
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="weights: damaged"):
        tf_radogaga.load_model(directory)
    data.write_bytes(whole)
    config = json.loads((directory / CONFIG).read_text())
    config["config"]["encoder"]["config"]["units"] = [5]
    (directory / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match="weights: damaged, or not of the model"):
        tf_radogaga.load_model(directory)
    (directory / CONFIG).write_text('{"class": "tf_rado')
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        tf_radogaga.load_model(directory)


@pytest.mark.parametrize("name", after(2, ["os>system", "Lambda", "keras.layers>Lambda", "tf_radogaga>Nothing"]))
def test_config_names_registered_classes_only(saved, name):
    _, directory = saved
    config = json.loads((directory / CONFIG).read_text())
    config["config"]["decoder"]["class"] = name
    (directory / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is not registered"):
        tf_radogaga.load_model(directory)


def test_keras_formats_that_lose_parameters_fail_loudly(saved, tmp_path):
    import tensorflow as tf

    model, _ = saved
    for route in (
        lambda: model.save(tmp_path / "m"),
        lambda: model.save(tmp_path / "m.keras"),
        lambda: model.save_weights(tmp_path / "m.h5"),
        lambda: model.save_weights(tmp_path / "m.weights.h5"),
        lambda: tf.keras.models.save_model(model, tmp_path / "m.keras"),
    ):
        with pytest.raises(NotImplementedError, match="save_model"):
            route()
