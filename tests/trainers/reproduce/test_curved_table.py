"""The table of curved surfaces: its measures, the density that a flow with noise has on a surface, and its figure."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.isometric_models import SCALE, linear

from tf_radogaga_trainers import demo
from tf_radogaga_trainers.reproduce import curved_methods, figures_curved, table_curved, tables
from tf_radogaga_trainers.reproduce.curved_methods import Found, Task


@pytest.fixture
def few_rows(monkeypatch):
    for name, value in {"ROWS": 300, "HELD_OUT": 200, "QUERIES": 100}.items():
        monkeypatch.setattr(table_curved, name, value)


def arguments(*words):
    return tables.parse_arguments(["curved", *words])


@pytest.mark.parametrize("name", ["swiss roll", "flat torus"])
def test_the_true_coordinates_are_right_in_every_measure(name, few_rows):
    manifold = table_curved.SURFACES[name]
    test = manifold.sample(200)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    truth = {"isometric": test.log_density, "jacobian": test.log_density - 0.25}
    found = table_curved.measures(manifold, test, Found(truth, 7 * test.coordinates @ turn, 1.0, 1.0))
    assert found["isometric_median"] == found["isometric_p95"] == 0
    assert found["jacobian_mean"] == found["gap_median"] == pytest.approx(0.25)
    assert found["rank_correlation"] == pytest.approx(1) and found["recall"] == 1


def test_a_latent_of_noise_is_told(few_rows):
    manifold = table_curved.SURFACES["swiss roll"]
    test = manifold.sample(200)
    latent = np.random.default_rng(0).normal(size=(200, 2))
    found = table_curved.measures(manifold, test, Found({}, latent))
    assert abs(found["rank_correlation"]) < 0.1 and found["recall"] < 0.15
    assert found["isometric_median"] is None and found["gap_median"] is None


def test_a_density_with_noise_becomes_that_on_the_surface():
    """A normal law on a plane has a closed form with the noise too."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(4000, 2)) * [3.0, 2.0]
    x = np.concatenate([u, np.zeros((4000, 1))], axis=1)
    train, test, shift = curved_methods._with_noise(Task(x, x, 2, 3, 0))
    assert np.var(train[:, :2], axis=0).mean() == pytest.approx(1, rel=1e-3)
    variances = np.var(test, axis=0) + curved_methods.FLOW_NOISE**2
    with_noise = -0.5 * np.sum(test**2 / variances + np.log(2 * math.pi * variances), axis=1)
    spread = np.var(u, axis=0)
    true = -0.5 * np.sum((u - u.mean(axis=0)) ** 2 / spread + np.log(2 * math.pi * spread), axis=1)
    assert np.median(np.abs(with_noise + shift - true)) < 0.02


@pytest.mark.thorough
def test_a_flow_finds_a_normal_law():
    x = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32) * [2, 1, 0]
    found = curved_methods.autoregressive_flow(Task(x, x, 2, 3, 0), steps=300)
    true = -0.5 * np.sum((x[:, :2] / [2, 1]) ** 2, axis=1) - math.log(4 * math.pi)
    assert np.median(np.abs(found.log_densities["isometric"] - true)) < 0.3


def test_pca_of_a_plane_is_exact():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(2, 3000, 2)) * [3, 2]
    train, test = u @ np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    found = curved_methods.pca(Task(train, test, 2, 2, 0))
    true = -0.5 * np.sum((u[1] / [3, 2]) ** 2, axis=1) - math.log(12 * math.pi)
    assert np.median(np.abs(found.log_densities["isometric"] - true)) < 0.05


def test_records_are_kept_and_the_table_has_their_means(few_rows, tmp_path, monkeypatch, capsys):
    args = arguments("--surfaces", "cylinder", "pictures", "--methods", "PCA + mixture", "--seeds", "2")
    records = [table_curved.run(*job) for job in table_curved.jobs(args)]
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert [record["rank_correlation"] is None for record in records] == [False, True] * 2  # no geodesics of pictures
    text = table_curved.markdown(args, records, "origin")
    cylinder = text[text.index("## cylinder") : text.index("## pictures")]
    medians = [record["isometric_median"] for record in records if record["surface"] == "cylinder"]
    assert f"| PCA + mixture | {np.mean(medians):.3f} (" in cylinder and f"| {max(medians):.3f} | 2 |" in cylinder
    assert table_curved.figures(args, records) == {}


