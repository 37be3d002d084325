"""What nobody would write by hand: random tables, rows and files. Few examples here, many more of them under slow."""

import base64
import copy
import json
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.examples import SEVERAL, fuzzed
from helpers.models import clusters, encoded, fitted, scaled, small_model, table
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tf_radogaga
from tf_radogaga import DenseNetwork, MinMaxScaling, MixturePrior, PassThrough, RaDOGAGA, TableEncoding
from tf_radogaga._core.registry import registered_object
from tf_radogaga.saving import CONFIG

DTYPES = ("float16", "float32", "float64", ">f8", "int8", "int64", "uint64", "bool")


@st.composite
def matrices(draw, finite=False):
    """(n, M) of 1 to 12 rows and 1 to 4 columns, of any dtype, on any scale, with equal rows and equal columns."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 4)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    options = {"allow_nan": not finite, "allow_infinity": not finite} if dtype.kind == "f" else {}
    if finite and dtype.itemsize > 4 and dtype.kind == "f":
        options.update(min_value=-1e38, max_value=1e38)
    rows = draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **options)))
    kind = draw(st.sampled_from(["any", "equal rows", "equal columns", "scaled"]))
    if kind == "equal rows":
        rows[:] = rows[0]
    if kind == "equal columns":
        rows[:] = rows[:, :1]
    if kind == "scaled" and dtype.kind == "f":
        scale = draw(st.sampled_from([1e-45, 1e-38, 1e-20, 1e20, 1e37]))
        rows = np.random.default_rng(0).normal(size=shape) * scale
    return rows


def _tiny(rows, preprocess):
    """A model for these rows, fitted for a step."""
    tf.keras.utils.set_random_seed(0)
    width = rows.shape[1]
    prior = MixturePrior(1, 1, units=(2,), em_iterations=1, covariance_floor=1e-3)
    model = RaDOGAGA(DenseNetwork(width, (2,), 1), DenseNetwork(1, (2,), width), prior, 1, 1, preprocess=preprocess)
    model.compile("sgd", run_eagerly=True)
    model.fit(rows, batch_size=4, steps_per_epoch=1, verbose=0)
    return model


def _fits_float32(rows):
    with np.errstate(over="ignore"):
        return np.isfinite(rows.astype(np.float32))


@SEVERAL
def test_a_matrix_is_fitted_and_scored_or_its_bad_cell_named(examples):
    def test(rows):
        fits = _fits_float32(rows)
        scaling = MinMaxScaling(rows.shape[1])
        try:
            scaling.adapt(rows)
        except ValueError as error:
            if fits.all():
                assert "spread over more than float32 holds" in str(error)
            else:
                column = np.flatnonzero(~fits.all(axis=0))[0]
                assert f"column '{column}', row {np.flatnonzero(~fits[:, column])[0]}:" in str(error)
            return
        assert fits.all()
        x = scaling(scaling.check(rows)).numpy()
        assert np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1.01
        assert np.isfinite(_tiny(rows, scaling).energy(rows)).all()

    fuzzed(examples // 2, matrices(), test)


@SEVERAL
def test_rows_that_a_model_has_not_seen_are_scored_or_their_cell_named(examples):
    model = _tiny(clusters(20), scaled(clusters(20)))

    def test(rows):
        rows = np.repeat(rows, 4, axis=1)[:, :4]
        fits = _fits_float32(rows).all(axis=1)
        if fits.all():
            assert not np.isnan(model.energy(rows)).any()
        else:
            with pytest.raises(ValueError, match=f"row {np.flatnonzero(~fits)[0]}: .* not a finite float32 number"):
                model.energy(rows)
        scores = model.scores(tf.constant(rows.astype(np.float64), tf.float32))
        np.testing.assert_array_equal(scores["valid"], fits)
        np.testing.assert_array_equal(np.isnan(scores["energy"]), ~fits)

    fuzzed(examples, matrices(), test)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.just(pd.NA),
    st.dates(),
    st.fractions(max_denominator=3),
    st.complex_numbers(),
    st.just([1, 2]),
)
MESSAGES = ("column", "rows: ", "columns: ")


@SEVERAL
def test_any_cells_in_columns_of_numbers_are_taken_or_named(examples):
    numbers = PassThrough(1)
    encoding = TableEncoding({"a": None, "kind": ["x", "y"]})

    def test(cells):
        column = np.empty(len(cells), object)
        for row, cell in enumerate(cells):
            column[row] = cell
        for layer, rows in (
            (numbers, column[:, None]),
            (encoding, pd.DataFrame({"a": column, "kind": "x"})),
            (encoding, {"a": cells, "kind": ["x"] * len(cells)}),
        ):
            try:
                x = layer(layer.check(rows))
            except (TypeError, ValueError) as error:
                assert str(error).startswith(MESSAGES), error
            else:
                assert x.shape == (len(cells), layer.width) and np.isfinite(x).all()

    fuzzed(5 * examples, st.lists(CELLS, min_size=1, max_size=4), test)


@SEVERAL
def test_any_table_gets_an_encoding_or_is_told_why_not(examples):
    def test(frame):
        try:
            encoding = TableEncoding.for_table(frame)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(MESSAGES), error
            return
        x = encoding(encoding.check(frame)).numpy()
        assert x.shape == (len(frame), encoding.width) and np.isfinite(x).all()
        categorical = x[:, len(encoding.numeric) :]
        assert set(np.unique(categorical)) <= {0.0, 1.0}
        np.testing.assert_array_equal(categorical.sum(axis=1), len(encoding.lookups))

    kinds = st.sampled_from([st.integers(-(2**62), 2**62), st.floats(width=32), st.text(max_size=3), CELLS])

    @st.composite
    def frames(draw):
        rows = draw(st.integers(1, 5))
        names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=3, unique=True))
        columns = {n: draw(st.lists(draw(kinds), min_size=rows, max_size=rows)) for n in names}
        return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})

    fuzzed(3 * examples, frames(), test)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.zeros((3, 2)), r"column 'a': shape \(3, 2\) where one number for each row"),
        (3.0, r"column 'a': shape \(\)"),
        (np.array([], str), "the table is empty"),
        ([[1], [2, 3]], "column 'a': lists where one number"),
        ([1, 10**400], "column 'a', row 1: inf is not a finite float32 number"),
        (["1", 2], "column 'a', row 0: '1'"),
    ],
)
def test_columns_that_fuzzing_found(column, message):
    layer = TableEncoding({"a": None})
    with pytest.raises((TypeError, ValueError), match=message):
        layer.check({"a": column})


def test_too_few_rows_for_the_prior_are_counted():
    model = RaDOGAGA(DenseNetwork(2, (2,), 1), DenseNetwork(1, (2,), 2), MixturePrior(1, 3), 1, 1)
    model.compile(run_eagerly=True)
    with pytest.raises(ValueError, match="x: 1 rows, but the prior needs at least 3"):
        model.fit(np.zeros((1, 2)), verbose=0)


# Served rows


def test_100_000_random_rows_through_an_export(tmp_path):
    rows, model = clusters(), small_model(preprocess=scaled(clusters()))
    fitted(model, rows, epochs=1)
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    serve = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path))).signatures["serving_default"]
    rng, n = np.random.default_rng(0), 100_000
    kinds = [
        rng.normal(size=(n, 4)),
        rng.normal(size=(n, 4)) * 10 ** rng.uniform(-38, 38, (n, 4)),
        rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], (n, 4)),
        rng.choice([1e-45, -1e-45, 1e-39, 1.17549435e-38], (n, 4)),
        rng.choice([3.4028235e38, -3.4028235e38, 1.0], (n, 4)),
        rng.integers(0, 2**32, (n, 4), np.uint32).view(np.float32),  # any bits
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        chosen = np.choose(rng.integers(0, len(kinds), (n, 1)), kinds).astype(np.float32)
    finite = np.isfinite(chosen).all(axis=1)
    assert 0.2 < finite.mean() < 0.9
    scores = [serve(features=tf.constant(part)) for part in np.array_split(chosen, [1, 7, 5000, 60_000])]
    found = {name: np.concatenate([score[name] for score in scores]) for name in scores[0]}
    np.testing.assert_array_equal(found["valid"], finite)
    for name in ("energy", "log_density"):
        np.testing.assert_array_equal(np.isnan(found[name]), ~finite)
    threshold = model.threshold.numpy()
    np.testing.assert_array_equal(found["anomaly"], finite & (found["energy"] > threshold))


# Files of models


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved") / "model"
    model = small_model(preprocess=encoded(table(20)))
    model.adapt_prior(table(20))
    tf_radogaga.save_model(model, directory)
    return directory


class Watch:
    """Notes files that are opened, modules that are imported, and processes and code that are run."""

    EVENTS = ("open", "import", "exec", "compile", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn")

    def __init__(self):
        self.noted = None
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.noted is not None and event in self.EVENTS:
            self.noted.append((event, str(arguments[0])))

    def __call__(self, function, *arguments):
        self.noted = []
        try:
            return function(*arguments), self.noted
        finally:
            self.noted = None


@pytest.fixture(scope="module")
def watch():
    return Watch()  # a hook stays for the life of the process, so there is one


def _places(value, path=()):
    """Paths to all values within JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


