"""What an exported model offers: one table, by which exports are made, warmed up, described and checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tf_radogaga._core.stack import tf
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.density import blank
from tf_radogaga.preprocessing.images import ImageScaling, decode_readable_images

Tensors = dict[str, tf.Tensor]
Scores = Callable[..., Tensors]


class Signature(NamedTuple):
    """A function of named tensors (B, ...).

    inputs: of a model -> what it takes, by name.
    function: of a model, its `density.scores`, and inputs -> outputs.
    example: of a model and raw rows -> inputs.
    outputs: names of what it gives, at least.
    offered: of a model -> whether it has this signature; None: every model has it.
    """

    inputs: Callable[[Autoencoder], dict[str, tf.TensorSpec]]
    function: Callable[[Autoencoder, Scores, Tensors], Tensors]
    example: Callable[[Autoencoder, Any], Tensors]
    outputs: set[str]
    offered: Callable[[Autoencoder], bool] | None = None


def signatures(model: Autoencoder) -> dict[str, Signature]:
    """Those of a model, by name."""
    return {name: found for name, found in TABLE.items() if found.offered is None or found.offered(model)}


def requests(model: Autoencoder, rows: Any) -> dict[str, Tensors]:
    """Inputs of every signature, made of raw rows.

    Raises:
        TypeError, ValueError: bad rows, naming column and row.
    """
    return {name: signature.example(model, rows) for name, signature in signatures(model).items()}


def _features(model: Autoencoder) -> dict[str, tf.TensorSpec]:
    return model.preprocess.input_signature()


def _of_rows(model: Autoencoder, rows: Any) -> Tensors:
    return model.preprocess.to_inputs(model.preprocess.check(rows))


def examples(inputs: Mapping[str, tf.Tensor]) -> list[bytes]:
    """Serialized tf.train.Example of each row of named inputs (B, ...)."""

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))

    columns = {name: values.numpy() for name, values in inputs.items()}
    rows = ({name: feature(value) for name, value in zip(columns, row)} for row in zip(*columns.values()))
    return [tf.train.Example(features=tf.train.Features(feature=row)).SerializeToString() for row in rows]


def _parse(serialized: tf.Tensor, specs: Mapping[str, tf.TensorSpec]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Named inputs from tf.train.Example strings (B,), and which of them hold every feature in full, (B,)."""
    # ragged, because a feature of fixed length that one example lacks fails the batch
    ragged = tf.io.parse_example(serialized, {name: tf.io.RaggedFeature(spec.dtype) for name, spec in specs.items()})
    parsed, complete = {}, tf.ones_like(serialized, tf.bool)
    for name, spec in specs.items():
        width = math.prod(spec.shape[1:])
        complete &= ragged[name].row_lengths() == width
        parsed[name] = tf.reshape(ragged[name].to_tensor(shape=(None, width)), (-1, *spec.shape[1:]))
    return parsed, complete


def _valid_x(model: Autoencoder, inputs: Tensors, complete: tf.Tensor | bool = True) -> tuple[tf.Tensor, tf.Tensor]:
    return model.preprocess.marked(model.preprocess.from_inputs(inputs), complete)


def _scores(model: Autoencoder, scores: Scores, inputs: Tensors) -> Tensors:
    return scores(*_valid_x(model, inputs))


def _scores_of_examples(model: Autoencoder, scores: Scores, inputs: Tensors) -> Tensors:
    return scores(*_valid_x(model, *_parse(inputs["examples"], _features(model))))


def _scores_of_files(model: Autoencoder, scores: Scores, inputs: Tensors) -> Tensors:
    readable = decode_readable_images(inputs["image_bytes"], model.preprocess.image_shape)
    return scores(*model.preprocess.marked(*readable))


def _encode(model: Autoencoder, scores: Scores, inputs: Tensors) -> Tensors:
    x, valid = _valid_x(model, inputs)
    return {"latent": blank(valid, model.encode_x(x))}


def _reconstruct(model: Autoencoder, scores: Scores, inputs: Tensors) -> Tensors:
    x, valid = _valid_x(model, inputs)
    return {"reconstruction": blank(valid, model.decode(model.encode_x(x)))}


def _is_image_model(model: Autoencoder) -> bool:
    return isinstance(model.preprocess, ImageScaling)


_SCORES = {"energy", "anomaly", "valid"}
TABLE = {
    "serving_default": Signature(_features, _scores, _of_rows, _SCORES),
    "encode": Signature(_features, _encode, _of_rows, {"latent"}),
    "reconstruct": Signature(_features, _reconstruct, _of_rows, {"reconstruction"}),
    "decode": Signature(
        lambda model: {"latent": tf.TensorSpec((None, model.latent_units), tf.float32, "latent")},
        lambda model, scores, inputs: {"reconstruction": model.decode(inputs["latent"])},
        lambda model, rows: {"latent": model.encode(rows)},
        {"reconstruction"},
    ),
    "sample": Signature(
        lambda model: {"seed": tf.TensorSpec((None,), tf.int32, "seed")},
        lambda model, scores, inputs: {"sample": model.decode(model.density.prior.sample_each(inputs["seed"]))},
        lambda model, rows: {"seed": tf.range(len(model.encode(rows)))},
        {"sample"},
        lambda model: not model.reconstruction_features and model.density.prior.has_sampler,
    ),
    "serving_floats": Signature(
        lambda model: {"images": tf.TensorSpec(_features(model)["images"].shape, tf.float32, "images")},
        _scores,
        lambda model, rows: {"images": tf.image.convert_image_dtype(model.preprocess.check(rows), tf.float32)},
        _SCORES,
        _is_image_model,
    ),
    "serving_bytes": Signature(
        lambda model: {"image_bytes": tf.TensorSpec((None,), tf.string, "image_bytes")},
        _scores_of_files,
        lambda *of: {"image_bytes": tf.stack([tf.io.encode_png(image) for image in _of_rows(*of)["images"]])},
        _SCORES,
        lambda model: _is_image_model(model) and model.preprocess.image_shape[2] in (1, 3),
    ),
    "serving_examples": Signature(
        lambda model: {"examples": tf.TensorSpec((None,), tf.string, "examples")},
        _scores_of_examples,
        lambda *of: {"examples": tf.constant(examples(_of_rows(*of)))},
        _SCORES,
        lambda model: not _is_image_model(model),
    ),
}
"""Every signature by name; what `export_saved_model` says of them is for users."""
