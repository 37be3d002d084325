"""What an export answers: bad rows among good ones, batches of any size, its signatures and its ops."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc
from helpers.exports import GREATEST, rows32, wrong_shapes
from helpers.linear_models import dead_axis, dead_rows, isometric_kernel, linear_model, rows_along
from helpers.models import TOLERANCE, encoded, fitted, scaled, small_model, table

import tf_radogaga
from tf_radogaga import FactorizedPrior, MixturePrior, serving
from tf_radogaga._core.stack import HAS_RANGE_CODER
from tf_radogaga.serving.signatures import examples, requests


class Served:
    """A model, its rows, and its export, which the signatures need to stay alive."""

    def __init__(self, model, rows, version):
        self.model, self.rows, self.version = model, rows, version
        self.loaded = tf.saved_model.load(str(self.version))

    def __call__(self, signature, **inputs):
        return {name: value.numpy() for name, value in self.loaded.signatures[signature](**inputs).items()}


def _exported(model, rows, base_dir):
    return Served(model, rows, tf_radogaga.export_saved_model(model, base_dir))


@pytest.fixture(scope="module")
def matrix(exported):
    """A density of a matrix."""
    return Served(*exported("log-matrix"))


@pytest.fixture(scope="module")
def named(exported):
    """A model of named columns."""
    return Served(*exported("log-table-features"))


@pytest.fixture(scope="module")
def images(exported):
    return Served(*exported("images"))


def _assert_bad_row(found, good, bad):
    """The bad row is marked, and the others are bit-equal to those without it."""
    assert np.flatnonzero(~found["valid"]).tolist() == [bad]
    assert found["energy"][bad] == GREATEST and not found["anomaly"][bad]
    for name, values in good.items():
        np.testing.assert_array_equal(np.delete(found[name], bad, axis=0), np.delete(values, bad, axis=0))


# Bad rows


def test_the_energy_is_traced_once_for_all_signatures_and_the_log_density(matrix, tmp_path, monkeypatch):
    density, traced = matrix.model.density, []
    energy = density.energy
    monkeypatch.setattr(density, "energy", lambda x: traced.append(x) or energy(x))
    tf_radogaga.export_saved_model(matrix.model, tmp_path)
    assert matrix.model.has_log_density and len(traced) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_row_in_a_thousand_is_marked_and_changes_no_other(matrix, bad):
    rows = rows32(1000)
    good = matrix("serving_default", features=tf.constant(rows))
    assert good["valid"].all() and np.isfinite(good["log_density"]).all()
    rows[617, 2] = bad
    _assert_bad_row(matrix("serving_default", features=tf.constant(rows)), good, 617)
    for signature in ("encode", "reconstruct"):
        (value,) = matrix(signature, features=tf.constant(rows)).values()
        assert np.flatnonzero((value == GREATEST).all(axis=1)).tolist() == [617]


def test_a_bad_row_of_named_columns_is_marked_and_changes_no_other(named):
    inputs = named.model.preprocess.to_inputs(named.model.preprocess.check(table(1000)))
    good = named("serving_default", **inputs)
    worse = inputs["blood_pressure"].numpy()
    worse[0] = np.inf
    _assert_bad_row(named("serving_default", **{**inputs, "blood_pressure": tf.constant(worse)}), good, 0)


def test_a_string_that_is_no_image_is_marked_and_changes_no_other(images):
    contents = [tf.io.encode_png(image).numpy() for image in images.rows] * 5
    good = images("serving_bytes", image_bytes=tf.constant(contents))
    contents[199] = b"no image"
    _assert_bad_row(images("serving_bytes", image_bytes=tf.constant(contents)), good, 199)


def test_a_blank_cell_of_text_is_marked_and_changes_no_other(named):
    inputs = named.model.preprocess.to_inputs(named.model.preprocess.check(table(100)))
    good = named("serving_default", **inputs)
    worse = inputs["kind"].numpy()
    worse[7] = b" "
    _assert_bad_row(named("serving_default", **{**inputs, "kind": tf.constant(worse)}), good, 7)


@pytest.mark.parametrize("kind", ["matrix", "named", "images"])
def test_inputs_of_another_shape_are_refused_by_every_signature(kind, request):
    served = request.getfixturevalue(kind)
    wrong = list(wrong_shapes(served.loaded, requests(served.model, served.rows)))
    assert {signature for _, signature, _ in wrong} == set(served.loaded.signatures)
    for name, signature, inputs in wrong:
        with pytest.raises(tf.errors.InvalidArgumentError, match="Shape of tensor"):
            pytest.fail(f"{name} gives {served(signature, **inputs)}")


@pytest.mark.thorough
def test_an_export_loads_in_the_scope_of_a_strategy(matrix, strategy):
    rows = tf.constant(rows32(6))
    with strategy.scope():
        loaded = tf.saved_model.load(str(matrix.version))
    scored = strategy.run(lambda x: loaded.signatures["serving_default"](features=x)["energy"], (rows,))
    for energies in strategy.experimental_local_results(scored):
        np.testing.assert_allclose(energies, matrix.model.energy(rows), rtol=1e-5)


# tf.train.Example


def _without(serialized, name, *values):
    example = tf.train.Example.FromString(serialized)
    del example.features.feature[name]
    if values:
        example.features.feature[name].float_list.value.extend(values)
    return example.SerializeToString()


def test_examples_that_lack_a_feature_are_marked_and_change_no_other(named):
    inputs = named.model.preprocess.to_inputs(named.model.preprocess.check(table(1000)))
    serialized = examples(inputs)
    good = named("serving_examples", examples=tf.constant(serialized))
    for name, values in named("serving_default", **inputs).items():
        np.testing.assert_array_equal(good[name], values)
    for broken in (
        _without(serialized[3], "blood_pressure"),
        _without(serialized[3], "kind"),
        _without(serialized[3], "blood_pressure", np.nan),
        _without(serialized[3], "blood_pressure", 1.0, 2.0),
        b"",
    ):
        found = named("serving_examples", examples=tf.constant([*serialized[:3], broken, *serialized[4:]]))
        _assert_bad_row(found, good, 3)


def test_examples_of_a_matrix_hold_it_whole(matrix):
    rows = rows32(9)
    serialized = examples({"features": tf.constant(rows)})
    good = matrix("serving_examples", examples=tf.constant(serialized))
    for name, values in matrix("serving_default", features=tf.constant(rows)).items():
        np.testing.assert_array_equal(good[name], values)
    serialized[4] = examples({"features": tf.constant(rows[:, :3])})[4]
    _assert_bad_row(matrix("serving_examples", examples=tf.constant(serialized)), good, 4)


def test_bytes_that_are_no_example_fail_their_batch_with_a_message(matrix):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Could not parse example input"):
        matrix("serving_examples", examples=tf.constant([b"no example"]))


# Batches


@pytest.mark.parametrize("kind", ["matrix", "named", "images"])
def test_any_batch_size_gives_the_same_scores(kind, request):
    served = request.getfixturevalue(kind)
    rows = {"matrix": rows32, "named": table, "images": lambda n: served.rows[np.arange(n) % 40]}[kind](1024)
    inputs = served.model.preprocess.to_inputs(served.model.preprocess.check(rows))

    def score(begin, end):
        return served("serving_default", **{name: values[begin:end] for name, values in inputs.items()})

    whole = score(0, 1024)
    assert all(values.shape == (1024,) for values in whole.values())
    assert all(values.shape == (0,) for values in score(0, 0).values())
    for size in (1, 7):
        parts = [score(begin, begin + size) for begin in range(0, 70, size)]
        for name, values in whole.items():
            np.testing.assert_allclose(np.concatenate([part[name] for part in parts]), values[:70], **TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "signature", "inputs"),
    [
        ("matrix", "encode", {"features": tf.zeros((0, 4))}),
        ("matrix", "decode", {"latent": tf.zeros((0, 2))}),
        ("matrix", "reconstruct", {"features": tf.zeros((0, 4))}),
        ("matrix", "sample", {"seed": tf.zeros(0, tf.int32)}),
        ("named", "serving_examples", {"examples": tf.zeros(0, tf.string)}),
        ("images", "serving_bytes", {"image_bytes": tf.zeros(0, tf.string)}),
        ("images", "serving_floats", {"images": tf.zeros((0, 9, 9, 3))}),
        ("images", "reconstruct", {"images": tf.zeros((0, 9, 9, 3), tf.uint8)}),
        ("images", "decode", {"latent": tf.zeros((0, 3))}),
        ("images", "sample", {"seed": tf.zeros(0, tf.int32)}),
    ],
)
def test_no_rows_give_no_rows(kind, signature, inputs, request):
    for values in request.getfixturevalue(kind)(signature, **inputs).values():
        assert len(values) == 0


def test_a_sample_depends_on_its_own_seed_alone(matrix, images):
    for served in (matrix, images):
        many = served("sample", seed=tf.constant([5, 1, 5, 2]))["sample"]
        np.testing.assert_array_equal(many[0], many[2])
        np.testing.assert_allclose(many[1:2], served("sample", seed=tf.constant([1]))["sample"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(many[3], served.model.sample(1, seed=2)[0], rtol=1e-5, atol=1e-5)
        assert (many[0] != many[1]).any()


def test_where_nothing_can_be_sampled_there_is_no_signature_for_it(named):
    assert named.model.reconstruction_features and "sample" not in named.loaded.signatures


# Ops


def test_the_graph_holds_core_ops_only(matrix):
    ops = serving.check_ops(matrix.version)
    assert "MatMul" in ops and not ops & {"PyFunc", "EagerPyFunc"}


def _solved(kind):
    """A model that needs a solve or a factorization somewhere, a gauge that turns or a marginal mixture, and rows."""
    if kind == "turned":
        kernel = isometric_kernel(3, 4)
        model = linear_model(kernel, FactorizedPrior(3), rows_along(kernel), gauge="learned")
        rng = np.random.default_rng(0)
        model.gauge.turn.assign(rng.normal(0, 0.02, (3, 3)))
        model.gauge.lower.assign(rng.normal(0, 0.02, (3, 3)))
        return model, rows_along(kernel)
    kernel, inverse = dead_axis("both")
    model = linear_model(kernel, MixturePrior(3, 2, em_iterations=3), dead_rows(kernel, inverse), inverse)
    assert model.active_dimensions == 2
    return model, dead_rows(kernel, inverse)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["mixture", pytest.param("turned", marks=pytest.mark.slow), "marginal"])
def test_nothing_is_solved_at_a_request_and_the_scores_are_those_of_the_solve(kind, matrix, tmp_path):
    served = matrix if kind == "mixture" else _exported(*_solved(kind), tmp_path)
    ops = serving.check_ops(served.version)
    solvers = {"MatrixTriangularSolve", "MatrixDiagPartV3", "Cholesky", "MatrixSolve", "MatrixInverse"}
    assert not ops & solvers
    model, rows = served.model, tf.constant(served.rows)
    found = served("serving_default", features=rows)
    latent = model.encode(served.rows)
    log_prob = model.prior.distribution.log_prob(tf.cast(latent, model.prior.distribution.dtype))  # a triangular solve
    np.testing.assert_allclose(found["energy"], -log_prob, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["log_density"], model.log_density(served.rows), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(served("encode", features=rows)["latent"], latent, rtol=1e-5, atol=1e-5)
    decoded = served("decode", latent=latent)["reconstruction"]
    np.testing.assert_allclose(decoded, model.decode(latent), rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
def test_an_export_leaves_the_model_as_it_is(tmp_path):
    """What an export holds as constants still follows the model that trains on."""
    model, rows = _solved("turned")
    before = model.energy(rows).numpy()
    tf_radogaga.export_saved_model(model, tmp_path)
    np.testing.assert_array_equal(model.energy(rows), before)
    model.gauge.log_diagonal.assign_add([0.1, 0.1, 0.1])
    expected = rows @ model.encoder.dense[0].kernel.numpy() @ model.gauge.matrix().numpy()
    np.testing.assert_allclose(model.encode(rows), expected, atol=1e-5)
    assert np.abs(model.energy(rows) - before).max() > 1e-3
    later = _exported(model, rows, tmp_path)
    np.testing.assert_allclose(later("serving_default", features=tf.constant(rows))["energy"], model.energy(rows), 1e-5)


def _save(function, directory):
    module = tf.Module()
    module.f = function
    tf.saved_model.save(module, str(directory))


def test_an_op_a_stock_server_lacks_is_named(tmp_path):
    _save(tf.function(lambda x: tf.py_function(lambda y: y, [x], tf.float32), [tf.TensorSpec([])]), tmp_path)
    with pytest.raises(ValueError, match="EagerPyFunc"):
        serving.check_ops(tmp_path)


@pytest.mark.skipif(not HAS_RANGE_CODER, reason=f"no operators for TensorFlow {tf.__version__}")
def test_an_op_of_another_library_is_named(tmp_path):
    def coded(x):
        return tfc.run_length_encode(x, run_length_code=-1, magnitude_code=-1, use_run_length_for_non_zeros=False)

    _save(tf.function(coded, [tf.TensorSpec([None], tf.int32)]), tmp_path)
    with pytest.raises(ValueError, match=r"ops \['RunLengthEncode'\] are not core TensorFlow ops"):
        serving.check_ops(tmp_path)


def test_an_op_compiled_by_xla_is_named(tmp_path):
    @tf.function(jit_compile=True)
    def squared(x):
        return x * x

    _save(tf.function(lambda x: squared(x), [tf.TensorSpec([])]), tmp_path)
    with pytest.raises(ValueError, match=r"ops \[.*squared.*\] are to be compiled by XLA"):
        serving.check_ops(tmp_path)


def test_a_model_whose_own_function_is_compiled_is_refused(tmp_path):
    rows = rows32(50)
    distortion = tf.function(lambda x, y: tf.reduce_sum(tf.square(x - y), axis=-1), jit_compile=True)
    model = fitted(small_model("vae", scaled(rows), distortion=distortion), rows, epochs=1)
    with pytest.raises(ValueError, match="without jit_compile=True"):
        tf_radogaga.export_saved_model(model, tmp_path / "served")
    assert list((tmp_path / "served").iterdir()) == []


def test_inputs_are_named_by_their_columns():
    preprocess = encoded(table())
    checked = preprocess.check(table())
    inputs = preprocess.to_inputs(checked)
    assert {name: (v.shape, v.dtype) for name, v in inputs.items()} == {
        name: ((300,), spec.dtype) for name, spec in preprocess.input_signature().items()
    }
    for column, values in preprocess.from_inputs(inputs).items():
        np.testing.assert_array_equal(values, checked[column])
