"""Anomalies left in the training rows: how many, whose, and what the table makes of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga import plots
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.reproduce import table_contamination as contamination
from tf_radogaga_trainers.reproduce import table_more, tables

METHODS = ["radogaga", "nearest-neighbours"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 12 == 0  # 20 anomalies, of which 10 are in each half
    for name, distance in (("near", 3.0), ("far", 30.0)):
        rows = rng.normal(size=(240, 3))
        np.savez(tmp_path / f"{name}.npz", X=rows + distance * labels[:, None], y=labels)
    return tmp_path


@pytest.mark.parametrize(("share", "anomalies"), [(0, 0), (0.05, 6), (0.2, 10)])
def test_anomalies_of_the_training_half_are_left_in_it(folder, share, anomalies):
    table = tabular.read_table(folder / "far.npz")
    split, plain = contamination.contaminated(table, 3, share), tabular.stratified_halves(table, 3)
    np.testing.assert_array_equal(split.test, plain.test)
    np.testing.assert_array_equal(split.test_labels, plain.test_labels)
    np.testing.assert_array_equal(split.train[:110], plain.train)
    left = split.train[110:]
    assert len(left) == split.anomalies == anomalies  # of 110 normal rows 5 % are 6 of 116; 20 % are more than 10
    known = table.rows[table.labels == 1]
    own = {tuple(row) for row in known} - {tuple(row) for row in plain.test}
    assert {tuple(row) for row in left} <= own and len(own) == 10


def test_without_contamination_it_is_the_other_table(folder):
    for method in METHODS:
        mine = contamination.run(str(folder / "near.npz"), method, 1, 0.0, None)
        other = table_more.run(folder / "near.npz", method, 1)
        assert mine["auroc"] == pytest.approx(other["auroc"]) and mine["f1"] == pytest.approx(other["f1"])


def test_the_table_and_its_figure(records, folder, capsys):
    out = folder / "made" / "contamination.md"
    command = ["contamination", "--datasets", "--data-dir", str(folder), "--seeds", "2", "--methods", *METHODS]
    tables.main([*command, "--shares", "0", "0.2", "--out", str(out)])
    text = out.read_text()
    assert text in capsys.readouterr().out and len(records) == 2 * 2 * 2 * 2
    assert "0 %: 0 of 110 training rows (0.0 %); 20 %: 10 of 120 training rows (8.3 %)." in text
    assert (out.parent / "contamination.png").stat().st_size > 1000
    cells = {m: text.split(f"\n| {m} | ")[1].splitlines()[0].split(" | ") for m in METHODS}  # of the means
    for method in METHODS:
        for place, share in enumerate((0.0, 0.2)):
            found = [r["auroc"] for r in records if (r["method"], r["share"]) == (method, share)]
            assert float(cells[method][place]) == pytest.approx(np.mean(found), abs=6e-5)


def test_seeds_of_the_model_are_one_group_and_see_the_anomalies(folder, monkeypatch):
    def trained(preset, data, seeds):
        assert preset.steps == 2 and [len(own.train) for own in data] == 2 * [116]
        assert all((own.train > 15).any() for own in data)
        return [FloatingPointError("loss term 'rate'"), SimpleNamespace(energy=lambda rows: tf.range(len(rows)))]

    monkeypatch.setattr(contamination, "train_together", trained)
    source = str(folder / "far.npz")
    jobs = [(source, method, seed, 0.05, 2) for seed in (0, 1) for method in ("radogaga-log", "radogaga")]
    groups = contamination.groups(jobs)
    assert sorted(len(group) for group in groups) == [1, 1, 2]
    failed, sound = contamination.run_together(max(groups, key=len))
    assert failed["error"] == "loss term 'rate'" and failed["auroc"] is None and failed["seed"] == 0
    assert 0 <= sound["auroc"] <= 1 and (sound["anomalies"], sound["training_rows"]) == (6, 116)


def test_wrong_shares_are_named(capsys):
    with pytest.raises(SystemExit):
        tables.parse_arguments(["contamination", "--shares", "0.5"])
    assert "0.5 is outside [0, 0.5)" in capsys.readouterr().err


def test_curves_have_a_panel_a_table_and_one_legend():
    curves = {name: {"a": ([0, 5], [0.9, 0.8]), "b": ([0, 5], [0.7, 0.6])} for name in "pqrstu"}
    figure = plots.curves_by_table(curves, "share", "AUROC")
    assert [axes.get_title() for axes in figure.axes] == [*"pqrstu"]
    np.testing.assert_array_equal(figure.axes[5].lines[1].get_ydata(), [0.7, 0.6])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
