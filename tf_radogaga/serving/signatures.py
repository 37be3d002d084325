"""What an exported model offers: functions of named tensors, and inputs that fit them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.graph_scores import blank
from tf_radogaga.preprocessing.images import ImageScaling, decode_readable_images


def signatures(model: Autoencoder) -> dict[str, tuple[Callable, dict[str, tf.TensorSpec]]]:
    """Functions by name, each with its inputs."""
    preprocess = model.preprocess
    inputs_of_rows = preprocess.input_signature()

    def valid_rows(inputs):
        rows = preprocess.from_inputs(inputs)
        valid = preprocess.valid(rows)
        return preprocess(preprocess.fill(rows, valid)), valid

    def serving_default(inputs):
        return model.scores(preprocess.from_inputs(inputs))

    def serving_examples(inputs):
        parsed, complete = _parse(inputs["examples"], inputs_of_rows)
        rows = preprocess.from_inputs(parsed)
        valid = preprocess.valid(rows) & complete
        return model.marked_scores(preprocess(preprocess.fill(rows, valid)), valid)

    def serving_bytes(inputs):
        images, valid = decode_readable_images(inputs["image_bytes"], preprocess.image_shape)
        return model.marked_scores(preprocess(images), valid)

    def encode(inputs):
        x, valid = valid_rows(inputs)
        return {"latent": blank(valid, model.encode_x(x))}

    def decode(inputs):
        return {"reconstruction": model._decode(inputs["latent"])}

    def reconstruct(inputs):
        x, valid = valid_rows(inputs)
        return {"reconstruction": blank(valid, model._decode(model.encode_x(x)))}

    def sample(inputs):
        return {"sample": model._decode(model.prior.sample_each(inputs["seed"]))}

    found = {f.__name__: (f, inputs_of_rows) for f in (serving_default, encode, reconstruct)}
    found["decode"] = decode, {"latent": tf.TensorSpec((None, model.latent_units), tf.float32, "latent")}
    if _can_sample(model):
        found["sample"] = sample, {"seed": tf.TensorSpec((None,), tf.int32, "seed")}
    if isinstance(preprocess, ImageScaling):
        images = tf.TensorSpec((None, None, None, preprocess.image_shape[2]), tf.float32, "images")
        found["serving_floats"] = serving_default, {"images": images}
        if _is_encodable(preprocess):
            contents = tf.TensorSpec((None,), tf.string, "image_bytes")
            found["serving_bytes"] = serving_bytes, {"image_bytes": contents}
    else:
        found["serving_examples"] = serving_examples, {"examples": tf.TensorSpec((None,), tf.string, "examples")}
    return found


def requests(model: Autoencoder, rows: Any) -> dict[str, dict[str, tf.Tensor]]:
    """Inputs of every signature, made of raw rows.

    Raises:
        TypeError, ValueError: bad rows, naming column and row.
    """
    checked = model.preprocess.check(rows)
    inputs = model.preprocess.to_inputs(checked)
    made = dict.fromkeys(("serving_default", "encode", "reconstruct"), inputs)
    made["decode"] = {"latent": model.encode(rows)}
    if _can_sample(model):
        made["sample"] = {"seed": tf.range(len(made["decode"]["latent"]))}
    if "images" in inputs:
        made["serving_floats"] = {"images": tf.image.convert_image_dtype(checked, tf.float32)}
        if _is_encodable(model.preprocess):
            encoded = tf.map_fn(tf.io.encode_png, inputs["images"], fn_output_signature=tf.string)
            made["serving_bytes"] = {"image_bytes": encoded}
    else:
        made["serving_examples"] = {"examples": tf.constant(examples(inputs))}
    return made


def examples(inputs: Mapping[str, tf.Tensor]) -> list[bytes]:
    """Serialized tf.train.Example of each row of named inputs (B, ...)."""

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))

    columns = {name: values.numpy() for name, values in inputs.items()}
    rows = ({name: feature(value) for name, value in zip(columns, row)} for row in zip(*columns.values()))
    return [tf.train.Example(features=tf.train.Features(feature=row)).SerializeToString() for row in rows]


def _is_encodable(preprocess: ImageScaling) -> bool:
    return preprocess.image_shape[2] in (1, 3)


def _can_sample(model: Autoencoder) -> bool:
    try:
        model.sample(1, seed=0)  # without a seed it would move that of the process
    except NotImplementedError:
        return False
    return True


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
