"""Laws of the nonlinear gauge: what it leaves alone, and that it straightens what can be straightened."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from helpers.models import small_model

from tf_radogaga import (
    DenseNetwork,
    FactorizedPrior,
    MeanSquaredError,
    MixturePrior,
    RaDOGAGA,
    export_saved_model,
    isometry,
    load_model,
    save_model,
)
from tf_radogaga.models import gauge_fitting
from tf_radogaga.models.gauge_fitting import divergence
from tf_radogaga.models.gauges import CouplingFlow


class Bent(tf.keras.layers.Layer):
    """An invertible pair without parameters: x_hat = (sinh(y_1 / 2), sinh(y_2 / 2), 0) is bent for any linear gauge."""

    def __init__(self, forward):
        super().__init__()
        self.input_units, self.output_units = (3, 2) if forward else (2, 3)
        self.forward = forward

    def call(self, x):
        if self.forward:
            return tf.asinh(x[:, :2]) / 0.5
        return tf.concat([tf.sinh(0.5 * x), 0 * x[:, :1]], axis=1)


def bent_model(gauge, prior=None):
    return RaDOGAGA(Bent(True), Bent(False), prior or MixturePrior(2, 2), lambda1=1.0, lambda2=600.0, gauge=gauge)


def sheet(n=600):
    flat = np.random.default_rng(0).normal(size=(n, 2)) * [1.5, 1.0]
    return np.concatenate([flat, np.zeros((n, 1))], axis=1).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Few couplings, as tracing them takes most of the time, and a short training of the prior."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_radogaga.models.gauges.CouplingFlow", functools.partial(CouplingFlow, couplings=6))
        patch.setattr(gauge_fitting, "EPOCHS", 40)
        patch.setattr(gauge_fitting, "PRIOR_STEPS", 50)
        yield


@pytest.fixture(scope="module")
def pair():
    """The same networks adapted with a linear gauge and with a flow."""
    rows, models = sheet(), {}
    for gauge in ("learned", "flow"):
        tf.keras.utils.set_random_seed(0)
        models[gauge] = bent_model(gauge)
        models[gauge].adapt_prior(rows)
    return rows, models["learned"], models["flow"]


def disturbed(units=5, moved=4):
    """A flow away from the identity, of which one coordinate stays as it is."""
    flow, rng = CouplingFlow(units, couplings=4, width=6), np.random.default_rng(1)
    u = rng.normal(size=(40, units)).astype(np.float32)
    basis = np.linalg.qr(rng.normal(size=(units, units)))[0]
    flow.start(u, basis, moved)
    np.testing.assert_allclose(flow(u), u, atol=1e-5)
    for _, outputs in flow.networks:
        outputs.kernel.assign(rng.normal(0, 0.3, outputs.kernel.shape))
        outputs.bias.assign(rng.normal(0, 0.3, outputs.bias.shape))
    return flow, u, basis


def test_a_flow_is_inverted_and_moves_only_what_it_may():
    flow, u, basis = disturbed()
    z = flow(u)
    assert np.abs(z - u).max() > 0.1
    np.testing.assert_allclose(flow.inverse(z), u, atol=1e-4)
    np.testing.assert_allclose((z @ basis.T)[:, 4], (u @ basis.T)[:, 4], atol=1e-5)
    flow.reset()
    np.testing.assert_allclose(flow(u), u, atol=1e-5)


@pytest.mark.parametrize("moved", [2, 3, 7])
def test_every_moved_coordinate_steers_and_is_steered(moved):
    flow = CouplingFlow(7)
    flow.start(np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32), np.eye(7), moved)
    halves = np.stack([half.numpy() for half in flow.halves()])[:, :moved]
    assert halves.any(axis=0).all() and not halves.all(axis=0).any()
    assert halves.any(axis=1).all() and not halves.all(axis=1).any()


def test_divergence_is_the_excess_of_the_loss():
    lengths = np.array([[1.0, 1.0], [2.0, 0.5], [3.0, 1.0]])
    expected = 0.5 * (lengths - 1 - np.log(lengths)).sum(axis=1)
    np.testing.assert_allclose(divergence(tf.linalg.diag(lengths)), expected, atol=1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    np.testing.assert_allclose(divergence(turn @ tf.linalg.diag(lengths) @ turn.T), expected, atol=1e-12)


@pytest.mark.parametrize("spread", [(1.0, 1.0), (1e4, 0.3), (1e-3, 1e3)])
def test_differences_tell_the_divergence_behind_a_flow(spread):
    flow, rng = CouplingFlow(3, couplings=4, width=6), np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    u = ((rng.normal(size=(50, 3)) * [*spread, 1.0] + 5) @ basis).astype(np.float32)
    flow.start(u, basis, 2)
    gram = tf.eye(2, batch_shape=[50])
    np.testing.assert_allclose(gauge_fitting._divergences(flow, (u, gram)), 0, atol=1e-3)
    if spread[0] != spread[1]:  # bent, such a latent is as far from isometric as numbers go
        return
    for _, outputs in flow.networks:
        outputs.kernel.assign(rng.normal(0, 0.3, outputs.kernel.shape))
    with tf.GradientTape() as tape:
        tape.watch(point := tf.constant(u))
        moved = tf.linalg.matmul(flow(point), basis[:2], transpose_b=True)
    slopes = np.linalg.inv(tape.batch_jacobian(moved, point).numpy().astype(np.float64) @ basis[:2].T)
    exact = divergence(np.swapaxes(slopes, 1, 2) @ slopes)
    found = gauge_fitting._divergences(flow, (u, gram)).numpy()
    np.testing.assert_allclose(np.median(np.abs(found / exact - 1)), 0, atol=0.02)


@pytest.mark.slow
def test_a_bent_sheet_becomes_flat(pair):
    rows, linear, flow = pair
    assert flow.straightening["after"] < 0.1 * flow.straightening["before"]
    spread = [np.std(isometry.isometry_gap(model, rows)) for model in (linear, flow)]
    assert spread[1] < 0.3 * spread[0]
    correlation = [np.corrcoef(*isometry.tangent_pairs(model, rows))[0, 1] for model in (linear, flow)]
    assert correlation[1] > 0.98 > correlation[0]


@pytest.mark.thorough
def test_a_flow_is_undone_on_the_way_back(monkeypatch):
    rows, model = sheet(), bent_model("flow")
    adapt_bent(model, rows, monkeypatch)
    assert np.abs(model.encode(rows) - model.encoder(rows) @ model.gauge.matrix()).max() > 0.1
    assert isometry.reconstructed_share(model, rows) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(isometry.round_trips(model, rows), 0, atol=1e-3)


@pytest.mark.slow
def test_reconstructions_and_the_exact_density_stay(pair):
    rows, linear, flow = pair
    np.testing.assert_allclose(flow.decode(flow.encode(rows)), linear.decode(linear.encode(rows)), atol=1e-4)
    exact = [np.mean(model.log_density(rows, volume="jacobian")) for model in (linear, flow)]
    assert exact[1] > exact[0] - 0.1  # both are densities of the same rows, by a prior of their own
    free = flow.log_density(rows)
    assert np.mean(np.abs(free - flow.log_density(rows, volume="jacobian"))) < 0.15


@pytest.mark.thorough
def test_a_straightened_model_is_saved_and_exported(tmp_path, monkeypatch):
    rows = sheet()
    model = RaDOGAGA(
        DenseNetwork(3, (), 2), DenseNetwork(2, (), 3), FactorizedPrior(2), 1.0, 600.0, gauge="flow",
        distortion=MeanSquaredError(),
    )  # fmt: skip
    adapt_bent(model, rows, monkeypatch)
    model.set_threshold([0.0], 0.5)
    assert model.get_config()["gauge"] == "flow"
    save_model(model, tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").energy(rows), model.energy(rows))
    served = tf.saved_model.load(str(export_saved_model(model, tmp_path / "served")))
    energy = served.signatures["serving_default"](features=tf.constant(rows))["energy"]
    np.testing.assert_allclose(energy, model.energy(rows), rtol=1e-5)


def adapt_bent(model, rows, monkeypatch):
    """With a flow of two units away from the identity, where a training would fit it."""
    monkeypatch.setattr(gauge_fitting, "straighten", lambda *_: {"before": 1.0, "after": 0.5})
    model.adapt_prior(rows)
    rng = np.random.default_rng(2)
    model.gauge.flow.start(rng.normal(size=(9, 2)).astype(np.float32), np.eye(2), 2)
    for _, outputs in model.gauge.flow.networks:
        outputs.bias.assign(rng.normal(0, 0.3, outputs.bias.shape))


@pytest.mark.thorough
def test_training_begins_without_the_flow_and_ends_with_it(monkeypatch):
    monkeypatch.setattr(gauge_fitting, "EPOCHS", 1)
    monkeypatch.setattr(gauge_fitting, "PRIOR_STEPS", 5)
    monkeypatch.setattr("tf_radogaga.models.gauges.CouplingFlow", functools.partial(CouplingFlow, couplings=1))
    rows, model = sheet(200), small_model(width=3, gauge="flow")
    model.compile("adam", run_eagerly=True)
    seen = []
    record = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(float(sum(model.gauge.flow.moved))))
    for _ in range(2):
        model.fit(rows, batch_size=100, verbose=0, callbacks=[record])
        assert model.straightening["after"] <= model.straightening["before"]
    assert seen == [0, 0]
    y = model.encoder(rows)
    np.testing.assert_array_equal(model.gauge(y, training=True), y @ model.gauge.matrix())


def test_a_flow_is_refused_where_the_prior_sees_more_than_z():
    with pytest.raises(ValueError, match=r"gauge: 'flow' needs a prior of z alone"):
        small_model(gauge="flow", reconstruction_features=True)


def test_a_flow_is_refused_on_several_devices():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope(), pytest.raises(ValueError, match=r"gauge: 'flow' is fitted on one device"):
        small_model(gauge="flow")
