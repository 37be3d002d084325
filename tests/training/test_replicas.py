"""Training on several devices or workers is training on one: the same losses, weights, mixture and scores."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers import two_workers
from helpers.models import encoded, scaled, small_model

import tf_radogaga
from tf_radogaga import DenseNetwork, FactorizedPrior, RaDOGAGA, presets
from tf_radogaga._core import replicas, seeds

ROWS = 67  # a stream of batches of 33 ends in one row, which leaves the second device none


def trained(scope, kind, rows, compiled=False, **options):
    """A model of two steps from a table, or compiled of six from a stream of odd batches; `scope` holds its making."""
    tf.keras.utils.set_random_seed(7)
    with scope:
        if kind == "factorized":
            networks = DenseNetwork(4, (8,), 2), DenseNetwork(2, (8,), 4)
            model = RaDOGAGA(*networks, FactorizedPrior(2), 100, 100, noise="gaussian", preprocess=scaled(rows))
        else:
            model = small_model(kind, scaled(rows), **options)
        model.compile(two_workers.optimizer(), steps_per_execution=3, run_eagerly=not compiled)
    if compiled:
        data = tf.data.Dataset.from_tensor_slices(rows.astype("float32")).batch(33)
        history = model.fit(data, epochs=2, verbose=0).history
    else:
        history = model.fit(rows, batch_size=33, verbose=0, validation_data=rows[:35]).history
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    return model, history


def assert_same(one, several, rows):
    (one, history), (several, history_of_several) = one, several
    assert set(history) == set(history_of_several)
    for name, values in history.items():
        np.testing.assert_allclose(history_of_several[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(two_workers.weights(several), two_workers.weights(one), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(several.energy(rows), one.energy(rows), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(several.threshold.numpy(), one.threshold.numpy(), rtol=1e-4)
    if one.has_log_density:
        assert several.active_dimensions == one.active_dimensions
        np.testing.assert_allclose(several.log_density(rows), one.log_density(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("factorized", {}),
        pytest.param("noisy-rate", {}, marks=pytest.mark.slow),
        pytest.param("identity", {"reconstruction_features": True}, marks=pytest.mark.slow),
        ("dagmm", {"reconstruction_features": True}),
        pytest.param("vae-decomposed", {}, marks=pytest.mark.slow),
    ],
)
def test_two_devices_train_as_one(kind, options, rows, strategy):
    rows = rows[:ROWS]
    one = trained(contextlib.nullcontext(), kind, rows, **options)
    several = trained(strategy.scope(), kind, rows, **options)
    assert_same(one, several, rows)
    np.testing.assert_allclose(several[0].predict(rows, verbose=0)["energy"], one[0].energy(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_so_they_do_compiled_on_a_stream_whose_last_batch_is_odd(rows, strategy):
    rows = rows[:ROWS]
    one = trained(contextlib.nullcontext(), "log", rows, compiled=True)
    assert_same(one, trained(strategy.scope(), "log", rows, compiled=True), rows)


@pytest.mark.thorough
def test_two_devices_weigh_examples_as_one(rows, strategy):
    rows, weights = rows[:ROWS].astype("float32"), np.linspace(0, 2, ROWS)
    data = tf.data.Dataset.from_tensor_slices((rows, np.zeros(ROWS), weights)).batch(33)
    found = []
    for scope in (contextlib.nullcontext(), strategy.scope()):
        tf.keras.utils.set_random_seed(7)
        with scope:
            model = small_model("vae", scaled(rows))
            model.compile(two_workers.optimizer(), run_eagerly=True)
        losses = model.fit(data, validation_data=data, verbose=0).history
        step = model.train_on_batch(rows, None, weights, return_dict=True)
        scored = model.test_on_batch(rows, None, weights, return_dict=True)
        found.append([*losses.values(), *step.values(), *scored.values()])
        assert scored["loss"] != pytest.approx(model.test_on_batch(rows, return_dict=True)["loss"], rel=1e-3)
    for one, several in zip(*found):
        np.testing.assert_allclose(several, one, rtol=1e-4, atol=1e-5)


def test_a_preset_is_built_in_the_scope_and_its_checkpoint_is_that_of_one_device(frame, strategy, tmp_path):
    preprocess = encoded(frame)  # outside of the scope
    preset = presets.preset("thyroid", "radogaga-log", "small")
    with strategy.scope():
        model = presets.build(preset, preprocess)
    assert model.preprocess is not preprocess
    np.testing.assert_array_equal(model.preprocess(preprocess.check(frame)), preprocess(preprocess.check(frame)))
    with pytest.raises(RuntimeError, match="not adapted"):
        model.energy(frame)
    model.adapt_prior(frame)
    model.set_threshold(model.energy(frame).numpy(), 0.1)
    tf_radogaga.save_model(model, tmp_path / "several")
    loaded = tf_radogaga.load_model(tmp_path / "several")
    np.testing.assert_allclose(loaded.energy(frame), model.energy(frame), rtol=1e-5)
    tf_radogaga.save_model(loaded, tmp_path / "one")
    with strategy.scope():
        again = tf_radogaga.load_model(tmp_path / "one")
    np.testing.assert_allclose(again.energy(frame), model.energy(frame), rtol=1e-5)
    assert again.threshold.numpy() == loaded.threshold.numpy() == model.threshold.numpy()


def test_every_replica_of_a_step_gets_its_rows_of_the_noise_of_one_device(strategy):
    alone, again = (tf.random.Generator.from_seed(3) for _ in range(2))
    for _ in range(3):
        np.testing.assert_array_equal(seeds.next_seed(alone), again.make_seeds(1)[:, 0])
    with strategy.scope():
        shared = tf.random.Generator.from_seed(3)

    def noise(rows):
        def draw(shape):
            return tf.random.stateless_normal(shape, seeds.next_seed(shared))

        return replicas.own_rows(draw, tf.stack([rows, 2])), replicas.share_of_mean(tf.ones(rows))

    of_one = tf.random.stateless_normal((5, 2), tf.random.Generator.from_seed(3).make_seeds(1)[:, 0])
    rows = strategy.experimental_distribute_values_from_function(
        lambda at: tf.constant([3, 2])[at.replica_id_in_sync_group]
    )
    drawn, shares = map(strategy.experimental_local_results, strategy.run(tf.function(noise), args=(rows,)))
    np.testing.assert_array_equal(np.concatenate(drawn), of_one)
    np.testing.assert_allclose(shares, [0.6, 0.4])


def test_gradients_of_a_total_are_those_of_one_device(strategy):
    x = tf.constant([1.0, 2.0, 3.0, 4.0])

    def share(part):
        with tf.GradientTape() as tape:
            tape.watch(part)
            loss = tf.reduce_sum(part) * replicas.total(
                tf.reduce_sum(part**2)
            )  # the sum over parts is (sum x) (sum x^2)
        return tape.gradient(loss, part)

    parts = strategy.experimental_distribute_values_from_function(
        lambda at: tf.split(x, 2)[at.replica_id_in_sync_group]
    )
    gradient = strategy.experimental_local_results(strategy.run(share, args=(parts,)))
    np.testing.assert_allclose(np.concatenate(gradient), 30 + 10 * 2 * x)


@pytest.mark.thorough
def test_a_value_that_is_not_finite_on_the_last_replica_is_told(rows, strategy):
    bad = rows[:64].astype("float32")
    bad[60] = np.nan
    with strategy.scope():
        model = small_model("vae")
        model.compile(run_eagerly=True)
    with pytest.raises(FloatingPointError, match=r"'rate' was the first .* at step 2"):
        model.fit(tf.data.Dataset.from_tensor_slices(bad).batch(32), verbose=0)


def test_strategies_that_cannot_be_trusted_are_refused(strategy):
    with strategy.scope(), pytest.raises(ValueError, match=r"jit_compile: True, but XLA .* 2 replicas"):
        small_model("vae").compile(jit_compile=True)
    central = tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"], "CPU:0")
    with central.scope():
        model = small_model("vae")
    with pytest.raises(ValueError, match=r"CentralStorageStrategy.* is not supported; .* MirroredStrategy"):
        model.compile()


COMMAND = """
ip link set lo up
"$1" -m helpers.two_workers 0 "$2" & first=$!
"$1" -m helpers.two_workers 1 "$2" || exit 1
wait $first
"""


@pytest.mark.slow
def test_two_workers_train_as_one_device(rows, tmp_path):
    """Inside a network of their own: TensorFlow's workers listen on all interfaces, whatever TF_CONFIG says."""
    isolated = ["unshare", "-rn"]
    possible = shutil.which("unshare") and shutil.which("ip")
    if not possible or subprocess.run([*isolated, "ip", "link", "set", "lo", "up"], capture_output=True).returncode:
        pytest.skip("no network namespace: unshare or ip is missing, or user namespaces are not permitted here")
    np.save(tmp_path / "rows.npy", rows)
    command = [*isolated, "sh", "-c", COMMAND, "sh", sys.executable, str(tmp_path)]
    tests = Path(two_workers.__file__).parents[1]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for kind in two_workers.KINDS:
        _, alone = two_workers.trained(kind, rows)
        for index in range(2):
            with np.load(tmp_path / f"{kind}{index}.npz") as found:
                assert set(found) == set(alone)
                for name, values in alone.items():
                    np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=f"{kind} {name}")
        saved = tf_radogaga.load_model(tmp_path / kind)
        np.testing.assert_allclose(saved.energy(rows), alone["energy"], rtol=1e-4, atol=1e-4)
