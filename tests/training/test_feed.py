"""Rows of every kind come to the same batches by the same route."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.fed import Batches, assert_same, fitted, plain, weights_of
from helpers.marks import after
from helpers.models import encoded, scaled, small_model, table

from tf_radogaga import DenseNetwork, RaDOGAGA
from tf_radogaga.preprocessing import PassThrough
from tf_radogaga.priors import MixturePrior, NormalPrior

Data = tf.data.Dataset


# One route


@pytest.mark.thorough
def test_every_kind_of_rows_trains_the_same_model(few, importance):
    expected = fitted(few)
    for same in (
        Data.from_tensor_slices((few, np.zeros(70))).batch(30),
        Data.from_tensor_slices(few).batch(30).filter(lambda *_: True),  # of unknown number
        Batches(30, few),
    ):
        assert_same(fitted(same), expected)
    weighted = fitted(few, sample_weight=importance)
    assert not np.array_equal(weighted[1], expected[1])
    for same in (
        (few, None, pd.Series(importance)),
        Data.from_tensor_slices((few, np.zeros(70), importance[:, None])).batch(30),
    ):
        assert_same(fitted(same), weighted)


def test_another_preprocessing_takes_the_place_of_the_first_everywhere(few):
    model, other = plain(few), scaled(2 * few)
    expected = model.energy(few)
    model.preprocess = other
    for energy in (model.energy(2 * few), model.scores(2 * few)["energy"]):
        np.testing.assert_allclose(energy, expected, rtol=1e-5)


@pytest.mark.thorough
def test_steps_of_unknown_number_are_not_lost_in_executions_of_many(few):
    """Compiled, where four steps are one call; the same model trains by single steps and by many in turn."""
    counted = Data.from_tensor_slices(few).batch(10)
    uncounted = counted.filter(lambda x: True)
    model = plain(few, compiled=True, steps_per_execution=4)
    losses = []
    for data in (uncounted, counted, uncounted):
        losses += model.fit(data, epochs=2, verbose=0).history["loss"]
    assert int(model.optimizer.iterations) == 6 * 7
    assert losses == pytest.approx(fitted(counted, plain(few), epochs=6)[0]["loss"], rel=1e-5)
    expected = model.evaluate(counted, verbose=0)
    assert model.evaluate(uncounted, verbose=0) == model.evaluate(few, batch_size=10, verbose=0) == expected
    np.testing.assert_array_equal(
        model.predict(uncounted, verbose=0)["energy"], model.predict(counted, verbose=0)["energy"]
    )
    bad = few.copy()
    bad[65] = np.nan
    with pytest.raises(FloatingPointError):  # within the last three steps, a shorter execution
        model.fit(Data.from_tensor_slices(bad).batch(10), verbose=0)
    assert int(model._steps_per_execution) == 4


def test_evaluation_sees_all_batches_after_a_training_of_one(few):
    """Keras shortens its executions to the one step of an epoch, and would keep the function it makes meanwhile."""
    model = plain(few, compiled=True)
    model.fit(few, validation_data=few[:7], verbose=0)
    for options in ({"batch_size": 10}, {"steps": 7}):
        found = model.evaluate(few, verbose=0, return_dict=True, **options)["rate"]
        assert found == pytest.approx(np.mean(model.energy(few)), rel=1e-5)


# Options of Keras


def test_validation_split_is_validation_data_of_the_last_rows(few, importance):
    split = fitted(few, validation_split=0.2, shuffle=True, epochs=2, sample_weight=importance)
    held_out = (few[56:], None, importance[56:])
    apart = fitted(few[:56], validation_data=held_out, shuffle=True, epochs=2, sample_weight=importance[:56])
    assert_same(split, apart)
    with pytest.raises(ValueError, match=r"validation_split: 0.999 of 70 rows leaves 0"):
        plain().fit(few, validation_split=0.999)
    with pytest.raises(ValueError, match="validation_split: is for rows in memory"):
        plain().fit(Data.from_tensor_slices(few).batch(30), validation_split=0.2)


@pytest.mark.thorough
def test_rows_in_their_order_go_on_where_a_training_stopped(few):
    unbroken = fitted(few, epochs=2)
    model = plain()
    model.fit(few, batch_size=30, shuffle=False, steps_per_epoch=4, verbose=0)  # within the second pass
    fitted(few, model, steps_per_epoch=2)
    np.testing.assert_array_equal(weights_of(model), unbroken[1])


def test_options_that_are_not_supported_are_refused_by_name(few):
    model = plain(few)
    model.fit(few, verbose=0)
    before = weights_of(model)
    for options, error in (
        ({"class_weight": {0: 1.0}}, "class_weight: .* give sample_weight"),
        ({"shuffle": "batch"}, "shuffle: 'batch' must be True or False"),
        ({"steps_per_epoch": 0}, "steps_per_epoch: 0 must be at least 1"),
        ({"steps_per_epoch": -1}, "steps_per_epoch: -1"),
        ({"steps_per_epoch": 1.5}, "steps_per_epoch: 1.5 must be a whole number"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"epochs": "2"}, "epochs: '2' must be a whole number"),
        ({"epochs": -1}, "epochs: -1 must be at least 0"),
        ({"validation_split": 1.0}, "validation_split: 1.0"),
        ({"validation_steps": 0}, "validation_steps: 0"),
        ({"learning_rate": 1}, "learning_rate"),
    ):
        with pytest.raises((TypeError, ValueError), match=error):
            model.fit(few, **options)
    for call in (model.evaluate, model.predict):
        with pytest.raises(TypeError, match="learning_rate"):
            call(few, learning_rate=1)
        with pytest.raises(ValueError, match="steps: 0"):
            call(few, steps=0)
    with pytest.raises(TypeError, match="class_weight"):
        model.train_on_batch(few, class_weight={0: 1.0})
    np.testing.assert_array_equal(weights_of(model), before)
    assert model.fit(few, epochs=0, batch_size=None, verbose=0).history == {}


def test_the_loss_is_the_models_own():
    model = small_model("vae")
    for name, value in (("loss", "mse"), ("metrics", ["mae"]), ("loss_weights", [1]), ("weighted_metrics", ["mae"])):
        with pytest.raises(TypeError, match=f"{name}: .* the loss is the model's own"):
            model.compile("adam", **{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'los'"):
        model.compile("adam", los="mse")
    with pytest.raises(TypeError, match="steps_per_execution: 'mse'"):
        model.compile("adam", "mse")
    with pytest.raises(TypeError, match=r"optimizer: AdamOptimizer of tf.compat.v1.train"):
        model.compile(tf.compat.v1.train.AdamOptimizer())
    model.compile("adam", loss=None, metrics=None)


# One batch


def batches_of(data):
    return [batch if isinstance(batch, tuple) else (batch,) for batch in data]


@pytest.mark.parametrize("compiled", after(1, [False, True]))
def test_steps_of_batches_are_those_of_fit(few, importance, compiled):
    data = Data.from_tensor_slices((few, np.zeros(70), importance)).batch(20)
    trained, stepped = plain(few, compiled=compiled), plain(few, compiled=compiled)
    losses = trained.fit(data, verbose=0).history["loss"]
    for number, batch in enumerate(batches_of(data)):
        logs = stepped.train_on_batch(*batch, reset_metrics=number == 0, return_dict=True)
    assert [logs["loss"]] == losses
    np.testing.assert_array_equal(weights_of(stepped), weights_of(trained))
    assert stepped.test_on_batch(few) == pytest.approx(trained.evaluate(few, verbose=0), rel=1e-6)
    for name, values in trained.predict(few, verbose=0).items():
        np.testing.assert_allclose(stepped.predict_on_batch(few)[name], values, rtol=1e-5, atol=1e-6)
    assert int(stepped._steps_per_execution) == (50 if compiled else 1)


def test_batches_of_named_columns_are_preprocessed():
    frame = table(60)
    preprocess = encoded(frame)
    model = small_model(preprocess=preprocess)
    model.compile(run_eagerly=True)
    one = model.train_on_batch(frame, return_dict=True)
    with pytest.raises(RuntimeError, match="not adapted"):
        model.test_on_batch(frame)
    model.adapt_prior(frame)
    (named,) = Data.from_tensor_slices(dict(frame)).batch(60)
    assert model.test_on_batch(named) == model.test_on_batch(frame) and np.isfinite(one["loss"])
    np.testing.assert_allclose(model.predict_on_batch(named)["energy"], model.energy(frame), rtol=1e-5, atol=5e-5)
    with pytest.raises(ValueError, match="columns missing"):
        model.train_on_batch(frame[["code"]])


def test_a_batch_that_diverges_is_told(few):
    model = plain()
    with pytest.raises(ValueError, match="row 1"):
        model.train_on_batch(np.r_[few[:1], np.full((1, 4), np.nan)])
    model.encoder.dense[0].kernel.assign(np.full((4, 2), np.nan))
    with pytest.raises(FloatingPointError, match=r"was the first .* at step 1"):
        model.train_on_batch(few)


# A training that does not end well


class Interrupt(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.thorough
def test_what_was_found_before_is_out_of_date_after_an_interrupt(few):
    model = plain(few, MixturePrior(2, 2, em_iterations=0))
    model.fit(few, validation_data=few, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(few, epochs=3, validation_data=few[:10], callbacks=[Interrupt()], batch_size=70, verbose=0)
    with pytest.raises(RuntimeError, match="not adapted"):
        model.energy(few)
    history = model.fit(few, validation_data=few, verbose=0).history  # not by the ten rows of the one that failed
    assert history["val_loss"] == [pytest.approx(model.evaluate(few, verbose=0)[0], rel=1e-5)]


def test_an_adaptation_that_fails_leaves_no_prior(few, monkeypatch):
    model = plain(few, MixturePrior(2, 2, em_iterations=1))
    model.fit(few, verbose=0)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(MixturePrior, "clustered", interrupted)
    for call in (model.adapt_prior, lambda x: model.fit(x, verbose=0)):
        with pytest.raises(KeyboardInterrupt):
            call(few)
        with pytest.raises(RuntimeError, match="not adapted"):
            model.energy(few)


def test_a_preprocessing_of_ones_own_gives_its_call_alone(few):
    class Tenfold(PassThrough):
        def call(self, rows):
            return 10 * rows

    networks = DenseNetwork(4, (), 2), DenseNetwork(2, (), 4)
    model = RaDOGAGA(*networks, NormalPrior(2), 1, 1, gauge=None, preprocess=Tenfold(4))
    energies = model.energy(few), model.predict(few, verbose=0)["energy"], model.scores(few)["energy"]
    for energy in energies:
        np.testing.assert_allclose(energy, model.prior.rate(model.encoder(10 * few)), rtol=1e-5)
