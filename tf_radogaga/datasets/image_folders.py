"""Folders and zip files of images in memory, some held out; CelebA."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_radogaga._core.stack import tf
from tf_radogaga.datasets.found_images import chosen
from tf_radogaga.datasets.images import File, find_images, load_encoded, load_files, tell_left_out

FOLDERS = ("train", "valid", "val", "test")
"""The outermost of these on the way to a file says which part it belongs to."""

CELEBA_PARTITION = "list_eval_partition.txt"
CELEBA_PARTS = {"0": "train", "1": "valid", "2": "test"}
CELEBA_TRAINING, CELEBA_TEST = range(1, 162_771), range(182_638, 202_600)
"""The numbers of the files in CelebA's official partition; those between are for validation."""


class ImageSplit(NamedTuple):
    """Images to train on and held-out ones, (n, H, W, C) uint8."""

    train: np.ndarray
    test: np.ndarray


def load_folder(path: File, image_shape: tuple[int, int, int]) -> ImageSplit:
    """The images of a folder or a zip file in memory, by `load_files`, some held out; hidden ones are left out.

    Where there are folders train and test, at any depth, these are the two parts, and what lies in neither is left
    out, such as a folder valid; without a folder test, valid or val is the part that is held out. Otherwise the first
    of every ten files in sorted order is held out.

    Raises:
        FileNotFoundError: path is neither a folder nor a whole zip file, or the folder holds no image.
        ValueError: image_shape is not (height, width, 1 or 3), fewer than two images, or a part of which none decodes.
    """
    return _load_split(Path(path), image_shape, [_part_by_folder])


def load_celeba(path: File, image_shape: tuple[int, int, int] = (64, 64, 3)) -> ImageSplit:
    """CelebA's faces in memory, from a folder such as img_align_celeba or a zip file that the user has obtained.

    CelebA is for non-commercial research only, and no part of it may be passed on; nothing is downloaded here.

    Where there are folders train and test they are the two parts, as in `load_folder`; otherwise CelebA's partition
    of the files, by list_eval_partition.txt in the folder or beside it or else by their numbers, of which validation
    images are left out. Files that it does not divide are divided as in `load_folder`.

    Raises:
        FileNotFoundError, ValueError: as of `load_folder`; or a damaged list_eval_partition.txt, naming it.
    """
    path = Path(path)
    return _load_split(path, image_shape, [_part_by_folder, _celeba_partition(path)])


def _load_split(path: Path, image_shape: tuple[int, int, int], partitions: list[Callable]) -> ImageSplit:
    if path.is_dir():
        parts = _divide(path, [os.path.relpath(file, path) for file in find_images(path)], partitions)
        return ImageSplit(*(load_files([path / name for name in part], image_shape) for part in parts))
    if not zipfile.is_zipfile(path):
        raise FileNotFoundError(f"path: {str(path)!r} is neither a folder nor a whole zip file; name one of images.")
    with zipfile.ZipFile(path) as archive:

        def member(name):
            return archive.read(os.fsdecode(name)[len(f"{path}/") :])

        def read(name):
            return tf.ensure_shape(tf.numpy_function(member, [name], tf.string), ())

        names, left_out = chosen(name for name in archive.namelist() if not name.endswith("/"))
        tell_left_out(path, left_out)
        parts = _divide(path, names, partitions)
        return ImageSplit(*(load_encoded([f"{path}/{name}" for name in part], read, image_shape) for part in parts))


def _divide(path: Path, names: list[str], partitions: list[Callable]) -> tuple[list[str], list[str]]:
    """Names to train and to test on, by the first of the partitions that has both."""
    if len(names) < 2:
        raise ValueError(f"path: {str(path)!r} holds {len(names)} JPEG or PNG image; give at least 2, to hold one out.")
    for part_of in partitions:
        for held_out in ("test", "valid", "val"):
            train, test = ([name for name in names if part_of(name) == part] for part in ("train", held_out))
            if train and test:
                return train, test
    return [name for position, name in enumerate(names) if position % 10], names[::10]


def _part_by_folder(name: str) -> str | None:
    return next((folder for folder in Path(name).parts[:-1] if folder in FOLDERS), None)


def _celeba_partition(path: Path) -> Callable[[str], str | None]:
    listing = next(filter(Path.is_file, (path / CELEBA_PARTITION, path.parent / CELEBA_PARTITION)), None)
    if listing is None:
        return _part_by_number
    try:
        lines = (line.split() for line in listing.read_text().splitlines())
        parts = {Path(file).stem: CELEBA_PARTS[part] for file, part in lines}
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{listing}: not a file name and 0, 1 or 2 in every line; fetch it anew, or remove it."
        ) from error
    return lambda name: parts.get(Path(name).stem)


def _part_by_number(name: str) -> str | None:
    stem = Path(name).stem
    number = int(stem) if stem.isdecimal() else 0
    return "train" if number in CELEBA_TRAINING else "test" if number in CELEBA_TEST else None
