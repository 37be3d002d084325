"""Rows of every kind, and weights of examples, come to the same batches by the same route."""

import collections
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.models import encoded, scaled, small_model, table

from tf_radogaga import DenseNetwork, NormalPrior, RaDOGAGA
from tf_radogaga.priors import MixturePrior
from tf_radogaga.training import feed

Data = tf.data.Dataset


def plain(rows=None, prior=None, compiled=False, gauge=None, judged=False, **options):
    """A linear model that is quick to train; unless `judged`, nothing looks for its active dimensions."""
    tf.keras.utils.set_random_seed(7)
    networks = DenseNetwork(4, (), 2), DenseNetwork(2, (), 4)
    preprocess = None if rows is None else scaled(rows)
    model = RaDOGAGA(*networks, prior or NormalPrior(2), 1, 1, "identity", preprocess=preprocess, gauge=gauge)
    model.compile(tf.keras.optimizers.SGD(1e-4), run_eagerly=not compiled, **options)
    if not judged:
        model._find_active = lambda dataset: None
    return model


def weights_of(model):
    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])


def fitted(data, model=None, **options):
    """History and weights after a fit."""
    model = model or plain()
    history = model.fit(data, verbose=0, **{"shuffle": False, "batch_size": 30, **options}).history
    return history, weights_of(model)


def assert_same(one, other):
    (history, weights), (other_history, other_weights) = one, other
    assert history == other_history
    np.testing.assert_array_equal(weights, other_weights)


class Batches(tf.keras.utils.Sequence):
    """Batches of arrays; counts what Keras tells it."""

    def __init__(self, size, *arrays):
        self.size, self.arrays, self.epochs, self.read = size, arrays, 0, []

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        self.read.append(index)
        batch = tuple(array[self.size * index : self.size * (index + 1)] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]

    def on_epoch_end(self):
        self.epochs += 1


@pytest.fixture
def few(rows):
    return rows[:70].astype(np.float32)


@pytest.fixture
def importance():
    return np.random.default_rng(0).uniform(0, 2, 70)


# One route


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


# Weights of examples


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
        model._draw_noise = lambda shape, training: tf.zeros(shape)  # that of a row depends on the size of the batch
        model.compile(tf.keras.optimizers.SGD(1e-3 * rate), run_eagerly=True)
        model.fit(data, sample_weight=weight, batch_size=70, shuffle=False, verbose=0)
        trained.append(weights_of(model))
    np.testing.assert_allclose(*trained, rtol=1e-4, atol=1e-6)


def test_shuffled_batches_keep_each_weight_at_its_row(few):
    rows = tf.constant(few)
    data = feed._from_memory(scaled(few), rows, rows[:, 0], 16, None, seed=3)
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


@pytest.mark.parametrize("compiled", [False, True])
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


# Streams without an end


def endless(few, seen, size=10):
    def generate():
        while True:
            for start in range(0, len(few), size):
                seen.append(start)
                yield few[start : start + size]

    return Data.from_generator(generate, output_signature=tf.TensorSpec((None, 4), tf.float32))


def test_passes_over_an_endless_stream_are_bounded(few):
    seen = []
    model = plain(few, MixturePrior(2, 2, em_iterations=3), judged=True)
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
        adapting = feed._from_stream(scaled(few), endless(few, []), steps, epochs, None).adapting
        found = np.concatenate(list(adapting))
        np.testing.assert_array_equal(found, scaled(few)(few[:rows]))


# Sequences


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


def test_frames_of_other_libraries_are_tables(few):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({str(i): few[:, i] for i in range(4)})
    assert_same(fitted(frame), fitted(few))
    model = plain(few)
    model.fit(frame, validation_data=frame, verbose=0)
    np.testing.assert_allclose(model.predict(frame, verbose=0)["energy"], model.energy(few), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="lazy"):
        model.fit(frame.lazy())


# A training that does not end well


class Interrupt(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


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

    monkeypatch.setattr(MixturePrior, "_clustered", interrupted)
    for call in (model.adapt_prior, lambda x: model.fit(x, verbose=0)):
        with pytest.raises(KeyboardInterrupt):
            call(few)
        with pytest.raises(RuntimeError, match="not adapted"):
            model.energy(few)
