"""The exported models that ship."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.marks import after
from sklearn.metrics import roc_auc_score

from tf_radogaga import serving
from tf_radogaga.datasets.idx import load_images
from tf_radogaga.datasets.tabular import load_table, stratified_halves
from tf_radogaga.datasets.toy import load_toy

FOLDER = Path(__file__).parents[2] / "saved_models"
MODELS = ("thyroid", "toy", "mnist")
MNIST = FOLDER / "mnist" / "1"


@pytest.fixture(scope="module")
def digits_model():
    return tf.saved_model.load(str(MNIST))


def test_the_models_are_small_together():
    assert sum(file.stat().st_size for name in MODELS for file in (FOLDER / name).rglob("*")) < 5e6


@pytest.mark.parametrize("name", after(2, MODELS))
def test_each_is_what_a_server_needs_and_has_a_card(name):
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    report = serving.check_export(FOLDER / name / "1")
    assert "requests replayed" in report and "training_rows_sha256" in report
    assert (FOLDER / name / "README.md").is_file()


def test_the_toy_model_has_the_true_density():
    data = load_toy().scaled()
    loaded = tf.saved_model.load(str(FOLDER / "toy" / "1"))
    found = loaded.signatures["serving_default"](features=tf.constant(data.rows, tf.float32))["log_density"]
    assert np.median(np.abs(found - data.log_density)) < 0.1


def test_the_thyroid_model_ranks_the_test_rows_as_its_card_says():
    card = json.loads((FOLDER / "thyroid" / "1" / "assets" / "card.json").read_text())
    split = stratified_halves(load_table("thyroid"), card["seed"])
    loaded = tf.saved_model.load(str(FOLDER / "thyroid" / "1"))
    energy = loaded.signatures["serving_default"](features=tf.constant(split.test, tf.float32))["energy"]
    assert roc_auc_score(split.test_labels, energy) == pytest.approx(card["metrics"]["auroc"], abs=1e-3)


@pytest.mark.thorough
def test_its_signatures_agree(digits_model):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    scores = {
        "serving_default": {"images": tf.constant(images)},
        "serving_floats": {"images": tf.constant(images / np.float32(255))},
        "serving_bytes": {"image_bytes": tf.constant([tf.io.encode_png(image).numpy() for image in images])},
    }
    found = [digits_model.signatures[name](**inputs) for name, inputs in scores.items()]
    for other in found[1:]:
        assert set(other) == {"energy", "log_density", "surprise", "anomaly", "valid"} == set(found[0])
        for name in ("energy", "log_density", "surprise"):
            np.testing.assert_allclose(other[name], found[0][name], rtol=1e-4)
    reconstruction = digits_model.signatures["reconstruct"](images=tf.constant(images))["reconstruction"]
    latent = digits_model.signatures["encode"](images=tf.constant(images))["latent"]
    np.testing.assert_allclose(
        digits_model.signatures["decode"](latent=latent)["reconstruction"], reconstruction, rtol=1e-4, atol=1e-5
    )


def test_it_scores_digits_as_its_card_says(digits_model, shared_data):
    card = json.loads((MNIST / "assets" / "card.json").read_text())
    digits = load_images("mnist", shared_data).test[:2000]
    found = digits_model.signatures["serving_default"](images=tf.constant(digits))
    assert np.mean(found["energy"]) == pytest.approx(card["metrics"]["rate_nats"], abs=0.3)
    assert 0 < np.mean(found["anomaly"]) < 0.03
