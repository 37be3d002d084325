import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.distributions import trainable_normal
from helpers.marks import after
from helpers.models import small_model
from tensorflow.python.ops.parallel_for.pfor import _pfor_converter_registry as registry
from tensorflow.python.ops.parallel_for.pfor import _PforInput

from tf_radogaga import (
    DenseNetwork,
    DistributionPrior,
    FactorizedPrior,
    RaDOGAGA,
    fit_together,
    load_model,
    mean_energy,
    mean_log_density,
    save_model,
)
from tf_radogaga._core import functional, seeds
from tf_radogaga.ensemble import vectorized
from tf_radogaga.ensemble.vectorized import converters
from tf_radogaga.training import feed

LENGTH = {"batch_size": 64, "epochs": 2, "steps_per_epoch": 3, "verbose": 0}
APART = {  # settings of two models
    "log": ({"lambda1": 100, "lambda2": 100}, {"lambda1": 30, "lambda2": 400}),
    "dagmm": ({"lambda1": 0.1, "lambda2": 0.005}, {"lambda1": 0.3, "lambda2": 0.05}),
    "vae": ({"beta": 0.01}, {"beta": 0.1}),
    "vae-decomposed": ({}, {}),
    "factorized": ({}, {}),
    "distribution": ({}, {}),
}


def build(kind, seed, rate=1e-3, eager=True, optimizer=tf.keras.optimizers.Adam, **options):
    tf.keras.utils.set_random_seed(seed)
    if kind in ("factorized", "distribution"):
        prior = FactorizedPrior(2) if kind == "factorized" else DistributionPrior(trainable_normal)
        model = RaDOGAGA(DenseNetwork(4, (8,), 2), DenseNetwork(2, (8,), 4), prior, 100, 100, **options)
    else:
        model = small_model(kind, **options)
    model.compile(optimizer(rate), run_eagerly=eager)
    return model


def pair(kind, rates=(1e-3, 1e-3), eager=False):
    return [build(kind, seed, rates[seed], eager, **APART[kind][seed]) for seed in (0, 1)]


@pytest.fixture
def tables(rows):
    return [rows, 2 * rows[::-1]]


