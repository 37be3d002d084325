"""What users of Keras take for granted of files, for every family of models in `families.FAMILIES`."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers.families import FAMILIES, SAVED, WIDTH, data, each, model_of, trained
from helpers.marks import after
from helpers.own_networks import NETWORKS

import tf_radogaga
from tf_radogaga.saving import CONFIG
from tf_radogaga.training.copies import copy_model, frozen

keras = tf.keras
pytestmark = pytest.mark.usefixtures("small_flows")
QUICKLY_EXPORTED = ("dagmm", "radogaga", "radogaga-features", "beta-vae-decomposed")
"""One family of each kind; the others differ in the prior, the gauge or a weight, and are exported under slow."""


@pytest.mark.parametrize(
    ("family", "kind"),
    after(
        2,
        [
            ("radogaga", "subclassed"),
            ("dagmm", "subclassed"),
            *(("radogaga", kind) for kind in NETWORKS if kind != "subclassed"),
            *((family, "subclassed") for family in SAVED if family not in ("radogaga", "dagmm")),
        ],
    ),
)
def test_saving_keeps_every_weight(family, kind, tmp_path):
    model = model_of(family, NETWORKS[kind])
    for variable in (*model.encoder.variables, *model.decoder.variables):
        variable.assign_add(tf.fill(variable.shape, 0.05))
    model.adapt_prior(data())
    energy = model.energy(data()).numpy()
    for folder in ("once", "twice"):
        tf_radogaga.save_model(model, tmp_path / folder)
        model = tf_radogaga.load_model(tmp_path / folder)
        shutil.rmtree(tmp_path / folder)  # nothing is read later
        np.testing.assert_allclose(model.energy(data()), energy, rtol=1e-6, atol=1e-6)


@pytest.mark.thorough
def test_a_restore_is_complete_and_a_later_compile_the_users_own(tmp_path):
    model = trained(model_of("radogaga", NETWORKS["sequential"]), epochs=2)
    tf_radogaga.save_model(model, tmp_path)
    for optimizer in (keras.optimizers.Adam(1e-5), keras.optimizers.SGD(0.5, momentum=0.9), keras.optimizers.Adam(2.0)):
        asked = float(optimizer.learning_rate)
        loaded = tf_radogaga.load_model(tmp_path)
        loaded.compile(optimizer, run_eagerly=True)
        assert (float(loaded.optimizer.learning_rate), int(loaded.optimizer.iterations)) == (pytest.approx(asked), 0)
    resumed = tf_radogaga.load_model(tmp_path, optimizer=keras.optimizers.Adam(1.0))
    assert int(resumed.optimizer.iterations) == 4
    assert float(resumed.optimizer.learning_rate) == pytest.approx(1e-2)
    for mine, theirs in zip(resumed.optimizer.variables, model.optimizer.variables):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match=r"optimizer: .* holds no state of such a SGD"):
        tf_radogaga.load_model(tmp_path, optimizer=keras.optimizers.SGD(0.5, momentum=0.9))


@pytest.mark.thorough
@pytest.mark.parametrize("family", ["radogaga", "beta-vae"])
@pytest.mark.parametrize("kind", ["sequential", "subclassed"])
def test_frozen_parts_stay_as_they_are_through_copies_and_files(family, kind, tmp_path):
    model = model_of(family, NETWORKS[kind])
    layer = model.encoder.hidden if kind == "subclassed" else model.encoder.layers[0]
    layer.trainable = model.decoder.trainable = False
    kernel, decoder = layer.kernel.numpy(), [v.numpy() for v in model.decoder.trainable_variables]
    trained(model)
    np.testing.assert_array_equal(layer.kernel, kernel)
    assert all(np.array_equal(v, old) for v, old in zip(model.decoder.trainable_variables, decoder))
    tf_radogaga.save_model(model, tmp_path)
    for twin in (tf_radogaga.load_model(tmp_path), copy_model(model)):
        assert frozen(twin) == frozen(model) != []
        assert [v.shape for v in twin.trainable_variables] == [v.shape for v in model.trainable_variables]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "family", ["dagmm", *(pytest.param(family, marks=pytest.mark.slow) for family in ("radogaga-mixture", "beta-vae"))]
)
def test_exports_score_as_python_does(family, tmp_path):
    model = trained(model_of(family))
    loaded = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path)))
    served = loaded.signatures["serving_default"](features=tf.constant(data()))
    np.testing.assert_allclose(served["energy"], model.energy(data()), rtol=1e-5, atol=1e-5)


def test_layers_that_run_code_or_are_not_registered_are_refused_by_files(tmp_path):
    class Unknown(keras.layers.Dense):
        pass

    for layer, name in ((keras.layers.Lambda(lambda x: x[:, :2]), "Lambda"), (Unknown(2), "Unknown")):
        model = model_of(
            "radogaga", lambda i, o, layer=layer: keras.Sequential([layer]) if o == 2 else keras.layers.Dense(o)
        )
        with pytest.raises(TypeError, match=f"{name}: not registered"):
            tf_radogaga.save_model(model, tmp_path / "model")
    model = model_of("radogaga", NETWORKS["functional"])
    model.adapt_prior(data())
    tf_radogaga.save_model(model, tmp_path / "model")
    path = tmp_path / "model" / CONFIG
    for old, new in (('"math.multiply"', '"io.write_file"'), ('"keras.layers"', '"os"'), ('"Dropout"', '"Lambda"')):
        whole = path.read_text()
        assert old in whole
        path.write_text(whole.replace(old, new))
        with pytest.raises(ValueError, match="is not registered as a part of a model"):
            tf_radogaga.load_model(tmp_path / "model")
        path.write_text(whole)


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("family", each(SAVED))
def test_formats_that_lose_parts_are_refused_before_a_file_is_written(family, called, tmp_path):
    model = model_of(family)
    if called:
        trained(model).predict(data(), verbose=0)
    holder = tf.Module()
    holder.model = model
    for save in (
        lambda path: tf.saved_model.save(model, path),
        lambda path: tf.saved_model.save(holder, path),
        lambda path: keras.models.save_model(model, path),
        lambda path: keras.models.save_model(model, path, save_format="tf"),
        lambda path: keras.models.save_model(model, path + ".keras"),
        model.save,
        model.export,
        lambda path: model.save_weights(path + ".weights.h5"),
    ):
        with pytest.raises(NotImplementedError, match=r"tf_radogaga\.save_model\(.*tf_radogaga\.export_saved_model\("):
            save(str(tmp_path / "model"))
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in (".keras", ".h5")]


@pytest.mark.parametrize(
    "family",
    [
        *after(1, QUICKLY_EXPORTED),
        *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES if family not in QUICKLY_EXPORTED),
    ],
)
def test_export_archives_and_checkpoints_hold_the_whole_model(family, tmp_path):
    model = trained(model_of(family))
    energy = model.energy(data()).numpy()
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("score", model.scores, [tf.TensorSpec((None, WIDTH), tf.float32)])
    archive.write_out(str(tmp_path / "archive"))
    loaded = tf.saved_model.load(str(tmp_path / "archive"))
    np.testing.assert_allclose(loaded.score(tf.constant(data()))["energy"], energy, rtol=1e-5, atol=1e-5)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    for variable in (*model.trainable_variables, *model.prior.variables):
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(model=model).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(model.energy(data()), energy)
