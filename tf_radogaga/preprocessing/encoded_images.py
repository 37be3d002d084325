"""JPEG and PNG files as uint8 images, by core ops alone, so that training, servers and clients see the same pixels.

Colours are those that a viewer shows: PNG files of 16 bits are rounded to 8, transparent parts show white behind them,
CMYK is converted, and the image is turned as its EXIF orientation says. Of an animated PNG file the first picture is
taken. This file imports nothing but TensorFlow: trainers/score_images.py loads it without the package.
"""

from __future__ import annotations

import tensorflow as tf

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""How the files begin."""

SHORTEST = 32
"""Bytes of a PNG file's header."""

MOST_PIXELS = 2**27 - 1
"""Of an image: a small file can be made to fill the memory, and the ops take 2**29 values."""

SCARCE = 2**14
"""Values of 16 bits that stay below this are those of cameras of 14 bits and less; they become nearly black."""

WHITE = 255.0

_HEAD = 2**16

# Entries of 12 bytes stand in the order of their tags, of which the orientation is 0x0112, of 16 or of 32 bits.
_LITTLE_ENDIAN = (
    r"II\*\x00\x08\x00\x00\x00\C\C(?:(?:\C\x00|[\x00-\x11]\x01)\C{10})*"
    r"\x12\x01[\x03\x04]\x00\x01\x00\x00\x00([\x02-\x08])\x00"
)
_BIG_ENDIAN = (
    r"MM\x00\*\x00\x00\x00\x08\C\C(?:(?:\x00\C|\x01[\x00-\x11])\C{10})*"
    r"\x01\x12\x00(?:\x03\x00\x00\x00\x01\x00([\x02-\x08])|\x04\x00\x00\x00\x01\x00\x00\x00([\x02-\x08]))"
)
_ORIENTED = rf"\C*(?:Exif\x00\x00|eXIf)(?:{_LITTLE_ENDIAN}|{_BIG_ENDIAN})\C*"

_ANIMATED = r"\CPNG\C*\x00\x00\x00\x08acTL\C*"


def begins_well(content: tf.Tensor) -> tf.Tensor:
    """Whether encoded images (B,) or () begin as JPEG or PNG files do, bool of the same shape."""
    begins = [tf.strings.substr(content, 0, len(begin)) == begin for begin in (JPEG, PNG)]
    return begins[0] | begins[1]


@tf.function(autograph=False)  # traced once for all pipelines
def decode(content: tf.Tensor, channels: int, name: tf.Tensor | str = "image") -> tf.Tensor:
    """One encoded image () as (h, w, channels) uint8; channels is 1 (grey) or 3, and name is for the error.

    Raises:
        tf.errors.InvalidArgumentError: no whole JPEG or PNG file, or one of more than `MOST_PIXELS`.
    """
    is_known = begins_well(content) & (tf.strings.length(content) > SHORTEST)
    known = tf.raw_ops.Assert(condition=is_known, data=[name, "is no JPEG or PNG image"])
    with tf.control_dependencies([known]):
        content = tf.identity(content)
    image = tf.cond(_is_png(content), lambda: _decode_png(content, channels), lambda: _decode_jpeg(content, channels))
    return tf.ensure_shape(_upright(image, content), (None, None, channels))


@tf.function(autograph=False)
def is_plain(content: tf.Tensor) -> tf.Tensor:
    """Whether decoders that know nothing of transparency, 16 bits, CMYK and orientation show a file () as `decode`."""
    plain = tf.cond(
        _is_png(content),
        lambda: (_depth(content) < 16) & ~_has_alpha(content),
        lambda: tf.image.extract_jpeg_shape(content)[2] < 4,
    )
    return plain & ~tf.strings.regex_full_match(_near_exif(content), _ORIENTED)


@tf.function(autograph=False)
def remark(content: tf.Tensor) -> tf.Tensor:
    """What the owner of a whole file () should know of it, a string, mostly empty."""
    is_deep = _is_png(content) & (_depth(content) == 16)
    greatest = tf.cond(is_deep, lambda: _greatest(content), lambda: tf.constant(SCARCE))
    dark = tf.strings.format("holds 16-bit values up to {} of 65535 and becomes nearly black", greatest)
    is_animated = tf.strings.regex_full_match(tf.strings.substr(content, 0, _HEAD), _ANIMATED)
    animated = tf.where(is_animated, "is animated, and its first picture is taken", "")
    return tf.where((greatest > 0) & (greatest < SCARCE), dark, animated)


