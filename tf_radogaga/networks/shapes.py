"""Shapes of encoders and decoders: what a model asks of them, be they of this package or any Keras layers, and what
those of this package ask."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

from tf_radogaga._core.stack import keras, tf


def check_networks(**networks: Any) -> None:
    """TypeError for what is no Keras layer or model, by its argument."""
    for argument, value in networks.items():
        if not isinstance(value, keras.layers.Layer):
            raise TypeError(
                f"{argument}: {value!r} is no Keras layer or model; give one such as DenseNetwork or keras.Sequential."
            )


def input_shape(network: keras.layers.Layer) -> tuple[int, ...] | None:
    """Shape of one input where the network tells it, without the batch: by `image_shape` or `input_units` as networks
    of this package, as functional models do, or once it has been built."""
    if shape := getattr(network, "image_shape", None):
        return tuple(shape)
    if units := getattr(network, "input_units", None):
        return (units,)
    try:
        shape = network.input_shape
    except (AttributeError, RuntimeError):  # of a layer that was not called on symbolic inputs
        shape = (network.get_build_config() or {}).get("input_shape")
    shape = None if shape is None or isinstance(shape, (list, dict)) else tuple(shape)[1:]
    return shape if shape and None not in shape else None


def latent_units(encoder: keras.layers.Layer, decoder: keras.layers.Layer, example: tf.Tensor, heads: int) -> int:
    """N, by which both networks are called once, so that all their weights exist.

    Args:
        encoder: (B, *event) -> (B, heads N).
        decoder: (B, N) -> (B, *event).
        example: (1, *event).
        heads: outputs of the encoder for each latent unit.

    Raises:
        ValueError: shapes that do not fit, naming the network.
    """
    taken = getattr(encoder, "input_units", None)
    if taken is not None and taken != example.shape.num_elements():
        width = example.shape.num_elements()
        raise ValueError(f"encoder: {taken} units where the {width} columns of preprocess are needed.")
    given = _output("encoder", encoder, example)
    if given.shape.rank != 2 or given.shape[-1] % heads:
        what = "(B, N)" if heads == 1 else f"(B, {heads} N), {heads} outputs for each latent unit,"
        raise ValueError(f"encoder: gives {given.shape} where {what} is needed; end it with a Dense layer.")
    units = given.shape[-1] // heads
    asked = getattr(decoder, "input_units", units)
    if asked != units:
        raise ValueError(
            f"encoder: {given.shape[-1]} units where the {heads * asked} outputs for the latent units of the decoder"
            " are needed."
        )
    decoded = _output("decoder", decoder, tf.zeros((1, units)))
    if decoded.shape != example.shape:
        hint = "; give both the same image_shape" if example.shape.rank == 4 else ""
        raise ValueError(f"decoder: gives {decoded.shape} where preprocess gives {example.shape}{hint}.")
    return units


def _output(argument: str, network: keras.layers.Layer, example: tf.Tensor) -> tf.Tensor:
    try:
        given = network(example, training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        if "cross-replica context" in str(error):
            raise ValueError(
                f"{argument}: a layer of it updates a metric or a sum when it is called, which TensorFlow does not do"
                " outside of the steps of several replicas; leave it out, or build the model outside of"
                " strategy.scope()."
            ) from error
        raise ValueError(f"{argument}: does not take inputs of shape {example.shape} ({error}).") from error
    if not tf.is_tensor(given):
        raise ValueError(f"{argument}: gives a {type(given).__name__} where one tensor is needed.")
    return given


def check_image_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The same as a tuple.

    Raises:
        ValueError: not three positive integers.
    """
    shape = tuple(image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"image_shape: {shape} must be (height, width, channels), three positive integers.")
    return shape[0], shape[1], shape[2]


def element_count(units: int | tuple[int, int, int]) -> tuple[int, tuple[int, int, int] | None]:
    """Number of elements, and the shape where they make an image."""
    if isinstance(units, (int, Integral)):
        return int(units), None
    shape = check_image_shape(units)
    return math.prod(shape), shape


def checked_images(x: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    if not x.shape.is_compatible_with((None, *image_shape)):
        raise ValueError(
            f"x: shape {x.shape} where images (B, {', '.join(map(str, image_shape))}) are needed; reshape or resize"
            " them."
        )
    return x


def check_activations(**activations: str | None) -> None:
    """A model is saved with the names of its activations; what Keras would build of a dict is no name."""
    for argument, value in activations.items():
        if not (value is None or isinstance(value, str)):
            raise TypeError(f"{argument}: {value!r} is no name of a Keras activation, such as 'tanh'.")
