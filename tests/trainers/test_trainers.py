"""The scripts, run as a user runs them."""

import dataclasses
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_radogaga
from tf_radogaga import presets, serving
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers import score, score_images, train_tabular, train_toy
from tf_radogaga_trainers.reproduce import baselines, records, table_tabular, tables
from tf_radogaga_trainers.shared import fitting, runs

KEYS = {"dataset", "model", "seed", "precision", "recall", "f1", "auroc", "average_precision", "wall_seconds"}


def run_score(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["score.py", *map(str, arguments)])
    score.main()


@pytest.fixture
def own_csv(frame, tmp_path):
    path = tmp_path / "own.csv"
    frame.assign(fraud=(np.arange(300) % 10 == 0).astype(int)).to_csv(path, index=False)
    return path


def test_train_export_and_score_a_table_of_ones_own(own_csv, frame, tmp_path, monkeypatch, capsys):
    out, served = tmp_path / "out", tmp_path / "served"
    command = ["--dataset", str(own_csv), "--label-column", "fraud", "--categorical", "code", "--epochs", "5"]
    train_tabular.main([*command, "--out", str(out), "--export", str(served)])
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == KEYS and 0 <= metrics["auroc"] <= 1
    for name in ("scores.png", "roc_pr.png", "model/config.json", "logs"):
        assert (out / name).exists(), name
    assert not (out / "backup").exists()
    report = serving.check_export(served / "1")
    assert "5 requests replayed" in report and "'name': 'own.csv'" in report
    card = json.loads((served / "1" / "assets" / "card.json").read_text())
    assert card["metrics"]["auroc"] == metrics["auroc"] and card["preset"]["steps"] > 0
    assert card["preset"]["source"].endswith("the rest: chosen here; steps: of this run")

    rows = frame[::-1].assign(unused=1)[["dose", "unused", "code", "kind", "blood pressure"]].astype(object)
    rows.iloc[4, 0] = "oops"
    rows.iloc[7, 4] = None
    rows.to_csv(tmp_path / "rows.csv", index=False)
    arguments = ("--model", served, "--input", tmp_path / "rows.csv", "--output", tmp_path / "scores.csv")
    run_score(monkeypatch, *arguments, "--batch-size", 64)
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert np.flatnonzero(~scores["valid"]).tolist() == [4, 7]
    model = tf_radogaga.load_model(out / "model")
    expected = model.energy(frame).numpy()[::-1]
    np.testing.assert_allclose(scores["energy"].drop([4, 7]), np.delete(expected, [4, 7]), rtol=1e-5, atol=1e-5)

    with pytest.raises(SystemExit, match="finished run"):
        train_tabular.main([*command, "--out", str(out)])
    rows.drop(columns="dose").to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(SystemExit, match=r"no columns \['dose'\]"):
        run_score(monkeypatch, *arguments)


@pytest.mark.thorough
def test_a_vae_reports_its_implicit_isometry_and_stops_early_by_its_preset(tmp_path, capsys, monkeypatch):
    preset = dataclasses.replace(presets.preset("arrhythmia", "vae"), patience=1, learning_rate=10.0)
    monkeypatch.setattr(presets, "preset", lambda *_: preset)
    out = tmp_path / "out"
    train_tabular.main(["--dataset", "arrhythmia", "--model", "vae", "--epochs", "40", "--out", str(out)])
    text = capsys.readouterr().out
    assert "Epoch 2: early stopping" in text or "Epoch 3: early stopping" in text
    assert "BetaVAE, beta" in text and (out / "implicit_spectrum.png").exists()
    assert "verdict: " in (out / "certificate.txt").read_text()
    assert set(json.loads((out / "metrics.json").read_text())) == KEYS


