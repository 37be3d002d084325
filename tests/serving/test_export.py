"""A version of a model is published atomically: kills, full disks, exports at the same time; its card."""

import errno
import io
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.exports import rows32
from helpers.models import fitted, scaled, small_model

import tf_radogaga
from tf_radogaga import serving
from tf_radogaga._core import directories
from tf_radogaga.serving import export


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(7)
    rows = rows32()
    model = fitted(small_model("dagmm", scaled(rows)), rows, epochs=1)
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    return model


def _contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.thorough
def test_versions_count_up_and_are_never_overwritten(model, tmp_path):
    assert tf_radogaga.export_saved_model(model, tmp_path).name == "1"
    assert tf_radogaga.export_saved_model(model, tmp_path, version=7).name == "7"
    assert tf_radogaga.export_saved_model(model, tmp_path).name == "8"
    before = _contents(tmp_path)
    with pytest.raises(FileExistsError, match="leave version out"):
        tf_radogaga.export_saved_model(model, tmp_path, version=7)
    assert _contents(tmp_path) == before and _names(tmp_path) == ["1", "7", "8"]


@pytest.mark.thorough
def test_exports_of_threads_leave_each_other_and_the_process_alone(model, tmp_path, monkeypatch):
    """Every word of a third thread arrives, and nothing else; draws of the process go on as they would."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    real, said = sys.stdout, 0
    tf.random.set_seed(3)
    expected = tf.random.uniform((3,)), tf.random.uniform((3,))
    tf.random.set_seed(3)
    before = tf.random.uniform((3,))
    exporting = [
        threading.Thread(target=tf_radogaga.export_saved_model, args=(model, tmp_path / f"{part}")) for part in range(3)
    ]
    for thread in exporting:
        thread.start()
        time.sleep(0.05)
    while any(thread.is_alive() for thread in exporting):
        print("tick")
        said += 1
        time.sleep(0.01)
    assert sys.stdout is real and real.getvalue() == said * "tick\n"
    np.testing.assert_array_equal((before, tf.random.uniform((3,))), expected)
    rows = rows32()
    for part in range(3):
        loaded = tf.saved_model.load(str(tmp_path / f"{part}" / "1"))
        found = loaded.signatures["serving_default"](features=tf.constant(rows, tf.float32))
        np.testing.assert_allclose(found["energy"], model.energy(rows), rtol=1e-5)
        serving.check_ops(tmp_path / f"{part}" / "1")


@pytest.mark.parametrize("version", [-1, 1.5, True, "canary"])
def test_a_version_that_no_server_finds_is_refused(model, tmp_path, version):
    with pytest.raises(ValueError, match=rf"version: {version!r} is no integer from 0 on.*leave version out"):
        tf_radogaga.export_saved_model(model, tmp_path, version=version)
    assert _names(tmp_path) == []


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"model: AnomalyDetector is none; .* detector.export\(...\)"):
        tf_radogaga.export_saved_model(tf_radogaga.AnomalyDetector(), tmp_path)


@pytest.mark.thorough
def test_an_export_that_was_overtaken_takes_the_next_number(model, tmp_path, monkeypatch):
    def overtaken(directory):
        (tmp_path / "1").mkdir(exist_ok=True)
        (tmp_path / "1" / "saved_model.pb").write_bytes(b"of another export")

    monkeypatch.setattr(export, "check_ops", overtaken)
    with pytest.raises(FileExistsError, match="leave version out"):
        tf_radogaga.export_saved_model(model, tmp_path, version=1)
    assert tf_radogaga.export_saved_model(model, tmp_path).name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"of another export"


def test_a_failed_export_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def refuse(directory):
        raise ValueError("refused")

    monkeypatch.setattr(export, "check_ops", refuse)
    with pytest.raises(ValueError, match="refused"):
        tf_radogaga.export_saved_model(model, tmp_path)
    assert _names(tmp_path) == []


def test_a_model_that_was_not_fitted_is_not_exported(tmp_path):
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        tf_radogaga.export_saved_model(small_model(preprocess=scaled(rows32())), tmp_path)


def test_everything_is_on_the_disk_before_it_is_published(model, tmp_path, monkeypatch):
    synced, sync = [], directories.sync

    def watched(path):
        synced.append((str(path), (tmp_path / "1").exists()))
        sync(path)

    monkeypatch.setattr(directories, "sync", watched)
    tf_radogaga.export_saved_model(model, tmp_path)
    parts = {path.partition("/new")[2].lstrip("/") for path, published in synced if not published}
    written = {str(path.relative_to(tmp_path / "1")) for path in (tmp_path / "1").rglob("*")}
    assert parts == {"", *written} and "variables" in written
    assert [path for path, published in synced if published] == [str(tmp_path)]


@pytest.mark.thorough
def test_what_dead_exports_left_is_removed_and_what_live_ones_write_is_not(model, tmp_path):
    dead, alive = tmp_path / ".export-dead", tmp_path / ".export-alive"
    for folder in (dead, alive):
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "saved_model.pb").write_bytes(b"half")
    with directories.lock(alive):
        tf_radogaga.export_saved_model(model, tmp_path)
        assert _names(tmp_path) == [".export-alive", "1"]
        assert _contents(alive) == {"lock": b"", "model/saved_model.pb": b"half"}
    tf_radogaga.export_saved_model(model, tmp_path)
    assert _names(tmp_path) == ["1", "2"]


def test_a_lock_that_was_removed_and_made_again_is_of_another(tmp_path, monkeypatch):
    def overtaken(handle, operation):
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").touch()

    monkeypatch.setattr(directories.fcntl, "flock", overtaken)
    with pytest.raises(BlockingIOError), directories.lock(tmp_path):
        pass


# Kills. The processes are forked from one that has imported TensorFlow and not used it, which saves ten imports


def _export(directory, base_dir, started, fatal):
    if fatal:
        module = export if fatal == "_write" else directories
        step = getattr(module, fatal)

        def last(*args):
            step(*args)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(module, fatal, last)
    model = tf_radogaga.load_model(directory)
    started.set()
    tf_radogaga.export_saved_model(model, base_dir)


@pytest.fixture(scope="module")
def run_export(model, tmp_path_factory):
    """Exports in a process of its own, which is killed `after` so many seconds, or kills itself in a `fatal` step."""
    saved = tmp_path_factory.mktemp("saved")
    tf_radogaga.save_model(model, saved)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tf_radogaga"])

    def run(base_dir, after=None, fatal=None):
        started = context.Event()
        process = context.Process(target=_export, args=(saved, base_dir, started, fatal))
        process.start()
        assert started.wait(120)
        begin = time.monotonic()
        process.join(after)
        process.kill()
        process.join()
        return process.exitcode, time.monotonic() - begin

    return run


def _assert_every_version_loads(base_dir, rows, energy):
    for version in base_dir.glob("[0-9]*"):
        loaded = tf.saved_model.load(str(version))
        found = loaded.signatures["serving_default"](features=tf.constant(rows))["energy"]
        np.testing.assert_allclose(found, energy, rtol=1e-5, atol=1e-5)


def _kill_at_random_moments(model, base_dir, run_export, kills):
    rows = rows32(20)
    energy = model.energy(rows).numpy()
    code, seconds = run_export(base_dir)
    assert code == 0 and _names(base_dir) == ["1"]
    killed = 0
    for moment in np.random.default_rng(0).uniform(0, seconds, kills):
        code, _ = run_export(base_dir, after=moment)
        killed += code == -signal.SIGKILL
        _assert_every_version_loads(base_dir, rows, energy)
    assert killed
    last = tf_radogaga.export_saved_model(model, base_dir)
    _assert_every_version_loads(base_dir, rows, energy)
    assert all(name.isdigit() for name in _names(base_dir)) and last.name in _names(base_dir)


@pytest.mark.slow
def test_ten_killed_exports_show_nothing_that_does_not_load(model, tmp_path, run_export):
    _kill_at_random_moments(model, tmp_path, run_export, kills=10)


@pytest.mark.thorough
@pytest.mark.parametrize(("fatal", "visible"), [("_write", []), ("sync", []), ("_numbered", ["1"])])
def test_a_kill_between_two_steps_shows_all_or_nothing(model, tmp_path, run_export, fatal, visible):
    code, _ = run_export(tmp_path, fatal=fatal)
    assert code == -signal.SIGKILL
    assert len(list(tmp_path.glob(".export-*"))) == 1  # so that it died where it should
    assert sorted(path.name for path in tmp_path.glob("[0-9]*")) == visible
    rows = rows32(20)
    _assert_every_version_loads(tmp_path, rows, model.energy(rows).numpy())
    tf_radogaga.export_saved_model(model, tmp_path)
    assert _names(tmp_path) == [*visible, str(len(visible) + 1)]


# Full disks


@pytest.mark.thorough
def test_a_file_that_cannot_grow_is_told_as_a_full_disk(model, tmp_path):
    tf_radogaga.export_saved_model(model, tmp_path)
    before = _contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (500, 50_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match=r"base_dir: .* no room.* MB were free.*choose another folder") as caught:
                tf_radogaga.export_saved_model(model, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG
        assert _contents(tmp_path) == before and _names(tmp_path) == ["1"]
    assert tf_radogaga.export_saved_model(model, tmp_path).name == "2"


# The card


def test_the_card_tells_what_the_model_and_the_caller_know(model, tmp_path):
    rows = rows32()
    data = {"name": "clusters", "sha256": serving.data_hash(rows)}
    facts = {"data": data, "metrics": {"auroc": np.float32(0.5), "f1": [np.nan]}}
    version = tf_radogaga.export_saved_model(model, tmp_path, card=facts)
    card = json.loads((version / "assets" / "card.json").read_text())
    assert card["data"] == data and card["metrics"] == {"auroc": 0.5, "f1": [None]}
    assert card["threshold"] == float(model.threshold) and card["model"] == "DAGMM"
    served = tf.saved_model.load(str(version)).signatures
    assert card["signatures"] == {name: list(served[name].structured_input_signature[1]) for name in card["signatures"]}
    assert set(card["signatures"]) == set(served)
    assert card["versions"]["tensorflow"] == tf.__version__
    assert card["versions"]["tf_radogaga"] == tf_radogaga.__version__


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"threshold": 1.0}, r"card: \['threshold'\] are filled in from the model"),
        ({"preset": object()}, "card: JSON cannot hold it"),
        ("thyroid", "card: 'thyroid' is no mapping; give a dict"),
    ],
)
def test_a_card_that_cannot_be_is_refused_before_anything_is_written(model, tmp_path, card, message):
    with pytest.raises(ValueError, match=message):
        tf_radogaga.export_saved_model(model, tmp_path / "served", card=card)
    assert not (tmp_path / "served").exists()


def test_a_hash_tells_data_apart():
    table = pd.DataFrame({"dose": [1.0, 2.0], "kind": ["a", "b"]})
    other = {
        "values": table.assign(dose=[1.0, 3.0]),
        "text": table.assign(kind=["a", "c"]),
        "order": table[::-1],
        "names": table.rename(columns={"dose": "rate"}),
        "cells": table.assign(kind=["a, b", ""]),
        "matrix": table[["dose"]].to_numpy(),
        "shape": table["dose"].to_numpy(),
        "dtype": table["dose"].to_numpy("float32"),
    }
    hashes = {name: serving.data_hash(rows) for name, rows in {"same": table, **other}.items()}
    assert len(set(hashes.values())) == len(hashes)
    assert hashes["same"] == serving.data_hash(table.copy()) == serving.data_hash({c: list(table[c]) for c in table})
    matrix = np.arange(6.0).reshape(2, 3)
    assert serving.data_hash(matrix) == serving.data_hash(np.asfortranarray(matrix.astype(">f8")))
