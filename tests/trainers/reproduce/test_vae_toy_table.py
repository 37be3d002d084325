"""The table of the beta-VAE on toy data, run as a user runs it but shorter, and its theory."""

import json
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize

from tf_radogaga.datasets import vae_toy
from tf_radogaga_trainers import train_toy
from tf_radogaga_trainers.reproduce import table_vae_toy, tables, vae_toy_models

LISTS = {"unit_norm_mean", "unit_norm_sd", "response_mean", "response_sd", "inverse_variance", "rate"}
SCALARS = {
    *("r_prior", "r_posterior", "r_loss", "r_prior_scaled", "r_loss_scaled", "coding_loss", "transform_loss"),
    *("abs_log_density_error_median", "active_dimensions", "steps", "wall_seconds"),
}


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(vae_toy, "generate_vae_toy", partial(vae_toy.generate_vae_toy, rows=1000))


def arguments(*words):
    return tables.parse_arguments(["vae-toy", *words])


def made_up(job, norm=0.97):
    """A record as `run` makes them."""
    dataset, _, lam, units, seed, _ = job
    idle = [0.0] * (units - 3)
    inverse = [2 * lam / 6, 8 * lam / 6, 32 * lam / 6, *(1 + value for value in idle)]
    record = {
        **dict(zip(table_vae_toy.KEY, table_vae_toy.key(*job))),
        **{name: [norm, 0.98, 0.99, *idle] for name in LISTS},
        **dict.fromkeys(SCALARS, 0.5),
        "inverse_variance": inverse,
        "coding_loss": 1.4 / lam,
        "transform_loss": 0.014 / lam,
        "steps": 10,
    }
    if (dataset, lam, seed) == ("mix", 100, 0):
        names = ("true", *vae_toy_models.ESTIMATES)
        record["log_densities"] = {name: np.linspace(-9, -2, 20).tolist() for name in names}
    return record


@pytest.mark.slow
def test_interrupted_table_goes_on_and_draws(tmp_path):
    """With a made-up record in place, one model is trained; then none."""
    command = ["vae-toy", "--sets", "norm", "--losses", "sum", "--lambdas", "50", "20", "--steps", "10"]
    kept, missing = table_vae_toy.jobs(arguments(*command[1:]))
    (tmp_path / "table.json").write_text(json.dumps([made_up(kept)]))
    tables.main([*command, "--out", str(tmp_path / "table.md")])
    records = json.loads((tmp_path / "table.json").read_text())
    assert [record["lambda"] for record in records] == [20, 50] and records[0] == made_up(kept)
    assert set(records[1]) == {*table_vae_toy.KEY, *LISTS, *SCALARS}
    assert tuple(records[1][name] for name in table_vae_toy.KEY) == table_vae_toy.key(*missing)
    assert "| 50 | " in (tmp_path / "table.md").read_text()
    figures = {"figure19_norm_sum.png", "figure23_coding_loss.png", "figure24_loss_ratio.png"}
    assert {path.name for path in tmp_path.glob("*.png")} == figures
    tables.main([*command, "--out", str(tmp_path / "table.md")])
    assert json.loads((tmp_path / "table.json").read_text()) == records


@pytest.mark.thorough
def test_record_puts_active_dimensions_first_and_is_json(few_rows):
    record = table_vae_toy.run("mix", "downward-convex", 100.0, 5, 0, 10)
    assert set(record) == {*table_vae_toy.KEY, *LISTS, *SCALARS, "log_densities"}
    inverse = record["inverse_variance"]
    assert [len(record[name]) for name in LISTS] == [5] * len(LISTS)
    assert inverse[0] <= inverse[1] <= inverse[2] and max(inverse[3:]) <= inverse[0]
    assert set(record["log_densities"]) == {"true", *vae_toy_models.ESTIMATES}
    assert {len(values) for values in record["log_densities"].values()} == {table_vae_toy.SHOWN_ROWS}
    assert record["steps"] == 10 and json.loads(json.dumps(record, allow_nan=False)) == record


def test_failed_training_is_recorded_and_left_out(few_rows, monkeypatch):
    monkeypatch.setattr(train_toy, "fit", lambda *_: (_ for _ in ()).throw(FloatingPointError("rate is NaN")))
    record = table_vae_toy.run("mix", "sum", 5.0, 3, 0, 10)
    assert record["error"] == "rate is NaN"
    args = arguments("--sets", "mix", "--losses", "sum", "--lambdas", "5", "--steps", "10")
    assert "| 5 | failed |" in table_vae_toy.markdown(args, [record], "origin")
    assert table_vae_toy.figures(args, [record]) == {}


