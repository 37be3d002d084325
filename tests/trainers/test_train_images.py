"""The script for images, run as a user runs it, on images that the test draws."""

import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tf_radogaga
from tf_radogaga.datasets import idx
from tf_radogaga.presets import images as image_presets
from tf_radogaga_trainers import train_images

KEYS = {
    *("dataset", "model", "distortion", "preset", "seed", "steps", "wall_seconds", "tangent_r", "tangent_slope"),
    *("rate_nats", "psnr", "ssim", "mean_distortion", "top_tenth_variance_share", "isometry"),
}
VAE_KEYS = {
    *("implicit_tangent_r", "implicit_tangent_slope", "unit_norm_mean_above_10", "unit_norm_sd_above_10"),
    *("dimensions_above_10", "implicit_isometry"),
}
FIGURES = {
    *("tangents.png", "spectrum.png", "traversals.png", "reconstructions.png", "anomalous.png", "typical.png"),
    "scores.png",
}


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
def folder(tmp_path):
    """40 PNG files, of which every tenth is held out."""
    (tmp_path / "bars").mkdir()
    for number, image in enumerate(bars(40, np.random.default_rng(6))):
        (tmp_path / "bars" / f"{number:02d}.png").write_bytes(tf.io.encode_png(image[..., None]).numpy())
    return tmp_path / "bars"


@pytest.fixture
def narrow(monkeypatch):
    """The presets with narrow networks."""
    real = image_presets.image_preset

    def preset(*names):
        found = real(*names)
        return dataclasses.replace(found, units=(16,), latent_units=4, filters=found.filters and (4, 4))

    monkeypatch.setattr(image_presets, "image_preset", preset)


def metrics_of(out):
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.thorough
@pytest.mark.parametrize(
    "choice",
    [pytest.param(["--model", "radogaga", "--distortion", "ssim"], marks=pytest.mark.slow), ["--model", "beta-vae"]],
)
def test_train_measure_draw_save_and_export(choice, data_dir, narrow, tmp_path, capsys):
    out, served = tmp_path / "out", tmp_path / "served"
    command = ["--dataset", "mnist", *choice, "--data-dir", str(data_dir), "--out", str(out)]
    train_images.main([*command, "--steps", "40", "--batch-size", "64", "--export", str(served)])
    metrics, printed = metrics_of(out), capsys.readouterr().out
    vae = "beta-vae" in choice
    assert set(metrics) == KEYS | (VAE_KEYS if vae else set()) and metrics["steps"] >= 40
    assert metrics["distortion"] == ("bce" if vae else "ssim")
    figures = {path.name for path in out.glob("*.png")}
    assert figures == FIGURES | ({"implicit_spectrum.png"} if vae else set())
    assert (out / "certificate.txt").read_text() in printed

    model, pixels = tf_radogaga.load_model(out / "model"), idx.load_images("mnist", data_dir).test
    x, x_hat = pixels / 255, model.decode(model.encode(pixels)).numpy().clip(0, 1)
    psnr = -10 * np.log10(((x - x_hat) ** 2).mean((1, 2, 3))).mean()
    assert metrics["psnr"] == pytest.approx(psnr, rel=1e-4)
    ssim = 1 - tf_radogaga.StructuralDissimilarity()(tf.constant(x, tf.float32), tf.constant(x_hat))
    assert metrics["ssim"] == pytest.approx(np.mean(ssim), rel=1e-3)
    rate = model.rates(pixels).numpy().sum(1) if vae else model.energy(pixels).numpy()
    assert metrics["rate_nats"] == pytest.approx(rate.mean(), rel=1e-4)

    loaded = tf.saved_model.load(str(served / "1"))
    contents = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
    scores = loaded.signatures["serving_bytes"](image_bytes=contents)
    np.testing.assert_allclose(scores["energy"], model.energy(pixels), rtol=1e-4)
    assert scores["anomaly"].numpy().sum() == 1  # the share of an unlabelled table, 0.01 of 40 images

    names = set()
    for file in (out / "logs" / "images").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            names |= {value.tag.rsplit("/", 1)[0] for value in event.summary.value}
    assert names == {"original | reconstruction", "traversals by variance"}
    with pytest.raises(SystemExit, match="finished run"):
        train_images.main(command)