@pytest.mark.thorough
def test_the_weights_of_the_least_held_out_loss_are_kept_though_training_ran_to_its_end():
    table = tabular.load_table("arrhythmia")
    data = fitting.in_memory(table, 0)
    preset = dataclasses.replace(presets.preset("arrhythmia", "vae"), steps=6, patience=100, learning_rate=3.0)
    model = fitting.train(preset, data, 0)
    losses = model.history.history["val_loss"]
    held_out = data.train.take(np.random.default_rng(0).permutation(len(data.train))[: len(data.train) // 10], axis=0)
    assert np.argmin(losses) < len(losses) - 1
    assert model.evaluate(held_out, verbose=0, return_dict=True)["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_a_digest_tells_every_setting_and_outlives_new_ones(monkeypatch):
    preset = presets.preset("thyroid", "radogaga-log")
    changed = [{"patience": 1}, {"steps": 1}, {"activation": "relu"}, {"learning_rate": 1e-9}]
    digests = {records.digest(dataclasses.replace(preset, **change)) for change in ({}, *changed)}
    assert len(digests) == 1 + len(changed)
    assert records.digest(dataclasses.replace(preset, source="elsewhere")) == records.digest(preset)

    @dataclasses.dataclass(frozen=True)
    class Wider(presets.Preset):
        more: int = 3

    wider = {field.name: getattr(preset, field.name) for field in dataclasses.fields(preset)}
    assert records.digest(Wider(**wider)) != records.digest(preset)
    monkeypatch.setitem(records.LATER, "more", 3)
    assert records.digest(Wider(**wider)) == records.digest(preset) != records.digest(Wider(**wider, more=4))


@pytest.mark.slow
def test_unlabelled_matrix_with_early_stopping(rows, tmp_path, monkeypatch):
    np.save(tmp_path / "own.npy", rows)
    command = ["--dataset", str(tmp_path / "own.npy"), "--model", "dagmm", "--epochs", "3", "--patience", "1"]
    train_tabular.main([*command, "--out", str(tmp_path / "out"), "--export", str(tmp_path / "served")])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics) == KEYS and metrics["f1"] is None
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False, header=False)
    arguments = ("--model", tmp_path / "served", "--input", tmp_path / "rows.csv", "--output", tmp_path / "scores.csv")
    run_score(monkeypatch, *arguments)
    assert pd.read_csv(tmp_path / "scores.csv")["valid"].all()
    pd.DataFrame(rows[:, :3]).to_csv(tmp_path / "rows.csv", index=False, header=False)
    with pytest.raises(SystemExit, match="has 3 columns, the model takes 4"):
        run_score(monkeypatch, *arguments)


@pytest.mark.thorough
def test_a_file_too_large_for_memory_is_streamed(frame, tmp_path, monkeypatch, capsys):
    """And one of other marks is read so in training and in scoring, where the card tells them."""
    path = tmp_path / "own.csv"
    shares = [f"{number / 10:.1f} %".replace(".", ",") for number in range(300)]
    own = frame.assign(fraud=(np.arange(300) % 10 == 0).astype(int), share=shares)
    own.to_csv(path, index=False, sep=";", decimal=",")
    command = ["--dataset", str(path), "--label-column", "fraud", "--categorical", "code", "--epochs", "5"]
    command += ["--batch-size", "32", "--stream-above", "0", "--out", str(tmp_path / "out")]
    train_tabular.main([*command, "--export", str(tmp_path / "served")])
    assert f"{path}: separator ';', decimal ',', no thousands mark, header: yes" in capsys.readouterr().out
    assert "training_rows_sha256" in serving.check_export(tmp_path / "served" / "1")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics) == KEYS and 0 <= metrics["auroc"] <= 1
    with pytest.raises(SystemExit, match="--patience: needs a table in memory"):
        train_tabular.main([*command, "--patience", "2", "--overwrite"])

    table = tabular.read_table(path, "fraud", categorical=("code",))
    assert table.rows["share"].tolist() == pytest.approx(np.arange(300) / 1000)
    card = json.loads((tmp_path / "served" / "1" / "assets" / "card.json").read_text())
    assert card["reader"] == table.reader and card["reader"]["percent"] == ["share"]
    arguments = ("--model", tmp_path / "served", "--input", path, "--output", tmp_path / "scores.csv")
    run_score(monkeypatch, *arguments)
    assert "separator ';', decimal ','" in capsys.readouterr().err
    scores = pd.read_csv(tmp_path / "scores.csv")
    expected = tf_radogaga.load_model(tmp_path / "out" / "model").energy(table.rows)
    assert scores["valid"].all()
    np.testing.assert_allclose(scores["energy"], expected, rtol=1e-5, atol=1e-5)
    for option, message in (("--separator", "no columns"), ("--decimal", "give --decimal and --thousands")):
        with pytest.raises(SystemExit, match=f"--input: .*{message}"):
            run_score(monkeypatch, *arguments, option, "," if option == "--separator" else ".")


