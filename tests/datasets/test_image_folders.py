import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.image_files import PIXELS, SHAPE, damaged, jpeg, order, png, write
from helpers.marks import after

from tf_radogaga.datasets import image_folders
from tf_radogaga.datasets.image_folders import load_celeba, load_folder
from tf_radogaga.datasets.images import load_files
from tf_radogaga.preprocessing.images import decode_readable_images


def packed(folder, path):
    return shutil.make_archive(str(path), "zip", folder)


def split_order(split):
    return order(split.train), order(split.test)


ODD, EVEN = list(range(1, 12, 2)), list(range(0, 12, 2))
TENTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11], [0, 10]


@pytest.mark.parametrize(
    ("name_of", "expected"),
    after(
        2,
        [
            (lambda i: f"{i:02}.png", TENTHS),
            (lambda i: f"train/{i:02}.png", TENTHS),
            (lambda i: f"{('test', 'train', 'valid')[i % 3]}/{i:02}.png", ([1, 4, 7, 10], [0, 3, 6, 9])),
            pytest.param(
                lambda i: f"{('test', 'train', 'val/train')[i % 3]}/{i:02}.png",
                ([1, 4, 7, 10], [0, 3, 6, 9]),
                marks=pytest.mark.slow,
            ),
            (lambda i: f"{('val', 'train')[i % 2]}/{i:02}.png", (ODD, EVEN)),
            (lambda i: f"set/{('test', 'train')[i % 2]}/cats/{i:02}.png", (ODD, EVEN)),
            (lambda i: f"{('test', 'train')[i % 2]}/train/{i:02}.png", (ODD, EVEN)),
        ],
    ),
)
def test_folders_and_zip_files_are_divided_alike(name_of, expected, tmp_path):
    write(tmp_path / "data", [*map(name_of, range(12)), "notes.txt"], [*map(png, PIXELS), b"no image"])
    for path in (str(tmp_path / "data"), packed(tmp_path / "data", tmp_path / "packed")):
        split = load_folder(path, SHAPE)
        assert split_order(split) == expected
        assert split.train.dtype == split.test.dtype == np.uint8


def test_damaged_members_are_left_out_and_named(tmp_path):
    folder = tmp_path / "folder"
    write(folder, ["train/a.jpg", "train/b.png", "test/c.png"], [damaged()["cut.jpg"], png(PIXELS[5]), png(PIXELS[6])])
    path = packed(folder, tmp_path / "packed")
    for given in (path, str(folder)):
        with pytest.warns(UserWarning, match=rf"^1 of 2 images are left out.*: {given}/train/a\.jpg; save"):
            assert split_order(load_folder(given, SHAPE)) == ([5], [6])


def test_members_that_fail_their_check_sum_are_left_out(tmp_path):
    whole = jpeg(PIXELS[0])
    changed = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    contents = [png(PIXELS[1]), png(PIXELS[2]), whole]
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name, content in zip(("test/a.png", "train/b.png", "train/c.jpg"), contents):
            archive.writestr(name, content)
    path = tmp_path / "faces.zip"
    assert len(load_folder(path, SHAPE).train) == 2
    assert len(load_files(write(tmp_path, ["c.jpg"], [changed]), SHAPE)) == 1
    path.write_bytes(path.read_bytes().replace(whole, changed))
    with pytest.warns(UserWarning, match=rf"^1 of 2 images are left out.*: {path}/train/c\.jpg; save"):
        assert split_order(load_folder(path, SHAPE)) == ([2], [1])


def test_what_is_no_set_of_images_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: '.*nowhere' is neither a folder nor a whole zip file"):
        load_folder(tmp_path / "nowhere", SHAPE)
    write(tmp_path / "one", ["a.png", "b.txt"], [png(PIXELS[0]), b""])
    path = Path(packed(tmp_path / "one", tmp_path / "packed"))
    for given in (tmp_path / "one", path):
        with pytest.raises(ValueError, match=r"holds 1 JPEG or PNG image; give at least 2"):
            load_folder(given, SHAPE)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FileNotFoundError, match=r"packed.zip' is neither a folder nor a whole zip file"):
        load_folder(path, SHAPE)
    (tmp_path / "one" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="holds no file"):
        load_folder(tmp_path / "one", SHAPE)


NUMBERS = (1, 162770, 162771, 182637, 182638, 202599, 202600)


@pytest.fixture
def celeba(tmp_path):
    """A folder as CelebA's is unpacked, of files at the ends of the official parts."""
    names = [f"{number:06}.jpg" for number in NUMBERS]
    write(tmp_path / "Img" / "img_align_celeba", names, map(png, PIXELS))  # by its content a file is PNG
    return tmp_path / "Img" / "img_align_celeba"


@pytest.mark.thorough
def test_celeba_is_divided_by_number(celeba, tmp_path):
    for path in (celeba, celeba.parent, packed(celeba.parent, tmp_path / "celeba")):
        assert split_order(load_celeba(path, SHAPE)) == ([0, 1], [4, 5])
    assert load_celeba(celeba).test.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("inside", [True, False])
def test_celeba_is_divided_by_the_list_beside_it(celeba, inside):
    place = celeba if inside else celeba.parent
    parts = (2, 1, 0, 2, 0, 1, 0)
    lines = [f"{number:06}.jpg {part}\n" for number, part in zip(NUMBERS, parts)]
    (place / image_folders.CELEBA_PARTITION).write_text("".join(lines))
    assert split_order(load_celeba(celeba, SHAPE)) == ([2, 4, 6], [0, 3])
    for line in ("000001.jpg -1", "000001.jpg", "000001.jpg 0 0"):
        (place / image_folders.CELEBA_PARTITION).write_text(line)
        with pytest.raises(ValueError, match=rf"{place}/list_eval_partition.txt: not a file name and 0, 1 or 2"):
            load_celeba(celeba, SHAPE)


def test_celeba_without_its_numbers(celeba, tmp_path):
    folder = celeba.parent
    for number in NUMBERS[4:6]:
        (celeba / f"{number:06}.jpg").unlink()
    assert split_order(load_celeba(folder, SHAPE)) == ([1, 2, 3, 6], [0])
    write(folder, ["train/202599.png", "test/000001.png"], [png(PIXELS[7]), png(PIXELS[8])])
    assert split_order(load_celeba(folder, SHAPE)) == ([7], [8])


@pytest.mark.slow
def test_the_real_faces(shared_data):
    path = shared_data / "celeba64_jpg.zip"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = load_celeba(path)
    assert split.train.shape == (13000, 64, 64, 3) and split.test.shape == (1000, 64, 64, 3)
    with zipfile.ZipFile(path) as archive:
        for part, found in (("train", split.train), ("test", split.test)):
            names = sorted(name for name in archive.namelist() if name.startswith(part))
            for position in (0, 500, 999):
                content = tf.constant([archive.read(names[position])])
                np.testing.assert_array_equal(found[position], decode_readable_images(content, (64, 64, 3))[0][0])
