"""Which files of folders, zip files and patterns are taken, and what is told of the others."""

import os
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
from helpers.image_files import PIXELS, SHAPE, order, png, write

from tf_radogaga.datasets import found_images
from tf_radogaga.datasets.image_folders import load_folder
from tf_radogaga.datasets.images import find_images, from_records

HIDDEN = (
    ".ipynb_checkpoints/a-checkpoint.png",
    "train/.thumbnails/a.png",
    "train/@eaDir/a.png/thumb.jpg",
    "__MACOSX/train/._a.png",
    "test/._b.png",
    ".c.jpg",
)
"""Copies and thumbnails that programs leave beside images."""


def filled(folder):
    """Images 0 to 2 to train on, 3 and 4 to test on; beside them what is no image of the owner's."""
    names = [*(f"train/{i}.png" for i in range(3)), *(f"test/{i}.png" for i in range(3, 5))]
    write(folder, names, map(png, PIXELS))
    write(folder, HIDDEN, [png(PIXELS[9])] * len(HIDDEN))
    write(folder, ["train/Thumbs.db", ".DS_Store", "notes.txt", "train/x.webp", "y.TIFF"], [b""] * 5)
    return [str(folder / name) for name in sorted(names)]


def relative(folder, pattern="**/*"):
    return found_images.images_within(str(folder), pattern)[0]


def test_hidden_files_and_other_formats_are_left_out_and_told_once(tmp_path):
    names = filled(tmp_path / "data")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    with pytest.warns(UserWarning, match=r"path: of '.*data' are left out: 6 hidden \(.*; 2 in another format") as told:
        assert find_images(tmp_path / "data") == names
    assert len(told) == 1 and "y.TIFF" in str(told[0].message)
    for path in (tmp_path / "data", tmp_path / "packed.zip"):
        with pytest.warns(UserWarning, match=rf"path: of '{path}' are left out: 6 hidden \(") as told:
            split = load_folder(path, SHAPE)
        assert len(told) == 1
        assert order(split.train) == [0, 1, 2] and order(split.test) == [3, 4]


def test_only_names_within_the_folder_hide_it(tmp_path):
    write(tmp_path / ".cache" / "__MACOSX", ["train/0.png", "test/1.png"], map(png, PIXELS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = load_folder(tmp_path / ".cache" / "__MACOSX", SHAPE)
    assert order(split.train) == [0] and order(split.test) == [1]


def test_links_are_followed(tmp_path):
    write(tmp_path / "real", ["train/0.png", "test/1.png", "2.png"], map(png, PIXELS))
    (tmp_path / "data" / "train").mkdir(parents=True)
    os.symlink(tmp_path / "real" / "test", tmp_path / "data" / "test")
    os.symlink(tmp_path / "real" / "train" / "0.png", tmp_path / "data" / "train" / "zero.png")
    os.symlink(tmp_path / "data", tmp_path / "linked")
    for path in (tmp_path / "data", tmp_path / "linked"):
        assert relative(path) == ["test/1.png", "train/zero.png"]
        split = load_folder(path, SHAPE)
        assert order(split.train) == [0] and order(split.test) == [1]


@pytest.mark.parametrize("target", [".", "..", "train", "train/deep"])
def test_a_folder_is_looked_into_once(tmp_path, target):
    """Links that lead back or to a sibling, which an image would otherwise follow into both parts, or for ever."""
    names = ["train/0.png", "train/deep/1.png", "z/2.png"]
    write(tmp_path / "data", names, map(png, PIXELS))
    for link in ("a", "z/link", "train/deep/link"):
        os.symlink(tmp_path / "data" / target, tmp_path / "data" / link)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_images(tmp_path / "data") == [str(tmp_path / "data" / name) for name in names]


def test_what_cannot_be_read_is_told(tmp_path, monkeypatch):
    write(tmp_path, ["0.png", "locked/1.png"], map(png, PIXELS))
    os.symlink(tmp_path / "nowhere.png", tmp_path / "broken.png")
    os.symlink(tmp_path / "nowhere", tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.png")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # the owner of the tests may read everything
    with pytest.warns(UserWarning, match=r"left out: 3 that cannot be read \(broken\.png, locked, pipe\.png\)"):
        assert find_images(tmp_path) == [str(tmp_path / "0.png")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["0.png"]),
        ("*.jpg", []),
        ("**/*.png", ["0.png", "a/1.png", "a/b/2.png"]),
        ("a/*", ["a/1.png"]),
        ("*/*/*", ["a/b/2.png"]),
        ("a/**/*.png", ["a/1.png", "a/b/2.png"]),
        ("**/b/*", ["a/b/2.png"]),
    ],
)
def test_patterns_are_those_of_pathlib(tmp_path, pattern, expected):
    write(tmp_path, ["0.png", "a/1.png", "a/b/2.png"], map(png, PIXELS))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(pattern) if path.is_file()) == expected
    assert relative(tmp_path, pattern) == expected


def test_patterns_of_records_leave_hidden_files_out(tmp_path):
    example = tf.train.Example(
        features=tf.train.Features(
            feature={"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(PIXELS[0])]))}
        )
    ).SerializeToString()
    for name in (".hidden/0.tfrecord", "__MACOSX/1.tfrecord", "a/2.tfrecord", "a/._2.tfrecord"):
        path = tmp_path / ".data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(example)
    found = from_records(tmp_path / ".data" / "**" / "*.tfrecord", SHAPE)
    np.testing.assert_array_equal(np.concatenate(list(found)), PIXELS[:1])
