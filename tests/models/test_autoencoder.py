"""What every model keeps, whatever its loss equation."""

import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.marks import after
from helpers.models import MODELS, TOLERANCE, WITH_FEATURES, encoded, fitted, scaled, small_model

from tf_radogaga import TableEncoding
from tf_radogaga._core import replicas

keras = tf.keras


@pytest.mark.parametrize(
    ("kind", "features"), after(6, [*((kind, False) for kind in MODELS), *((kind, True) for kind in WITH_FEATURES)])
)
def test_every_trainable_variable_gets_a_finite_nonzero_gradient(kind, features, rows):
    model = small_model(kind, scaled(rows), reconstruction_features=features)
    x = model.preprocess(model.preprocess.check(rows))
    with tf.GradientTape() as tape:
        terms = model.loss_terms(x, training=True)
        loss = tf.add_n([tf.reduce_mean(term) for term in terms.values()])
    assert all(term.shape == (len(rows),) for term in terms.values())
    for variable, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables)):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        assert np.abs(gradient).max() > 0, variable.name


@pytest.mark.parametrize("kind", after(3, MODELS))
def test_a_step_lowers_the_loss_with_noise_and_dropout_off(kind, rows, monkeypatch):
    model = small_model(kind, scaled(rows))
    model.prior.dropout = 0
    monkeypatch.setattr(replicas, "own_rows", lambda draw, shape: tf.zeros(shape))
    model.compile(keras.optimizers.SGD(1e-5), run_eagerly=True)
    x = model.preprocess(model.preprocess.check(rows))

    def loss():
        return sum(float(tf.reduce_mean(term)) for term in model.loss_terms(x, training=True).values())

    before = loss()
    model.train_step(x)
    assert loss() < before


@pytest.mark.thorough
def test_the_variants_are_different_models(rows):
    energies = []
    for kind in MODELS:
        keras.utils.set_random_seed(0)
        energies.append(fitted(small_model(kind, scaled(rows)), rows, epochs=1).energy(rows).numpy())
    for i in range(len(MODELS)):
        for j in range(i):
            assert np.abs(energies[i] - energies[j]).max() > 1e-5, (MODELS[i], MODELS[j])


@pytest.mark.parametrize(
    ("kind", "features"),
    [
        *after(1, [("log", False), ("log", True), ("dagmm", True), ("vae-decomposed", False)]),
        pytest.param("dagmm", False, marks=pytest.mark.slow),
    ],
)
def test_same_input_same_score(kind, features, rows):
    model = fitted(small_model(kind, scaled(rows), reconstruction_features=features), rows)
    energy = model.energy(rows).numpy()
    np.testing.assert_array_equal(energy, model.energy(rows))
    for size in (1, 7, 64):
        parts = [model.energy(rows[i : i + size]) for i in range(0, len(rows), size)]
        np.testing.assert_allclose(np.concatenate(parts), energy, **TOLERANCE)
    np.testing.assert_allclose(model.energy(rows[::-1]), energy[::-1], **TOLERANCE)
    np.testing.assert_allclose(model.predict(rows, verbose=0)["energy"], energy, **TOLERANCE)
    np.testing.assert_allclose(model(rows)["energy"], energy, rtol=1e-4, atol=1e-4)


@pytest.mark.thorough
def test_named_columns_go_through_fit_predict_and_pipelines(frame):
    model = fitted(small_model(preprocess=encoded(frame)), frame)
    energy = model.energy(frame).numpy()
    np.testing.assert_allclose(model.predict(frame, verbose=0)["energy"], energy, **TOLERANCE)
    dataset = tf.data.Dataset.from_tensor_slices(dict(frame)).batch(50).map(model.energy)
    np.testing.assert_allclose(np.concatenate(list(dataset)), energy, **TOLERANCE)
    assert model.encode(frame).shape == (300, 2)


def test_decode_of_encode_is_the_reconstruction(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows)
    outputs = model.predict(rows, verbose=0)
    np.testing.assert_allclose(model.decode(model.encode(rows)), outputs["reconstruction"], atol=1e-4)


@pytest.mark.thorough
def test_one_seed_fixes_everything(rows):
    def weights(seed, compiled=True):
        keras.utils.set_random_seed(seed)
        return fitted(small_model(preprocess=scaled(rows)), rows, compiled=compiled).get_weights()

    first, second, other = weights(1), weights(1), weights(2, compiled=False)
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other))


