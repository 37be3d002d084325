"""Models to export, and tensors in files, by which processes that know nothing of the package score them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from conftest import encoded, fitted, scaled, small_model
from tensorflow.core.framework import tensor_pb2
from test_image_models import radogaga

KINDS = ("log-matrix", "log-table-features", "dagmm-matrix-features", "dagmm-table", "vae-matrix", "images")


def clusters(n=300):
    """(n, 4) float32: two clusters on different scales."""
    rng = np.random.default_rng(3)
    centres = rng.choice([[0, 0, 5, 1], [10, 3, 0, 2]], n)
    return np.float32(centres + rng.normal(size=(n, 4)) * [1.0, 0.3, 2.0, 0.1])


def table(n=300):
    """n rows with numeric, textual and categorical-by-number columns."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "blood pressure": rng.normal(120, 10, n),
            "kind": rng.choice(["a", "b", "c"], n),
            "code": rng.integers(0, 3, n),
        }
    )


def pixels(n=40):
    """Smooth images of another size than the model's."""
    rng = np.random.default_rng(0)
    return tf.cast(255 * tf.image.resize(rng.uniform(size=(n, 3, 3, 3)), (24, 27)), tf.uint8).numpy()


def model_and_rows(kind):
    """One of `KINDS`, fitted, with a tenth of its rows above the threshold."""
    tf.keras.utils.set_random_seed(7)
    if kind == "images":
        rows, model = pixels(), radogaga()
    else:
        rows = table() if "table" in kind else clusters()
        options = {} if "vae" in kind else {"reconstruction_features": kind.endswith("features")}
        preprocess = encoded(rows) if "table" in kind else scaled(rows)
        model = small_model(kind.partition("-")[0], preprocess, **options)
    fitted(model, rows, epochs=1)
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    return model, rows


def write_tensors(folder: Path, tensors):
    folder.mkdir(parents=True)
    for name, tensor in tensors.items():
        (folder / name).write_bytes(tf.make_tensor_proto(tensor).SerializeToString())


def read_tensors(folder: Path):
    found = {
        path.name: tf.make_ndarray(tensor_pb2.TensorProto.FromString(path.read_bytes())) for path in folder.iterdir()
    }
    return found