def test_a_training_that_fails_is_recorded(few_rows, monkeypatch):
    def failing(task):
        raise FloatingPointError("rate is NaN")

    monkeypatch.setitem(table_curved.METHODS, "Isomap", failing)
    record = table_curved.run("cylinder", "Isomap", 0, "")
    assert record["error"] == "rate is NaN"
    args = arguments("--surfaces", "cylinder", "--methods", "Isomap", "--seeds", "1")
    assert "| Isomap | - | " in table_curved.markdown(args, [record], "") and "1 (1 failed)" in table_curved.markdown(
        args, [record], ""
    )


def test_peers_are_left_out_by_name_where_their_environment_is_missing(capsys):
    args = arguments("--quick", "--methods", "UMAP", "Isomap", "--peers-python", "nowhere/python")
    assert {method for _, method, *_ in table_curved.jobs(args)} == {"Isomap"}
    assert "left out: UMAP need --peers-python" in capsys.readouterr().out


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["beta-VAE in y", "autoencoder + mixture", "Isomap", "RaDOGAGA(d), learned gauge"])
def test_every_method_gives_what_the_table_wants(method, few_rows, small_flows, monkeypatch):
    monkeypatch.setattr(curved_methods, "STEPS", 20)
    record = table_curved.run("half sphere", method, 0, "")
    assert "error" not in record and np.isfinite(record["rank_correlation"])
    assert (record["jacobian_median"] is None) == (method == "Isomap")


def test_the_grid_has_equal_steps_on_a_plane():
    manifold = table_curved.SURFACES["sine sheet"]  # its three columns hold a plane of ours
    rng = np.random.default_rng(0)
    u = rng.normal(size=(500, 2))
    basis = np.eye(3)[:2] @ manifold.basis
    rows = (u @ basis).astype(np.float32)
    model = linear(rows, basis / math.sqrt(SCALE))
    data = manifold.sample(500)._replace(rows=rows, coordinates=u, log_density=np.zeros(500))
    drawn = figures_curved.drawing(manifold, model, data)
    assert json.loads(json.dumps(drawn)) == drawn
    lines = np.array(drawn["grid"])[:, :, :2]
    along = lines[:, -1] - lines[:, 0]
    np.testing.assert_allclose(np.abs(np.sum(along[0] * along[-1])), 0, atol=0.05)  # two families at right angles
    first = np.abs(along @ along[0] / np.linalg.norm(along, axis=1) / np.linalg.norm(along[0])) > 0.5
    normal = np.array([-along[0, 1], along[0, 0]]) / np.linalg.norm(along[0])
    np.testing.assert_allclose(np.abs(np.diff(lines[first, 0] @ normal)), figures_curved.GRID, atol=0.02)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(drawn["latent"], axis=0), axis=1), np.linalg.norm(np.diff(u, axis=0), axis=1), atol=0.02
    )
    panels = figures_curved.unrolled({**drawn, "true": drawn["log_density"]}).axes
    assert "median absolute error 0.000 nats" in [axes.get_title() for axes in panels]


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:latent_units")
def test_the_demo_unrolls_detects_and_serves(few_rows, small_flows, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["demo.py"])
    for name in ("STEPS", "START_STEPS"):
        monkeypatch.setattr(curved_methods.recipe, name, 20)
    monkeypatch.setattr(demo, "FLOW_STEPS", 20)
    demo.main()
    printed = capfd.readouterr().out
    for text in ("verdict:", "PCA + mixture", "autoregressive flow", "AnomalyDetector", "same log densities"):
        assert text in printed
    assert (tmp_path / demo.FIGURE).stat().st_size > 10_000
    assert len(tf.saved_model.load(str(tmp_path / demo.EXPORT / "1")).signatures) >= 1
