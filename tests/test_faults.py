"""Kills, damaged files, full and read-only disks, two at once: nothing is lost, and the error says what to do."""

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import backups
import numpy as np
import pandas as pd
import pytest
import runs
import scipy.io
import tensorflow as tf
import train_tabular
from helpers.models import clusters, fitted, scaled, small_model

import tf_radogaga
from tf_radogaga._core import directories
from tf_radogaga.datasets import image_folders, tabular

# A training of a table, in a process of its own


def _train(command, out, log, compiled):
    tf.config.run_functions_eagerly(not compiled)  # tracing takes longer than these few steps
    with open(log, "a") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        train_tabular.main([*command, "--out", str(out)])


class Training:
    def __init__(self, command, out, compiled=False):
        self.out, self.log = out, out.with_suffix(".log")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tf_radogaga"])
        self.process = context.Process(target=_train, args=(command, out, self.log, compiled))
        self.process.start()

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, sign):
        while sign not in self.text():
            assert self.process.is_alive(), self.text()
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL

    def finish(self):
        self.process.join(240)
        assert self.process.exitcode == 0, self.text()
        return saved_tensors(self.out / "model")


def saved_tensors(model):
    reader = tf.train.load_checkpoint(str(model / "weights"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Stops after the ninth report and keeps the weights of the seventh, so it must remember what was before a kill."""
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, clusters(200))
    options = ["--epochs", "12", "--batch-size", "32", "--learning-rate", "0.03", "--patience", "2"]
    return ["--dataset", str(path), *options]


def whole(command, out, compiled=False):
    """The weights of the unbroken training, and its seconds."""
    begin = time.monotonic()
    training = Training(command, out, compiled)
    weights = training.finish()
    assert "best epoch: 7." in training.text() and "Epoch 9: early stopping" in training.text()
    return weights, time.monotonic() - begin


def test_a_killed_training_keeps_others_out_and_goes_on_from_its_last_sound_backup(command, tmp_path):
    out = tmp_path / "out"
    training = Training(command, out)
    training.wait_for("Epoch 9/")
    os.kill(training.process.pid, signal.SIGSTOP)
    with pytest.raises(SystemExit, match=r"--out: another training is writing to .*choose another folder"):
        train_tabular.main([*command, "--out", str(out), "--overwrite"])
    assert training.kill()
    backup = out / "backup" / "chief"
    assert {path.stem for path in backup.glob("*.index")} == {"ckpt-7", "ckpt-8"}
    with pytest.raises(SystemExit, match="other settings"):
        train_tabular.main([*command, "--out", str(out), "--seed", "1"])

    _cut(backup / "ckpt-8.data-00000-of-00001")
    (backup / "checkpoint").write_text("model_checkpoint_path: ")
    resumed = Training(command, out)
    assert_same(resumed.finish(), whole(command, tmp_path / "whole")[0])
    assert "going on with the interrupted run" in resumed.text()
    assert "backups ['ckpt-8'] are damaged and removed" in resumed.text()
    assert not (out / "backup").exists() and not (out / "lock").exists()


@pytest.mark.slow
def test_20_killed_trainings_go_on_to_the_weights_of_an_unbroken_one(command, tmp_path):
    weights, seconds = whole(command, tmp_path / "whole", compiled=True)
    killed, random = 0, np.random.default_rng(0)
    for number in range(60):
        training = Training(command, tmp_path / str(number), compiled=True)
        training.process.join(random.uniform(0, seconds))
        if training.kill():
            killed += 1
        else:
            seconds *= 0.8  # the machine has become faster
        if not (training.out / "metrics.json").exists():
            assert_same(Training(command, training.out, compiled=True).finish(), weights)
        if killed == 20:
            return
    raise AssertionError(f"only {killed} of 60 trainings were killed before they ended")


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# The folder of a run


def _tried(out, epochs, **options):
    """A short training in this process, under the same care as the scripts'."""
    with runs.prepared_out(argparse.Namespace(out=out, overwrite=False)):
        tf.keras.utils.set_random_seed(7)
        model = small_model(preprocess=scaled(clusters()))
        return fitted(model, clusters(), epochs, callbacks=[backups.Backups(out / runs.BACKUP)], **options)


def test_a_training_that_fills_the_disk_goes_on_when_there_is_room(tmp_path, capsys):
    out = tmp_path / "out"
    _tried(out, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(SystemExit, match="cannot be written to; free some space and give the same command again"):
            _tried(out, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = _tried(out, 2)
    assert "going on with the interrupted run" in capsys.readouterr().out
    for weight, expected in zip(found.get_weights(), _tried(tmp_path / "whole", 2).get_weights()):
        np.testing.assert_array_equal(weight, expected)


def test_where_no_backup_is_sound_a_run_says_so(tmp_path):
    _tried(tmp_path, 2)
    for path in (tmp_path / "backup" / "chief").glob("*.index"):
        _cut(path)
    with pytest.raises(SystemExit, match=r"every backup in it is damaged, \['ckpt-1', 'ckpt-2'\]; give --overwrite"):
        _tried(tmp_path, 2)
    assert len(list((tmp_path / "backup" / "chief").glob("*.index"))) == 2
    (tmp_path / "run.json").write_text('{"seed"')
    with pytest.raises(SystemExit, match=r"run\.json is damaged .*; give --overwrite to begin anew"):
        _tried(tmp_path, 2)


def test_a_lock_goes_with_its_holder(tmp_path):
    with directories.lock(tmp_path):
        with pytest.raises(BlockingIOError), directories.lock(tmp_path):
            pass
        assert (tmp_path / "lock").exists()
    with directories.lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


# Saved models


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(7)
    return fitted(small_model("dagmm", scaled(clusters())), clusters(), epochs=1)


def _threshold(directory):
    return float(tf_radogaga.load_model(directory).threshold)


@pytest.mark.parametrize("step", ["write", "away", "place"])
def test_a_kill_while_saving_leaves_a_model_that_loads(model, tmp_path, monkeypatch, step):
    directory = tmp_path / "model"
    model.set_threshold([1.0], 0.5)
    tf_radogaga.save_model(model, directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}

    # what a kill leaves behind: nothing is done after the step, and the lock is free
    staged = directories._staged(directory)
    (staged / "new").mkdir(parents=True)
    (staged / "new" / "config.json").write_text("half")
    if step == "away":
        directory.rename(staged / "old")
    if step == "place":
        shutil.copytree(directory, staged / "old")
    assert _threshold(directory) == 1.0
    model.set_threshold([2.0], 0.5)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="broken"):
        patch.setattr(tf.train.Checkpoint, "write", lambda *_: (_ for _ in ()).throw(OSError("broken")))
        tf_radogaga.save_model(model, directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    tf_radogaga.save_model(model, directory)
    assert _threshold(directory) == 2.0 and [path.name for path in tmp_path.iterdir()] == ["model"]


def test_two_saves_into_one_directory_are_refused(model, tmp_path):
    with (
        directories._staging(tmp_path / "model", "model"),
        pytest.raises(BlockingIOError, match="choose another directory"),
    ):
        tf_radogaga.save_model(model, tmp_path / "model")
    tf_radogaga.save_model(model, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_damaged_models_are_told_and_name_the_file(model, tmp_path):
    """Cut off anywhere, or with a bit turned anywhere, a model is refused, or is the one that was saved."""
    tf_radogaga.save_model(model, tmp_path)
    expected = model.get_weights()
    rng, refused = np.random.default_rng(0), 0
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        places = rng.integers(0, len(whole), 4)
        turned = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in places]
        for content in (b"", *(whole[:at] for at in places), *turned):
            path.write_bytes(content)
            try:
                found = tf_radogaga.load_model(tmp_path).get_weights()
            except ValueError as error:
                assert str(tmp_path) in str(error) and "damaged" in str(error)
                refused += 1
            else:
                assert path.name == "config.json" or content in turned  # as a space, or in padding
                assert path.name == "config.json" or all(map(np.array_equal, found, expected))
        path.write_bytes(whole)
    assert refused >= 20
    assert tf_radogaga.load_model(tmp_path).get_weights()[0].shape == expected[0].shape


# Disks


DISKS = """
import argparse, errno, subprocess, sys
from pathlib import Path
import runs, tf_radogaga
saved, disk = sys.argv[1], Path(sys.argv[2])
contents = lambda: {str(p): p.read_bytes() for p in disk.rglob("*") if p.is_file()}
model = tf_radogaga.load_model(saved)
writers = {
    "base_dir": lambda: tf_radogaga.export_saved_model(model, disk / "served"),
    "directory": lambda: tf_radogaga.save_model(model, disk / "model"),
}
for write in writers.values():
    write()
for left in (0, 4096):
    filler = disk / "filler"
    filler.write_bytes(b"")
    try:
        with filler.open("ab", buffering=0) as handle:
            while handle.write(bytes(4096)):
                pass
    except OSError:
        pass
    with filler.open("ab") as handle:
        handle.truncate(max(filler.stat().st_size - left, 0))
    before = contents()
    for argument, write in writers.items():
        try:
            write()
        except OSError as error:
            assert error.errno == errno.ENOSPC and f"{argument}: {disk}" in str(error) and "no room" in str(error)
        else:
            raise AssertionError(f"{left} bytes were enough")
        assert contents() == before
    assert [path.name for path in (disk / "served").iterdir()] == ["1"]
filler.unlink()
for write in writers.values():
    write()
assert (disk / "served" / "2").exists()
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
try:
    writers["directory"]()
except OSError as error:
    assert error.errno == errno.EROFS and "cannot be written to" in str(error), error
else:
    raise AssertionError("written")
tf_radogaga.load_model(disk / "model")
try:
    with runs.prepared_out(argparse.Namespace(out=disk / "out", overwrite=False)):
        raise AssertionError("prepared")
except SystemExit as error:
    assert "cannot be written to; choose folders that can" in str(error), error
print("passed")
"""


def test_full_and_read_only_disks_are_named_and_what_is_there_stays(model, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f'mount -t tmpfs -o size=1m tmpfs "{disk}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    tf_radogaga.save_model(model, tmp_path / "saved")
    command += [sys.executable, "-c", DISKS, str(tmp_path / "saved"), str(disk)]
    scripts = os.pathsep.join([str(Path(runs.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": scripts})
    assert done.stdout.endswith("passed\n"), done.stderr


def test_a_model_that_outgrows_its_disk_is_told(model, tmp_path):
    tf_radogaga.save_model(model, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 2000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match=r"directory: .* has no room for the model"):
                tf_radogaga.save_model(model, tmp_path / "model")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# Data files


def _tables(folder):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    np.save(folder / "a.npy", rows)
    np.savez(folder / "a.npz", X=rows, y=np.arange(40) % 2)
    np.savez_compressed(folder / "b.npz", X=rows)
    pd.DataFrame(rows, columns=list("abc")).to_csv(folder / "a.csv.gz", index=False)
    pd.DataFrame(rows, columns=list("abc")).to_csv(folder / "a.csv", index=False)
    return sorted(folder.iterdir())


def test_tables_cut_off_or_overwritten_name_their_file(tmp_path):
    rng, refused = np.random.default_rng(1), 0
    for path in _tables(tmp_path):
        whole = path.read_bytes()
        for at in rng.integers(0, len(whole), 20):
            for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
                path.write_bytes(content)
                with contextlib.suppress(ValueError):
                    try:
                        assert tabular.read_table(path).rows.ndim == 2  # plain text and values carry no checksum
                    except ValueError as error:
                        assert str(path) in str(error) or "labels: row" in str(error)
                        refused += 1
                        raise
        path.write_bytes(whole)
    assert refused > 120


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"\xff\xfe\x00\x01" * 50, "a.csv: damaged, cut off"),
        ("a.csv", b'a,b\n1,"2\n3,4\n', "a.csv: damaged, cut off.*EOF inside string"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", "a.csv: damaged, cut off.*line 3, saw 3"),
        ("a.npy", b"a,b\n1,2\n", "a.npy: damaged, cut off, or of another kind than .npy says"),
        ("a.npz", b"", "a.npz: damaged, cut off"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        tabular.read_table(tmp_path / name)


class Danger:
    def __reduce__(self):
        return print, ("run by a pickle",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_in_tables_are_refused_and_not_run(tmp_path, name, capsys):
    rows = np.array([[Danger()]], object)
    np.save(tmp_path / name, rows) if name == "a.npy" else np.savez(tmp_path / name, X=rows)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        tabular.read_table(tmp_path / name)
    assert not capsys.readouterr().out


def test_a_damaged_matlab_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tabular, "__file__", str(tmp_path / "tabular.py"))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "thyroid.mat"
    scipy.io.savemat(path, {"X": clusters(20), "y": np.zeros(20)}, do_compression=True)
    assert len(tabular.load_table("thyroid").rows) == 20
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-40], whole[:300] + b"\0\0\0" + whole[303:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"thyroid\.mat: damaged, cut off"):
            tabular.load_table("thyroid")


def test_a_damaged_zip_of_images_is_named(tmp_path):
    path = tmp_path / "images.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
            archive.writestr(f"{number}.png", tf.io.encode_png(pixels).numpy())
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(FileNotFoundError, match="neither a folder nor a whole zip file"):
        image_folders.load_folder(path, (8, 8, 3))
    path.write_bytes(whole[:60] + b"\xff\xff" + whole[62:])  # within the first image
    with pytest.raises(ValueError, match=r"all 1 cannot be read.*images\.zip/0\.png"):
        image_folders.load_folder(path, (8, 8, 3))
