"""Mutated configurations of saved models build registered classes or are refused, and run nothing."""

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
from helpers.models import encoded, small_model, table
from hypothesis import strategies as st

import tf_radogaga
from tf_radogaga import DenseNetwork, TableEncoding
from tf_radogaga._core.registry import registered_object
from tf_radogaga.saving import CONFIG


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


@pytest.mark.thorough
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
    libraries = ("keras", "tf_keras", "tensorflow", "tensorflow_probability", "tensorflow_compression")
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