@pytest.mark.parametrize(
    "kind",
    ["log", pytest.param("dagmm", marks=pytest.mark.slow), pytest.param("vae-decomposed", marks=pytest.mark.slow)],
)
def test_an_interrupted_training_resumes_to_the_unbroken_one(kind, rows, tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def train(callbacks):
        keras.utils.set_random_seed(5)
        model = small_model(kind, scaled(rows))
        model.compile(keras.optimizers.Adam(1e-3), steps_per_execution=5)
        # an epoch that is no whole number of passes: the order of rows has to be resumed inside a pass
        model.fit(rows, batch_size=64, epochs=4, steps_per_epoch=7, verbose=0, callbacks=callbacks)
        return model.get_weights()

    unbroken = train([])
    with pytest.raises(KeyboardInterrupt):
        train([keras.callbacks.BackupAndRestore(str(tmp_path)), Kill()])
    resumed = train([keras.callbacks.BackupAndRestore(str(tmp_path))])
    for a, b in zip(unbroken, resumed):
        np.testing.assert_array_equal(a, b)


def test_batches_cover_every_row_once_a_pass():
    from tf_radogaga.training import batches

    x, step = tf.reshape(tf.range(12.0), (12, 1)), tf.Variable(0, dtype=tf.int64)
    stream = [b.numpy().ravel() for b in batches.resident(x, 4, seed=3, first_step=step).take(6)]
    for first in (0, 3):
        assert sorted(np.concatenate(stream[first : first + 3])) == list(range(12))
    assert not np.array_equal(np.concatenate(stream[:3]), np.concatenate(stream[3:]))
    step.assign(4)
    later = [b.numpy().ravel() for b in batches.resident(x, 4, seed=3, first_step=step).take(2)]
    np.testing.assert_array_equal(later, stream[4:])


@pytest.mark.thorough
def test_streamed_rows_train_the_same_model_as_rows_in_memory(rows, frame):
    for data, preprocess in ((rows, scaled(rows)), (frame, encoded(frame))):
        tensors = dict(data) if data is frame else data
        dataset = tf.data.Dataset.from_tensor_slices((tensors, np.zeros(300))).batch(64)
        model = fitted(small_model(preprocess=preprocess), dataset)
        assert np.isfinite(model.energy(data)).all()
        keras.utils.set_random_seed(0)
        whole = small_model(preprocess=preprocess)
        whole.adapt_prior(data)
        keras.utils.set_random_seed(0)
        streamed = small_model(preprocess=preprocess)
        streamed.adapt_prior(dataset)
        np.testing.assert_allclose(streamed.prior.stored.mean, whole.prior.stored.mean, rtol=1e-5, atol=1e-8)


@pytest.mark.thorough
def test_validation_and_early_stopping_see_an_adapted_prior(rows):
    model = small_model(preprocess=scaled(rows))
    model.compile(keras.optimizers.Adam(1e-2))
    stop = keras.callbacks.EarlyStopping(patience=1, min_delta=1e9, restore_best_weights=True)
    history = model.fit(rows[:200], validation_data=rows[200:], epochs=10, callbacks=[stop], verbose=0, batch_size=64)
    assert len(history.history["loss"]) == 2
    assert np.isfinite(history.history["val_loss"]).all()
    scored = model.evaluate(rows[200:], verbose=0, return_dict=True)
    assert scored["rate"] == pytest.approx(float(np.mean(model.energy(rows[200:]))), rel=1e-4)


def test_history_names_the_terms_and_the_live_isometry(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=2)
    history = model.history.history
    assert set(history) == {"loss", "rate", "reconstruction", "coding", "isometry"}
    total = np.sum([history[name] for name in ("rate", "reconstruction", "coding")], axis=0)
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)
    np.testing.assert_allclose(history["isometry"], np.array(history["coding"]) * 2 / 2, rtol=1e-5)


def test_training_stops_on_nan_and_names_the_term(rows):
    model = small_model("identity", scaled(rows))
    model.compile(keras.optimizers.SGD(1e6), steps_per_execution=10)
    with pytest.raises(FloatingPointError, match=r"loss term '(rate|reconstruction|coding)'.*lower learning rate"):
        model.fit(rows, epochs=20, batch_size=64, verbose=0)


def test_the_term_that_broke_first_is_named(rows, monkeypatch):
    model = small_model("dagmm", scaled(rows))
    healthy = model.loss_terms

    def broken(x, training=False):
        terms = healthy(x, training)
        late = tf.where(model.optimizer.iterations >= 3, math.nan, 1.0)
        return {**terms, "rate": terms["rate"] * late}

    monkeypatch.setattr(model, "loss_terms", broken)
    model.compile(keras.optimizers.Adam(1e-3), steps_per_execution=10)
    with pytest.raises(FloatingPointError, match=r"loss term 'rate' was the first .* at step 4"):
        model.fit(rows, steps_per_epoch=10, batch_size=64, verbose=0)


def test_bad_rows_are_named_by_fit_and_energy(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=1)
    rows[250, 3] = np.nan
    for call in (model.energy, model.encode, lambda r: model.fit(r, verbose=0)):
        with pytest.raises(ValueError, match=r"column '3', row 250"):
            call(rows)


