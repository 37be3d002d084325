"""Encoders and decoders of images: convolutions with GDN."""

from __future__ import annotations

import math
from typing import Any

from tf_radogaga._core import checks
from tf_radogaga._core.keras_configs import attributes
from tf_radogaga._core.stack import keras, tf, tfc
from tf_radogaga.networks.dense import DenseNetwork
from tf_radogaga.networks.shapes import check_activations, check_image_shape, checked_images

_EXPONENTS: dict[str, dict[str, Any]] = {
    "square": {"alpha_parameter": 2, "epsilon_parameter": 0.5},
    "absolute": {"alpha_parameter": 1, "epsilon_parameter": 1},
}


class _Normalization(tfc.GDN):
    """`tfc.GDN` whose exponents stay numbers in a graph; as tensors they leave conditionals there, which forward-mode
    differentiation cannot pass."""

    @property
    def alpha(self):
        return tf.get_static_value(self.alpha_parameter)

    @property
    def epsilon(self):
        return tf.get_static_value(self.epsilon_parameter)


def _check_stages(filters: tuple[int, ...], gdn: str) -> None:
    if not filters or min(filters) < 1:
        raise ValueError(f"filters: {filters} must be positive integers, one for each convolution; give at least one.")
    checks.one_of("gdn", gdn, _EXPONENTS)


