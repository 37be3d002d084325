"""Models of images, from raw pixels to scores in a user's own pipeline and in a SavedModel."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.exports import GREATEST
from helpers.image_models import SHAPE, radogaga, smooth_images
from helpers.models import small_model

import tf_radogaga
from tf_radogaga import (
    BinaryCrossEntropy,
    DenseNetwork,
    FactorizedPrior,
    MixturePrior,
    StructuralDissimilarity,
    serving,
)
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.preprocessing.images import fit_images
from tf_radogaga_trainers import score_images


@pytest.fixture(scope="module")
def images():
    return smooth_images(80)


@pytest.fixture(scope="module")
def model(images):
    """Fitted, with a quarter of the images above its threshold."""
    model = radogaga()
    model.compile(tf.keras.optimizers.Adam(1e-2), run_eagerly=True)
    model.fit(images, batch_size=40, epochs=2, verbose=0)
    model.set_threshold(model.energy(images).numpy(), 0.25)
    return model


@pytest.mark.thorough
def test_uint8_floats_and_resized_images_score_alike(model, images):
    energy = model.energy(images)
    fitted = fit_images(tf.constant(images), *SHAPE[:2])
    np.testing.assert_array_equal(model.energy(fitted.numpy()), energy)
    np.testing.assert_allclose(model.energy(fitted.numpy() / 255), energy, rtol=1e-6)
    blocks = [model.energy(images[:7]), model.energy(images[7:])]
    np.testing.assert_allclose(np.concatenate(blocks), energy, rtol=1e-5)


@pytest.mark.thorough
def test_training_starts_from_raw_pixels_and_depends_on_the_seed_alone(images):
    found = []
    images = images[:16]
    for x in (images, fit_images(tf.constant(images), *SHAPE[:2]).numpy()):
        model = radogaga()
        model.compile(tf.keras.optimizers.Adam(1e-2), run_eagerly=True)
        model.fit(x, batch_size=8, epochs=1, verbose=0)
        found.append(model.energy(images).numpy())
    np.testing.assert_array_equal(found[0], found[1])


def test_the_centre_is_cut_out_before_resizing():
    centre = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    wide = np.pad(centre, ((0, 0), (0, 0), (5, 5), (0, 0)))
    high = np.pad(centre, ((0, 0), (3, 3), (0, 0), (0, 0)))
    for padded in (wide, high):
        np.testing.assert_array_equal(fit_images(tf.constant(padded), 8, 8), centre)
    flat = np.full((1, 31, 17, 3), 137, np.uint8)
    np.testing.assert_array_equal(fit_images(tf.constant(flat), 12, 20), np.full((1, 12, 20, 3), 137))
    unknown = tf.function(lambda x: fit_images(x, 8, 8), [tf.TensorSpec((None, None, None, 1), tf.uint8)])
    np.testing.assert_array_equal(unknown(wide), centre)


def test_wrong_images_are_named():
    scaling = ImageScaling((8, 8, 3))
    good = np.full((3, 8, 8, 3), 0.5)
    for value, shown in ((np.nan, "nan"), (-0.1, "-0.1"), (255.0, "255.0")):
        bad = good.copy()
        bad[1, 2, 3, 0] = value
        with pytest.raises(ValueError, match=rf"image 11 holds {shown}, and floats must lie in 0..1 \(1 such"):
            scaling.check(bad, first_row=10)
    for bad, message in (
        (good[0], r"shape \(8, 8, 3\).*images\[None\]"),
        (good[..., :1], r"\(images, height, width, 3\) is expected; convert the channels.*grayscale_to_rgb"),
        (
            np.zeros((3, 8, 8, 4)),
            r"3\) is expected; blend them with a background by their last channel, or leave that out",
        ),
        (np.zeros((3, 8, 8, 2)), r"3\) is expected\.$"),
        (np.zeros((3, 3, 8, 8)), r"move the channels to the end, for example by np\.moveaxis\(images, 1, -1\)"),
        (np.zeros((8, 8, 4)), r"of one channel by images\[\.\.\., None\]"),
        (good[:0], "give at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            scaling.check(bad)
    with pytest.raises(TypeError, match="dtype int64 where uint8"):
        scaling.check(np.ones((1, 8, 8, 3), np.int64))
    with pytest.raises(ValueError, match=r"image_shape: \(8, 8\) must be"):
        ImageScaling((8, 8))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_masked_pixels_are_refused(dtype):
    scaling, images = ImageScaling((8, 8, 3)), np.ma.masked_array(np.ones((4, 8, 8, 3), dtype))
    np.testing.assert_array_equal(scaling.check(images), images.data)
    images[2, 1, 0, 1] = np.ma.masked
    for given in (images, list(images), tuple(images)):
        with pytest.raises(ValueError, match=r"image 12 has masked pixels \(1 such images\).*fill them"):
            scaling.check(given, first_row=10)


@pytest.mark.thorough
def test_images_of_four_channels_are_served_as_arrays(tmp_path):
    """No file has them in a way that all readers share."""
    model = radogaga((11, 11, 4), prior=MixturePrior(3, 1))
    images = np.random.default_rng(0).integers(0, 256, (16, 11, 11, 4), dtype=np.uint8)
    model.adapt_prior(images)
    loaded = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path)))
    assert "serving_bytes" not in loaded.signatures
    found = loaded.signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(found["energy"], model.energy(images), rtol=1e-4)


def test_networks_and_preprocessing_of_different_shapes_are_refused():
    networks = ConvolutionalEncoder((8, 6, 1), (4,), 2, (3,)), ConvolutionalDecoder(2, (4,), (6, 8, 1), (3,))
    with pytest.raises(ValueError, match=r"decoder: gives \(1, 6, 8, 1\) where preprocess gives \(1, 8, 6, 1\)"):
        tf_radogaga.RaDOGAGA(*networks, FactorizedPrior(2), 1.0, 1.0)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match=r"smaller than the 11 x 11 window; choose"):
        radogaga((10, 16, 3), distortion=StructuralDissimilarity())


@pytest.mark.thorough
@pytest.mark.parametrize("shape", [pytest.param((28, 28, 1), marks=pytest.mark.slow), (11, 13, 3)])
def test_images_of_any_size_train_with_any_metric(shape):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (32, *shape), dtype=np.uint8)
    dense = DenseNetwork(shape, (8,), 4), DenseNetwork(2, (8,), shape, output_activation="sigmoid")
    vae = tf_radogaga.BetaVAE(*dense, lambda1=1.0, lambda2=1.0, distortion=BinaryCrossEntropy())
    for model in (vae, radogaga(shape, distortion=StructuralDissimilarity())):
        model.compile(run_eagerly=True)
        model.fit(pixels, batch_size=16, verbose=0)
        assert np.isfinite(model.energy(pixels)).all()
        assert model.decode(model.encode(pixels)).shape == (32, *shape)
        report = tf_radogaga.isometry_report(model, pixels, pairs=20, jacobian_rows=4)
        assert np.isfinite(report.tangent_r)


# In the user's own pipeline


def test_a_pipeline_of_images_is_scored(model, images):
    energy, labels = model.energy(images).numpy(), np.arange(80)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    found = [(s["energy"], s["anomaly"], label) for s, label in dataset.batch(32).map(model.score_images)]
    np.testing.assert_allclose(np.concatenate([e for e, _, _ in found]), energy, rtol=1e-5)
    assert np.concatenate([a for _, a, _ in found]).sum() == 20
    assert np.concatenate([label for *_, label in found]).tolist() == labels.tolist()
    single = next(iter(tf.data.Dataset.from_tensor_slices(images).map(model.score_images)))
    np.testing.assert_allclose(single["energy"], energy[0], rtol=1e-5)
    assert single["valid"].shape == ()


@pytest.mark.thorough
def test_anomalies_are_removed_from_a_pipeline(model, images):
    normal = np.flatnonzero(model.energy(images).numpy() <= float(model.threshold))
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(80)))
    batches = list(dataset.batch(32).map(model.keep_normal_images))
    assert np.concatenate([label for _, label in batches]).tolist() == normal.tolist()
    np.testing.assert_array_equal(np.concatenate([kept for kept, _ in batches]), images[normal])
    filtered = dataset.filter(lambda image, label: ~model.score_images(image)["anomaly"])
    assert [int(label) for _, label in filtered] == normal.tolist()
    floats = images[:4] / np.float32(255)
    floats[1, 0, 0, 0] = np.nan
    kept = next(iter(tf.data.Dataset.from_tensors(floats).map(model.keep_normal_images)))
    assert len(kept) == len(set(normal) & {0, 2, 3})


def test_models_of_tables_have_no_methods_for_images(model):
    for name in ("score_images", "keep_normal_images"):
        assert hasattr(model, name) and name in dir(tf_radogaga.RaDOGAGA)
        assert not hasattr(small_model(), name)


def test_pipelines_that_cannot_work_are_refused(images):
    fresh = radogaga(prior=MixturePrior(3, 1))
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        dataset.map(fresh.score_images)
    fresh.adapt_prior(images)
    with pytest.raises(RuntimeError, match="threshold: not set"):
        dataset.map(fresh.keep_normal_images)
    with pytest.raises(ValueError, match=r"\(images, height, width, 3\) is expected"):
        dataset.map(lambda x: fresh.score_images(x[..., :1]))
    with pytest.raises(TypeError, match="dtype int32"):
        dataset.map(lambda x: fresh.score_images(tf.cast(x, tf.int32)))


@pytest.mark.thorough
def test_a_stream_of_wrong_values_is_refused(images):
    stream = tf.data.Dataset.from_tensor_slices(images).batch(16).map(lambda x: tf.cast(x, tf.float32))
    model = radogaga()
    model.compile(run_eagerly=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"floats must lie in 0..1; divide values of 0 to 255"):
        model.fit(stream, verbose=0)
    model.fit(stream.map(lambda x: x / 255), verbose=0)
    assert np.isfinite(model.energy(images)).all()


@pytest.mark.thorough
def test_a_model_is_a_layer_of_a_functional_model(model, images):
    pixels = tf.keras.Input((None, None, 3))
    outer = tf.keras.Model(pixels, {"energy": model(pixels)["energy"], "mean": tf.reduce_mean(pixels, axis=[1, 2, 3])})
    found = outer.predict(images / np.float32(255), verbose=0)
    np.testing.assert_allclose(found["energy"], model.energy(images / np.float32(255)), rtol=1e-4)
    np.testing.assert_allclose(found["mean"], (images / 255).mean(axis=(1, 2, 3)), rtol=1e-4)


# Saved and served


@pytest.mark.thorough
def test_a_saved_model_reads_as_it_was(model, images, tmp_path):
    tf_radogaga.save_model(model, tmp_path / "model")
    loaded = tf_radogaga.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.energy(images), model.energy(images))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    return folder, tf.saved_model.load(str(tf_radogaga.export_saved_model(model, folder)))


@pytest.mark.thorough
def test_images_of_any_size_are_served(model, served, images):
    folder, loaded = served
    found = loaded.signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(found["energy"], model.energy(images), rtol=1e-5)
    assert found["valid"].numpy().all() and found["anomaly"].numpy().sum() == 20
    floats = images / np.float32(255)
    floats[3, 0, 0, 0], floats[5, 1, 1, 1] = np.nan, 1.5
    found = loaded.signatures["serving_floats"](images=tf.constant(floats))
    assert np.flatnonzero(~found["valid"]).tolist() == [3, 5] == np.flatnonzero(found["energy"] == GREATEST).tolist()
    good = np.delete(np.arange(80), [3, 5])
    np.testing.assert_allclose(found["energy"].numpy()[good], model.energy(floats[good]), rtol=1e-4)
    assert not serving.check_ops(folder / "1") & {"PyFunc", "EagerPyFunc"}


def test_encoded_images_are_served_and_broken_ones_marked(model, served, images):
    score = served[1].signatures["serving_bytes"]
    png = [tf.io.encode_png(image).numpy() for image in images[:3]]
    jpeg = tf.io.encode_jpeg(images[3], quality=95).numpy()
    grey = tf.io.encode_png(images[4, ..., :1]).numpy()
    broken = [b"", b"no image", jpeg[:-40], png[0][:-5], jpeg[:2], b"\xff\xd9"]
    found = score(image_bytes=tf.constant([*png, jpeg, grey, *broken]))
    assert found["valid"].numpy().tolist() == [True] * 5 + [False] * 6
    np.testing.assert_allclose(found["energy"][:3], model.energy(images[:3]), rtol=1e-5)
    decoded = tf.io.decode_jpeg(jpeg)[None], tf.repeat(images[4:5, ..., :1], 3, axis=-1)
    np.testing.assert_allclose(found["energy"][3:5], [model.energy(x)[0] for x in decoded], rtol=1e-5)
    assert (found["energy"].numpy()[5:] == GREATEST).all() and not found["anomaly"].numpy()[5:].any()
    sizes = [tf.io.encode_png(np.full((side, 2 * side, 3), 99, np.uint8)).numpy() for side in (1, 40)]
    np.testing.assert_allclose(*score(image_bytes=tf.constant(sizes))["energy"], rtol=1e-6)


@pytest.mark.thorough
def test_damage_between_the_ends_marks_that_image_alone(model, served, images):
    png = tf.io.encode_png(images[0]).numpy()
    damaged = png[:60] + bytes(20) + png[80:]
    score = served[1].signatures["serving_bytes"]
    found = score(image_bytes=tf.constant([damaged, png, damaged, b"", png + b"appended"]))
    assert found["valid"].numpy().tolist() == [False, True, False, False, True]
    np.testing.assert_allclose(found["energy"].numpy()[[1, 4]], 2 * [model.energy(images[:1])[0]], rtol=1e-5)
    for nothing in ([damaged], [b"", b""], []):
        found = score(image_bytes=tf.constant(nothing, tf.string))
        assert not found["valid"].numpy().any() and (found["energy"].numpy() == GREATEST).all()
        assert found["energy"].shape == (len(nothing),)


@pytest.mark.thorough
def test_the_client_scores_a_folder(model, served, images, tmp_path, capsys):
    png = tf.io.encode_png(images[0]).numpy()
    damaged = png[:60] + bytes(20) + png[80:]
    for name, content in (("a.png", png), ("b.PNG", damaged), ("c/d.jpg", tf.io.encode_jpeg(images[1]).numpy())):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    command = ["--model", str(served[0]), "--input", str(tmp_path / "in"), "--batch-size", "2"]
    score_images.main([*command, "--output", str(tmp_path / "scores.csv")])
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert [name[-5:] for name in scores["file"]] == ["a.png", "b.PNG", "d.jpg"]
    assert scores["valid"].tolist() == [True, False, True] and scores["energy"].isna().tolist() == [False, True, False]
    np.testing.assert_allclose(scores["energy"][0], model.energy(images[:1])[0], rtol=1e-5)
    assert "3 images, 1 not valid" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="holds no file that ends in"):
        score_images.main(["--model", str(served[0]), "--input", str(tmp_path / "empty"), "--output", "unused.csv"])