def test_a_run_begun_before_an_option_came_goes_on(tmp_path, capsys):
    args = SimpleNamespace(out=tmp_path, export=None, overwrite=False, dataset="own.csv", separator=None)
    (tmp_path / "run.json").write_text(json.dumps({"dataset": "own.csv"}))
    with runs.prepared_out(args):
        assert "going on with the interrupted run" in capsys.readouterr().out
    (tmp_path / "run.json").write_text(json.dumps({"dataset": "own.csv"}))
    args.separator = ";"
    with pytest.raises(SystemExit, match=r"other settings \{'separator': \(None, ';'\)\}"), runs.prepared_out(args):
        pass


def test_overwrite_spares_a_folder_of_other_things(tmp_path):
    (tmp_path / "chapter1.txt").write_text("precious")
    with pytest.raises(SystemExit, match="is no run"):
        train_tabular.main(["--dataset", "arrhythmia", "--out", str(tmp_path), "--overwrite"])
    assert (tmp_path / "chapter1.txt").read_text() == "precious"


@pytest.mark.slow
def test_tables_keep_records_and_compare_on_the_same_splits(tmp_path, monkeypatch):
    methods = ["radogaga-log", "untrained", "isolation-forest", "histogram"]
    command = ["tabular", "--datasets", "arrhythmia", "--models", *methods, "--steps", "20"]
    monkeypatch.setattr(sys, "argv", ["tables.py", *command])
    tables.main([*command, "--seeds", "1", "--out", str(tmp_path / "table.md")])
    records = json.loads((tmp_path / "table.json").read_text())
    assert [r["model"] for r in records] == sorted(methods) and set(records[0]) > KEYS
    assert "| 0.5373 |" in (tmp_path / "table.md").read_text()  # the paper's
    command.remove("radogaga-log")  # which takes long, and stays in the records
    tables.main([*command, "--seeds", "2", "--out", str(tmp_path / "table.md")])
    again = json.loads((tmp_path / "table.json").read_text())
    assert len(again) == 7 and all(record in again for record in records)
    table = (tmp_path / "table.md").read_text()
    f1 = [r["f1"] for r in again if r["model"] == "isolation-forest"]
    assert f"| isolation-forest | - | {np.mean(f1):.4f} ({np.std(f1):.4f})" in table


@pytest.mark.slow
def test_seeds_trained_at_once_are_those_trained_alone(monkeypatch):
    jobs = [("arrhythmia", "dagmm", seed, "small", 20, None) for seed in (0, 1)]
    alone, together = table_tabular.run(*jobs[1]), table_tabular.run_together(jobs)
    assert [tuple(record[name] for name in table_tabular.KEY) for record in together] == [
        table_tabular.key(*job) for job in jobs
    ]
    for metric in table_tabular.METRICS:
        assert together[1][metric] == pytest.approx(alone[metric], abs=1e-3), metric
    assert alone["auroc"] != pytest.approx(together[0]["auroc"], abs=1e-3)

    models = [FloatingPointError("loss term 'rate'"), SimpleNamespace(energy=lambda rows: tf.range(len(rows)))]
    monkeypatch.setattr(table_tabular, "train_together", lambda *_: models)
    failed, sound = table_tabular.run_together(jobs)
    assert failed["error"] == "loss term 'rate'" and failed["f1"] is None and failed["seed"] == 0
    assert "error" not in sound and 0 <= sound["auroc"] <= 1


