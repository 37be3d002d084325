"""What users of Keras take for granted, for every family of models. A new one gets it all by a line in `FAMILIES`."""

import copy

import numpy as np
import pytest
import tensorflow as tf
from helpers.families import WIDTH, data, each, model_of, scaling, trained
from helpers.marks import after
from helpers.models import TOLERANCE
from helpers.own_networks import NETWORKS, OwnNetwork

import tf_radogaga
from tf_radogaga import DenseNetwork, FactorizedPrior, RaDOGAGA
from tf_radogaga.training.copies import copy_model

keras = tf.keras
pytestmark = pytest.mark.usefixtures("small_flows")


def names(model):
    return [(variable.name, variable.shape) for variable in model.variables]


@pytest.mark.parametrize("family", each())
def test_every_weight_exists_before_the_first_step(family):
    model = model_of(family)
    before = names(model)
    model.steps.all_terms(model.preprocess(data()), training=True)
    assert names(model) == before
    assert {"gamma", "moving_mean"} <= {name.split("/")[-1].split(":")[0] for name, _ in before}


@pytest.mark.parametrize("kind", after(1, NETWORKS))
def test_any_network_whose_shapes_fit_trains_and_moves(kind):
    model = model_of("radogaga", NETWORKS[kind])
    before = [variable.numpy() for variable in model.trainable_variables]
    trained(model)
    still = [v.name for v, old in zip(model.trainable_variables, before) if np.array_equal(v, old)]
    assert not still


@pytest.mark.parametrize("family", each())
def test_training_reaches_every_layer(family):
    """Batch normalization learns the statistics of what it is given, and dropout drops, in encoder and decoder."""
    model = model_of(family)
    x = model.preprocess(tf.constant(data()))
    seen = {}
    for part in (model.encoder, model.decoder):
        call = part.normalization.call

        def watched(inputs, training=None, part=part, call=call):
            seen.setdefault(id(part), []).append((inputs, training))
            return call(inputs, training=training)

        part.normalization.call = watched
    model.steps.all_terms(x, training=True)
    for part in (model.encoder, model.decoder):
        ((inputs, training),) = seen[id(part)]
        assert training is True
        mean = 0.5 * tf.reduce_mean(inputs, axis=0)  # momentum 1/2, from 0
        np.testing.assert_allclose(part.normalization.moving_mean, mean, rtol=1e-5, atol=1e-6)
    seen.clear()
    scored = model.steps.all_terms(x)[0]
    assert {training for calls in seen.values() for _, training in calls} == {False}
    for name, term in model.steps.all_terms(x)[0].items():  # nothing drops, nothing learns
        np.testing.assert_array_equal(term, scored[name], err_msg=name)


@pytest.mark.parametrize("family", each())
def test_losses_of_layers_are_in_the_loss_as_a_term_of_their_own(family):
    model = model_of(family)
    x = model.preprocess(tf.constant(data()))
    terms = model.steps.all_terms(x)[0]
    kernels = [part.hidden.kernel for part in (model.encoder, model.decoder)]
    decay = sum(1e-3 * float(tf.reduce_sum(tf.square(kernel))) for kernel in kernels)
    added = float(tf.add_n(model.losses))
    assert added > decay > 0
    np.testing.assert_allclose(terms["regularization"], np.full(len(x), added), rtol=1e-5)
    assert set(terms) - set(model.loss_terms(x)) == {"regularization"}


@pytest.mark.thorough
def test_a_regularizer_pulls_the_weights_it_is_of():
    large, small = (
        trained(model_of("radogaga", lambda inputs, outputs, l2=l2: OwnNetwork(outputs, l2=l2)), epochs=4)
        for l2 in (1e4, 0)
    )
    lengths = [float(tf.norm(model.encoder.hidden.kernel)) for model in (large, small)]
    assert lengths[0] < 0.95 * lengths[1]


@pytest.mark.parametrize("family", each())
def test_weights_of_examples_multiply_their_terms(family):
    model = model_of(family)
    x, weights = model.preprocess(tf.constant(data())), np.linspace(0, 3, 48).astype(np.float32)
    plain, weighted = model.steps.all_terms(x)[0], model.steps.all_terms(x, tf.constant(weights)[:, None])[0]
    for name, term in plain.items():
        factor = 1 if name == "regularization" else weights
        np.testing.assert_allclose(weighted[name], factor * term.numpy(), rtol=1e-5, err_msg=name)