def _halved_sides(image_shape: tuple[int, int, int], times: int) -> list[tuple[int, int]]:
    """Height and width of the image and after each halving, rounded up."""
    sides = [image_shape[:2]]
    for _ in range(times):
        height, width = sides[-1]
        sides.append(((height + 1) // 2, (width + 1) // 2))
    return sides


def _stages(
    channels: list[int], kernels: list[int], gdn: str, inverse: bool, initial_beta: float = 1.0
) -> tuple[list, list]:
    """Convolutions from each number of channels to the next, and the normalization after each.

    The kernels are the library's Fourier parameters: under Adam, plain ones let the response to flat images run ahead
    of all else, which delays isometry.
    """
    strides: dict[str, Any] = {"strides_up": 2} if inverse else {"corr": True, "strides_down": 2}
    convolutions, normalizations = [], []
    for inputs, outputs, kernel in zip(channels[:-1], channels[1:], kernels):
        convolution = tfc.SignalConv2D(outputs, kernel, padding="same_zeros", use_bias=True, dtype="float32", **strides)
        beta = keras.initializers.Constant(initial_beta)
        normalization = _Normalization(inverse, beta_initializer=beta, dtype="float32", **_EXPONENTS[gdn])
        convolution.build((None, None, None, inputs))
        normalization.build((None, None, None, outputs))
        convolutions.append(convolution)
        normalizations.append(normalization)
    return convolutions, normalizations


@keras.utils.register_keras_serializable(package="tf_radogaga")
class ConvolutionalEncoder(keras.layers.Layer):
    """Convolutions with GDN, then fully connected layers with softplus, (B, *image_shape) -> (B, output_units).

        CNN(9, 9, 2, 64, GDN) - 3 x CNN(5, 5, 2, 64, GDN) - FC(1024, units, softplus) - FC(units, output_units)

        GDN     square: x_i / sqrt(beta_i + sum_j gamma_ji x_j^2)       absolute: x_i / (beta_i + sum_j gamma_ji |x_j|)

    for 64 x 64 images; each convolution halves height and width, rounded up, so any size will do. The kernel at the
    image is 9 x 9, the others are 5 x 5.

    Sources: Kato et al., ICML 2020, section 5.1.1, units 8192 and 256; Nakagawa et al., ICML 2021, appendix C.2, units
    1024 and 32, and E.3, units 2048 and 256, each with two heads, mean and log-variance: output_units = 2 N. GDN: Balle
    et al., ICLR 2016.

    Args:
        image_shape: (H, W, C).
        units: widths of the hidden fully connected layers.
        output_units: width of the output layer.
        filters: channels that each convolution gives.
        gdn: "square", that of the papers, or "absolute", today's default of tensorflow-compression.

    Raises:
        ValueError: an argument outside its range; later, images of another shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        units: tuple[int, ...],
        output_units: int,
        filters: tuple[int, ...] = (64, 64, 64, 64),
        gdn: str = "square",
        name: str | None = None,
    ):
        super().__init__(name=name, dtype=tf.float32)
        self.image_shape, self.units, self.filters = check_image_shape(image_shape), tuple(units), tuple(filters)
        _check_stages(self.filters, gdn)
        height, width, channels = self.image_shape
        self.input_units, self.output_units, self.gdn = height * width * channels, output_units, gdn
        kernels = [9] + [5] * (len(self.filters) - 1)
        self.convolutions, self.normalizations = _stages([channels, *self.filters], kernels, gdn, inverse=False)
        height, width = _halved_sides(self.image_shape, len(self.filters))[-1]
        self.dense = DenseNetwork(
            height * width * self.filters[-1], self.units, output_units, "softplus", dtype="float32"
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = checked_images(x, self.image_shape)
        rows = tf.shape(x)[0]
        if not x.shape[0]:  # oneDNN's convolution of no rows has a wrong shape, so it gets one
            x = tf.pad(x, [[0, tf.cast(rows == 0, tf.int32)], *3 * [[0, 0]]])
        for convolution, normalization in zip(self.convolutions, self.normalizations):
            x = normalization(convolution(x))
        return self.dense(tf.reshape(x, (-1, self.dense.input_units)))[:rows]

    def get_config(self) -> dict:
        return attributes(self, "image_shape", "units", "output_units", "filters", "gdn")


@keras.utils.register_keras_serializable(package="tf_radogaga")
class ConvolutionalDecoder(keras.layers.Layer):
    """Fully connected layers with softplus, then convolutions with IGDN, (B, input_units) -> (B, *image_shape).

        FC(N, units, softplus) - FC(units, 1024, softplus) - 3 x CNN(5, 5, 2, 64, IGDN) - CNN(9, 9, 2, 3, IGDN)

        IGDN    square: x_i sqrt(beta_i + sum_j gamma_ji x_j^2)         absolute: x_i (beta_i + sum_j gamma_ji |x_j|)

    for 64 x 64 images in colour, with `map_activation="softplus"`. Each convolution doubles height and width, less one
    row or column where that of a `ConvolutionalEncoder` has rounded up: it is the transpose of that one.

    Sources: as `ConvolutionalEncoder`. Nakagawa et al. print the layers above; Kato et al. call the decoder the inverse
    of the encoder, which leaves the ends open. Here the map of features that the convolutions take is linear by
    default, so that the response to z varies less from image to image than behind a softplus.

    Args:
        input_units: N.
        units: widths of the hidden fully connected layers, those of the encoder in reverse.
        image_shape: (H, W, C).
        filters: channels that each convolution takes, those of the encoder in reverse.
        gdn: as `ConvolutionalEncoder`.
        map_activation: of the last fully connected layer; "softplus" is that of Nakagawa et al.
        output_activation: after the last IGDN, such as "sigmoid" before a `BinaryCrossEntropy`; default none.
        initial_beta: of IGDN. With one well below 1 the response to z grows with the contrast of the image from the
            start, which 1 - SSIM weighs by its inverse.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        input_units: int,
        units: tuple[int, ...],
        image_shape: tuple[int, int, int],
        filters: tuple[int, ...] = (64, 64, 64, 64),
        gdn: str = "square",
        map_activation: str | None = None,
        output_activation: str | None = None,
        initial_beta: float = 1.0,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype=tf.float32)
        check_activations(map_activation=map_activation, output_activation=output_activation)
        self.image_shape, self.units, self.filters = check_image_shape(image_shape), tuple(units), tuple(filters)
        _check_stages(self.filters, gdn)
        checks.positive(initial_beta=initial_beta)
        height, width, channels = self.image_shape
        self.input_units, self.output_units = input_units, height * width * channels
        self.gdn, self.map_activation, self.output_activation = gdn, map_activation, output_activation
        self.initial_beta = initial_beta
        *sides, (height, width) = _halved_sides(self.image_shape, len(self.filters))
        self.sides, self.map_shape = sides[::-1], (height, width, self.filters[0])
        width = math.prod(self.map_shape)
        self.dense = DenseNetwork(input_units, self.units, width, "softplus", map_activation, dtype="float32")
        kernels = [5] * (len(self.filters) - 1) + [9]
        self.convolutions, self.normalizations = _stages([*self.filters, channels], kernels, gdn, True, initial_beta)
        self.activate = keras.activations.get(output_activation)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(self.dense(z), (-1, *self.map_shape))
        for convolution, normalization, (height, width) in zip(self.convolutions, self.normalizations, self.sides):
            x = normalization(convolution(x)[:, :height, :width])
        return self.activate(x)

    def get_config(self) -> dict:
        activations = "map_activation", "output_activation", "initial_beta"
        return attributes(self, "input_units", "units", "image_shape", "filters", "gdn", *activations)
