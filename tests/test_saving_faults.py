"""Kills, damaged files and full disks where models are saved: nothing is lost, and the error says what to do."""

import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.models import clusters, fitted, scaled, small_model

import tf_radogaga
from tf_radogaga._core import directories


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
    staged = directories.staged(directory)
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
        directories.staging(tmp_path / "model", "model"),
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
import tf_radogaga
from tf_radogaga_trainers.shared import runs
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


@pytest.mark.thorough
def test_full_and_read_only_disks_are_named_and_what_is_there_stays(model, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f'mount -t tmpfs -o size=1m tmpfs "{disk}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    tf_radogaga.save_model(model, tmp_path / "saved")
    command += [sys.executable, "-c", DISKS, str(tmp_path / "saved"), str(disk)]
    done = subprocess.run(command, capture_output=True, text=True)
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