def test_only_small_steps_of_a_fixed_number_are_taken_at_once():
    datasets = ["thyroid", "kddcup99"]
    args = tables.parse_arguments(["tabular", "--datasets", *datasets, "--seeds", "3"])
    groups = table_tabular.groups(table_tabular.jobs(args))
    at_once = {group[0][:2] for group in groups if len(group) > 1}
    assert at_once == {("thyroid", model) for model in presets.MIXTURE_MODELS}
    assert sorted(map(str, (job for group in groups for job in group))) == sorted(map(str, table_tabular.jobs(args)))
    preset = presets.preset("thyroid", "vae")
    with pytest.raises(ValueError, match="patience=3, so its models are trained one by one"):
        fitting.train_together(preset, [], [])


def test_the_table_of_small_networks_has_no_vae(monkeypatch):
    monkeypatch.setattr(baselines, "obstacle", lambda *_: None)
    args = tables.parse_arguments(["tabular", "--preset", "small", "--seeds", "1"])
    jobs = table_tabular.jobs(args)
    assert {job[1] for job in jobs} == {*table_tabular.METHODS} - {"vae"}
    assert len({table_tabular.key(*job) for job in jobs}) == len(jobs)


@pytest.mark.thorough
@pytest.mark.parametrize("script", [score, score_images])
def test_a_script_that_scores_runs_where_the_package_is_not_installed(script, tmp_path):
    """`-S` leaves out the files by which an environment finds a package that was installed from its repository, and, on
    Python 3.12, setuptools' distutils, which some versions of TensorFlow want."""
    absent = "import importlib.util, runpy, setuptools, sys; assert not importlib.util.find_spec('tf_radogaga')"
    run = f"sys.argv = [{script.__file__!r}, '--help']; runpy.run_path(sys.argv[0], run_name='__main__')"
    libraries = ":".join([sysconfig.get_path("purelib"), str(Path(script.__file__).parent)])
    command = [sys.executable, "-S", "-c", f"{absent}; {run}"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": libraries}, capture_output=True, text=True)
    assert done.stdout.startswith(f"usage: {Path(script.__file__).name} "), done.stderr


@pytest.mark.parametrize("script", [train_tabular.parse_arguments, train_toy.parse_arguments, tables.parse_arguments])
def test_help_teaches(script, capsys):
    with pytest.raises(SystemExit):
        script(["--help"])
    assert "python trainers/" in capsys.readouterr().out


def test_wrong_arguments_are_named(capsys):
    for arguments, message in (
        (["--dataset", "own.csv", "--anomaly-share", "1.5"], "--anomaly-share: 1.5 is not below 1"),
        (["--dataset", "thyroid", "--label-column", "y"], "are for your own file, not for thyroid"),
        (["--dataset", "thyroid", "--epochs", "0"], "0 is not above 0"),
        (["--dataset", "thyroid", "--model", "vae", "--preset", "small"], "no paper prints a small vae"),
    ):
        with pytest.raises(SystemExit):
            train_tabular.parse_arguments([*arguments, "--out", "unused"])
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dataset", "seeds", "least_f1"),
    [
        ("radogaga-log", "thyroid", 20, 0.63),
        ("radogaga-log", "arrhythmia", 20, 0.47),
        ("radogaga-log", "kddcup99", 3, 0.94),
        ("vae", "thyroid", 20, 0.62),
        ("vae", "arrhythmia", 20, 0.47),
        ("vae", "kddcup99", 3, 0.94),
    ],
)
def test_models_reach_their_f1(model, dataset, seeds, least_f1, tmp_path, request):
    command = ["tabular", "--datasets", dataset, "--models", model, "--seeds", str(seeds)]
    if dataset == "kddcup99":
        command += ["--data-dir", str(request.getfixturevalue("shared_data"))]
    tables.main([*command, "--out", str(tmp_path / "table.md")])
    assert np.mean([r["f1"] for r in json.loads((tmp_path / "table.json").read_text())]) >= least_f1
