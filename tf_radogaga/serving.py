"""SavedModels for TF Serving and for any process that has TensorFlow alone."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_radogaga.autoencoder import Autoencoder
from tf_radogaga.image_preprocessing import ImageScaling, decode_whole_images
from tf_radogaga.pipelines import blank

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
    The raw features are one input `features` (B, M) for a matrix, one input (B,) a column for a table, and one input
    `images` (B, h, w, C) of any size for images, uint8; models of images have two more signatures:
        serving_floats: images of values in 0..1 -> as serving_default; one outside of it, or NaN, is not valid
        serving_bytes: image_bytes (B,), JPEG or PNG files of any size -> as serving_default. Not valid are empty
            strings, those that are neither JPEG nor PNG, and files that are cut off. A file that begins and ends well
            and is damaged between can fail the whole batch, as core ops have it; let the client decode such files
            before it sends them, as trainers/score_images.py does.

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
    for name, (function, inputs) in _signatures(model).items():
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


def _signatures(model: Autoencoder) -> dict[str, tuple[Callable, dict[str, tf.TensorSpec]]]:
    """Functions of named tensors, and their inputs."""
    preprocess = model.preprocess

    def valid_rows(inputs):
        rows = preprocess.from_inputs(inputs)
        valid = preprocess.valid(rows)
        return preprocess(preprocess.fill(rows, valid)), valid

    def serving_default(inputs):
        return model.scores(preprocess.from_inputs(inputs))

    def serving_bytes(inputs):
        images, valid = decode_whole_images(inputs["image_bytes"], preprocess.image_shape)
        return model.marked_scores(preprocess(images), valid)

    def encode(inputs):
        x, valid = valid_rows(inputs)
        return {"latent": blank(valid, model._encode(x))}

    def decode(inputs):
        return {"reconstruction": model._decode(inputs["latent"])}

    def reconstruct(inputs):
        x, valid = valid_rows(inputs)
        return {"reconstruction": blank(valid, model._decode(model._encode(x)))}

    signatures = {f.__name__: (f, preprocess.input_signature()) for f in (serving_default, encode, reconstruct)}
    signatures["decode"] = decode, {"latent": tf.TensorSpec((None, model.latent_units), tf.float32, "latent")}
    if isinstance(preprocess, ImageScaling):
        images = tf.TensorSpec((None, None, None, preprocess.image_shape[2]), tf.float32, "images")
        signatures["serving_floats"] = serving_default, {"images": images}
        contents = tf.TensorSpec((None,), tf.string, "image_bytes")
        signatures["serving_bytes"] = serving_bytes, {"image_bytes": contents}
    return signatures
