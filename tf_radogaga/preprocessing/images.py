"""From images of any size, in memory or encoded, to x: a Keras layer and steps that pipelines share; core ops only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.stack import tf
from tf_radogaga.networks.shapes import check_image_shape
from tf_radogaga.preprocessing import encoded_images
from tf_radogaga.preprocessing.base import Preprocessing, is_symbolic, register


def fit_images(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Cuts the largest centred part of the aspect of height x width out of images and resizes it to that size.

    Args:
        images: (B, h, w, C) or (h, w, C), uint8 or float.

    Returns:
        Images (B, height, width, C) or (height, width, C), as bilinear interpolation with antialiasing has them; of
        the type of `images`, uint8 being rounded.
    """
    if tuple(images.shape[-3:-1]) == (height, width):
        return images
    found = tf.shape(images)[-3:-1]
    # in whole numbers, so that no rounding of a quotient moves the border
    cut_height = tf.maximum(tf.minimum(found[0], found[1] * height // width), 1)
    cut_width = tf.maximum(tf.minimum(found[1], found[0] * width // height), 1)
    top, left = (found[0] - cut_height) // 2, (found[1] - cut_width) // 2
    cut = images[..., top : top + cut_height, left : left + cut_width, :]
    resized = tf.image.resize(cut, (height, width), antialias=True)
    if images.dtype == tf.uint8:
        return tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8)
    return tf.cast(resized, images.dtype)


def decode_image(content: tf.Tensor, image_shape: tuple[int, int, int], name: tf.Tensor | str = "image") -> tf.Tensor:
    """An encoded JPEG or PNG image () of any size as uint8, image_shape, by `fit_images`; `name` is for messages.

    Raises:
        tf.errors.InvalidArgumentError: it cannot be decoded.
    """
    height, width, channels = image_shape
    return tf.ensure_shape(fit_images(encoded_images.decode(content, channels, name), height, width), image_shape)


def decode_readable_images(contents: tf.Tensor, image_shape: tuple[int, int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`decode_image` of a batch (B,), with black ones in place of those that cannot be, and which can, (B,) bool."""
    count, black = tf.size(contents, tf.int64), tf.zeros(image_shape, tf.uint8)
    decoded = (  # of what core ops offer, only these pipelines outlive an error
        tf.data.Dataset.from_tensor_slices((tf.range(count), contents))
        .map(lambda place, content: (place, decode_image(content, image_shape)), tf.data.AUTOTUNE)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors((count, black)))  # so that there is a batch
        .batch(count + 1)
    )
    places, images = decoded.get_single_element()
    places = places[:, None]
    shape = tf.concat([count[None] + 1, tf.constant(image_shape, tf.int64)], 0)
    valid = tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.int32), count[None] + 1) > 0
    return tf.ensure_shape(tf.scatter_nd(places, images, shape)[:-1], (None, *image_shape)), valid[:-1]


@register
class ImageScaling(Preprocessing):
    """Images of any size to x of values in 0..1, (B, H, W, C) float32: uint8 of 0 to 255, or floats of 0 to 1.

    Images of another size are cut to the aspect of H x W around their centre and resized, see `fit_images`.

    Args:
        image_shape: (H, W, C) of x.

    Raises:
        ValueError: image_shape is not three positive integers.
    """

    def __init__(self, image_shape: tuple[int, int, int], name: str | None = None):
        super().__init__(name=name)
        self.image_shape = check_image_shape(image_shape)
        self.width = math.prod(self.image_shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.image_shape

    def check(self, rows: Any, first_row: int = 0) -> tf.Tensor:
        if is_symbolic(rows):
            return _assert_range(self.check_kind(rows))
        _refuse_masked(rows, first_row)
        try:
            images = np.asarray(rows)
        except ValueError as error:
            raise ValueError(
                "images: arrays of different sizes; bring them to one size, for example by fit_images, or write them to"
                " files and read those by datasets.images.load_files."
            ) from error
        self._check_kind(tf.TensorShape(images.shape), images.dtype.kind == "f", images.dtype)
        if not images.size:
            raise ValueError(f"images: shape {images.shape} holds none; give at least one.")
        if images.dtype == np.uint8:
            return tf.constant(images)
        inside = ((images >= 0) & (images <= 1)).reshape(len(images), -1)  # NaN is not
        if not inside.all():
            image = int(np.flatnonzero(~inside.all(axis=1))[0])
            value = images[image].ravel()[~inside[image]][0]
            raise ValueError(
                f"images: image {first_row + image} holds {value}, and floats must lie in 0..1"
                f" ({np.sum(~inside.all(axis=1))} such images); divide values of 0 to 255 by 255, or cast them to"
                " uint8, and drop images that are not finite."
            )
        return tf.constant(images, tf.float32)

    def check_kind(self, images: tf.Tensor) -> tf.Tensor:
        """Images of a graph as uint8 or float32; of their values `valid` tells.

        Raises:
            TypeError, ValueError: as `check`, of shape and dtype.
        """
        self._check_kind(images.shape, images.dtype.is_floating, images.dtype.name)
        return images if images.dtype == tf.uint8 else tf.cast(images, tf.float32)

    def _check_kind(self, shape: tf.TensorShape, is_floating: bool, dtype: Any) -> None:
        channels = self.image_shape[2]
        if shape.rank is None:
            raise ValueError(
                "images: of unknown rank; decode them with expand_animations=False, or state it by tf.ensure_shape."
            )
        if not shape.is_compatible_with((None, None, None, channels)):
            hint = _hint(shape, channels)
            raise ValueError(f"images: shape {shape} where (images, height, width, {channels}) is expected{hint}.")
        if not (is_floating or dtype == "uint8"):
            raise TypeError(
                f"images: dtype {dtype} where uint8 of 0 to 255 or floats of 0 to 1 are expected; cast them."
            )

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        return self.restored(self.stored(rows))

    def stored(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(fit_images(rows, *self.image_shape[:2]), (None, *self.image_shape))

    def restored(self, stored: tf.Tensor) -> tf.Tensor:
        return tf.cast(stored, tf.float32) / 255 if stored.dtype == tf.uint8 else stored

    def input_signature(self) -> dict[str, tf.TensorSpec]:
        return {"images": tf.TensorSpec((None, None, None, self.image_shape[2]), tf.uint8, "images")}

    def from_inputs(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return inputs["images"]

    def to_inputs(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": tf.image.convert_image_dtype(rows, tf.uint8, saturate=True)}

    def valid(self, rows: tf.Tensor) -> tf.Tensor:
        if rows.dtype == tf.uint8:
            return tf.ones(tf.shape(rows)[:1], tf.bool)
        return tf.reduce_all((rows >= 0) & (rows <= 1), axis=[1, 2, 3])

    def fill(self, rows: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        return tf.where(valid[:, None, None, None], rows, tf.zeros_like(rows))

    def get_config(self) -> dict:
        return {"image_shape": list(self.image_shape)}


def _refuse_masked(rows: Any, first_row: int) -> None:
    images = rows if isinstance(rows, (list, tuple, np.ma.MaskedArray)) else ()
    masked = [number for number, image in enumerate(images) if np.ma.getmaskarray(image).any()]
    if masked:
        raise ValueError(
            f"images: image {first_row + masked[0]} has masked pixels ({len(masked)} such images), and a missing value"
            " is no brightness; fill them, for example by images.filled(0), or drop such images."
        )


def _hint(shape: tf.TensorShape, channels: int) -> str:
    found = shape[-1]
    if shape.rank == 3:
        axis = "of one image by images[None]" if found == channels else "of one channel by images[..., None]"
        return f"; add the axis that is missing, {axis}"
    if shape.rank != 4:
        return ""
    if shape[1] == channels and found != channels:
        return "; move the channels to the end, for example by np.moveaxis(images, 1, -1)"
    if (found, channels) in ((3, 1), (1, 3)):
        change = "rgb_to_grayscale" if channels == 1 else "grayscale_to_rgb"
        return f"; convert the channels, for example by tf.image.{change}"
    if (found, channels) in ((4, 3), (2, 1)):
        return f"; blend them with a background by their last channel, or leave that out by images[..., :{channels}]"
    return ""


def _assert_range(images: tf.Tensor) -> tf.Tensor:
    if images.dtype == tf.uint8:
        return images
    message = "images: floats must lie in 0..1; divide values of 0 to 255 by 255, or cast them to uint8. First values:"
    inside = tf.reduce_all((images >= 0) & (images <= 1))
    with tf.control_dependencies([tf.debugging.Assert(inside, [message, images])]):
        return tf.identity(images)