@pytest.mark.thorough
def test_what_lies_above_10_is_averaged(data_dir, narrow):
    preset = image_presets.image_preset((28, 28, 1), "beta-vae", None, "paper")
    data = train_images.load("mnist", data_dir, (28, 28, 1))
    model = train_images.presets.build(preset, train_images.ImageScaling((28, 28, 1)))
    model.adapt_prior(data.test)
    metrics, _ = train_images.measure(model, data.test, seed=0)
    assert metrics["unit_norm_mean_above_10"] is None and metrics["dimensions_above_10"] == 0
    model.encoder.dense[-1].bias.assign_sub(np.float32([0, 0, 0, 0, 0, 4, 4, 4]))  # log sigma^2 of all but one
    metrics, (_, report) = train_images.measure(model, data.test, seed=0)
    assert metrics["dimensions_above_10"] == 3
    assert metrics["unit_norm_mean_above_10"] == pytest.approx(report.unit_norm_mean[:3].mean())


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_weights_of_an_unbroken_one(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_images, "measure", lambda *_: ({}, []))
    monkeypatch.setattr(train_images, "draw", lambda *_: None)
    command = ["--dataset", str(folder), "--image-shape", "16", "16", "1", "--steps", "12", "--batch-size", "16"]
    script = Path(train_images.__file__)
    parts = [*command, "--out", str(tmp_path / "parts")]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([sys.executable, str(script), *parts], stdout=log, stderr=log)
        deadline = time.time() + 240
        while "Epoch 4/" not in (tmp_path / "log").read_text():
            assert process.poll() is None and time.time() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with pytest.raises(SystemExit, match="other settings"):
        train_images.main([*parts, "--seed", "1"])
    train_images.main(parts)
    assert "going on with the interrupted run" in capsys.readouterr().out
    train_images.main([*command, "--out", str(tmp_path / "whole")])
    whole, resumed = (tf_radogaga.load_model(tmp_path / run / "model") for run in ("whole", "parts"))
    for expected, found in zip(whole.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(found, expected)
    assert metrics_of(tmp_path / "parts")["steps"] == metrics_of(tmp_path / "whole")["steps"] == 12
    assert len(list((tmp_path / "whole" / "logs" / "images").iterdir())) == 1


def test_digits_trained_on_are_the_papers_50000(data_dir, monkeypatch):
    monkeypatch.setattr(train_images, "TRAINING_DIGITS", 100)
    data = train_images.load("mnist", data_dir, (28, 28, 1))
    np.testing.assert_array_equal(data.train, idx.load_images("mnist", data_dir).train[:100])
    assert len(data.test) == 40


def test_help_teaches_and_wrong_arguments_are_named(capsys, tmp_path, data_dir):
    with pytest.raises(SystemExit):
        train_images.parse_arguments(["--help"])
    assert "python trainers/train_images.py --dataset mnist" in capsys.readouterr().out
    for arguments, message in (
        (["--dataset", "mnist", "--steps", "0"], "--steps: 0 is not above 0"),
        (["--dataset", "mnist", "--model", "gan"], "argument --model: invalid choice: 'gan'"),
        (["--dataset", "mnist", "--image-shape", "8", "8", "1"], "--image-shape: is for your own images"),
        (["--dataset", "celeba"], "--data-dir: is needed for celeba"),
    ):
        with pytest.raises(SystemExit):
            train_images.parse_arguments([*arguments, "--out", "unused"])
        assert message in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="data_dir: none of"):
        train_images.main(["--dataset", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")])
    refused = ["--dataset", "mnist", "--data-dir", str(data_dir), "--preset", "paper", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="RaDOGAGA has 'small'"):
        train_images.main(refused)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_mnist_has_unit_norms(shared_data, tmp_path):
    command = ["--dataset", "mnist", "--model", "beta-vae", "--steps", "3000"]
    train_images.main([*command, "--data-dir", str(shared_data), "--out", str(tmp_path / "out")])
    metrics = metrics_of(tmp_path / "out")
    assert metrics["unit_norm_mean_above_10"] == pytest.approx(1, abs=0.1) and metrics["dimensions_above_10"] > 15
