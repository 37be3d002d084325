"""Copies, clones and saved models of networks with all that Keras lets a layer hold: the same model, or a refusal."""

import copy

import numpy as np
import pytest
import tensorflow as tf
from helpers.marks import after

import tf_radogaga
from tf_radogaga import FactorizedPrior, PassThrough, RaDOGAGA

keras, layers = tf.keras, tf.keras.layers
ROWS = (np.random.default_rng(5).normal(size=(40, 4)) * [1, 10, 0.1, 5] + [0, 50, 3, 1]).astype(np.float32)


def model_of(encoder, decoder=None, kind=RaDOGAGA, **options):
    decoder = decoder or layers.Dense(4)
    model = kind(encoder, decoder, FactorizedPrior(2), 10.0, 10.0, preprocess=PassThrough(4), **options)
    model.adapt_prior(ROWS)
    return model


def loaded(model, tmp_path):
    tf_radogaga.save_model(model, tmp_path / "model")
    return tf_radogaga.load_model(tmp_path / "model")


@keras.utils.register_keras_serializable(package="test_copies")
class Own(keras.Model):
    """Of a layer that is adapted, one that is frozen, and more of them in containers."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.adapted = units, layers.Normalization()
        self.parts = {"first": [layers.Dense(3, trainable=False)], "last": layers.Dense(units)}

    def call(self, x):
        return self.parts["last"](self.parts["first"][0](self.adapted(x)))

    def get_config(self):
        return {"units": self.units}


def normalization():
    layer = layers.Normalization()
    layer.adapt(ROWS)
    return layer


def functional():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(2)(normalization()(x)))


def own():
    network = Own(2)
    network.adapted.adapt(ROWS)
    return network


ENCODERS = {
    "first of a Sequential": lambda: keras.Sequential([normalization(), layers.Dense(2)]),
    "within a nested Sequential": lambda: keras.Sequential(
        [keras.Sequential([normalization(), layers.Dense(3)]), layers.Dense(2)]
    ),
    "second of a Sequential": lambda: keras.Sequential([layers.Dense(4), normalization(), layers.Dense(2)]),
    "functional": functional,
    "subclassed": own,
    "spectral": lambda: keras.Sequential([layers.SpectralNormalization(layers.Dense(3)), layers.Dense(2)]),
}


@pytest.mark.parametrize("kind", after(2, ENCODERS))
def test_layers_with_a_state_of_their_own_are_copied_and_saved_with_it(kind, tmp_path):
    model = model_of(ENCODERS[kind]())
    latents = model.encode(ROWS)
    np.testing.assert_array_equal(copy.deepcopy(model).encode(ROWS), latents)
    np.testing.assert_array_equal(loaded(model, tmp_path).encode(ROWS), latents)
    twin = keras.models.clone_model(model)
    model.save_weights(tmp_path / "weights")
    twin.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(twin.encode(ROWS), latents)


@keras.utils.register_keras_serializable(package="test_copies")
class Untold(keras.Model):
    """Keras notes arguments of plain types alone, and nothing at all beside others."""

    def __init__(self, activation="tanh", shape=None):
        super().__init__()
        self.dense = layers.Dense(2, activation)

    def call(self, x):
        return self.dense(x)


@keras.utils.register_keras_serializable(package="test_copies")
class Scaled(layers.Dense):
    def __init__(self, units, factor=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * super().call(x)


@keras.utils.register_keras_serializable(package="test_copies")
class Boosted(RaDOGAGA):
    def __init__(self, *args, boost=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.boost = boost


class Told(Boosted):
    def get_config(self):
        return {**super().get_config(), "boost": self.boost}


def every_other(model, tmp_path):
    for make in (copy.deepcopy, keras.models.clone_model, lambda model: loaded(model, tmp_path)):
        yield make, model


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: model_of(Untold("relu", np.ones(3))), "Untold"),
        (lambda: model_of(keras.Sequential([Untold("relu", np.ones(3))])), "Untold"),
        (lambda: model_of(Scaled(2, factor=3.0)), "Scaled: its get_config does not tell factor"),
        (lambda: model_of(layers.Dense(2), kind=Boosted, boost=3.0), "Boosted: its get_config does not tell boost"),
    ],
)
def test_what_a_configuration_leaves_out_is_refused(model, name, tmp_path):
    for make, made in every_other(model(), tmp_path):
        with pytest.raises(TypeError, match=name):
            make(made)
    assert not list(tmp_path.iterdir())


def test_arguments_that_are_told_or_left_at_their_default_are_no_matter(tmp_path):
    assert loaded(model_of(Scaled(2)), tmp_path).encoder.factor == 1.0
    assert copy.deepcopy(model_of(Untold("relu"))).encoder.dense.activation is keras.activations.relu
    assert copy.deepcopy(model_of(layers.Dense(2), kind=Told, boost=3.0)).boost == 3.0


@pytest.mark.thorough
@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, keras.optimizers.legacy.Adam])
def test_a_training_goes_on_with_the_moments_of_its_optimizer(optimizer, tmp_path):
    model = model_of(keras.Sequential([layers.Dense(3, "tanh"), layers.Dense(2)]))
    model.compile(optimizer(1e-2), run_eagerly=True)
    model.train_on_batch(ROWS)
    tf_radogaga.save_model(model, tmp_path / "model")
    resumed = tf_radogaga.load_model(tmp_path / "model", optimizer=optimizer(1.0))
    kept, found = (
        held() if callable(held) else held for held in (model.optimizer.variables, resumed.optimizer.variables)
    )
    assert len(kept) == len(found) > 2 * len(model.trainable_variables)
    for ours, theirs in zip(found, kept):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)
    assert float(resumed.optimizer.learning_rate) == pytest.approx(1e-2)


def test_weights_in_formats_that_lose_some_are_refused(tmp_path):
    for filepath, options in (("w.h5", {}), ("w", {"save_format": "h5"}), ("w", {"save_format": "hdf5"})):
        with pytest.raises(NotImplementedError, match="save_model"):
            model_of(layers.Dense(2)).save_weights(tmp_path / filepath, **options)
    assert not list(tmp_path.iterdir())


class Transposed(layers.Layer):
    def __init__(self, dense):
        super().__init__()
        self.dense = dense

    def call(self, z):
        return tf.matmul(z, self.dense.kernel, transpose_b=True)


def tied():
    dense = layers.Dense(2)
    return model_of(dense, Transposed(dense))


def test_what_encoder_and_decoder_share_is_kept_by_weights_and_refused_elsewhere(tmp_path):
    model = tied()
    for make, made in every_other(model, tmp_path):
        with pytest.raises(TypeError, match=r"encoder, decoder: they share .*kernel.*save_weights"):
            make(made)
    assert not list(tmp_path.iterdir())
    model.save_weights(tmp_path / "weights")
    other = tied()
    other.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(other.energy(ROWS), model.energy(ROWS))
    assert other.decoder.dense is other.encoder
