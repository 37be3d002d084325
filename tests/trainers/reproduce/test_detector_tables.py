"""The table of a folder of data sets, by its command, on tables that the test draws."""

import numpy as np
import pytest

from tf_radogaga_trainers.reproduce import table_tabular, tables

METHODS = ["radogaga", "nearest-neighbours", "histogram"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 10 == 0
    for name, distance in (("near", 1.0), ("far", 30.0)):
        rows = rng.normal(size=(120, 3)) * [1, 100, 1] + [0, 5, 2]
        np.savez(tmp_path / f"{name}.npz", X=rows + distance * labels[:, None] * [1, 0, 0], y=labels)
    return tmp_path


def test_every_table_of_a_folder_meets_every_method(records, folder, capsys):
    out = folder / "made" / "more.md"
    command = ["more", "--data-dir", str(folder), "--seeds", "2", "--methods", *METHODS]
    tables.main([*command, "--out", str(out)])
    text = out.read_text()
    assert text in capsys.readouterr().out and len(records) == 2 * 2 * 3
    for title, metric in (("AUROC", "auroc"), ("average precision", "average_precision")):
        section = text.split(f"## {title}\n")[1]
        cells = {
            line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in section.splitlines()[3:6]
        }
        for place, method in enumerate(METHODS):
            found = {n: [r[metric] for r in records if (r["dataset"], r["method"]) == (n, method)] for n in cells}
            for name in ("near", "far"):
                assert float(cells[name][place].split()[0]) == pytest.approx(np.mean(found[name]), abs=5e-5)
            mean = np.mean([np.mean(found[name]) for name in ("near", "far")])
            assert float(cells["mean"][place].strip("*")) == pytest.approx(mean, abs=1e-4)
    assert all(r["auroc"] == 1 for r in records if (r["dataset"], r["method"]) == ("far", "radogaga"))


def test_a_folder_without_tables_is_named(folder):
    with pytest.raises(SystemExit, match=r"--data-dir: .* holds no \.npz file"):
        tables.main(["more", "--data-dir", str(folder / "nowhere")])


def test_the_detector_is_a_row_of_the_papers_table():
    record = table_tabular.run("arrhythmia", "radogaga", 0, "paper", None, None)
    assert record["auroc"] > 0.75 and record["steps"] is None
    assert table_tabular.key("arrhythmia", "radogaga", 0, "paper", None, None) == tuple(
        record[name] for name in table_tabular.KEY
    )
