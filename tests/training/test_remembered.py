"""What is neither weight nor configuration comes back from files, and goes along to a copy."""

import json

import numpy as np
import pytest
import tensorflow as tf
from helpers.marks import after
from helpers.models import fitted, small_model

from tf_radogaga import load_model, save_model
from tf_radogaga.saving import CONFIG, copy_model


def moved(model, route, directory):
    if route == "copy":
        return copy_model(model)
    save_model(model, directory)
    return load_model(directory)


@pytest.fixture
def trained(rows):
    model = fitted(small_model(), rows, epochs=1)
    model.straightening = {"before": 0.5, "after": 0.125}
    model.set_threshold(-model.log_density(rows).numpy(), 0.1)
    model.threshold_on = "log_density"
    return model


@pytest.mark.parametrize("route", after(1, ["copy", "files"]))
def test_what_fit_found_is_found_in_the_other_too(trained, rows, route, tmp_path):
    other = moved(trained, route, tmp_path / "model")
    assert dict(other.straightening) == {"before": 0.5, "after": 0.125}
    assert dict(other.prior.adaptation) == dict(trained.prior.adaptation) and len(other.prior.adaptation) == 3
    assert other.steps.first_non_finite() == trained.steps.first_non_finite() == ("rate", 0)
    flagged = trained.scores(tf.constant(rows, tf.float32))["anomaly"].numpy()
    np.testing.assert_array_equal(other.scores(tf.constant(rows, tf.float32))["anomaly"], flagged)
    assert flagged.sum() == 30  # a tenth, by the density and not by the energy
    other.straightening["after"] = 1.0
    assert trained.straightening["after"] == 0.125


@pytest.mark.parametrize("route", after(1, ["files", "copy"]))
def test_rows_come_in_the_order_of_the_original(rows, route, tmp_path):
    model = small_model()
    model.compile(tf.keras.optimizers.SGD(1e-4), run_eagerly=True)
    other = moved(model, route, tmp_path / "model")
    other.compile(tf.keras.optimizers.SGD(1e-4), run_eagerly=True)
    for each in (model, other):
        each.fit(rows, batch_size=64, epochs=1, verbose=0)
    for one, two in zip(model.trainable_variables, other.trainable_variables):
        np.testing.assert_array_equal(one, two)


def test_models_saved_before_have_none_and_load(trained, rows, tmp_path):
    save_model(trained, tmp_path / "model")
    path = tmp_path / "model" / CONFIG
    config = json.loads(path.read_text())
    del config["remembered"]
    path.write_text(json.dumps(config))
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.energy(rows), trained.energy(rows))
    assert dict(loaded.straightening) == dict(loaded.prior.adaptation) == {} and loaded.threshold_on == "energy"


@pytest.mark.thorough
def test_a_training_that_begins_forgets_what_the_last_one_found(trained, rows, tmp_path):
    seen = []
    record = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append((dict(trained.straightening), dict(trained.prior.adaptation)))
    )
    trained.fit(rows, batch_size=64, verbose=0, callbacks=[record])
    assert seen == [({}, {})] and trained.prior.adaptation["em_iterations"] >= 0
    assert dict(moved(trained, "files", tmp_path / "model").prior.adaptation) == dict(trained.prior.adaptation)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "value", [3, pytest.param("x", marks=pytest.mark.slow), ["straightening"], {"fit": "straightening"}]
)
def test_names_of_other_attributes_are_left_out(trained, value, tmp_path):
    save_model(trained, tmp_path / "model")
    path = tmp_path / "model" / CONFIG
    config = json.loads(path.read_text())
    config["remembered"] = value
    path.write_text(json.dumps(config))
    if isinstance(value, dict):
        assert callable(load_model(tmp_path / "model").fit)
    else:
        with pytest.raises(ValueError, match=r"config\.json: damaged"):
            load_model(tmp_path / "model")
