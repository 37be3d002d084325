"""Images of the user's own, JPEG and PNG of any size, from files and TFRecord files.

`load_files` gives an array in memory, on which a training resumes exactly; `from_files` and `from_records` give
`tf.data` pipelines for sets larger than memory. All are uint8, as `ImageScaling` takes them, and
show what a viewer shows: PNG files of 16 bits are rounded to 8, transparent parts show white behind them, CMYK is
converted, and the EXIF orientation is followed. A server's `serving_bytes` and trainers/score_images.py do the same.

The batches of `tf.keras.utils.image_dataset_from_directory` are floats of 0 to 255 and become uint8 by

    dataset.map(lambda images, *labels: (tf.cast(tf.round(images), tf.uint8), *labels))
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
from google.protobuf.message import DecodeError

from tf_radogaga._core.stack import tf
from tf_radogaga.datasets.found_images import SUFFIXES, images_within, is_hidden
from tf_radogaga.networks.shapes import check_image_shape
from tf_radogaga.preprocessing import encoded_images
from tf_radogaga.preprocessing.images import decode_image

File = Union[str, os.PathLike]

RECORD_FRAME = 16
"""Bytes of lengths and check sums around each record of a TFRecord file."""


def find_images(path: File, pattern: str = "**/*") -> list[str]:
    """The JPEG and PNG files of a folder by their suffix, sorted.

    Hidden files and folders, such as .ipynb_checkpoints and __MACOSX, are left out; links are followed, and each folder
    is looked into once. A warning tells of images that are left out.

    Args:
        path: the folder.
        pattern: glob within it; by default it takes in subfolders.

    Raises:
        FileNotFoundError: no such folder, or no such file in it.
    """
    if not Path(path).is_dir():
        raise FileNotFoundError(f"path: {str(path)!r} is no folder; name the one that holds the images.")
    files, left_out = images_within(os.fspath(path), pattern)
    tell_left_out(path, left_out)
    if not files:
        raise FileNotFoundError(
            f"path: {str(path)!r} holds no file {', '.join(SUFFIXES)} that matches {pattern!r}; name another folder"
            " or pattern."
        )
    return [os.path.join(path, file) for file in files]


def tell_left_out(path: File, left_out: str) -> None:
    """Warns of files that are not taken, as `chosen` has them in words."""
    if left_out:
        warnings.warn(f"path: of {str(path)!r} are left out: {left_out}.", stacklevel=3)


def readable(files: Sequence[File]) -> list[str]:
    """Those of the files that decode as whole JPEG or PNG images; a warning names the others. Decodes each once.

    Another warning names files whose values are perhaps not what one thinks: of 16 bits, of which few are used, as of
    cameras of 12 bits, so that 8 bits of them are nearly black; and animated PNG files, whose first picture is taken.

    Raises:
        ValueError: no file is given, or none of them decodes.
    """
    names = _names(files)

    def brightest(name):
        content = tf.io.read_file(name)
        return tf.reduce_max(encoded_images.decode(content, 1, name)), encoded_images.remark(content)

    kept: dict[int, bytes] = {}
    list(_decodable(tf.data.Dataset.from_tensor_slices(_encoded(names)), brightest, kept))
    _report(names, kept)
    return [names[position] for position in kept]


def load_files(files: Sequence[File], image_shape: tuple[int, int, int]) -> np.ndarray:
    """The images of JPEG or PNG files in memory, (n, *image_shape) uint8, cut and resized by `fit_images`.

    Grey and coloured images are converted to the channels of image_shape. Files that `readable` would leave out are
    left out here, with the same warnings.

    Raises:
        ValueError: image_shape is not (height, width, 1 or 3), no file is given, or none of them decodes.
    """
    return load_encoded(_names(files), tf.io.read_file, image_shape)


def load_encoded(
    names: list[str], read: Callable[[tf.Tensor], tf.Tensor], image_shape: tuple[int, int, int]
) -> np.ndarray:
    """`load_files` of what `read` gives for the names, one at a time: the encoded image (), from its name ()."""
    image_shape = _checked(image_shape)
    images = np.empty((len(names), *image_shape), np.uint8)
    kept: dict[int, bytes] = {}

    def decode(name):
        content = read(name)
        return decode_image(content, image_shape), encoded_images.remark(content)

    sources = tf.data.Dataset.from_tensor_slices(_encoded(names))
    for decoded in _decodable(sources, decode, kept):
        images[len(kept) - len(decoded) : len(kept)] = decoded
    _report(names, kept)
    return images[: len(kept)]


def from_files(
    files: Sequence[File],
    image_shape: tuple[int, int, int],
    batch_size: int = 64,
    shuffle_seed: int | None = None,
    cache: bool = False,
) -> tf.data.Dataset:
    """A pipeline of batches (B, *image_shape) uint8 of JPEG or PNG files, the same images as by `load_files`.

    A warning tells of the first file of which `readable` would tell that its values are perhaps not what one thinks.

    Args:
        files: whole images, see `readable`.
        image_shape: (H, W, C) with C 1 or 3.
        batch_size: images in a batch; the last one may have fewer.
        shuffle_seed: orders all files at random, anew at each pass; the orders depend on it and on
            `tf.random.set_seed` alone. Without it the order is that of `files`.
        cache: keep the decoded images in memory from the first pass on.

    Raises:
        ValueError: image_shape is not (height, width, 1 or 3), or no file is given.
        tf.errors.InvalidArgumentError: when batches are drawn, a file does not decode; `readable` names all such.
        tf.errors.NotFoundError: when batches are drawn, a file is missing, naming it.
    """
    names, image_shape, once = _names(files), _checked(image_shape), iter([True])

    def tell(name, remarked):
        if next(once, False):
            warnings.warn(f"{_remarks([os.fsdecode(name)], [remarked])} `readable` names all such files.", stacklevel=2)
        return remarked

    def decode(name):
        content = tf.io.read_file(name)
        image, remarked = decode_image(content, image_shape, name), encoded_images.remark(content)
        said = tf.cond(remarked == "", lambda: "", lambda: tf.numpy_function(tell, [name, remarked], tf.string))
        with tf.control_dependencies([said]):
            return tf.identity(image)

    sources = tf.data.Dataset.from_tensor_slices(_encoded(names))
    return _batches(sources, len(names), decode, batch_size, shuffle_seed, cache)


def from_records(
    files: File | Sequence[File],
    image_shape: tuple[int, int, int],
    feature: str = "image",
    batch_size: int = 64,
    shuffle_seed: int | None = None,
    cache: bool = False,
) -> tf.data.Dataset:
    """A pipeline of batches (B, *image_shape) uint8 of TFRecord files of `tf.train.Example`.

    All records are decoded once at the call; those that are no Example, lack the feature or hold no whole image are
    left out, and a warning names them, file:index.

    Args:
        files: uncompressed TFRecord files in order, or a glob pattern, whose files are sorted.
        image_shape: (H, W, C) with C 1 or 3.
        feature: of an Example, one encoded JPEG or PNG image.
        batch_size, shuffle_seed, cache: as of `from_files`; shuffling holds all encoded images in memory.

    Raises:
        FileNotFoundError: the pattern matches no file.
        ValueError: image_shape is not (height, width, 1 or 3), no file is given, a file is damaged or cut off, naming
            it, or no record holds an image in the feature.
        tf.errors.NotFoundError: a file is missing, naming it.
    """
    image_shape = _checked(image_shape)
    if isinstance(files, (str, os.PathLike)):
        pattern, files = files, sorted(glob.glob(os.fspath(files), recursive=True))
        files = [file for file in files if not is_hidden(os.path.relpath(file, _fixed_part(pattern)))]
        if not files:
            raise FileNotFoundError(f"files: {str(pattern)!r} matches none; name TFRecord files, or a pattern of them.")
    files = _names(files)
    names = [f"{file}:{index}" for file in files for index in range(_count_records(file))]
    records = tf.data.TFRecordDataset(_encoded(files))

    def decode(record):
        return decode_image(encoded(record), image_shape)

    def encoded(record):
        return tf.io.parse_single_example(record, {feature: tf.io.FixedLenFeature((), tf.string)})[feature]

    kept: dict[int, bytes] = {}
    list(_decodable(records, lambda of: (tf.reduce_max(decode(of)), encoded_images.remark(encoded(of))), kept))
    reason = f"are no tf.train.Example with a whole JPEG or PNG image in {feature!r}"
    if not kept:
        raise ValueError(
            f"feature: all {len(names)} records in {_shown(files)} {reason}{_features_of_first(records)}; name the"
            " feature of the encoded images."
        )
    _report(names, kept, reason)
    mask = tf.constant(np.isin(np.arange(len(names)), list(kept)))
    whole = records.enumerate().filter(lambda position, _: mask[position]).map(lambda _, record: record)
    sources = whole.apply(tf.data.experimental.assert_cardinality(len(kept)))
    return _batches(sources, len(kept), decode, batch_size, shuffle_seed, cache)


def _fixed_part(pattern: File) -> str:
    """The folder of a glob pattern before its first wildcard."""
    fixed = os.fspath(pattern)
    while glob.has_magic(fixed):
        fixed = os.path.dirname(fixed)
    return fixed or os.curdir


def _names(files: Sequence[File]) -> list[str]:
    if isinstance(files, (str, os.PathLike)) or not len(files):
        raise ValueError(f"files: {files!r} where a list of at least one file is expected; see `find_images`.")
    return [os.fspath(file) for file in files]


def _encoded(names: list[str]) -> list[bytes]:
    return [os.fsencode(name) for name in names]  # TensorFlow rejects names that are no Unicode


def _checked(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    image_shape = check_image_shape(image_shape)
    if image_shape[2] not in (1, 3):
        raise ValueError(f"image_shape: {image_shape} has {image_shape[2]} channels; give 1 (grey) or 3 (colour).")
    return image_shape


def _decodable(sources: tf.data.Dataset, decode: Callable, kept: dict[int, bytes]) -> Iterator[Any]:
    """What `decode` gives, in batches, of sources for which it does not fail; their remarks are kept by position."""
    numbered = sources.enumerate().map(lambda position, source: (position, decode(source)), tf.data.AUTOTUNE)
    for positions, (decoded, remarked) in numbered.ignore_errors().batch(256).as_numpy_iterator():
        kept.update(zip(positions.tolist(), remarked))
        yield decoded


def _batches(
    sources: tf.data.Dataset, count: int, decode: Callable, batch_size: int, shuffle_seed: int | None, cache: bool
) -> tf.data.Dataset:
    dataset = sources.map(decode, tf.data.AUTOTUNE).cache() if cache else sources
    if shuffle_seed is not None:
        dataset = dataset.shuffle(count, shuffle_seed)
    images = dataset if cache else dataset.map(decode, tf.data.AUTOTUNE)
    return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _report(
    names: list[str], kept: dict[int, bytes], reason: str = "cannot be read, or are no whole JPEG or PNG images"
) -> None:
    lost = [name for position, name in enumerate(names) if position not in kept]
    if not kept:
        raise ValueError(f"files: all {len(names)} {reason}: {_shown(lost)}; give at least one whole image.")
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(names)} images are left out, as they {reason}: {_shown(lost)}; save them anew to"
            " have them used.",
            stacklevel=3,
        )
    if any(kept.values()):
        warnings.warn(_remarks([names[position] for position in kept], kept.values()), stacklevel=3)


def _remarks(names: list[str], remarks: Iterable[bytes]) -> str:
    said = [f"{name} {remarked.decode()}" for name, remarked in zip(names, remarks) if remarked]
    return (
        f"{len(said)} of {len(names)} images are perhaps not what you think: {_shown(said)}. Save pictures of animated"
        " files each by itself, and values of fewer than 16 bits multiplied so that white is 65535."
    )


def _count_records(file: str) -> int:
    def add(totals, record):
        return totals[0] + 1, totals[1] + tf.cast(tf.strings.length(record) + RECORD_FRAME, tf.int64)

    try:
        count, size = tf.data.TFRecordDataset(_encoded([file])).reduce((0, np.int64(0)), add)
        whole = size == os.path.getsize(file)  # TensorFlow takes a file cut within a record's header for a whole one
    except tf.errors.DataLossError:
        whole = False
    if not whole:
        raise ValueError(
            f"files: {file} is damaged or cut off, or no uncompressed TFRecord file; write or fetch it anew."
        )
    return int(count)


def _features_of_first(records: tf.data.Dataset) -> str:
    for record in records.take(1).as_numpy_iterator():
        try:
            return f" (the first has {sorted(tf.train.Example.FromString(record).features.feature)})"
        except DecodeError:
            break
    return ""
