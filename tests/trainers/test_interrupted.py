"""Trainings that are killed, fill the disk or find damaged backups go on, or say what to do."""

import argparse
import multiprocessing
import os
import resource
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from helpers.models import clusters, fitted, scaled, small_model

from tf_radogaga_trainers import train_tabular
from tf_radogaga_trainers.shared import backups, runs

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


@pytest.mark.thorough
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


@pytest.mark.thorough
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