def _decode_png(content: tf.Tensor, channels: int) -> tf.Tensor:
    size = tf.cast(tf.io.decode_raw(_header(content, 16, 8), tf.int32, little_endian=False), tf.int64)
    with tf.control_dependencies([_small_enough(size)]):
        colours = tf.cond(
            _depth(content) == 16,
            lambda: _rounded(tf.cast(tf.io.decode_png(content, channels, tf.uint16), tf.float32) / 257),
            lambda: tf.io.decode_png(content, channels),
        )

    def on_white():
        alpha = tf.cast(tf.io.decode_png(content, 4)[..., 3:], tf.float32) / WHITE
        return _rounded(alpha * tf.cast(colours, tf.float32) + (1 - alpha) * WHITE)

    return tf.cond(_has_alpha(content), on_white, lambda: colours)


def _decode_jpeg(content: tf.Tensor, channels: int) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(content, tf.int64)
    with tf.control_dependencies([_small_enough(shape[:2])]):
        if channels == 3:
            return tf.io.decode_jpeg(content, 3)
        return tf.cond(  # the op knows no way from CMYK to grey
            shape[2] == 4,
            lambda: tf.image.rgb_to_grayscale(tf.io.decode_jpeg(content, 3)),
            lambda: tf.io.decode_jpeg(content, 1),
        )


def _upright(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    searched = _near_exif(content)

    def turned():
        orientation = tf.io.decode_raw(tf.strings.regex_replace(searched, _ORIENTED, r"\1\2\3"), tf.uint8)[0]
        transposed = tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2])
        from_below = tf.reduce_any(orientation == [3, 4, 7, 8])
        from_right = tf.reduce_any(orientation == [2, 3, 6, 7])
        upright = tf.transpose(image, transposed)
        return upright[:: tf.where(from_below, -1, 1), :: tf.where(from_right, -1, 1)]

    return tf.cond(tf.strings.regex_full_match(searched, _ORIENTED), turned, lambda: image)


def _near_exif(content: tf.Tensor) -> tf.Tensor:
    """The part of a file that can hold its EXIF; what follows in a JPEG file can be another image with its own."""
    of_png = tf.where(_holds(content, "eXIf"), tf.strings.length(content), 0)
    return tf.strings.substr(content, 0, tf.where(_is_png(content), of_png, _HEAD))


def _header(content: tf.Tensor, first: int, count: int) -> tf.Tensor:
    """Bytes of the header of a PNG file, zeros where there are none: what is no image fails by its own check alone."""
    padded = tf.strings.join([tf.strings.substr(content, 0, 26), tf.constant(bytes(26))])
    return tf.strings.substr(padded, first, count)


def _holds(content: tf.Tensor, word: str) -> tf.Tensor:
    without = tf.strings.regex_replace(content, word, "", replace_global=False)  # a pattern would take longer
    return tf.strings.length(without) < tf.strings.length(content)


def _is_png(content: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(content, 0, len(PNG)) == PNG


def _depth(content: tf.Tensor) -> tf.Tensor:
    """Bits of a PNG file's values."""
    return tf.io.decode_raw(_header(content, 24, 1), tf.uint8)[0]


def _has_alpha(content: tf.Tensor) -> tf.Tensor:
    kind = tf.io.decode_raw(_header(content, 25, 1), tf.uint8)[0]
    return (kind >= 4) | _holds(content, "tRNS")  # by chance in opaque ones, too, to which it does nothing


def _greatest(content: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_max(tf.io.decode_png(content, 3, tf.uint16)), tf.int32)


def _small_enough(size: tf.Tensor) -> tf.Operation:
    return tf.raw_ops.Assert(condition=tf.reduce_prod(size) <= MOST_PIXELS, data=["has more pixels than", MOST_PIXELS])


def _rounded(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(values), tf.uint8)
