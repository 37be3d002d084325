"""Streams and Sequences are rows, with or without an end; what is no rows is refused by type, unread."""

import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from helpers.fed import Batches, assert_same, fitted, plain, weights_of
from helpers.models import encoded, scaled, small_model, table

from tf_radogaga.priors import MixturePrior
from tf_radogaga.training import feed

Data = tf.data.Dataset


# Streams without an end


def endless(few, seen, size=10):
    def generate():
        while True:
            for start in range(0, len(few), size):
                seen.append(start)
                yield few[start : start + size]

    return Data.from_generator(generate, output_signature=tf.TensorSpec((None, 4), tf.float32))


@pytest.mark.thorough
def test_passes_over_an_endless_stream_are_bounded(few):
    seen = []
    model = plain(few, MixturePrior(2, 2, em_iterations=3), finds_active=True)
    known = Data.from_tensor_slices(few).batch(10).repeat()
    for stream in (endless(few, seen), known):
        options = {"validation_data": stream, "validation_steps": 2, "verbose": 0}
        history = model.fit(stream, steps_per_epoch=3, epochs=2, **options).history
        assert len(history["val_loss"]) == 2
        model.evaluate(stream, steps=2, verbose=0)
        assert len(model.predict(stream, steps=2, verbose=0)["energy"]) == 20
    assert len(seen) < 300
    for call, remedy in (
        (model.fit, "steps_per_epoch"),
        (model.evaluate, "give steps"),
        (model.predict, "give steps"),
        (model.adapt_prior, "take"),
        (lambda x: model.fit(few, validation_data=x), "validation_data: an endless dataset; give validation_steps"),
    ):
        with pytest.raises(ValueError, match=f"endless dataset.*{remedy}|{remedy}"):
            call(known)


def test_the_prior_of_an_endless_stream_is_that_of_an_epoch_or_of_enough_rows(few, monkeypatch):
    monkeypatch.setattr(feed, "LEAST_ADAPTED", 25)
    for steps, epochs, rows in ((2, 10, 30), (5, 10, 50), (1, 2, 20)):
        adapting = plain(few).feed.from_stream(endless(few, []), steps, epochs, None).adapting
        found = np.concatenate(list(adapting))
        np.testing.assert_array_equal(found, scaled(few)(few[:rows]))


# Sequences


@pytest.mark.thorough
def test_a_sequence_is_shuffled_by_batches_and_told_of_epochs(few):
    ordered, shuffled = Batches(10, few), Batches(10, few)
    plain(few).fit(ordered, epochs=2, shuffle=False, verbose=0)
    plain(few).fit(shuffled, epochs=2, verbose=0)
    assert ordered.epochs == shuffled.epochs == 2
    first, second = shuffled.read[2:9], shuffled.read[9:16]  # before, each pipeline has looked at the first batch
    assert sorted(first) == sorted(second) == list(range(7)) and first != second
    assert ordered.read[2:16] == 2 * list(range(7))
    again = Batches(10, few)
    found = fitted(again, steps_per_epoch=9, epochs=2)
    assert_same(found, fitted(Batches(10, np.concatenate([few, few[:20]])), epochs=2))
    assert again.epochs == 2


@pytest.mark.thorough
def test_sequences_are_rows_wherever_rows_are(few):
    model = plain(few)
    sequence = Batches(10, few, np.zeros(70))
    model.fit(sequence, validation_data=sequence, verbose=0)
    found = model.evaluate(sequence, verbose=0)
    assert found == pytest.approx(model.evaluate(few, batch_size=10, verbose=0), rel=1e-5)
    energy = model.energy(few).numpy()
    np.testing.assert_allclose(model.predict(sequence, verbose=0)["energy"], energy, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(sequence, steps=4, verbose=0)["energy"], energy[:40], rtol=1e-5, atol=1e-5)
    model.adapt_prior(sequence)
    frame = table(60)
    named = small_model("vae", encoded(frame))
    named.compile(run_eagerly=True)
    named.fit(Batches(30, frame), verbose=0)
    np.testing.assert_allclose(
        named.predict(Batches(30, frame), verbose=0)["energy"], named.energy(frame), rtol=1e-4, atol=1e-4
    )
    bad = few.copy()
    bad[65, 1] = np.nan
    with pytest.raises(tf.errors.OpError, match=r"x\[6\]: column '1', row 5: nan"):
        model.fit(Batches(10, bad), verbose=0)
    with pytest.raises(ValueError, match=r"x\[0\]: column '1', row 65: nan"):
        model.fit(Batches(70, bad), verbose=0)
    with pytest.raises(ValueError, match="the Sequence is empty"):
        model.fit(Batches(10, few[:0]))