NAMES = [
    *("builtins>exec", "os>system", "Lambda", "DistributionLambda", "Custom>Adam", "tensorflow_compression>GDN"),
    *("tf_radogaga>RaDOGAGA", "tf_radogaga>DenseNetwork", "tf_radogaga>FunctionDistortion", "tf_radogaga>LatentGauge"),
    *("tf_radogaga>DistributionPrior", "../../escape", "/etc/passwd", "\0", "linear", "__class__"),
]
# no sizes between: a network of them would be built
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([10**15, -(10**30), math.nan, math.inf, 1e-300, 2.5, *NAMES]),
    st.text(max_size=5),
)
KEYS = st.sampled_from(["class", "config", "name", "module", "class_name", "dtype", "function", "build", "units"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)


@SEVERAL
def test_mutated_configs_build_registered_classes_and_touch_nothing_else(saved, watch, examples):
    text = (saved / CONFIG).read_text()
    whole = json.loads(text)
    places = list(_places(whole))[1:]
    around = {path: path.stat().st_mtime_ns for path in saved.parent.rglob("*") if path.name != CONFIG}
    built = []

    @st.composite
    def mutants(draw):
        config = copy.deepcopy(whole)
        for _ in range(draw(st.integers(1, 3))):
            *way, last = draw(st.sampled_from(places))
            parent = config
            for key in way:
                parent = parent[key] if isinstance(parent, dict) and key in parent else None
                if parent is None:
                    break
            if isinstance(parent, (dict, list)) and (isinstance(parent, dict) or isinstance(last, int)):
                if isinstance(parent, dict) and draw(st.booleans()) and last in parent:
                    parent[draw(st.one_of(KEYS, st.text(max_size=4)))] = parent.pop(last)
                elif isinstance(parent, dict) or last < len(parent):
                    parent[last] = draw(VALUES)
        return config

    def load(config):
        (saved / CONFIG).write_text(json.dumps(config))
        try:
            built.append(tf_radogaga.load_model(saved))
        except ValueError as error:
            assert str(saved) in str(error)
        except FileNotFoundError as error:
            raise AssertionError(error) from error

    def test(config):
        _, events = watch(load, config)
        for event, argument in events:
            allowed = argument.startswith((str(saved), sys.prefix, sys.base_prefix)) or "tf_radogaga" in argument
            # TensorFlow imports its own modules when they are first needed, and compiles functions for graphs
            assert event in ("import", "exec", "compile") or allowed, (event, argument)
            if event == "import":
                assert argument in sys.modules or argument.partition(".")[0] in LIBRARIES, argument

    try:
        fuzzed(5 * examples, mutants(), test)
    finally:
        (saved / CONFIG).write_text(text)
    assert built and all(isinstance(model, tf_radogaga.RaDOGAGA) for model in built)
    assert {path: path.stat().st_mtime_ns for path in saved.parent.rglob("*") if path.name != CONFIG} == around


LIBRARIES = {
    "tensorflow",
    "keras",
    "tensorflow_compression",
    "tensorflow_probability",
    "tf_radogaga",
    "numpy",
    "pandas",
}


class Evidence:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_a_config_is_not_run(saved, tmp_path):
    """A layer of TensorFlow Probability is registered with Keras and unpickles its argument."""
    evidence = tmp_path / "ran"
    code = base64.b64encode(pickle.dumps(Evidence(evidence))).decode()
    config = json.loads((saved / CONFIG).read_text())
    config["config"]["prior"] = {"class": "DistributionLambda", "config": {"make_distribution_fn": code}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'DistributionLambda' is not registered as a part of a model"):
        tf_radogaga.load_model(tmp_path / "model")
    assert not evidence.exists()


def test_of_what_keras_knows_only_this_package_and_the_user_are_registered():
    known = tf.keras.utils.get_custom_objects()
    libraries = ("keras", "tensorflow", "tensorflow_probability", "tensorflow_compression")
    modules = {name: getattr(found, "__module__", None) or "" for name, found in known.items()}
    foreign = {name for name, module in modules.items() if module.partition(".")[0] in libraries}
    assert {"DistributionLambda", "Custom>Adam", "tensorflow_compression>GDN"} <= foreign
    assert all(registered_object(name) is None for name in foreign)
    assert all(registered_object(name) is known[name] for name, module in modules.items() if not module)
    own = {name for name in known if name.startswith("tf_radogaga>")}
    assert own and all(registered_object(name) is known[name] for name in own)


@pytest.mark.parametrize("route", ["activation", "output_activation"])
def test_an_activation_is_a_name(route):
    config = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    with pytest.raises(TypeError, match=f"{route}: .* is no name of a Keras activation"):
        DenseNetwork(2, (2,), 2, **{route: config})


def test_a_table_may_have_columns_named_as_the_parts_of_a_config(tmp_path):
    frame = pd.DataFrame({"class": np.arange(5.0), "config": list("ababa")})
    model = small_model(preprocess=TableEncoding.for_table(frame))
    model.adapt_prior(frame)
    tf_radogaga.save_model(model, tmp_path / "model")
    np.testing.assert_array_equal(tf_radogaga.load_model(tmp_path / "model").energy(frame), model.energy(frame))


def test_a_config_too_deep_to_read_is_damaged(saved, tmp_path):
    (tmp_path / CONFIG).write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        tf_radogaga.load_model(tmp_path)
