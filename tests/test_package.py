import ast
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools

import tf_radogaga
from tf_radogaga_trainers import command

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {"tf_radogaga": "tf_radogaga", "trainers": "tf_radogaga_trainers"}
"""Folders of the repository, and their names in a wheel."""


def modules():
    """Paths in a wheel of all Python files of the package and of the scripts."""
    for folder, name in SHIPPED.items():
        for path in (ROOT / folder).rglob("*.py"):
            yield f"{name}/{path.relative_to(ROOT / folder).as_posix()}"


def test_public_names_exist():
    assert all(hasattr(tf_radogaga, name) for name in tf_radogaga.__all__)


def test_the_citation_has_the_version():
    assert f"\nversion: {tf_radogaga.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_script_that_users_run_is_a_command():
    """All but what `baselines.py` and `curved_methods.py` start in an environment of its own."""
    scripts = {path.stem for path in (ROOT / "trainers").rglob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert scripts - {"peers", "peers_curved"} == set(command.SCRIPTS)


def test_the_command_tells_a_line_of_each_script(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert stopped.value.code == 0
    for script in command.SCRIPTS:
        (path,) = (ROOT / "trainers").rglob(f"{script}.py")
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert f" {script.replace('_', '-')} {docstring.splitlines()[0]}" in told


@pytest.mark.parametrize("script", command.SCRIPTS)
def test_a_command_gives_the_help_of_its_script(script, monkeypatch, capsys):
    if script == "score_beam":
        pytest.importorskip("apache_beam", reason="apache-beam is not installed: pip install '.[beam]'")
    name = script.replace("_", "-")
    monkeypatch.setattr(sys, "argv", ["tf_radogaga", name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    told = capsys.readouterr().out
    assert stopped.value.code == 0 and told.startswith(f"usage: tf_radogaga {name} ")
    assert command.summary(script)[:40] in told


def test_a_command_whose_library_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "tf_radogaga_trainers.query", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SystemExit, match=r"query needs grpc: pip install 'tf_radogaga\[trainers\]'"):
        command.main(["query", "--help"])


def test_every_module_is_in_a_folder_that_the_build_takes(monkeypatch):
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    assert given["package_dir"] == {name: folder for folder, name in SHIPPED.items() if folder != name}
    assert {module.rpartition("/")[0].replace("/", ".") for module in modules()} <= set(given["packages"])


@pytest.mark.slow
def test_a_wheel_has_scripts_types_and_data_and_its_command_runs(tmp_path):
    """Built of a copy, so that folders of earlier builds do not count."""
    source, wheels, installed = tmp_path / "source", tmp_path / "wheels", tmp_path / "installed"
    for folder in SHIPPED:
        shutil.copytree(ROOT / folder, source / folder)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, source], check=True)
    (wheel,) = wheels.iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {f"tf_radogaga/datasets/data/{name}" for name in ("thyroid.mat", "arrhythmia.mat", "radogaga_toy.csv.gz")}
    assert names >= {*modules(), *data, "tf_radogaga/py.typed"}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(SHIPPED.values())

    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", installed, wheel], check=True)
    for start in ([installed / "bin" / "tf_radogaga"], [sys.executable, "-m", "tf_radogaga"]):
        run = subprocess.run(
            [*start, "score", "--help"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith("usage: tf_radogaga score ") and "serving" not in run.stderr