def test_scores_draw_nothing_and_do_not_depend_on_neighbours(fitted_model):
    whole = fitted_model.energy(data()).numpy()
    np.testing.assert_array_equal(fitted_model.energy(data()), whole)
    parts = np.concatenate([fitted_model.energy(data()[i : i + 7]) for i in range(0, 48, 7)])
    np.testing.assert_allclose(parts, whole, **TOLERANCE)
    np.testing.assert_allclose(fitted_model.predict(data(), verbose=0)["energy"], whole, **TOLERANCE)


def test_a_copy_is_equal_and_apart(fitted_model):
    before = fitted_model.energy(data()).numpy()
    twin = copy.deepcopy(fitted_model)
    np.testing.assert_array_equal(twin.energy(data()), before)
    assert not {id(v) for v in twin.variables} & {id(v) for v in fitted_model.variables}
    assert twin.optimizer is not fitted_model.optimizer
    for variable in twin.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    assert not np.array_equal(twin.energy(data()), before)
    np.testing.assert_array_equal(fitted_model.energy(data()), before)


def test_a_clone_is_untrained_and_apart(fitted_model):
    before = fitted_model.energy(data()).numpy()
    twin = keras.models.clone_model(fitted_model)
    assert [shape for _, shape in names(twin)] == [shape for _, shape in names(fitted_model)]
    assert not {id(v) for v in twin.variables} & {id(v) for v in fitted_model.variables}
    assert not np.array_equal(twin.encoder.hidden.kernel, fitted_model.encoder.hidden.kernel)
    np.testing.assert_array_equal(twin.preprocess(data()), fitted_model.preprocess(data()))  # as it was adapted
    for variable in twin.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    np.testing.assert_array_equal(fitted_model.energy(data()), before)


