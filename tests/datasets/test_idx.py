import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from tf_radogaga import plots
from tf_radogaga.datasets import idx
from tf_radogaga.datasets.idx import load_images, read_idx

FILES = list(idx.SHA256["mnist"])


def encoded(array):
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def arrays():
    """Train images, train labels, test images and test labels of a small set."""
    rng = np.random.default_rng(0)
    shapes = ((7, 28, 28), (7,), (3, 28, 28), (3,))
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def write(folder, arrays, plain=False):
    folder.mkdir(parents=True, exist_ok=True)
    for file, array in zip(FILES, arrays):
        path = folder / (Path(file).stem if plain else file)
        path.write_bytes(encoded(array) if plain else gzip.compress(encoded(array), mtime=0))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 28, 28)])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_round_trip(shape, compress, tmp_path):
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "file").write_bytes(compress(encoded(array)))
    found = read_idx(tmp_path / "file")
    assert found.dtype == np.uint8 and found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_damaged_idx_files_are_named(tmp_path):
    path, whole = tmp_path / "file", encoded(np.zeros((2, 3), np.uint8))
    packed = gzip.compress(whole)
    for content, message in (
        (b"", "begins with nothing"),
        (b"\x89PNG\r\n", "begins with 89504e, but an idx file of unsigned bytes begins with 000008"),
        (whole[:2] + b"\x0d" + whole[3:], "begins with 00000d"),
        (whole[:3], "ends within its header"),
        (whole[:9], "ends within its header"),
        (whole[:-1], r"5 values where 6 of shape \(2, 3\) are stated"),
        (whole + b"\0", r"7 values where 6 of shape \(2, 3\) are stated"),
        (packed[:-9], "damaged gzip"),
        (packed[:-8] + bytes(8), "damaged gzip"),
        (packed[:12] + b"\xff" + packed[13:], "damaged gzip"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            read_idx(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("name", "place"), [("mnist", ""), ("mnist", "mnist"), ("fashion-mnist", "fashion_mnist")])
def test_local_files_are_read_as_they_are(name, place, plain, arrays, tmp_path):
    write(tmp_path / place, arrays, plain)
    found = load_images(name, tmp_path)
    for part, array in zip(found, arrays):
        np.testing.assert_array_equal(part, array[..., None] if array.ndim == 3 else array)


def test_the_folder_of_the_set_comes_first(arrays, tmp_path):
    write(tmp_path, arrays)
    write(tmp_path / "fashion_mnist", [255 - array for array in arrays])
    np.testing.assert_array_equal(load_images("mnist", tmp_path).test_labels, arrays[3])
    np.testing.assert_array_equal(load_images("fashion-mnist", tmp_path).test_labels, 255 - arrays[3])


def test_wrong_local_files_are_named(arrays, tmp_path):
    write(tmp_path, arrays)
    (tmp_path / FILES[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"data_dir: none of .* holds all of .*leave data_dir out"):
        load_images("mnist", tmp_path)
    write(tmp_path, [*arrays[:3], arrays[3][:2]])
    with pytest.raises(ValueError, match=r"t10k-labels.*labels of shape \(2,\) for the 3 images"):
        load_images("mnist", tmp_path)
    write(tmp_path, [arrays[0][:, 1:], *arrays[1:]])
    with pytest.raises(ValueError, match=r"train-images.*shape \(7, 27, 28\)"):
        load_images("mnist", tmp_path)
    with pytest.raises(ValueError, match="name: 'cifar' is not one of"):
        load_images("cifar", tmp_path)


def test_downloads_are_kept_and_checked(arrays, tmp_path, monkeypatch):
    write(tmp_path / "source", arrays)
    hashes = {file: hashlib.sha256((tmp_path / "source" / file).read_bytes()).hexdigest() for file in FILES}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(idx.URLS, "mnist", (tmp_path / "source").as_uri())
    monkeypatch.setitem(idx.SHA256, "mnist", hashes)
    np.testing.assert_array_equal(load_images("mnist").train_labels, arrays[1])

    kept = tmp_path / ".cache" / "tf_radogaga" / "mnist" / FILES[0]
    kept.write_bytes(b"tampered")
    np.testing.assert_array_equal(load_images("mnist").train[..., 0], arrays[0])  # fetched anew

    (tmp_path / "source").rename(tmp_path / "gone")
    np.testing.assert_array_equal(load_images("mnist").test_labels, arrays[3])
    monkeypatch.setitem(hashes, FILES[0], "0" * 64)
    with pytest.raises(OSError, match=rf"{FILES[0]}: not there with sha256 0{{64}}.*put the file there"):
        load_images("mnist")
    (tmp_path / "gone").rename(tmp_path / "source")
    with pytest.raises(OSError, match=rf"{FILES[0]}: not there with sha256 0{{64}}"):
        load_images("mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_published_files_have_the_pinned_hashes(name, shared_data):
    for file, sha256 in idx.SHA256[name].items():
        content = (shared_data / name.replace("-", "_") / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
    found = load_images(name, shared_data)
    assert found.train.shape == (60000, 28, 28, 1) and found.test.shape == (10000, 28, 28, 1)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949] if name == "mnist" else [6000] * 10
    assert np.bincount(found.train_labels).tolist() == counts


def test_image_grid_has_a_row_for_each_name():
    rng = np.random.default_rng(0)
    rows = {"original": rng.uniform(-0.1, 1.1, (3, 4, 5, 1)), "reconstruction": rng.uniform(size=(3, 4, 5, 1))}
    axes = plots.image_grid(rows).axes[0]
    grid = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(grid[4:8, 5:10], rows["reconstruction"][1, ..., 0])
    np.testing.assert_allclose(grid[0:4, 10:15], np.clip(rows["original"][2, ..., 0], 0, 1))
    assert [text.get_text() for text in axes.get_yticklabels()] == list(rows) and not len(axes.get_xticks())
