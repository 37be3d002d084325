import numpy as np
import pytest
import tensorflow as tf

import tf_radogaga
from tf_radogaga import presets
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.presets import image_preset

FACES, DIGITS = (64, 64, 3), (28, 28, 1)


def built(shape, *names):
    return presets.build(image_preset(shape, *names), ImageScaling(shape))


@pytest.mark.thorough
def test_sizes_are_the_papers():
    """ICML 2020, section 5.1.1; ICML 2021, appendices C.2 and E.3; tests of the networks count their parameters."""
    found = [built(FACES, *names) for names in (("radogaga", "mse", "paper"), ("beta-vae", None, "paper"))]
    found.append(built(FACES, "beta-vae-decomposed", "ssim", "paper-256"))
    sizes = [(m.encoder.filters, m.encoder.units, m.encoder.output_units, m.latent_units) for m in found]
    filters = (64, 64, 64, 64)
    assert sizes == [(filters, (8192,), 256, 256), (filters, (1024,), 64, 32), (filters, (2048,), 512, 256)]
    assert all(m.decoder.units == m.encoder.units and m.decoder.filters == filters for m in found)


@pytest.mark.slow
def test_the_papers_network_trains_and_is_served(tmp_path):
    tf.keras.utils.set_random_seed(0)
    faces = np.random.default_rng(0).integers(0, 256, (4, 78, 64, 3), dtype=np.uint8)
    model = built(FACES, "radogaga", "mse", "paper")
    model.compile(tf.keras.optimizers.Adam(1e-4), run_eagerly=True)
    before = model.encoder.get_weights()[0].copy()
    model.fit(faces, batch_size=2, epochs=1, verbose=0)
    assert int(model.optimizer.iterations) == 2 and np.abs(model.encoder.get_weights()[0] - before).max() > 0
    loaded = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path)))
    found = loaded.signatures["serving_default"](images=tf.constant(faces))["energy"]
    np.testing.assert_allclose(found, model.energy(faces), rtol=1e-4)


def test_lambdas_weight_means_and_cross_entropy_is_a_sum():
    wide = built(DIGITS, "beta-vae", None, "paper-64")
    assert (wide.latent_units, wide.decomposed, wide.decoder.output_activation) == (64, False, "sigmoid")
    assert wide.lambda2 * 784 == pytest.approx(10_000)
    assert built(DIGITS, "beta-vae", "mse", "paper").lambda2 == 2000


def test_all_models_of_one_size_share_networks_and_lambda2():
    found = [built(FACES, model, "ssim", "small") for model in ("radogaga", "beta-vae", "beta-vae-decomposed")]
    assert len({(model.decoder.units, model.decoder.filters, model.lambda2) for model in found}) == 1
    assert [type(model).__name__ for model in found] == ["RaDOGAGA", "BetaVAE", "BetaVAE"]
    assert found[2].decomposed and not found[1].decomposed
    assert all(isinstance(model.distortion, tf_radogaga.StructuralDissimilarity) for model in found)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("gan",), "model: 'gan' is not one of"),
        (("radogaga", "l1"), "distortion: 'l1'"),
        (("radogaga", "mse", "paper-64"), r"size: 'paper-64' is not one of .* for faces"),
    ],
)
def test_unknown_names(names, message):
    with pytest.raises(ValueError, match=message):
        image_preset(FACES, *names)


def test_the_beta_vae_of_digits_is_the_papers_unless_asked_otherwise():
    assert image_preset(DIGITS, "beta-vae") == image_preset(DIGITS, "beta-vae", "bce", "paper")
    for shape, model in ((DIGITS, "radogaga"), (FACES, "beta-vae"), (FACES, "radogaga")):
        assert image_preset(shape, model) == image_preset(shape, model, "mse", "small")


def test_no_paper_has_radogaga_of_digits():
    with pytest.raises(ValueError, match="RaDOGAGA has 'small'"):
        image_preset(DIGITS, "radogaga", None, "paper")


def test_shapes_that_no_paper_has_take_the_small_ones():
    small = image_preset((32, 48, 1))
    assert small == image_preset(FACES) and "on held-out faces" in small.source
    with pytest.raises(ValueError, match=r"size: 'paper' is not one of \('small',\) for images of shape \(32, 48, 1\)"):
        image_preset((32, 48, 1), "beta-vae", "ssim", "paper")


def test_a_source_tells_what_the_distortion_and_the_model_change():
    changed = image_preset(DIGITS, "beta-vae-decomposed", "bce", "paper").source
    assert changed.startswith(image_preset(DIGITS, "beta-vae", "mse", "paper").source)
    assert "lambda2 is divided" in changed and "lambda1 = lambda2" in changed