@pytest.mark.parametrize(
    ("family", "policy"),
    [
        *after(
            2,
            [
                ("radogaga-mixture", "mixed_float16"),
                ("dagmm", "mixed_bfloat16"),
                ("radogaga-features", "mixed_bfloat16"),
                ("beta-vae-decomposed", "mixed_float16"),
            ],
        ),
        pytest.param("radogaga-mixture", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("radogaga-features", "mixed_float16", marks=pytest.mark.slow),
        pytest.param("dagmm", "mixed_float16", marks=pytest.mark.slow),
        pytest.param("beta-vae-decomposed", "mixed_bfloat16", marks=pytest.mark.slow),
    ],
)
def test_mixed_precision_keeps_priors_and_scores_in_float32(family, policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = model_of(family, lambda inputs, outputs: DenseNetwork(inputs, (6,), outputs))
        trained(model)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.encoder(tf.zeros((1, WIDTH))).dtype == policy.removeprefix("mixed_")
    assert isinstance(model.optimizer, keras.mixed_precision.LossScaleOptimizer) == (policy == "mixed_float16")
    assert model.energy(data()).dtype == model.encode(data()).dtype == tf.float32
    single = model_of(family, lambda inputs, outputs: DenseNetwork(inputs, (6,), outputs))
    for mine, theirs in zip(single.variables, model.variables):
        mine.assign(theirs)
    np.testing.assert_allclose(model.encode(data()), single.encode(data()), rtol=0.05, atol=0.05)


@pytest.mark.thorough
def test_models_trained_together_are_those_trained_alone_or_are_refused():
    def dense(inputs, outputs):
        regular = keras.regularizers.L2(1e-2)
        return keras.Sequential(
            [keras.layers.Dense(6, "tanh", kernel_regularizer=regular), keras.layers.Dense(outputs)]
        )

    models = [model_of("radogaga", dense) for _ in range(2)]
    for model in models:
        model.compile(keras.optimizers.Adam(1e-2))
    alone = copy_model(models[1])
    alone.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    assert not tf_radogaga.fit_together(models, [data()] * 2, batch_size=16, epochs=2, verbose=0)
    alone.fit(data(), batch_size=16, epochs=2, verbose=0)
    np.testing.assert_allclose(models[1].energy(data()), alone.energy(data()), rtol=1e-3, atol=1e-3)
    for networks, why in ((NETWORKS["sequential"], "moving_mean"), (NETWORKS["functional"], "draws noise")):
        models = [model_of("radogaga", networks) for _ in range(2)]
        for model in models:
            model.compile(keras.optimizers.Adam(1e-2))
        before = [model.get_weights() for model in models]
        with pytest.raises(ValueError, match=rf"models: .*{why}.* one by one"):
            tf_radogaga.fit_together(models, [data()] * 2, verbose=0)
        for model, weights in zip(models, before):
            assert all(map(np.array_equal, model.get_weights(), weights))


@pytest.mark.thorough
@pytest.mark.parametrize("family", ["radogaga", pytest.param("dagmm", marks=pytest.mark.slow)])
def test_two_replicas_train_networks_of_ones_own(family, strategy):
    with strategy.scope():
        model = model_of(family)
        model.compile(keras.optimizers.Adam(1e-2), steps_per_execution=1)
    before = [v.numpy() for v in model.trainable_variables]
    losses = model.fit(data(), batch_size=16, epochs=1, verbose=0).history
    assert not any(map(np.array_equal, model.trainable_variables, before))
    terms = [losses[name][0] for name in losses if name not in ("loss", "isometry")]
    np.testing.assert_allclose(losses["loss"][0], sum(terms), rtol=1e-4)
    assert np.isfinite(model.energy(data())).all()
    assert float(tf.norm(model.encoder.normalization.moving_mean)) > 0


@pytest.mark.parametrize("family", each())
def test_keras_own_names_are_not_hidden(family):
    model = model_of(family)
    for name in ("losses", "metrics", "trainable_variables", "non_trainable_variables", "updates"):
        assert isinstance(getattr(model, name), list), name


def test_optimizers_of_before_train_too():
    model = model_of("radogaga")
    model.compile(keras.optimizers.legacy.Adam(1e-2), run_eagerly=True)
    before = model.encoder.hidden.kernel.numpy()
    model.fit(data(), epochs=1, verbose=0)
    assert not np.array_equal(model.encoder.hidden.kernel, before)
    assert int(copy_model(model).optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("encoder", "decoder", "error", "message"),
    [
        (lambda x: x, DenseNetwork(2, (), 4), TypeError, "encoder: .* is no Keras layer or model"),
        (DenseNetwork(4, (), 2), "decoder", TypeError, "decoder: 'decoder' is no Keras layer or model"),
        (
            keras.layers.Reshape((2, 2)),
            DenseNetwork(2, (), 4),
            ValueError,
            r"encoder: gives \(1, 2, 2\) where \(B, N\)",
        ),
        (keras.layers.Dense(2), keras.layers.Dense(3), ValueError, r"decoder: gives \(1, 3\) where .* \(1, 4\)"),
        (keras.layers.Conv2D(3, 3), keras.layers.Dense(4), ValueError, r"encoder: does not take .* \(1, 4\)"),
        (keras.layers.Dense(2), keras.layers.Conv2D(3, 3), ValueError, r"decoder: does not take .* \(1, 2\)"),
    ],
)
def test_networks_that_do_not_fit_are_refused_at_once(encoder, decoder, error, message):
    with pytest.raises(error, match=message):
        RaDOGAGA(encoder, decoder, FactorizedPrior(2), lambda1=1, lambda2=1, preprocess=scaling())


def test_the_shape_of_the_input_is_taken_from_the_network_or_asked_for():
    functional, images = (
        NETWORKS["functional"](4, 2),
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]),
    )
    options = {"lambda1": 1, "lambda2": 1}
    assert RaDOGAGA(functional, keras.layers.Dense(4), FactorizedPrior(2), **options).preprocess.width == 4
    images.add(keras.layers.Dense(2))
    decoder = keras.Sequential([keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1))])
    assert RaDOGAGA(images, decoder, FactorizedPrior(2), **options).preprocess.image_shape == (8, 8, 1)
    with pytest.raises(ValueError, match=r"preprocess: missing.* give preprocess=PassThrough\(columns\)"):
        RaDOGAGA(keras.layers.Dense(2), keras.layers.Dense(4), FactorizedPrior(2), **options)
