"""Fixtures of all tests."""

import functools
import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # workers side by side, each on a core of its own
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import tf_radogaga  # noqa: F401  before TensorFlow, whose Keras it chooses

# isort: split
import numpy as np
import pytest
import tensorflow as tf
from helpers.families import each, fitted_once
from helpers.models import clusters, table

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# two devices for tests of tf.distribute; everything else stays on the first
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], 2 * [tf.config.LogicalDeviceConfiguration()]
)


@pytest.fixture(scope="session", autouse=True)
def libraries_are_not_garbage():
    """The collector of garbage need not look at the objects of the libraries again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def strategy():
    """Two replicas; one strategy in a process, as several count their collectives alike."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(autouse=True)
def seeded():
    tf.keras.utils.set_random_seed(7)


@pytest.fixture
def shared_data():
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def rows():
    return clusters()


@pytest.fixture
def few(rows):
    """70 rows as models hold them."""
    return rows[:70].astype(np.float32)


@pytest.fixture
def importance():
    """Weights of the rows `few`."""
    return np.random.default_rng(0).uniform(0, 2, 70)


@pytest.fixture
def frame():
    return table()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Of a kind of `exports.KINDS` the model, its rows, and the version exported; made once, so not to be changed."""
    from helpers import exports

    from tf_radogaga import export_saved_model

    @functools.cache
    def made(kind):
        model, rows = exports.model_and_rows(kind)
        return model, rows, export_saved_model(model, tmp_path_factory.mktemp(kind) / "served")

    return made


@pytest.fixture(scope="session")
def trained_prior():
    """A factorized prior of two dimensions, fitted to `bimodal_and_normal` plus noise; not to be changed."""
    from helpers.factorized import trained_factorized

    return trained_factorized()


@pytest.fixture(scope="module")
def curved():
    """200 rows and a model that is not isometric; its own distortion is the sum of squares."""
    from helpers.isometric_models import flat_data, tanh_model

    rows = flat_data()[0]
    return rows, tanh_model(rows)


@pytest.fixture
def small_flows(monkeypatch):
    """Flows of gauges are small and hardly fitted."""
    from tf_radogaga.models import gauge_fitting, gauges

    monkeypatch.setattr(gauges, "CouplingFlow", functools.partial(gauges.CouplingFlow, couplings=1, width=3))
    monkeypatch.setattr(gauge_fitting, "EPOCHS", 1)
    monkeypatch.setattr(gauge_fitting, "PRIOR_STEPS", 5)


@pytest.fixture(params=each())
def fitted_model(request, small_flows):
    """A fitted model of each of `FAMILIES`, which tests must not change."""
    return fitted_once(request.param)


@pytest.fixture
def records(monkeypatch):
    """What the tables measure, run here in place of processes of their own, where patched presets are not known."""
    from tf_radogaga_trainers.reproduce import tables

    kept = []

    def measure(table, jobs, path, _):
        path.parent.mkdir()
        kept.extend(table.run(*job) for job in jobs)
        return kept

    monkeypatch.setattr(tables, "measure", measure)
    return kept
