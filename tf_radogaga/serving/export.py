"""Writing a version of a model, atomically."""

from __future__ import annotations

import contextlib
import functools
import numbers
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from tf_radogaga._core import checks, directories
from tf_radogaga._core.constants import exporting
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.models.autoencoder import SPACES, Autoencoder
from tf_radogaga.serving import card as cards
from tf_radogaga.serving import warmup
from tf_radogaga.serving.check import check_ops, compare
from tf_radogaga.serving.signatures import Tensors, requests, signatures
from tf_radogaga.training.end_of_fit import require_adapted

_INIT = "__saved_model_init_op"


def export_saved_model(
    model: Autoencoder,
    base_dir: str | Path,
    version: int | None = None,
    card: Mapping[str, Any] | None = None,
    warmup_rows: Any = None,
    space: str = "manifold",
) -> Path:
    """Writes `<base_dir>/<version>/`, TensorFlow Serving's layout; a server that polls never sees a partial version.

    Signatures, by name. A row with a non-finite or blank feature has valid = false, and changes nothing for its
    neighbours. As JSON has no NaN, its results are float32's greatest number, and the negative of it for log_density:
    that tells such a row from `encode` and `reconstruct`, which have no valid. So are results of a valid row that are
    infinite in Python. Inputs of another shape are an error:
        serving_default: the raw features -> energy (nats), anomaly (energy above the model's threshold, or what
            `threshold_on` names), valid, and log_density and surprise (nats) where the model has them
        encode: the raw features -> latent
        decode: latent -> reconstruction, in the preprocessed space
        reconstruct: the raw features -> reconstruction, in the preprocessed space
        sample: seed (B,), int32 -> sample, in the preprocessed space; each row is `model.sample(1, seed)` of its own
            seed, so that a server may batch requests. Not with reconstruction_features
    The raw features are one input `features` (B, M) for a matrix, one input (B,) a column for a table, and one input
    `images` (B, h, w, C) of any size for images, uint8. Models of tables have one more signature:
        serving_examples: examples (B,), serialized tf.train.Example of the same names, float_list for numbers and
            bytes_list for levels -> as serving_default. Not valid are those that lack a feature or have too many
            values in it; bytes that are no Example, or a list of another type, fail the whole batch
    Models of images have one or two more:
        serving_floats: images of values in 0..1 -> as serving_default; one outside of it, or NaN, is not valid
        serving_bytes: image_bytes (B,), JPEG or PNG files of any size -> as serving_default; for 1 or 3 channels. What
            cannot be decoded whole is not valid, and changes nothing for the others. Pixels are those that
            `datasets.images.load_files` reads: PNG files of 16 bits rounded to 8, transparency on white, CMYK
            converted, the EXIF orientation followed

    What is cut off by a kill or a full disk is removed by the next export into the same folder. Exports of several
    machines into one folder need a file system whose locks reach all of them.

    Args:
        model: fitted, its threshold set; without a threshold `anomaly` is false everywhere.
        base_dir: folder of the versions.
        version: integer from 0 on; default: one more than the newest there.
        card: what `assets/card.json` shall tell beside what the model knows of itself, such as `data` (with
            `serving.data_hash` of the training rows), `preset` and `metrics`.
        warmup_rows: a few raw training rows, which are copied into the export. They become warm-up requests of every
            signature, which a server makes before it serves the version, and which are made here before it is
            published; `check` makes them again. No more than the server's greatest batch.
        space: of the served log_density: "manifold" or "ambient", as in `model.log_density`. The card tells it.

    Returns:
        The version's folder.

    Raises:
        RuntimeError: the prior has not been adapted.
        NotImplementedError: there is no density of all space, which is asked for, with the reason.
        FileExistsError: the version exists.
        TypeError, ValueError: model is none; version is none that a server knows; warmup_rows are bad, naming column
            and row; the card is none that JSON can hold; or the graph holds an op that a stock server does not have or
            run, naming it.
        ImportError: warmup_rows are given and tensorflow-serving-api is not installed.
        OSError: the disk is full; what is there stays as it was.
    """
    if not isinstance(model, Autoencoder):
        raise TypeError(
            f"model: {type(model).__name__} is none; a detector has an export of its own, detector.export(...)."
        )
    require_adapted(model)
    _check_version(version)
    checks.one_of("space", space, SPACES)
    obstacle = model.density.obstacle("isometric") or model.residuals.obstacle()
    if space == "ambient" and obstacle:
        raise NotImplementedError(f"space: {obstacle}")
    if space == "ambient" and model.threshold_on == "log_density":
        raise ValueError("space: 'ambient', but the threshold is of the density on the manifold; leave space out.")
    if space == "manifold" and model.threshold_on == "ambient":
        raise ValueError("space: 'manifold', but the threshold is of the density of all space; give space='ambient'.")
    base_dir = Path(base_dir).absolute()
    if version is not None:
        directories.require_free(base_dir / str(version))
    card_text = cards.model_card(model, card, space)
    warm = {}
    if warmup_rows is not None:
        warmup.require_api()
        warm = requests(model, warmup_rows)
    with directories.new_version(base_dir, "the export", directories.weight_bytes(model)) as written:
        _write(model, written, space)
        check_ops(written)
        (written / cards.PATH).parent.mkdir(exist_ok=True)
        (written / cards.PATH).write_text(card_text)
        if warm:
            loaded = tf.saved_model.load(str(written))
            warmup.record(written, loaded, warm, base_dir.name)
            compare(warmup.replay(written, loaded), written)
        return directories.publish(written, base_dir, version)


