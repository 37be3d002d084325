"""Small models and data shared by the tests."""

import functools
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # workers side by side, each on a core of its own
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_radogaga import (
    DAGMM,
    BetaVAE,
    DenseNetwork,
    EuclideanNorm,
    MinMaxScaling,
    MixturePrior,
    RaDOGAGA,
    TableEncoding,
)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WITH_FEATURES = ("log", "identity", "no-gauge", "gaussian", "noisy-rate", "dagmm")
MODELS = (*WITH_FEATURES, "vae", "vae-decomposed")
TOLERANCE = {"rtol": 1e-5, "atol": 5e-5}
"""Of scores of the same rows in batches of other sizes, whose float32 sums processors take in an order of their own."""


# two devices for tests of tf.distribute; everything else stays on the first
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], 2 * [tf.config.LogicalDeviceConfiguration()]
)


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


def clusters(n=300):
    """(n, 4) float64: two clusters on different scales."""
    rng = np.random.default_rng(3)
    centres = rng.choice([[0, 0, 5, 1], [10, 3, 0, 2]], n)
    return centres + rng.normal(size=(n, 4)) * [1.0, 0.3, 2.0, 0.1]


def table(n=300):
    """n rows with numeric, textual and categorical-by-number columns."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "blood pressure": rng.normal(120, 10, n),
            "kind": rng.choice(["a", "b", "c"], n),
            "code": rng.integers(0, 3, n),
            "dose": rng.integers(1, 9, n),
        }
    )


@pytest.fixture
def rows():
    return clusters()


@pytest.fixture
def frame():
    return table()


def scaled(rows):
    layer = MinMaxScaling(np.shape(rows)[1])
    layer.adapt(rows)
    return layer


def encoded(frame):
    return TableEncoding.for_table(frame, categorical=["code"])


def small_model(kind="log", preprocess=None, width=4, reconstruction_features=False, latent_units=2, **options):
    """One of `MODELS`, untrained: width - 8 - 2 - 8 - width and a mixture of two."""
    width = preprocess.width if preprocess else width
    if kind.startswith("vae"):
        weights = {"beta": 0.01} if kind == "vae" else {"lambda1": 50, "lambda2": 100, "transform": EuclideanNorm()}
        networks = DenseNetwork(width, (8,), 2 * latent_units), DenseNetwork(latent_units, (8,), width)
        return BetaVAE(*networks, preprocess=preprocess, **{**weights, **options})
    prior = MixturePrior(
        latent_units + 2 * reconstruction_features, components=2, covariance_floor=1e-4, em_iterations=10
    )
    parts = (DenseNetwork(width, (8,), latent_units), DenseNetwork(latent_units, (8,), width), prior)
    shared = {"preprocess": preprocess, "reconstruction_features": reconstruction_features}
    if kind == "dagmm":
        return DAGMM(*parts, **shared, **options)
    choice = {
        "log": {},
        "identity": {"h": "identity"},
        "no-gauge": {"gauge": None},
        "gaussian": {"noise": "gaussian"},
        "noisy-rate": {"noisy_rate": True},
    }[kind]
    return RaDOGAGA(*parts, **{"lambda1": 100, "lambda2": 100, **choice, **shared, **options})


def fitted(model, rows, epochs=3, compiled=False, **options):
    """The model after a few steps; tracing a compiled one takes longer than these steps run eagerly."""
    model.compile(tf.keras.optimizers.Adam(1e-3), run_eagerly=not compiled)
    model.fit(rows, batch_size=64, epochs=epochs, verbose=0, **options)
    return model


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Of a kind of `exports.KINDS` the model, its rows, and the version exported; made once, so not to be changed."""
    import exports

    from tf_radogaga import export_saved_model

    @functools.cache
    def made(kind):
        model, rows = exports.model_and_rows(kind)
        return model, rows, export_saved_model(model, tmp_path_factory.mktemp(kind) / "served")

    return made


@pytest.fixture(scope="module")
def curved():
    """200 rows and a model that is not isometric; its own distortion is the sum of squares."""
    from isometric_models import flat_data, tanh_model

    rows = flat_data()[0]
    return rows, tanh_model(rows)


@pytest.fixture
def records(monkeypatch):
    """What the tables measure, run here in place of processes of their own, where patched presets are not known."""
    import tables

    kept = []

    def measure(table, jobs, path, _):
        path.parent.mkdir()
        kept.extend(table.run(*job) for job in jobs)
        return kept

    monkeypatch.setattr(tables, "measure", measure)
    return kept
