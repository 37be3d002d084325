"""Models to export, and tensors in files, by which processes that know nothing of the package score them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from helpers.image_models import radogaga, smooth_images
from helpers.models import clusters, encoded, fitted, scaled, small_model, table

KINDS = ("log-matrix", "log-table-features", "dagmm-table", "vae-matrix", "images")


GREATEST = np.finfo(np.float32).max
"""What is served as the energy of a row that is not valid."""


def rows32(n=300):
    """`clusters` as signatures take them."""
    return clusters(n).astype(np.float32)


def model_and_rows(kind):
    """One of `KINDS`, fitted, with a tenth of its rows above the threshold."""
    tf.keras.utils.set_random_seed(7)
    if kind == "images":
        rows, model = smooth_images(40), radogaga()
    else:
        rows = table() if "table" in kind else rows32()
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


def wrong_shapes(loaded, requests):
    """Requests with one input at a time in each shape that it must not have: a name of its own, signature, inputs."""
    for signature, inputs in requests.items():
        specs = loaded.signatures[signature].structured_input_signature[1]
        for name, value in inputs.items():
            shape, last = tuple(value.shape), specs[name].shape[-1]
            widths = {0, 1, last - 1, last + 1} - {last} if last and len(shape) > 1 else ()
            wrong = [shape[1:], (*shape, 1), *((*shape[:-1], width) for width in widths)]
            for number, other in enumerate(wrong):
                values = np.resize(tf.convert_to_tensor(value).numpy(), other)
                yield f"{signature}.{name}{number}", signature, {**inputs, name: tf.constant(values, value.dtype)}


def read_tensors(folder: Path):
    protos = {path.name: tensor_pb2.TensorProto.FromString(path.read_bytes()) for path in folder.iterdir()}
    return {name: tf.make_ndarray(proto) for name, proto in protos.items()}
