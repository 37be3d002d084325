"""The parts of the detector, put together again and measured one by one."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from tf_radogaga import AnomalyDetector, RaDOGAGA
from tf_radogaga_trainers.reproduce import detector_variants, tables
from tf_radogaga_trainers.reproduce import table_ablation as ablation


def drawn(columns, n=150):
    return np.random.default_rng(5).gamma(2.0, size=(n, columns)) * np.geomspace(1, 100, columns)


@pytest.fixture
def folder(tmp_path):
    rows = drawn(3, 120)
    labels = np.arange(120) % 10 == 0
    np.savez(tmp_path / "far.npz", X=rows + 900.0 * labels[:, None], y=labels)
    return tmp_path


def averages(train, test):
    z, test_z, base = detector_variants.in_latent(train, test, "geometric", 0)
    rng = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1))
    return base, detector_variants.Averages(z, test_z, rng)


@pytest.mark.parametrize("columns", [3, 20])  # of 20 there are too many for a mixture
def test_the_parts_put_together_are_the_detector(columns):
    rows = drawn(columns, 80)
    rows[:, 1] = 7.0
    train, test = rows[:60], rows[60:].copy()
    test[0, 1] = 8.0
    base, parts = averages(train, test)
    detector = AnomalyDetector(random_state=0).fit(train)
    np.testing.assert_allclose(parts.chosen() + base, detector.score_samples(test), rtol=1e-9)
    assert ("mixture" in detector.held_out_) == (columns == 3)
    if columns > 3:
        with pytest.raises(ValueError, match="mixture: too few rows for so many columns"):
            parts.named("kernel+mixture")()


def test_every_average_is_a_density():
    train, grid = drawn(1), np.linspace(-60, 120, 20_001)[:, None]
    base, parts = averages(train, grid)
    for name in detector_variants.DENSITIES:
        density = np.exp(parts.named(name)() + base)
        assert trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=0.04), name


@pytest.mark.parametrize("scale", ["deviation", "range", "geometric", "ranks"])
def test_scales_have_a_mean_variance_of_1_and_do_not_depend_on_units(scale):
    x, units = drawn(3), [1e-3, 1.0, 50.0]
    z, at, base = detector_variants.in_latent(x, x[:1], scale, 0)
    other, _, scaled_base = detector_variants.in_latent(x * units, x[:1] * units, scale, 0)
    assert z.var(axis=0).mean() == pytest.approx(1)
    np.testing.assert_array_equal(at, z[:1])
    np.testing.assert_allclose(other, z, atol=1e-9)
    if scale != "ranks":
        np.testing.assert_allclose(scaled_base, base - np.log(units).sum())
    if scale == "range":
        assert np.ptp(np.ptp(z, axis=0)) == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_trained_variants_share_their_models_and_start_at_the_identity(folder, monkeypatch):
    z = drawn(3).astype(np.float32)
    np.testing.assert_array_equal(detector_variants.ResidualNetwork(3, (4,), 3)(z), z)
    jobs = [(str(folder / "far.npz"), variant, 0, 2, 3) for variant in ("mixture", *detector_variants.TRAINED)]
    assert [len(group) for group in ablation.groups(jobs)] == [1, len(detector_variants.TRAINED)]
    plain, trained = (ablation.run_together(group) for group in ablation.groups(jobs))
    found = {record["variant"]: record for record in trained}
    assert set(found) == set(detector_variants.TRAINED) and not any("error" in record for record in trained)
    assert found["trained-mixture"]["log_likelihood"] == pytest.approx(plain[0]["log_likelihood"], abs=0.5)
    assert found["trained-seeds"]["log_likelihood"] != found["trained-prior"]["log_likelihood"]

    def diverge(*_):
        raise FloatingPointError("loss term 'rate'")

    monkeypatch.setattr(detector_variants, "trained_models", diverge)
    (failed,) = ablation.run_together(jobs[1:2])
    assert failed["error"] == "loss term 'rate'" and failed["auroc"] is failed["log_likelihood"] is None


def test_rows_that_repeat_once_are_rows_that_do_not_repeat():
    rows, test = np.round(drawn(2, 90), -1), drawn(2, 20)
    assert len(np.unique(rows, axis=0)) < 60
    once = detector_variants.family_scores("rows-once", rows, test, 0, 1, 1)[0]["rows-once"]()
    detector = AnomalyDetector(random_state=0).fit(rows).score_samples(test)
    assert np.abs(once - detector).max() > 0.1
    scale = detector_variants.IsometricLatent(rows)
    parts = detector_variants.Averages(scale(np.unique(rows, axis=0)), scale(test), np.random.default_rng(0))
    np.testing.assert_allclose(once, parts.chosen() - scale.log_scale - scale.surprise(test), atol=0.1)


@pytest.mark.thorough
def test_early_stopping_keeps_the_likeliest_look(monkeypatch):
    z, seen, looks = drawn(2).astype(np.float32), [], []

    class Watched(RaDOGAGA):
        def fit(self, rows, **options):
            seen.append(rows)
            return super().fit(rows, **options)

        def log_density(self, rows, **options):
            found = super().log_density(rows, **options)
            looks.append((rows, found - 10.0 * (len(looks) == 2)))  # the third look is worse
            return looks[-1][1]

    monkeypatch.setattr(detector_variants, "RaDOGAGA", Watched)
    model = detector_variants.trained_early(z, 0, 10, np.random.default_rng(0))
    held_out = looks[0][0]
    assert len(seen) == 3 and len(held_out) == len(z) // 4
    assert not {row.tobytes() for row in held_out} & {row.tobytes() for row in seen[0]}
    highest = max(looks[:3], key=lambda look: look[1].numpy().mean())
    np.testing.assert_allclose(model.log_density(held_out), highest[1], rtol=1e-5)


@pytest.mark.thorough
def test_without_a_gauge_there_is_no_likelihood(folder):
    found = ablation.run(str(folder / "far.npz"), "trained-no-gauge", 0, 1, 3)
    assert "error" not in found and found["auroc"] > 0.5 and found["log_likelihood"] is None


def test_the_table_tells_whether_likelihood_chooses_well(records, folder, capsys):
    variants = ["radogaga", "kernel", "columns", "scale-ranks"]
    out = folder / "made" / "ablation.md"
    command = ["ablation", "--datasets", "--data-dir", str(folder), "--seeds", "2", "--variants", *variants]
    tables.main([*command, "--out", str(out)])
    text = out.read_text()
    assert text in capsys.readouterr().out and len(records) == 2 * 4
    likelihood = {v: [r["log_likelihood"] for r in records if r["variant"] == v] for v in variants}
    assert likelihood.pop("scale-ranks") == [None, None] and "\n| scale-ranks | - | " in text
    best = max(likelihood, key=lambda variant: np.mean(likelihood[variant]))
    chosen = next(line for line in text.split("## Does likelihood")[1].splitlines() if line.startswith("| far |"))
    assert f" | {best} | " in chosen
    mean = np.mean(likelihood["kernel"])
    assert f"\n| kernel | {mean:.2f} (" in text.split("## far")[1]


def test_tables_of_one_name_are_refused(folder):
    np.savez(folder / "thyroid.npz", X=drawn(2), y=np.arange(150) % 10 == 0)
    with pytest.raises(SystemExit, match=r"--data-dir: .* holds a table named as one of --datasets"):
        tables.main(["ablation", "--data-dir", str(folder)])
    with pytest.raises(SystemExit, match="--datasets: none, and no --data-dir"):
        tables.main(["ablation", "--datasets"])