def test_an_empty_stream_is_told_though_nobody_counted_it(few):
    model = plain(few)
    empty = Data.from_tensor_slices(few).batch(10).filter(lambda x: False)
    with pytest.raises(ValueError, match="validation_data: the dataset is empty"):
        model.fit(few, validation_data=empty, verbose=0)
    with pytest.raises(ValueError, match="x: the dataset is empty"):
        model.evaluate(empty, verbose=0)
    for call in (model.fit, model.predict):
        with pytest.raises(ValueError, match="Unexpected result"):  # Keras' own
            call(empty, verbose=0)


# What is not supported is refused by type, unread


def not_supported(few):
    class Loader:
        def __iter__(self):
            raise AssertionError("read")

        def __len__(self):
            return 3

    def generator():
        raise AssertionError("read")
        yield

    one = tf.distribute.get_strategy().experimental_distribute_dataset
    single = Data.from_tensor_slices(few)
    batched = single.batch(10)
    return [
        (None, "it is missing"),
        ("rows.csv", "read the file first"),
        (pathlib.Path("rows.csv"), "read the file first"),
        (generator(), "from_generator"),
        (map(generator, []), "from_generator"),
        (iter(batched), "from_generator"),
        (Loader(), "from_generator"),
        (collections.deque(few), "from_generator"),
        (3.0, "rows in memory"),
        ([few, few], "numpy.concatenate"),
        (tf.ragged.constant([[1.0], [1.0, 2.0]]), "to_tensor"),
        (tf.sparse.from_dense(few), "tf.sparse.to_dense"),
        ((few, few, few, few), "a tuple of 4"),
        ({"x": few, "label": few[:, 0]}, "a mapping of"),
        (one(batched) if not isinstance(one(batched), Data) else None, "missing|distributed"),
        (single, r"single rows, of shape \(4,\); call .batch\(256\)"),
        (batched.take(0), "the dataset is empty"),
        (batched.map(lambda x: {"image": x}), r"dicts \['image'\] .*row\['image'\]"),
        (batched.map(lambda x: x[:, :3]), r"shape \(None, 3\) where \(rows, 4\)"),
        (batched.map(tf.strings.as_string), "a dataset of text"),
        (batched.map(tf.sparse.from_dense), "tf.sparse.to_dense"),
        (batched.map(tf.RaggedTensor.from_tensor), "to_tensor"),
        (batched.map(lambda x: (x, x, x, x)), "a tuple of 4"),
        (single.window(10), "a dataset of"),
    ]


def test_what_is_not_supported_is_refused_by_type(few):
    model = plain(few)
    model.fit(few, verbose=0)
    before, energy = weights_of(model), model.energy(few).numpy()
    for value, error in not_supported(few):
        for call in (model.fit, model.evaluate, model.predict, model.adapt_prior):
            with pytest.raises((TypeError, ValueError), match=error):
                call(value)
        if value is not None:
            with pytest.raises((TypeError, ValueError), match=error):
                model.fit(few, validation_data=value)
    for call in (model.energy, model.encode, model.train_on_batch, model.predict_on_batch):
        with pytest.raises(TypeError, match="rows in memory are needed: call it with each batch"):
            call(Data.from_tensor_slices(few).batch(10))
    np.testing.assert_array_equal(weights_of(model), before)
    np.testing.assert_array_equal(model.energy(few), energy)


@pytest.mark.thorough
def test_frames_of_other_libraries_are_tables(few):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({str(i): few[:, i] for i in range(4)})
    assert_same(fitted(frame), fitted(few))
    model = plain(few)
    model.fit(frame, validation_data=frame, verbose=0)
    np.testing.assert_allclose(model.predict(frame, verbose=0)["energy"], model.energy(few), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="lazy"):
        model.fit(frame.lazy())
