"""The script for images, run as a user runs it, on images that the test draws."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
import train_images

import tf_radogaga
from tf_radogaga import presets
from tf_radogaga.datasets import idx

KEYS = {
    *("dataset", "model", "preset", "seed", "steps", "wall_seconds", "unit_norm_mean_above_10", "dimensions_above_10"),
    *("rate_nats", "psnr", "distortion", "coding_loss", "transform_loss", "implicit_isometry"),
}
FIGURES = ("implicit_spectrum.png", "traversals.png", "reconstructions.png", "scores.png")


def bars(count, rng):
    """Grey bars of random place and length, (count, 28, 28)."""
    across, down = np.arange(28)[None, None, :], np.arange(28)[None, :, None]
    left, top, length = (rng.integers(low, high, (count, 1, 1)) for low, high in ((2, 20), (2, 14), (4, 12)))
    inside = (across >= left) & (across < left + 6) & (down >= top) & (down < top + length)
    return np.where(inside, rng.integers(100, 256, (count, 1, 1)), 0).astype(np.uint8)


@pytest.fixture
def data_dir(tmp_path):
    rng = np.random.default_rng(5)
    arrays = (bars(512, rng), np.zeros(512, np.uint8), bars(40, rng), np.zeros(40, np.uint8))
    (tmp_path / "data").mkdir()
    for file, array in zip(idx.SHA256["mnist"], arrays):
        header = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / "data" / file).write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path / "data"


@pytest.fixture
def narrow(monkeypatch):
    """The papers' presets with narrow networks."""
    paper = presets.image_preset
    monkeypatch.setattr(presets, "image_preset", lambda *names: dataclasses.replace(paper(*names), units=(32,)))


def energies(model, pixels):
    return {"energies": model.energy(train_images.as_rows(pixels)).numpy().tolist()}


def metrics_of(out):
    return json.loads((out / "metrics.json").read_text())


def test_train_measure_draw_save_and_export(data_dir, narrow, tmp_path, capsys):
    out, served = tmp_path / "out", tmp_path / "served"
    command = ["--dataset", "mnist", "--model", "beta-vae", "--data-dir", str(data_dir), "--out", str(out)]
    train_images.main([*command, "--steps", "60", "--batch-size", "64", "--export", str(served)])
    metrics, printed = metrics_of(out), capsys.readouterr().out
    assert set(metrics) == KEYS and metrics["steps"] >= 60
    for name in (*FIGURES, "model/config.json", "logs"):
        assert (out / name).exists(), name
    assert (out / "certificate.txt").read_text() in printed

    report = metrics["implicit_isometry"]
    assert sorted(report["dimension"]) == list(range(32)) and report["rows"] == 40
    model = tf_radogaga.load_model(out / "model")
    pixels = idx.load_images("mnist", data_dir).test
    rows = pixels.reshape(40, 784)
    x, x_check = rows / 255, model.decode(model.encode(rows)).numpy()
    np.testing.assert_allclose(metrics["psnr"], -10 * np.log10(((x - x_check) ** 2).mean(1)).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["rate_nats"], model.rates(rows).numpy().sum(1).mean(), rtol=1e-4)
    loss = metrics["rate_nats"] + model.lambda2 * metrics["distortion"]
    np.testing.assert_allclose(loss, sum(t.numpy() for t in model.loss_terms(x.astype("f")).values()).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["coding_loss"], np.mean(model.losses(rows)[1]), rtol=1e-4)

    loaded = tf.saved_model.load(str(served / "1"))
    raw = loaded.signatures["serving_default"](features=tf.constant(rows, tf.float32))
    np.testing.assert_allclose(raw["energy"], model.energy(rows), rtol=1e-4)
    assert raw["anomaly"].numpy().sum() == 1  # the share of an unlabelled table, 0.01 of 40 images

    with pytest.raises(SystemExit, match="finished run"):
        train_images.main(command)


