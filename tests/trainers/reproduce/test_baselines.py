"""Detectors beside ours in the tables: those imported here, and those of another interpreter."""

import sys

import numpy as np
import pytest

from tf_radogaga_trainers.reproduce import baselines, tables

HERE = [name for name in baselines.BASELINES if name not in baselines.DEEP]
COMPILES = {"hbos": pytest.mark.slow}
PEER = """
import numpy as np

class Detector:
    def __init__(self, *width, random_state, verbose):
        self.width, self.seed = width, random_state

    def fit(self, x):
        assert np.isfinite(x).all(), "not finite"
        self.train = x
        return self

    def decision_function(self, x):
        return np.abs(x - self.train.mean(axis=0)).sum(axis=1) + 100 * self.seed + 1000 * sum(self.width)

AutoEncoder = DeepSVDD = VAE = Detector
"""


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(500, 3)), np.concatenate([rng.normal(size=(50, 3)), [[9, 9, 9]]])


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """An interpreter with a pyod of few lines."""
    package = tmp_path / "pyod" / "models"
    package.mkdir(parents=True)
    for name in ("../__init__", "__init__", "auto_encoder", "deep_svdd", "vae"):
        (package / f"{name}.py").write_text(PEER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    baselines._peers_obstacle.cache_clear()
    yield baselines.Path(sys.executable)
    baselines._peers_obstacle.cache_clear()


@pytest.mark.parametrize("name", [pytest.param(name, marks=COMPILES.get(name, ())) for name in HERE])
def test_baselines_score_anomalous_rows_higher(name, rows):
    if name in baselines.PYOD:
        pytest.importorskip("pyod")
    train, test = rows
    assert np.argmax(baselines.baseline_energies(name, train, test, seed=0)) == 50


def test_histogram_is_the_sum_of_log_histograms():
    x = np.random.default_rng(0).normal(size=(1000, 2))
    model = baselines.HistogramScore().fit(x)
    total = 0
    for j in range(2):
        counts, edges = np.histogram(x[:, j], 30)
        total += np.log((counts + 0.5) / (counts + 0.5).sum())[np.clip(np.digitize(0.1, edges) - 1, 0, 29)]
    assert model.score_samples(np.array([[0.1, 0.1]]))[0] == pytest.approx(total)


def test_deep_baselines_come_from_the_other_interpreter(rows, peers):
    train, test = rows
    distance = np.abs(test - train.mean(axis=0)).sum(axis=1)
    for name, width in (("pyod-deep-svdd", 3), ("pyod-vae", 0)):
        found = baselines.baseline_energies(name, train, test, 7, peers)
        np.testing.assert_allclose(found, distance + 700 + 1000 * width)
    with pytest.raises(ValueError, match="pyod-vae: AssertionError: not finite"):
        baselines.baseline_energies("pyod-vae", np.full((3, 3), np.nan), test, 7, peers)
    assert baselines.usable(["pyod-vae"], baselines.BASELINES, peers, "--methods") == ["pyod-vae"]


def test_what_cannot_run_is_left_out_or_refused_with_the_remedy(tmp_path, monkeypatch, capsys):
    nowhere = tmp_path / "python"
    monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda _: None)
    found = baselines.usable(None, ("radogaga", *baselines.BASELINES), nowhere, "--methods")
    assert found == ["radogaga", *baselines.SCIKIT_LEARN]
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("mcd need pyod: pip install '.[peers]'") and len(said) == 2
    assert f"--peers-python {nowhere}: not there; make peers" in said[1]
    with pytest.raises(SystemExit, match=r"--models: .* need pyod: pip install"):
        tables.main(["tabular", "--models", "ecod", "--peers-python", str(nowhere), "--out", str(tmp_path / "t.md")])


def test_a_package_that_the_interpreter_lacks_is_named(peers, tmp_path):
    (tmp_path / "pyod" / "models" / "vae.py").write_text("import no_such_package")
    with pytest.raises(SystemExit, match="ModuleNotFoundError: No module named 'no_such_package'; make peers"):
        baselines.usable(["pyod-vae"], baselines.BASELINES, peers, "--methods")
