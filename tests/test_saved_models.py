"""The exported models that ship."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga import serving
from tf_radogaga.datasets.idx import load_images

MNIST = Path(__file__).parents[1] / "saved_models" / "mnist" / "1"


@pytest.fixture(scope="module")
def digits_model():
    return tf.saved_model.load(str(MNIST))


def test_the_model_of_digits_is_small_and_needs_core_ops_alone():
    assert sum(file.stat().st_size for file in MNIST.rglob("*")) < 5e6
    assert "DecodeJpeg" in serving.check_ops(MNIST)


def test_its_signatures_agree(digits_model):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    scores = {
        "serving_default": {"images": tf.constant(images)},
        "serving_floats": {"images": tf.constant(images / np.float32(255))},
        "serving_bytes": {"image_bytes": tf.constant([tf.io.encode_png(image).numpy() for image in images])},
    }
    found = [digits_model.signatures[name](**inputs) for name, inputs in scores.items()]
    for other in found[1:]:
        assert set(other) == {"energy", "log_density", "anomaly", "valid"} == set(found[0])
        for name in ("energy", "log_density"):
            np.testing.assert_allclose(other[name], found[0][name], rtol=1e-4)
    reconstruction = digits_model.signatures["reconstruct"](images=tf.constant(images))["reconstruction"]
    latent = digits_model.signatures["encode"](images=tf.constant(images))["latent"]
    np.testing.assert_allclose(
        digits_model.signatures["decode"](latent=latent)["reconstruction"], reconstruction, rtol=1e-4, atol=1e-5
    )


def test_it_scores_digits_as_its_card_says(digits_model, shared_data):
    digits = load_images("mnist", shared_data).test[:2000]
    found = digits_model.signatures["serving_default"](images=tf.constant(digits))
    assert np.mean(found["energy"]) == pytest.approx(37.9, abs=0.3)
    assert 0 < np.mean(found["anomaly"]) < 0.03
