"""Weights of examples multiply the losses of their rows, however the rows come."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.fed import plain, weights_of
from helpers.marks import after

from tf_radogaga import DenseNetwork, NormalPrior, RaDOGAGA

Data = tf.data.Dataset


def test_weights_multiply_every_term_but_the_penalties(few):
    penalty = tf.keras.layers.Dense(2, kernel_regularizer=tf.keras.regularizers.L2(0.1))
    encoder = tf.keras.Sequential([tf.keras.Input((4,)), penalty])
    model = RaDOGAGA(encoder, DenseNetwork(2, (8,), 4), NormalPrior(2), 100, 100)
    model.compile(run_eagerly=True)
    once = model.evaluate(few, verbose=0, return_dict=True)
    twice = model.evaluate(few, sample_weight=np.full(70, 2.0), verbose=0, return_dict=True)
    for name in ("rate", "reconstruction", "coding"):
        assert twice[name] == pytest.approx(2 * once[name], rel=1e-5)
    assert twice["regularization"] == once["regularization"] > 0
    assert twice["isometry"] == once["isometry"]


def test_a_row_of_weight_0_teaches_nothing(few):
    """The gradient is that of the other rows, by their share of the batch."""
    weights = np.repeat([1.0, 0.0], 35)
    trained = []
    for data, weight, rate in ((few, weights, 1.0), (few[:35], None, 0.5)):
        model = plain(few)
        model.draw_noise = lambda shape, training: tf.zeros(shape)  # that of a row depends on the size of the batch
        model.compile(tf.keras.optimizers.SGD(1e-3 * rate), run_eagerly=True)
        model.fit(data, sample_weight=weight, batch_size=70, shuffle=False, verbose=0)
        trained.append(weights_of(model))
    np.testing.assert_allclose(*trained, rtol=1e-4, atol=1e-6)


def test_shuffled_batches_keep_each_weight_at_its_row(few):
    rows = tf.constant(few)
    data = plain(few).feed.from_memory(rows, rows[:, 0], 16, None, seed=3)
    for x, _, weights in data.batches.take(9):
        np.testing.assert_array_equal(x[:, 0], weights)


def test_weights_are_used_in_every_evaluation(few, importance):
    model = plain(few)
    held_out = (few, None, importance)
    validated = model.fit(few, validation_data=held_out, verbose=0).history["val_loss"]
    expected = model.evaluate(few, sample_weight=importance, verbose=0, return_dict=True)["loss"]
    assert validated == [pytest.approx(expected, rel=1e-6)]
    assert expected != pytest.approx(model.evaluate(few, verbose=0, return_dict=True)["loss"], rel=1e-3)
    assert model.test_on_batch(few, None, importance, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-6)
    assert model.test_on_batch(few, None, importance)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("weights", "error"),
    after(
        3,
        [
            (np.ones(69), r"sample_weight: shape \(69,\) where \(70,\)"),
            (np.ones((70, 2)), r"sample_weight: shape \(70, 2\)"),
            (np.r_[np.ones(69), np.nan], "sample_weight: nan of row 69"),
            (np.r_[np.ones(69), -1], "sample_weight: -1.0 of row 69"),
            (np.r_[1e39, np.ones(69)], r"sample_weight: 1e\+39 of row 0"),
            (np.ma.masked_equal(np.arange(70), 3), "sample_weight: nan of row 3"),
            (["a"] * 70, "sample_weight: list where a number"),
            ({"x": 1}, "sample_weight: dict"),
        ],
    ),
)
def test_bad_weights_are_refused_by_name(few, weights, error):
    model = plain(few)
    model.fit(few, verbose=0)
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises((TypeError, ValueError), match=error):
            call(few, sample_weight=weights)
    with pytest.raises((TypeError, ValueError), match=error):
        model.fit(few, validation_data=(few, None, weights))


def test_bad_weights_of_a_stream_are_refused(few):
    def stream(weights):
        return Data.from_tensor_slices((few, few, weights)).batch(30)

    with pytest.raises(ValueError, match=r"sample_weight: .* where .* a number for each row"):
        plain(few).fit(stream(np.ones((70, 3))))
    with pytest.raises(ValueError, match=r"sample_weight: .*string"):
        plain(few).fit(stream(["a"] * 70))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sample_weight: one number for each row"):
        plain(few).fit(stream(-np.ones(70)), verbose=0)
    with pytest.raises(ValueError, match="sample_weight: is for rows in memory"):
        plain(few).fit(Data.from_tensor_slices(few).batch(30), sample_weight=np.ones(70))
    with pytest.raises(ValueError, match="sample_weight: given twice"):
        plain(few).fit((few, None, np.ones(70)), sample_weight=np.ones(70))