def assert_same(one, other, rows):
    for mine, its in zip(one.trainable_variables, other.trainable_variables):
        if "lower" in mine.name or "turn" in mine.name:  # their diagonals have no effect, rounding alone moves them
            mine, its = (tf.linalg.set_diag(part, tf.zeros(2)) for part in (mine, its))
        np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-4, atol=1e-5)
    for mine, its in zip(functional.generators(one), functional.generators(other)):
        assert (mine.state.numpy() == its.state.numpy()).all()
    np.testing.assert_allclose(one.energy(rows), other.energy(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "kind",
    after(
        1,
        [
            pytest.param(kind, marks=pytest.mark.slow) if kind in ("vae", "dagmm", "distribution") else kind
            for kind in sorted(APART, key=lambda kind: kind != "vae-decomposed")
        ],
    ),
)
def test_each_of_two_together_is_what_its_own_fit_makes_of_it(kind, tables, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("an op is not vectorized, but repeated in a loop over the models")

    monkeypatch.setattr(sys.modules["tensorflow.python.ops.parallel_for.pfor"], "_fallback_converter", refuse)
    rates = (1e-3, 3e-3) if kind == "log" else (1e-3, 1e-3)
    alone, together = pair(kind, rates, eager=True), pair(kind, rates)
    before = together[0].trainable_variables[0].numpy()
    for model, rows in zip(alone, tables):
        model.fit(rows, **LENGTH)
    known = dict(registry), _PforInput.expanddim_inputs_for_broadcast
    assert fit_together(together, tables, **LENGTH) == {}
    assert (registry, _PforInput.expanddim_inputs_for_broadcast) == known  # TensorFlow is as it was
    assert np.abs(together[0].trainable_variables[0].numpy() - before).max() > 1e-3
    for one, other, rows in zip(alone, together, tables):
        assert_same(one, other, rows)


@pytest.mark.thorough
def test_schedules_decay_and_what_the_optimizer_remembers_go_on_in_the_models_own_fit(tables):
    def optimizer(rate):
        decay = tf.keras.optimizers.schedules.CosineDecay(rate, 8)
        return tf.keras.optimizers.Adam(decay, beta_2=0.9, weight_decay=0.1)

    unbroken, broken = ([build("log", seed, 1e-2, optimizer=optimizer) for seed in (0, 1)] for _ in range(2))
    for model, rows in zip(unbroken, tables):
        model.fit(rows, **LENGTH)
    assert fit_together(broken, tables, **{**LENGTH, "epochs": 1}) == {}
    for one, other, rows in zip(unbroken, broken, tables):
        other.fit(rows, **{**LENGTH, "epochs": 1})
        assert int(other.optimizer.iterations) == 6
        assert_same(one, other, rows)


@pytest.mark.thorough
def test_one_that_diverges_is_named_and_leaves_the_others_alone(tables, tmp_path):
    alone, together = (build("log", 1), [build("log", 0, rate=1e30), build("log", 1)])
    alone.fit(tables[1], **LENGTH)
    errors = fit_together(together, tables, **LENGTH)
    with pytest.raises(FloatingPointError) as own:
        build("log", 0, rate=1e30).fit(tables[0], **LENGTH)
    assert {number: str(error) for number, error in errors.items()} == {0: str(own.value)}
    assert_same(alone, together[1], tables[1])
    assert all(np.isfinite(variable.numpy()).all() for variable in together[0].trainable_variables)
    with pytest.raises(RuntimeError, match="not adapted"):
        together[0].energy(tables[0])
    save_model(together[1], tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").energy(tables[1]), together[1].energy(tables[1]))


def test_a_gradient_that_is_not_finite_is_named_too(rows):
    @tf.custom_gradient
    def poisoned(term, first):
        factor = tf.where(first > 0.5, np.nan, 1.0)
        return tf.identity(term), lambda upstream: (upstream * factor, tf.zeros_like(first))

    broken, sound = (build("vae", seed) for seed in (0, 1))
    terms = broken.loss_terms
    broken.loss_terms = lambda x, training: {name: poisoned(t, x[:, 0]) for name, t in terms(x, training).items()}
    errors = fit_together([broken, sound], [rows, np.clip(rows, None, 0.5)], **LENGTH)
    assert list(errors) == [0] and str(errors[0]).startswith("the gradient of the loss was the first")
    assert errors[0].args[0].count("at step 1.")


@pytest.mark.thorough
def test_scores_are_means_of_logarithms(rows):
    models = [build("log", seed) for seed in range(3)]
    for model in models:
        model.adapt_prior(rows)
    energies = [model.energy(rows).numpy() for model in models]
    np.testing.assert_allclose(mean_energy(models, rows), np.mean(energies, axis=0), rtol=1e-5)
    densities = [model.log_density(rows, "jacobian").numpy() for model in models]
    np.testing.assert_allclose(mean_log_density(models, rows, "jacobian"), np.mean(densities, axis=0), rtol=1e-5)
    with pytest.raises(ValueError, match="models: none"):
        mean_energy([], rows)


def test_a_table_given_twice_is_stored_once(rows, monkeypatch):
    models, stored = [build("vae", seed, beta=0.1) for seed in (0, 1)], []
    for model in models:
        model.preprocess = models[0].preprocess
    monkeypatch.setattr(
        feed.Feed, "weighted", lambda _, rows, argument: (stored.append(1), (tf.constant(rows, tf.float32), None))[1]
    )
    monkeypatch.setattr(tf.keras.Model, "fit", lambda *args, **kwargs: None)
    assert fit_together(models, [rows, rows], **LENGTH) == {} and len(stored) == 1


def test_models_that_do_not_belong_together_are_refused(rows):
    one = build("log", 0)
    for other, tables, message in (
        (build("log", 1, noise="gaussian"), [rows, rows], "noise: uniform of models.0. and gaussian of models.1."),
        (build("log", 1, latent_units=3), [rows, rows], "encoder: .* differ in lambda1, lambda2 and the learning rate"),
        (build("dagmm", 1), [rows, rows], "class: "),
        (build("log", 1, optimizer=lambda rate: tf.keras.optimizers.Adam(rate, beta_1=0.5)), [rows, rows], "beta_1: "),
        (build("log", 1, optimizer=lambda rate: tf.keras.optimizers.Adam(rate, clipnorm=1)), [rows, rows], "clipnorm"),
        (one, [rows, rows], "given twice"),
        (build("log", 1), [rows], "tables: 1 for 2 models"),
        (build("log", 1), [rows, rows[:-1]], r"tables: \[299, 300\] rows"),
        (build("log", 1), [rows[:1], rows[:1]], "1 rows, but the prior needs at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_together([one, other], tables)
    with pytest.raises(ValueError, match="batch_size: 0"):
        fit_together([one], [rows], batch_size=0)
    with pytest.raises(TypeError, match=r"tables: a tf\.data\.Dataset"):
        fit_together([one], [tf.data.Dataset.from_tensors(rows)])
    with pytest.raises(TypeError, match="validation_data: models that need it are trained one by one"):
        fit_together([one], [rows], validation_data=rows)
    with pytest.raises(TypeError, match="shuffle: models that need it are trained one by one"):
        fit_together([one], [rows], shuffle=False)
    with pytest.raises(TypeError, match="tables: rows with weights"):
        fit_together([one], [(rows, None, np.ones(300))])
    with pytest.raises(TypeError, match=r"compiled with tf\.keras\.optimizers\.Adam"):
        fit_together([build("log", 0, optimizer=tf.keras.optimizers.SGD)], [rows])


def test_a_loss_that_reads_what_is_not_trainable_is_refused(rows):
    model = build("log", 0)
    terms = model.loss_terms
    model.loss_terms = lambda x, training: {**terms(x, training), "more": 0 * x[:, 0] + model.threshold}
    with pytest.raises(NotImplementedError, match=r"threshold.*: the loss reads it and it is not trainable"):
        fit_together([model], [rows])
    assert float(model.threshold) == np.inf  # readable again


def test_seeds_are_those_of_the_generator():
    model = build("log", 0)
    generator, *_ = owned = functional.generators(model)
    states = tf.stack([one.state for one in owned])
    with functional.substituted(model, model.trainable_variables, states, []) as drawn:
        found = [seeds.next_seed(generator) for _ in range(3)]
    np.testing.assert_array_equal(found, [seeds.next_seed(generator) for _ in range(3)])
    np.testing.assert_array_equal(functional.advanced(states[None], drawn)[0, 0], generator.state)


@pytest.mark.thorough
@pytest.mark.skipif(not tf.__version__.startswith("2.14."), reason="tensorflow-compression needs the stack elsewhere")
def test_importing_the_package_changes_nothing_in_tensorflow():
    script = """
import sys
if sys.argv[1] == "ours":
    import tf_radogaga
else:
    import tensorflow_compression, tensorflow_probability
from tensorflow.python.ops.parallel_for.pfor import _pfor_converter_registry, _PforInput
print(sorted(_pfor_converter_registry), _PforInput.expanddim_inputs_for_broadcast.__module__)
"""
    command = [sys.executable, "-c", script]
    ours, theirs = (subprocess.run([*command, whose], capture_output=True) for whose in ("ours", "theirs"))
    assert ours.returncode == theirs.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout


def test_what_many_models_need_is_taken_back():
    before, align = dict(registry), _PforInput.expanddim_inputs_for_broadcast
    with pytest.raises(KeyError), converters():
        assert set(registry) - set(before) == set(vectorized._CONVERTERS)
        with converters():
            pass
        assert _PforInput.expanddim_inputs_for_broadcast is not align
        raise KeyError
    assert registry == before
    assert _PforInput.expanddim_inputs_for_broadcast is align