def test_what_lies_above_10_is_averaged(data_dir, narrow):
    data = idx.load_images("mnist", data_dir)
    model, pixels = presets.build(presets.image_preset("mnist", "beta-vae"), data.preprocessing()), data.test
    model.adapt_prior(pixels.reshape(40, 784))
    metrics, _ = train_images.measure(model, pixels, seed=0)
    assert metrics["unit_norm_mean_above_10"] is None and metrics["dimensions_above_10"] == 0
    bias = model.encoder.dense[-1].bias
    bias.assign_sub(np.repeat([0, 4], [35, 29]).astype("f"))  # log sigma^2 of all but three dimensions
    metrics, report = train_images.measure(model, pixels, seed=0)
    above = report.inverse_variance > 10
    assert metrics["dimensions_above_10"] == above.sum() == 29
    assert metrics["unit_norm_mean_above_10"] == pytest.approx(report.unit_norm_mean[:29].mean())


def test_an_interrupted_run_goes_on(data_dir, narrow, tmp_path, monkeypatch, capsys):
    command = ["--dataset", "fashion-mnist", "--preset", "paper-64", "--data-dir", str(data_dir), "--steps", "20"]
    command += ["--batch-size", "128", "--learning-rate", "3e-3", "--out"]
    monkeypatch.setattr(train_images, "draw", lambda *_: None)
    monkeypatch.setattr(train_images, "measure", lambda model, pixels, _: (energies(model, pixels), "a report"))
    train_images.main([*command, str(tmp_path / "whole")])

    class Kill(tf.keras.callbacks.Callback):
        def __init__(self, *args, **kwargs):
            super().__init__()

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tf.keras.callbacks, "TensorBoard", Kill)
        train_images.main([*command, str(tmp_path / "parts")])
    with pytest.raises(SystemExit, match="other settings"):
        train_images.main([*command, str(tmp_path / "parts"), "--seed", "1"])
    train_images.main([*command, str(tmp_path / "parts")])
    assert "going on with the interrupted run" in capsys.readouterr().out
    whole, parts = metrics_of(tmp_path / "whole"), metrics_of(tmp_path / "parts")
    assert whole["energies"] == parts["energies"] and whole["steps"] == parts["steps"] == 20
    assert tf_radogaga.load_model(tmp_path / "parts" / "model").latent_units == 64


def test_the_first_50000_images_are_trained_on(data_dir, monkeypatch, tmp_path):
    seen = {}

    def stop(preset, data, *args, **kwargs):
        seen.update(rows=data.train, preset=preset)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_images, "train", stop)
    monkeypatch.setattr(train_images, "TRAINING_IMAGES", 100)
    with pytest.raises(KeyboardInterrupt):
        train_images.main(["--dataset", "mnist", "--data-dir", str(data_dir), "--out", str(tmp_path / "out")])
    np.testing.assert_array_equal(seen["rows"], idx.load_images("mnist", data_dir).train[:100].reshape(100, 784))
    assert seen["preset"] == presets.image_preset("mnist", "beta-vae", "paper")


def test_help_teaches_and_wrong_arguments_are_named(capsys, tmp_path):
    with pytest.raises(SystemExit):
        train_images.parse_arguments(["--help"])
    assert "python trainers/train_images.py --dataset mnist" in capsys.readouterr().out
    for arguments, message in (
        (["--dataset", "cifar"], "argument --dataset: invalid choice: 'cifar'"),
        (["--dataset", "mnist", "--steps", "0"], "--steps: 0 is not above 0"),
        (["--dataset", "mnist", "--model", "gan"], "argument --model: invalid choice: 'gan'"),
    ):
        with pytest.raises(SystemExit):
            train_images.parse_arguments([*arguments, "--out", "unused"])
        assert message in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="data_dir: none of"):
        train_images.main(["--dataset", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_mnist_has_unit_norms(shared_data, tmp_path):
    command = ["--dataset", "mnist", "--data-dir", str(shared_data), "--steps", "3000"]
    train_images.main([*command, "--out", str(tmp_path / "out")])
    metrics = metrics_of(tmp_path / "out")
    assert metrics["unit_norm_mean_above_10"] == pytest.approx(1, abs=0.1) and metrics["dimensions_above_10"] > 15
