"""Damaged files of rows, and files of another kind, are named; what they hold is not run."""

import contextlib
import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.io
import tensorflow as tf
from helpers.models import clusters

from tf_radogaga.datasets import image_folders, tabular


def _tables(folder):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    np.save(folder / "a.npy", rows)
    np.savez(folder / "a.npz", X=rows, y=np.arange(40) % 2)
    np.savez_compressed(folder / "b.npz", X=rows)
    pd.DataFrame(rows, columns=list("abc")).to_csv(folder / "a.csv.gz", index=False)
    pd.DataFrame(rows, columns=list("abc")).to_csv(folder / "a.csv", index=False)
    return sorted(folder.iterdir())


def test_tables_cut_off_or_overwritten_name_their_file(tmp_path):
    rng, refused = np.random.default_rng(1), 0
    for path in _tables(tmp_path):
        whole = path.read_bytes()
        for at in rng.integers(0, len(whole), 20):
            for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
                path.write_bytes(content)
                with contextlib.suppress(ValueError):
                    try:
                        assert tabular.read_table(path).rows.ndim == 2  # plain text and values carry no checksum
                    except ValueError as error:
                        assert str(path) in str(error) or "labels: row" in str(error)
                        refused += 1
                        raise
        path.write_bytes(whole)
    assert refused > 120


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"\xff\xfe\x00\x01" * 50, "a.csv: damaged, cut off"),
        ("a.csv", b'a,b\n1,"2\n3,4\n', "a.csv: damaged, cut off.*EOF inside string"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", "a.csv: damaged, cut off.*line 3, saw 3"),
        ("a.npy", b"a,b\n1,2\n", "a.npy: damaged, cut off, or of another kind than .npy says"),
        ("a.npz", b"", "a.npz: damaged, cut off"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        tabular.read_table(tmp_path / name)


class Danger:
    def __reduce__(self):
        return print, ("run by a pickle",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_in_tables_are_refused_and_not_run(tmp_path, name, capsys):
    rows = np.array([[Danger()]], object)
    np.save(tmp_path / name, rows) if name == "a.npy" else np.savez(tmp_path / name, X=rows)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        tabular.read_table(tmp_path / name)
    assert not capsys.readouterr().out


def test_a_damaged_matlab_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tabular, "__file__", str(tmp_path / "tabular.py"))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "thyroid.mat"
    scipy.io.savemat(path, {"X": clusters(20), "y": np.zeros(20)}, do_compression=True)
    assert len(tabular.load_table("thyroid").rows) == 20
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-40], whole[:300] + b"\0\0\0" + whole[303:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"thyroid\.mat: damaged, cut off"):
            tabular.load_table("thyroid")


def test_a_damaged_zip_of_images_is_named(tmp_path):
    path = tmp_path / "images.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
            archive.writestr(f"{number}.png", tf.io.encode_png(pixels).numpy())
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(FileNotFoundError, match="neither a folder nor a whole zip file"):
        image_folders.load_folder(path, (8, 8, 3))
    path.write_bytes(whole[:60] + b"\xff\xff" + whole[62:])  # within the first image
    with pytest.raises(ValueError, match=r"all 1 cannot be read.*images\.zip/0\.png"):
        image_folders.load_folder(path, (8, 8, 3))