def _check_version(version: int | None) -> None:
    if version is not None and (isinstance(version, bool) or not isinstance(version, numbers.Integral) or version < 0):
        raise ValueError(
            f"version: {version!r} is no integer from 0 on, and a server finds no other; leave version out for the next"
            " free one."
        )


def _write(model: Autoencoder, directory: Path, space: str) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    with exporting(), _keras_quiet():
        of_valid = functools.partial(model.density.scores, space=space)
        scores = _traced(of_valid, model.density.x_spec, tf.TensorSpec((None,), tf.bool))
        for name, (inputs, function, *_) in signatures(model).items():
            specs = inputs(model)
            served = functools.partial(_as_served, specs, functools.partial(function, model, scores))
            archive.add_endpoint(name, _traced(served, specs), [specs])
        archive.write_out(str(directory))
    _require_variables(directory)


def _require_variables(directory: Path) -> None:
    """The op that servers run once a graph is loaded fails without variables.

    TensorFlow Serving loads a graph without variables, as it is for a while where files are copied one by one, and
    every request fails then. With this, the load fails, the server keeps the version before, and tries again. Python
    restores variables before it answers, and has no use for the op.
    """
    path = directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (meta,) = saved.meta_graphs
    nodes = {node.name: node for node in meta.graph_def.node}
    variable = next(node for node in nodes.values() if node.op == "VarHandleOp")
    with tf.Graph().as_default() as graph:
        handle = tf.compat.v1.placeholder(tf.resource, name=variable.name)
        with tf.name_scope("variables_are_there"):
            there = tf.raw_ops.VarIsInitializedOp(resource=handle)
            last = tf.raw_ops.Assert(condition=there, data=["the variables of this version are not there"])
    added = graph.as_graph_def().node
    meta.graph_def.node.extend(node for node in added if node.name != variable.name)
    nodes[meta.signature_def[_INIT].outputs[_INIT].name].input.append(f"^{last.name}")
    path.write_bytes(saved.SerializeToString(deterministic=True))
    (directory / "fingerprint.pb").unlink(missing_ok=True)  # of the graph before


def _as_served(specs: Mapping[str, tf.TensorSpec], function: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
    """The function of inputs that are held to their shapes, as a server feeds any, and one column would be spread over
    all; of finite outputs, as JSON has neither NaN nor infinity."""
    held = {name: tf.ensure_shape(value, specs[name].shape) for name, value in inputs.items()}
    return {name: _finite(name, values) for name, values in function(held).items()}


def _finite(name: str, values: tf.Tensor) -> tf.Tensor:
    if not values.dtype.is_floating:
        return values
    worst = -values.dtype.max if name == "log_density" else values.dtype.max
    return tf.where(tf.math.is_nan(values), worst, tf.clip_by_value(values, values.dtype.min, values.dtype.max))


def _traced(function: Callable, *given: Any) -> Callable:
    """The function as a graph: Keras and TensorFlow each call what they save again, and signatures share the scores."""
    graph = tf.function(lambda *values: function(*values)).get_concrete_function(*given)
    return lambda *values: graph(*values)


@contextlib.contextmanager
def _keras_quiet() -> Iterator[None]:
    """Keras prints no signatures in this thread; what others print arrives, unlike under `redirect_stdout`."""
    interactive = keras.utils.is_interactive_logging_enabled()
    keras.utils.disable_interactive_logging()
    try:
        yield
    finally:
        if interactive:
            keras.utils.enable_interactive_logging()
