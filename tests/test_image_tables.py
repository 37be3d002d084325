"""The tables of images, by their commands, on images that the test draws and with narrow networks."""

import dataclasses

import numpy as np
import pytest
import table_outliers
import tables
import tensorflow as tf

from tf_radogaga import image_presets
from tf_radogaga.datasets.idx import Images


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    real = image_presets.image_preset

    def preset(*names):
        return dataclasses.replace(real(*names), units=(16,), latent_units=4, filters=(4, 4), batch_size=16)

    monkeypatch.setattr(image_presets, "image_preset", preset)


@pytest.fixture
def in_process(monkeypatch):
    """Runs here in place of processes of their own, where the narrow networks are not known."""

    def measure(table, jobs, path, _):
        path.parent.mkdir()
        return [table.run(*job) for job in jobs]

    monkeypatch.setattr(tables, "measure", measure)


def stripes(count, seed):
    """Smooth grey images, (count, 28, 28, 1)."""
    random = np.random.default_rng(seed)
    shift, length = random.uniform(0, 6, (2, count, 1, 1))
    wave = np.sin(np.arange(28)[None, :, None] / (2 + length) + shift) * np.ones((1, 1, 28))
    return np.round(127 * (1 + wave))[..., None].astype(np.uint8)


def test_outliers_are_told_from_digits(in_process, monkeypatch, tmp_path, capsys):
    sets = {"mnist": stripes(60, 0), "fashion-mnist": np.random.default_rng(1).integers(0, 256, (60, 28, 28, 1), "u1")}
    labels = np.zeros(60, np.uint8)
    monkeypatch.setattr(table_outliers, "load_images", lambda name, _: Images(sets[name], labels, sets[name], labels))
    out = tmp_path / "made" / "table.md"
    chosen = ["radogaga", "autoencoder", "isolation-forest"]
    tables.main(["outliers", "--methods", *chosen, "--steps", "60", "--out", str(out)])
    text = out.read_text()
    assert text in capsys.readouterr().out
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(tuple(f"| {name}" for name in chosen))]
    assert [row[0][2:] for row in rows] == ["radogaga"] * 3 + ["autoencoder", "isolation-forest"]
    fashion = {(row[0][2:], row[1]): float(row[2].split()[0]) for row in rows}
    assert fashion["autoencoder", "D(x, x_hat)"] > 0.9 and fashion["radogaga", "D(x, x_hat)"] > 0.7


def test_outliers_are_what_they_are_called():
    digits = stripes(5, 3)
    found = table_outliers.outliers(digits, digits[:2], seed=0)
    assert set(found) == set(table_outliers.OUTLIERS)
    np.testing.assert_array_equal(found["rotated"], np.rot90(digits[..., 0], axes=(1, 2))[..., None])
    assert not found["blank"].any() and found["noisy"].dtype == np.uint8
    spread = found["noisy"].astype(float)[(digits > 64) & (digits < 191)] - digits[(digits > 64) & (digits < 191)]
    assert np.std(spread) == pytest.approx(table_outliers.NOISE, rel=0.1)


def test_scores_are_the_models_own():
    tf.keras.utils.set_random_seed(0)
    pixels = stripes(40, 4)
    score = table_outliers.fitted("radogaga", pixels, 0, table_outliers.preset("radogaga", 5))
    found = score(pixels)
    assert set(found) == set(table_outliers.SCORES) and all(values.shape == (40,) for values in found.values())
    lambda2 = table_outliers.preset("radogaga", 5).lambda2
    np.testing.assert_allclose(found["both"], found["energy"] + lambda2 * found["distortion"], rtol=1e-5)


def test_faces_stand_side_by_side(in_process, tmp_path, monkeypatch):
    folder, out = tmp_path / "photos", tmp_path / "made" / "faces.md"
    folder.mkdir()
    for number, image in enumerate(np.repeat(stripes(40, 5), 3, axis=-1)):
        (folder / f"{number:02d}.png").write_bytes(tf.io.encode_png(image).numpy())
    monkeypatch.setattr(tables.table_faces.train_images, "JACOBIAN_IMAGES", 4)
    command = ["faces", "--dataset", str(folder), "--distortions", "mse", "--steps", "6"]
    tables.main([*command, "--models", "radogaga", "beta-vae", "--out", str(out)])
    text = out.read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| radogaga | mse", "| beta-vae | mse"))]
    assert len(rows) == 2 and "failed" not in text
    assert str(folder.parent) not in text.replace(" ".join(command), "")
    cells = [cell.strip() for cell in rows[0].split("|")[3:-1]]
    assert len(cells) == len(tables.table_faces.COLUMNS) and -1 <= float(cells[0]) <= 1
