"""What users of Keras take for granted of metrics, streams and random draws, for every family of models in
`families.FAMILIES`."""

import functools
import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.families import FAMILIES, WIDTH, data, model_of, trained
from helpers.marks import after
from helpers.models import TOLERANCE
from helpers.own_networks import NoisyLayer, WatchedNetwork

import tf_radogaga
from tf_radogaga import isometry, mean_energy

keras = tf.keras
pytestmark = pytest.mark.usefixtures("small_flows")


def watched(inputs, outputs):
    return WatchedNetwork(outputs)


ALIKE = ("radogaga-papers", "radogaga-mixture", "radogaga-normal", "radogaga-tfp", "radogaga-flow")
"""Families that call their networks as "radogaga" does while they train, and are tested in full under slow."""


@pytest.mark.parametrize(
    ("family", "eager"),
    [
        *after(1, [("radogaga", True), *((family, True) for family in FAMILIES if family not in (*ALIKE, "radogaga"))]),
        *(pytest.param(family, True, marks=pytest.mark.slow) for family in ALIKE),
        pytest.param("radogaga", False, marks=pytest.mark.thorough),
    ],
)
def test_metrics_of_layers_are_in_the_history_of_each_epoch(family, eager):
    model = model_of(family, watched)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=eager)
    found = model.fit(data(), batch_size=24, epochs=2, validation_data=data()[:10], verbose=0).history
    means = [float(tf.reduce_mean(model.preprocess(data()[:rows]))) for rows in (48, 10)]
    for name, mean, rows in (("", means[0], 48), ("val_", means[1], 10)):
        np.testing.assert_allclose(found[f"{name}input_mean"], 2 * [mean], rtol=1e-5)
        assert found[f"{name}examples"] == 2 * [rows]
        assert found[f"{name}examples_1"][0] >= rows  # of the decoder, which sees several points of a row
        assert len(set(found[f"{name}examples_1"])) == 1
    assert found["drop"] == found["drop_1"] == [3, 3]
    assert model.evaluate(data(), verbose=0, return_dict=True)["examples"] == 48
    model.encode(data())  # counts, too
    for call in (
        model.train_on_batch,
        lambda *args, **kwargs: model.adapt_prior(data()) or model.test_on_batch(*args, **kwargs),
    ):
        assert call(data()[:7], return_dict=True)["examples"] == 7


def test_models_with_metrics_of_layers_are_trained_one_by_one():
    models = [model_of("radogaga", watched) for _ in range(2)]
    for model in models:
        model.compile(keras.optimizers.Adam(1e-2))
    with pytest.raises(ValueError, match=r"models: (input_mean|examples) of a network is .* a metric .* one by one"):
        tf_radogaga.fit_together(models, [data()] * 2, verbose=0)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_metrics_of_layers_are_refused_on_several_replicas(part, strategy):
    def network(inputs, outputs):
        return watched(inputs, outputs) if (part == "encoder") == (inputs == WIDTH) else keras.layers.Dense(outputs)

    with strategy.scope(), pytest.raises(ValueError, match=rf"{part}: .* metric .* outside of strategy\.scope\(\)"):
        model_of("radogaga", network)


def test_a_metric_that_is_no_number_stops_no_training():
    class Undefined(WatchedNetwork):
        def call(self, x, training=None):
            self.add_metric(tf.constant(np.nan), name="undefined")
            return self.out(x)

    model = trained(model_of("radogaga", lambda inputs, outputs: Undefined(outputs)))
    assert np.isnan(model.history.history["undefined"]).all()


STREAMS = {
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(data()).batch(8),
    "generator": lambda: iter([data()]),
    "Sequence": lambda: Batches(),
}


class Batches(keras.utils.Sequence):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return data()


OF_ROWS = (
    "encode",
    "energy",
    "log_density",
    "compress",
    "posterior",
    "rates",
    "transform_and_coding",
    "scores",
    "call",
)
REFUSED = r"(rows|x): \w+ is not supported here; rows in memory are needed.*np\.concatenate\(list\("
NOT_DEFINED = "has no posterior|densities|prior sees more|range coder|does not fix|is fixed|bends|active_dimensions"
OF_BATCHES = ("train_on_batch", "test_on_batch", "predict_on_batch")
MEASURES = (
    *(isometry.tangent_pairs, isometry.gram_matrices, isometry.latent_axes, isometry.latent_spectrum),
    *(isometry.response, isometry.traversals, isometry.isometry_gap, isometry.unit_norms, isometry.density_estimates),
    *(isometry.isometric_coordinates, isometry.reconstructed_share, isometry.round_trips),
    *(isometry.isometry_report, isometry.implicit_report),
)


@pytest.mark.parametrize("kind", STREAMS)
def test_what_takes_rows_in_memory_alone_says_so_of_streams(fitted_model, kind):
    weights = fitted_model.get_weights()
    calls = [getattr(fitted_model, name) for name in (*OF_ROWS, *OF_BATCHES) if hasattr(fitted_model, name)]
    calls += [functools.partial(measure, fitted_model) for measure in MEASURES]
    calls += [lambda rows: mean_energy([fitted_model], rows)]
    refused = []
    for call in calls:
        with pytest.raises((TypeError, NotImplementedError)) as raised:
            call(STREAMS[kind]())
        refused.append(re.match(REFUSED, str(raised.value)))
        assert refused[-1] or re.search(NOT_DEFINED, str(raised.value)), raised.value
    assert sum(map(bool, refused)) > len(calls) // 2
    assert all(map(np.array_equal, fitted_model.get_weights(), weights))


@pytest.mark.parametrize("family", after(1, ["beta-vae-decomposed", "beta-vae"]))
def test_posteriors_take_what_energies_take(family):
    model = trained(model_of(family))
    rows = (data(), np.zeros(48))
    for name in ("posterior", "transform_and_coding"):
        for whole, first, named in zip(
            *(getattr(model, name)(given) for given in (rows, data()[:5], pd.DataFrame(data())))
        ):
            np.testing.assert_allclose(whole[:5], first, **TOLERANCE)
            np.testing.assert_array_equal(whole, named)
    np.testing.assert_allclose(isometry.implicit_report(model, rows).rate, isometry.implicit_report(model, data()).rate)


@pytest.mark.thorough
@pytest.mark.parametrize("plain", [False, True], ids=["ours", "Keras"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_resumed_training_draws_on_where_a_generator_is_kept(kept, plain, tmp_path):
    """Dropout of Keras has no state that checkpoints hold, in a model of Keras alone either."""

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def weights(*callbacks):
        keras.utils.set_random_seed(5)
        noise = NoisyLayer if kept else lambda: keras.layers.Dropout(0.5)

        def network(inputs, outputs):
            return keras.Sequential([noise(), keras.layers.Dense(outputs)])

        model = network(WIDTH, WIDTH) if plain else model_of("radogaga", network)
        model.compile(keras.optimizers.Adam(1e-2), *(["mse"] if plain else []), run_eagerly=True)
        own = {"y": data(), "shuffle": False} if plain else {}
        model.fit(data(), batch_size=16, epochs=2, verbose=0, callbacks=list(callbacks), **own)
        return model.get_weights()

    with pytest.raises(KeyboardInterrupt):
        weights(keras.callbacks.BackupAndRestore(str(tmp_path)), Kill())
    same = map(np.array_equal, weights(keras.callbacks.BackupAndRestore(str(tmp_path))), weights())
    assert all(same) == kept
