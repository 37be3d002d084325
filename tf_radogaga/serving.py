"""SavedModels for TF Serving and for any process that has TensorFlow alone."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_radogaga.autoencoder import Autoencoder

keras = tf.keras

_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def export_saved_model(model: Autoencoder, base_dir: str | Path, version: int | None = None) -> Path:
    """Writes `<base_dir>/<version>/`, TensorFlow Serving's layout; a server that polls never sees a partial version.

    Signatures, by name; a row with a non-finite feature has valid = false and NaN results, and changes nothing for
    its neighbours:
        serving_default: the raw features -> energy (nats), anomaly (energy above the model's threshold), valid, and
            log_density (nats) where the model defines it
        encode: the raw features -> latent
        decode: latent -> reconstruction, in the preprocessed space
        reconstruct: the raw features -> reconstruction, in the preprocessed space
    The raw features are one input `features` (B, M) for a matrix, one input (B,) a column for a table.

    Args:
        model: fitted, its threshold set; without a threshold `anomaly` is false everywhere.
        base_dir: folder of the versions.
        version: integer; default: one more than the newest there.

    Returns:
        The version's folder.

    Raises:
        RuntimeError: the prior has not been adapted.
        FileExistsError: the version exists.
        ValueError: the graph holds an op that stock TensorFlow does not have, naming it.
    """
    model._require_adapted()
    base_dir = Path(base_dir)
    base_dir.mkdir(parents=True, exist_ok=True)
    if version is None:
        version = 1 + max((int(path.name) for path in base_dir.iterdir() if path.name.isdigit()), default=0)
    target = base_dir / str(version)
    if target.exists():
        raise FileExistsError(f"version: {target} exists; leave version out for the next free one.")
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function in _signatures(model).items():
        inputs = model.preprocess.input_signature()
        if name == "decode":
            inputs = {"latent": tf.TensorSpec((None, model.latent_units), tf.float32, "latent")}
        archive.add_endpoint(name, function, [inputs])
    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=base_dir))
    try:
        written = staging / "model"
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints every signature
            archive.write_out(str(written))
        check_ops(written)
        for path in written.rglob("*"):
            if path.is_file():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
        written.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def check_ops(directory: str | Path) -> set[str]:
    """The names of all ops in a SavedModel's graph and function library.

    Raises:
        ValueError: one of them is no core TensorFlow op, or calls Python, so a stock server could not run it.
    """
    saved = saved_model_pb2.SavedModel.FromString((Path(directory) / "saved_model.pb").read_bytes())
    ops = set()
    for meta in saved.meta_graphs:
        functions = {function.signature.name for function in meta.graph_def.library.function}
        nodes = [*meta.graph_def.node, *(n for f in meta.graph_def.library.function for n in f.node_def)]
        ops |= {node.op for node in nodes} - functions
    foreign = sorted(op for op in ops if op in _PYTHON_OPS or not hasattr(tf.raw_ops, op))
    if foreign:
        raise ValueError(f"{directory}: ops {foreign} are not core TensorFlow ops; a stock server cannot run them.")
    return ops


def _signatures(model: Autoencoder) -> dict[str, Callable]:
    preprocess = model.preprocess

    def valid_rows(inputs):
        rows = preprocess.from_inputs(inputs)
        valid = preprocess.valid(rows)
        return preprocess(preprocess.fill(rows, valid)), valid

    def mark(valid, values):
        return tf.where(valid if values.shape.rank == 1 else valid[:, None], values, math.nan)

    def serving_default(inputs):
        x, valid = valid_rows(inputs)
        energy = model._energy(x)
        outputs = {"energy": mark(valid, energy), "anomaly": valid & ~(energy <= model.threshold), "valid": valid}
        if model.has_log_density:
            outputs["log_density"] = mark(valid, model._log_density(x))
        return outputs

    def encode(inputs):
        x, valid = valid_rows(inputs)
        return {"latent": mark(valid, model._encode(x))}

    def decode(inputs):
        return {"reconstruction": model._decode(inputs["latent"])}

    def reconstruct(inputs):
        x, valid = valid_rows(inputs)
        return {"reconstruction": mark(valid, model._decode(model._encode(x)))}

    functions = (serving_default, encode, decode, reconstruct)
    return {function.__name__: function for function in functions}