def test_whole_ablation_has_91_models_and_every_table_and_figure():
    args = arguments("--steps", "10")
    jobs = table_vae_toy.jobs(args)
    assert len(jobs) == len({table_vae_toy.key(*job) for job in jobs}) == 91
    records = [made_up(job) for job in jobs]
    text = table_vae_toy.markdown(args, records, "origin")
    for number, loss in ((1, "square error"), (2, "downward-convex loss"), (4, "square error")):
        assert f"## Table {number}: mix, {loss}, lambda 100" in text
    assert "| 2/beta sigma_j^2 D'_j, mean | 0.970 | 0.980 | 0.990 | 0.965 | 0.925 | 0.972 |" in text
    assert "| its ratio to z_1 | 1.000 | 4.000 | 16.000 | 1 | 4.384 | 17.69 |" in text
    assert "Transform loss / coding loss: 0.0100, paper 0.023." in text
    assert "| downward-convex loss | 0.500 [0.434] | 0.500 | 0.500 [0.771] | 0.500 [0.91] | 0.500 [0.91] |" in text
    assert text.count("| 1000 | ") == 9 and "failed" not in text
    figures = table_vae_toy.figures(args, records)
    correlations = [
        len(figures[f"figure{name}.png"].axes[2].lines) for name in ("13_mix_sum", "14_mix_downward-convex")
    ]
    assert correlations == [3, 5]  # of square errors no estimate is scaled
    numbers = [name.split("_")[0] for name in figures]
    assert sorted(numbers) == sorted(f"figure{number}" for number in (3, 10, *range(13, 26)))


def test_seeds_make_mean_and_sd_and_settings_make_another_record():
    words = ["--sets", "ramp", "--losses", "sum", "--lambdas", "5"]
    args = arguments(*words, "--seeds", "2")
    records = [made_up(job, norm) for job, norm in zip(table_vae_toy.jobs(args), (0.5, 0.7))]
    assert "| 5 | 0.600 (0.141) |" in table_vae_toy.markdown(args, records, "origin")
    assert "| 5 | failed |" in table_vae_toy.markdown(arguments(*words, "--steps", "9"), records, "origin")
    records[1]["r_loss"] = None
    assert "| undefined |" in table_vae_toy.markdown(args, records, "origin")
    assert table_vae_toy.figures(args, records)


def test_quick_and_given_settings():
    quick = table_vae_toy.jobs(arguments("--quick"))
    assert len(quick) == 19 and {job[-1] for job in quick} == {table_vae_toy.QUICK_STEPS}
    assert {job[-1] for job in table_vae_toy.jobs(arguments("--quick", "--steps", "7"))} == {7}
    assert {job[2] for job in table_vae_toy.jobs(arguments("--lambdas", "8", "3", "8"))} == {3, 8}
    preset = vae_toy_models.preset("upward-convex", 50.0, 3, None)
    assert (preset.units, preset.lambda1, preset.lambda2) == ((128, 64), None, 50)


def test_normal_optimum_is_the_minimum_of_the_loss():
    """Linear VAEs of one dimension, x_hat = b (a x + sigma eps): the minimum over a, b, sigma at each variance."""
    for beta in (0.02, 0.5, 2.0):
        transform, coding = 0.0, 0.0
        for variance in vae_toy.VARIANCES:

            def loss(weights, variance=variance, beta=beta):
                a, b, log_sigma = weights
                distortion = (1 - a * b) ** 2 * variance + b**2 * np.exp(2 * log_sigma)
                return distortion / beta + 0.5 * (a**2 * variance + np.exp(2 * log_sigma) - 2 * log_sigma - 1)

            options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 10_000, "maxfev": 10_000}
            a, b, log_sigma = minimize(loss, [0.8, 0.8, -1.0], method="Nelder-Mead", options=options).x
            transform += (1 - a * b) ** 2 * variance
            coding += b**2 * np.exp(2 * log_sigma)
        np.testing.assert_allclose(
            np.concatenate(vae_toy_models.normal_optimum([beta])), [transform, coding], rtol=1e-4, atol=1e-6
        )
    transform, coding = vae_toy_models.normal_optimum([1e-5])
    assert coding / 1.5e-5 == pytest.approx(1, rel=1e-4) and transform / coding == pytest.approx(21e-5 / 16, rel=1e-4)


@pytest.mark.slow
def test_mix_at_lambda_100_reaches_the_papers_figures(tmp_path):
    tables.main(["vae-toy", "--sets", "mix", "--lambdas", "100", "--out", str(tmp_path / "table.md")])
    records = {(r["loss"], r["latent_units"]): r for r in json.loads((tmp_path / "table.json").read_text())}
    for (loss, units), record in records.items():
        np.testing.assert_allclose(record["unit_norm_mean"][:3], 1, atol=0.06)
        assert min(record["r_prior_scaled"], record["r_loss_scaled"]) > 0.92
        assert record["coding_loss"] == pytest.approx(0.015, rel=0.05)
        assert record["transform_loss"] < 0.05 * record["coding_loss"]
        assert record["abs_log_density_error_median"] < 0.15
        ratios = np.array(record["inverse_variance"]) / record["inverse_variance"][0]
        if loss == "sum":
            np.testing.assert_array_less(np.abs(ratios[1:3] - [4, 16]), [0.39, 1.69])  # the paper's distances
            assert record["r_loss"] > 0.94
        else:
            assert record["r_prior"] + 0.05 < record["r_loss"] < record["r_loss_scaled"] - 0.05
        if units == 5:
            assert max(record["unit_norm_mean"][3:]) < 0.01
            np.testing.assert_allclose(record["inverse_variance"][3:], 1, atol=0.02)
    third = {loss: record["inverse_variance"][2] for (loss, units), record in records.items() if units == 3}
    assert third["downward-convex"] < third["sum"] < third["upward-convex"]
