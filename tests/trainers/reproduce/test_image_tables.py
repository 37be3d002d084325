"""The tables of images, by their commands, on images that the test draws and with narrow networks."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from tf_radogaga import presets
from tf_radogaga.datasets.idx import Images
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.presets import images as image_presets
from tf_radogaga_trainers import train_images
from tf_radogaga_trainers.reproduce import table_laws, table_one_class, table_outliers, tables
from tf_radogaga_trainers.reproduce.image_scores import model_scores


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    real = image_presets.image_preset

    def preset(*names):
        small = {"units": (16,), "latent_units": 4, "filters": (4, 4), "batch_size": 16, "gauge": "learned"}
        return dataclasses.replace(real(*names), **small)

    monkeypatch.setattr(image_presets, "image_preset", preset)


def stripes(count, seed):
    """Smooth grey images, (count, 28, 28, 1)."""
    random = np.random.default_rng(seed)
    shift, length = random.uniform(0, 6, (2, count, 1, 1))
    wave = np.sin(np.arange(28)[None, :, None] / (2 + length) + shift) * np.ones((1, 1, 28))
    return np.round(127 * (1 + wave))[..., None].astype(np.uint8)


def cells(text, name):
    """Those of each row of a table that starts with this name."""
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.slow
def test_outliers_are_scored_by_every_method(records, monkeypatch, tmp_path, capsys):
    sets = {"mnist": stripes(120, 0), "fashion-mnist": np.random.default_rng(1).integers(0, 256, (60, 28, 28, 1), "u1")}
    labels = np.zeros(60, np.uint8)
    monkeypatch.setattr(table_outliers, "TRAINING_DIGITS", 60)
    monkeypatch.setattr(table_outliers, "load_images", lambda name, _: Images(sets[name], labels, sets[name], labels))
    out, chosen = tmp_path / "made" / "table.md", ["radogaga", "autoencoder", "isolation-forest"]
    tables.main(["outliers", "--methods", *chosen, "--steps", "20", "--out", str(out)])
    text = out.read_text()
    assert text in capsys.readouterr().out
    for record, scores in zip(records, (["surprise", "energy", "distortion"], ["distortion"], ["energy"])):
        assert list(record["auroc"]) == scores
        for row, score in zip(cells(text, record["method"]), scores):
            assert [float(cell.split()[0]) for cell in row[2:6]] == pytest.approx(
                list(record["auroc"][score].values()), abs=5e-4
            )
    noise = records[2]["auroc"]["energy"]["fashion"]
    assert noise > 0.8  # to a forest, noise is far from stripes


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
    pixels = stripes(60, 4)
    model = presets.build(table_outliers.preset("radogaga", 5), ImageScaling(table_outliers.SHAPE))
    model.adapt_residuals(pixels)
    found = model_scores(model, pixels)
    np.testing.assert_allclose(found["energy"], model.energy(pixels), rtol=1e-5)
    x, x_hat = pixels / 255, model.decode(model.encode(pixels))
    np.testing.assert_allclose(found["distortion"], ((x - x_hat) ** 2).numpy().mean((1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(found["surprise"], model.surprise(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_faces_stand_side_by_side_and_failures_show(records, tmp_path, monkeypatch):
    folder, out = tmp_path / "photos", tmp_path / "made" / "faces.md"
    folder.mkdir()
    for number, image in enumerate(np.repeat(stripes(40, 5), 3, axis=-1)):
        (folder / f"{number:02d}.png").write_bytes(tf.io.encode_png(image).numpy())
    monkeypatch.setattr(train_images, "JACOBIAN_IMAGES", 4)
    fit = train_images.fit

    def fails_as_a_vae(preset, *arguments, **options):
        if preset.lambda1 is None:
            raise FloatingPointError("loss term 'rate'")
        return fit(preset, *arguments, **options)

    monkeypatch.setattr(train_images, "fit", fails_as_a_vae)
    command = ["faces", "--dataset", str(folder), "--distortions", "mse", "--steps", "6"]
    tables.main([*command, "--models", "radogaga", "beta-vae", "--out", str(out)])
    (trained,), (failed,) = (cells(out.read_text(), model) for model in ("radogaga", "beta-vae"))
    assert float(trained[2]) == pytest.approx(records[0]["tangent_r"], abs=5e-5) and "1 failed" in failed[2]
    assert records[1]["error"] == "loss term 'rate'" and records[0]["dataset"] == "photos"
    with pytest.raises(SystemExit, match="--data-dir: is needed for celeba"):
        tables.main(["faces"])


def two_classes(monkeypatch):
    """Stripes and noise."""
    noise = np.random.default_rng(1).integers(0, 256, (120, 28, 28, 1), "u1")
    both, labels = np.concatenate([stripes(120, 0), noise]), np.repeat([0, 1], 120).astype(np.uint8)
    images = Images(both, labels, both[::2], labels[::2])
    monkeypatch.setattr(table_one_class, "load_images", lambda name, _: images)
    return images


def one_class_table(monkeypatch, out, *options):
    """The images, and the text of the table."""
    images = two_classes(monkeypatch)
    tables.main(["one-class", "--datasets", "mnist", "--labels", "0", "1", "--out", str(out), *options])
    return images, out.read_text()


def test_each_class_is_normal_in_turn(records, monkeypatch, tmp_path):
    chosen = ["nearest-neighbours", "isolation-forest"]
    images, text = one_class_table(monkeypatch, tmp_path / "made" / "t.md", "--methods", *chosen, "--seeds", "1")
    assert [(r["label"], r["method"]) for r in records] == [(label, name) for label in (0, 1) for name in chosen]
    train, test = (x.reshape(len(x), -1) / np.float32(255) for x in (images.train, images.test))
    for record in records[::2]:
        distances = np.sort(np.linalg.norm(test[:, None] - train[images.train_labels == record["label"]], axis=2))
        expected = roc_auc_score(images.test_labels != record["label"], distances[:, 4])
        assert record["auroc"] == {"score": pytest.approx(expected, abs=1e-3)}
    ((_, _, mean, *each, seeds, _),) = cells(text, "nearest-neighbours")
    assert [float(cell) for cell in each] == pytest.approx([r["auroc"]["score"] for r in records[::2]], abs=5e-4)
    assert float(mean) == pytest.approx(np.mean([float(cell) for cell in each]), abs=6e-4) and seeds == "1"


@pytest.mark.thorough
def test_models_of_one_class_have_all_scores(records, monkeypatch, tmp_path):
    monkeypatch.setattr(table_one_class, "HELD_OUT", 2)
    _, text = one_class_table(
        monkeypatch, tmp_path / "made" / "t.md", "--methods", "radogaga", "autoencoder", "--seeds", "1", "--steps", "20"
    )
    assert [list(record["auroc"]) for record in records[:2]] == [["surprise", "energy", "distortion"], ["distortion"]]
    assert [row[1] for row in cells(text, "radogaga")] == ["surprise", "energy", "D(x, x_hat)"]


@pytest.mark.thorough
def test_laws_of_z_are_compared_with_the_prior_that_trained(records, monkeypatch, tmp_path):
    monkeypatch.setattr(table_laws, "EPOCHS", 2)
    monkeypatch.setattr(table_one_class, "HELD_OUT", 2)
    two_classes(monkeypatch)
    out = tmp_path / "made" / "laws.md"
    tables.main(["laws", "--datasets", "mnist", "--labels", "0", "1", "--steps", "20", "--out", str(out)])
    by_law = [record["laws"] for record in records]
    ((_, nats, gain, auroc, _),) = cells(out.read_text(), "stack")
    assert float(nats) == pytest.approx(np.mean([laws["stack"]["nats"] for laws in by_law]), abs=6e-3)
    assert float(auroc) == pytest.approx(np.mean([laws["stack"]["auroc"] for laws in by_law]), abs=6e-5)
    gains = [laws["stack"]["nats"] - laws["the prior that trained"]["nats"] for laws in by_law]
    assert float(gain.split()[0]) == pytest.approx(np.mean(gains), abs=6e-3)


def test_what_failed_is_told(records, monkeypatch, tmp_path):
    def fails(*_):
        raise ValueError("rows: 9")

    monkeypatch.setattr(table_one_class, "found_scores", fails)
    _, text = one_class_table(monkeypatch, tmp_path / "made" / "t.md", "--methods", "radogaga", "--seeds", "1")
    assert "| radogaga |  | failed |  |  | 0 (2 failed) |" in text
    assert [record["error"] for record in records] == 2 * ["rows: 9"]