def test_rows_beyond_the_first_block_keep_their_number(rows):
    many = np.tile(rows, (300, 1))
    many[70000, 1] = np.inf
    with pytest.raises(ValueError, match="row 70000"):
        small_model(preprocess=scaled(rows)).adapt_prior(many)


def test_fewer_rows_than_components(rows):
    model = small_model(preprocess=scaled(rows))
    model.compile()
    with pytest.raises(ValueError, match="1 rows, but the prior needs at least 2"):
        model.fit(rows[:1], verbose=0)


def test_scoring_before_fit_is_refused(rows):
    model = small_model(preprocess=scaled(rows))
    for call in (model.energy, model.log_density, model.evaluate, model.predict, model):
        with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
            call(rows)


def test_threshold_is_the_quantile(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=1)
    energy = model.energy(rows).numpy()
    threshold = model.set_threshold(energy, anomaly_share=0.1)
    assert (energy > threshold).sum() == 30
    with pytest.raises(ValueError, match=r"anomaly_share: 1\.5"):
        model.set_threshold(energy, 1.5)
    with pytest.raises(ValueError, match=r"must be finite"):
        model.set_threshold([np.nan], 0.1)


def test_width_of_preprocessing_and_encoder_must_agree(rows):
    from tf_radogaga import DenseNetwork, MixturePrior, RaDOGAGA

    def build(encoder=(4, 2), decoder=(2, 4), prior=2, **options):
        parts = (
            DenseNetwork(encoder[0], (), encoder[1]),
            DenseNetwork(decoder[0], (), decoder[1]),
            MixturePrior(prior, 2),
        )
        return RaDOGAGA(*parts, 1, 1, preprocess=scaled(rows), **options)

    build()
    for wrong, message in (
        ({"encoder": (3, 2)}, "encoder: 3 units where the 4 columns of preprocess"),
        ({"decoder": (3, 4)}, "encoder: 2 units where the 3 outputs for the latent"),
        ({"decoder": (2, 1)}, r"decoder: gives \(1, 1\) where preprocess gives \(1, 4\)"),
        ({"reconstruction_features": True}, "prior: 2 units where the 4 latent units and features"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**wrong)


def test_rows_of_the_wrong_width_are_refused_in_a_graph_too(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=1)
    with pytest.raises(ValueError, match="expected"):
        model.predict(rows[:, :1], verbose=0)
    with pytest.raises(ValueError, match="must be equal, but are 4 and 1"):
        tf.data.Dataset.from_tensor_slices(rows[:, :1]).batch(8).map(model.energy)


@pytest.mark.thorough
def test_an_interrupted_refit_does_not_score_by_the_older_mixture(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=1)

    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(rows, verbose=0, callbacks=[Kill()])
    with pytest.raises(RuntimeError, match="not adapted"):
        model.energy(rows)


@pytest.mark.thorough
def test_levels_score_the_same_whatever_type_they_come_as(frame):
    frame["flag"], frame["grade"] = frame["dose"] > 4, frame["code"].astype(float)
    encoding = TableEncoding.for_table(frame, ["code", "grade"])
    model = fitted(small_model(preprocess=encoding), frame, epochs=1)
    energy = model.energy(frame).numpy()
    np.testing.assert_allclose(model.predict(frame, verbose=0)["energy"], energy, **TOLERANCE)
    other = frame.assign(grade=frame["code"], code=frame["code"].astype(str))
    np.testing.assert_array_equal(model.energy(other), energy)
    dataset = tf.data.Dataset.from_tensor_slices(dict(other)).batch(50)
    np.testing.assert_allclose(np.concatenate(list(dataset.map(model.energy))), energy, **TOLERANCE)
    with pytest.raises(TypeError, match=r"cast them to tf\.string"):
        tf.data.Dataset.from_tensor_slices(dict(frame)).batch(50).map(model.energy)


def test_evaluation_can_be_repeated(rows):
    model = fitted(small_model(preprocess=scaled(rows)), rows, epochs=1)
    assert model.evaluate(rows, verbose=0) == model.evaluate(rows, verbose=0)


@pytest.mark.thorough
def test_tanh_networks_run_compiled_in_every_way(rows):
    """tensorflow #53459: on a CPU a transposed batch before a tanh layer has no kernel once the graph is optimised."""
    model = fitted(small_model(preprocess=scaled(rows), reconstruction_features=True), rows, epochs=1, compiled=True)
    for function in (model.density.energy, model.encode_x, lambda x: model.loss_terms(x, training=True)["coding"]):
        assert np.isfinite(tf.function(function)(tf.constant(rows, tf.float32))).all()
