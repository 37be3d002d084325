"""The toy experiment run as a user runs it, shorter: one training, and all that should then hold."""

import json

import numpy as np
import pytest
from scipy import stats

import tf_radogaga
from tf_radogaga.datasets import toy
from tf_radogaga_trainers import train_toy
from tf_radogaga_trainers.reproduce import tables

KEYS = {
    *("model", "seed", "pearson_r", "pearson_r_network", "regression_residual", "abs_log_density_error_median"),
    *("abs_log_density_error_median_jacobian", "gram_diagonal_mean", "gram_diagonal_sd", "gram_offdiagonal_mean"),
    *("gram_offdiagonal_max", "tangent_r", "tangent_slope", "wall_seconds"),
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "out"
    train_toy.main(["--steps", "3000", "--out", str(path)])
    return path


@pytest.fixture(scope="module")
def model(out):
    return tf_radogaga.load_model(out / "model")


@pytest.mark.slow
def test_density_is_proportional_and_absolute_and_the_latent_isometric(out):
    metrics = json.loads((out / "metrics.json").read_text())
    assert "verdict: isometric" in (out / "certificate.txt").read_text()
    assert metrics["pearson_r"] > 0.998
    assert metrics["regression_residual"] < 0.001
    assert metrics["abs_log_density_error_median"] < 0.1
    assert metrics["abs_log_density_error_median_jacobian"] < 0.1
    assert metrics["gram_diagonal_mean"] == pytest.approx(1, abs=0.03)
    assert metrics["gram_offdiagonal_mean"] < 0.04
    assert metrics["tangent_r"] > 0.995
    assert metrics["tangent_slope"] == pytest.approx(1, abs=0.03)


@pytest.mark.thorough
def test_figures_metrics_and_certificate_are_written(tmp_path):
    command = ["--steps", "20", "--out", str(tmp_path / "out")]
    train_toy.main(command)
    names = "figure7_source figure7_latent figure8 tangents gram spectrum response traversals isometry_gap log_density"
    for name in names.split():
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5000, name
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())) == KEYS
    assert "verdict: " in (tmp_path / "out" / "certificate.txt").read_text()
    with pytest.raises(SystemExit, match="finished run"):
        train_toy.main(command)


@pytest.mark.slow
def test_density_holds_on_rows_the_model_never_saw(model):
    held_out = toy.generate_toy(2000, seed=1).scaled(by=toy.load_toy())
    error = model.log_density(held_out.rows) - held_out.log_density
    assert np.median(np.abs(error)) < 0.1


@pytest.mark.slow
def test_samples_follow_the_law_of_the_data(model):
    """Two-sample tests along the principal axes, and of the distance to a fixed point."""
    fresh = toy.generate_toy(2000, seed=2).scaled(by=toy.load_toy()).rows
    drawn = model.sample(2000, seed=3).numpy()
    axes = np.linalg.svd(fresh - fresh.mean(axis=0), full_matrices=False)[2][:3]
    for statistic in (*(lambda x, a=axis: x @ a for axis in axes), lambda x: np.linalg.norm(x - fresh[0], axis=1)):
        assert stats.ks_2samp(statistic(fresh), statistic(drawn)).pvalue > 1e-3
    shifted = stats.ks_2samp(fresh @ axes[0], (drawn + 0.05 * axes[0]) @ axes[0])
    assert shifted.pvalue < 1e-3  # the test has the power to tell


@pytest.mark.slow
def test_generated_rows_another_metric_and_the_papers_form_train(tmp_path):
    for name, more in {
        "form": ["--data", "generate", "--model", "radogaga-d", "--distortion", "mean", "--gauge", "none"],
        "dagmm": ["--model", "dagmm"],
    }.items():
        train_toy.main([*more, "--steps", "20", "--out", str(tmp_path / name)])
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        assert np.isfinite(metrics["pearson_r"]) and metrics["tangent_r"] <= 1
        assert (metrics["abs_log_density_error_median"] is None) == (name == "dagmm")


@pytest.mark.slow
def test_table_has_a_row_for_a_variant(tmp_path):
    command = ["toy", "--variants", "DAGMM", "--seeds", "1", "--steps", "20"]
    tables.main([*command, "--out", str(tmp_path / "toy.md")])
    (record,) = json.loads((tmp_path / "toy.json").read_text())
    assert f"| DAGMM | 0.882, - | {record['pearson_r']:.5f} |" in (tmp_path / "toy.md").read_text()


@pytest.mark.slow
def test_ten_seeds_reach_the_targets(tmp_path):
    variants = ["RaDOGAGA(d)", "RaDOGAGA(log(d))", "RaDOGAGA(log(d)), MSE", "RaDOGAGA(log(d)), a(x) SSE"]
    tables.main(["toy", "--variants", *variants, "--seeds", "10", "--out", str(tmp_path / "toy.md")])
    for record in json.loads((tmp_path / "toy.json").read_text()):
        if record["variant"] in variants[:2]:
            assert record["pearson_r"] > 0.999
            assert record["abs_log_density_error_median"] < 0.1
        assert record["gram_diagonal_mean"] == pytest.approx(1, abs=0.03)
        assert record["gram_offdiagonal_mean"] < 0.02
        assert record["gram_offdiagonal_max"] < 0.08
