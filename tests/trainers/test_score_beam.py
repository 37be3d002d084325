"""The Beam pipeline, run in this process, against score.py on the same files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.models import TOLERANCE
from helpers.served_models import csv_with_bad_rows, served_table, table

from tf_radogaga_trainers import score
from tf_radogaga_trainers.shared import csv_rows, exports

pytest.importorskip("apache_beam", reason="apache-beam is not installed; it needs Python 3.10 or later")
from tf_radogaga_trainers import score_beam


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return served_table(tmp_path_factory.mktemp("models") / "table")


@pytest.fixture
def files(tmp_path):
    """Two files whose columns stand in different orders, one compressed, and the reasons of the first's bad rows."""
    bad = csv_with_bad_rows(tmp_path / "rows-1.csv")
    table(30).iloc[::-1].to_csv(tmp_path / "rows-2.csv.gz", index=False)
    return bad


def by_place(pattern: Path) -> pd.DataFrame:
    parts = [pd.read_csv(path) for path in sorted(pattern.parent.glob(pattern.name))]
    return pd.concat(parts).sort_values(["file", "line"], ignore_index=True)


def check(folder, model, bad, monkeypatch):
    """Scores are those of score.py, a line for each row that it calls valid; the others have their reasons."""
    scores, refused = by_place(folder / "scores-0*.csv"), by_place(folder / "scores-bad-*.csv")
    assert refused["file"].map(os.path.basename).eq("rows-1.csv").all()
    assert dict(zip(refused["line"], refused["reason"])) == bad
    for name, group in scores.groupby(scores["file"].map(os.path.basename)):
        command = ["--model", model, "--input", folder / name, "--output", folder / "expected.csv"]
        monkeypatch.setattr(sys, "argv", ["score.py", *map(str, command)])
        score.main()
        expected = pd.read_csv(folder / "expected.csv").query("valid").reset_index(drop=True)
        found = group.drop(columns=["file", "line"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, **TOLERANCE)
    assert len(scores) == 76 and len(refused) == 4


@pytest.mark.thorough
@pytest.mark.parametrize("batch_size", ["7", pytest.param("4096", marks=pytest.mark.slow)])
def test_scores_are_those_of_the_model_in_process(batch_size, model, files, tmp_path, monkeypatch, capsys):
    command = ["--model", model, "--input", tmp_path / "rows-*", "--output", tmp_path / "scores"]
    score_beam.main([*map(str, command), "--batch-size", batch_size])
    assert "76 rows scored" in (printed := capsys.readouterr().out) and "4 bad rows" in printed
    check(tmp_path, model, files, monkeypatch)


@pytest.mark.thorough
def test_what_cannot_be_read_is_said_before_the_pipeline_runs(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["--model", str(model), "--input", "rows-*.csv", "--output", str(tmp_path / "scores")]
    with pytest.raises(SystemExit, match=r"--input: rows-\*\.csv matches no file"):
        score_beam.main(command)
    Path("rows-1.csv").write_text("dose,kind\n1,a\n")
    with pytest.raises(SystemExit, match=r"rows-1\.csv has no columns \['blood_pressure', 'code'\]"):
        score_beam.main(command)
    assert [path.name for path in tmp_path.iterdir()] == ["rows-1.csv"]


@pytest.mark.thorough
def test_files_are_read_as_the_card_tells(model, tmp_path, monkeypatch):
    table(30).to_csv(tmp_path / "plain.csv", index=False)
    table(30).to_csv(tmp_path / "rows-1.csv.gz", index=False, sep=";", decimal=",", encoding="utf-16")
    version = shutil.copytree(exports.newest_version(model), tmp_path / "model" / "1")
    card = json.loads((version / "assets" / "card.json").read_text())
    card["reader"] = {"separator": ";", "decimal": ",", "thousands": None, "header": True, "encoding": "utf-16"}
    (version / "assets" / "card.json").write_text(json.dumps(card))
    score_beam.main(
        ["--model", str(version), "--input", str(tmp_path / "rows-*"), "--output", str(tmp_path / "scores")]
    )
    command = ["--model", model, "--input", tmp_path / "plain.csv", "--output", tmp_path / "expected.csv"]
    monkeypatch.setattr(sys, "argv", ["score.py", *map(str, command)])
    score.main()
    found = by_place(tmp_path / "scores-0*.csv").drop(columns=["file", "line"])
    pd.testing.assert_frame_equal(found, pd.read_csv(tmp_path / "expected.csv"), **TOLERANCE)


ELSEWHERE = """
import pathlib, sys
sys.modules.update(tf_radogaga=None, tf_radogaga_trainers=None)
from apache_beam.internal.cloudpickle import cloudpickle
print(cloudpickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))
"""


@pytest.mark.thorough
def test_what_workers_call_is_sent_with_all_that_it_needs(tmp_path):
    for module in score_beam.SENT:
        score_beam.cloudpickle.register_pickle_by_value(module)
    try:
        called = csv_rows.blocks, csv_rows.feed, csv_rows.scores_table, csv_rows.reason
        (tmp_path / "sent").write_bytes(score_beam.cloudpickle.dumps(called))
    finally:
        for module in score_beam.SENT:
            score_beam.cloudpickle.unregister_pickle_by_value(module)
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "sent")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "scores_table" in done.stdout, done.stderr


@pytest.mark.slow
def test_workers_that_do_not_have_the_scripts_score_too(model, files, tmp_path, monkeypatch):
    command = ["--model", model, "--input", "rows-*", "--output", "scores", "--direct_running_mode=multi_processing"]
    subprocess.run([sys.executable, score_beam.__file__, *map(str, command)], check=True, cwd=tmp_path)
    check(tmp_path, model, files, monkeypatch)
