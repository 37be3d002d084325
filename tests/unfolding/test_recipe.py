import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_radogaga as tr
from tf_radogaga.datasets.manifolds import DEVELOPABLE
from tf_radogaga.unfolding import recipe


@pytest.fixture
def quick(monkeypatch, small_flows):
    for name in ("STEPS", "START_STEPS"):
        monkeypatch.setattr(recipe, name, 30)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["arc of a circle", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sine sheet", "swiss roll"))]
)
def test_the_density_of_a_surface_is_true(name, tmp_path):
    surface = DEVELOPABLE[name].embedded(8)
    train, test = surface.sample(10_000, seed=0), surface.sample(4000, seed=1)
    model = tr.fit_isometric(train.rows, train.coordinates.shape[1], verbose=0)
    errors = np.abs(model.log_density(test.rows) - test.log_density)
    assert np.median(errors) < 0.05 and np.quantile(errors, 0.95) < 0.3
    report = tr.isometry_report(model, test.rows)
    assert report.verdict.startswith("isometric:")
    some = np.random.default_rng(0).integers(4000, size=(2, 500))
    z = model.encode(test.rows).numpy() / np.sqrt(model.metric_scale)
    geodesic = np.linalg.norm(test.coordinates[some[0]] - test.coordinates[some[1]], axis=1)
    np.testing.assert_allclose(np.linalg.norm(z[some[0]] - z[some[1]], axis=1), geodesic, rtol=0.05, atol=0.05)
    tr.save_model(model, tmp_path / "model")
    loaded = tr.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.log_density(test.rows), model.log_density(test.rows))


@pytest.mark.thorough
def test_a_latent_that_is_no_copy_is_told_and_starts_are_made_again(quick, monkeypatch):
    rows, started = DEVELOPABLE["swiss roll"].sample(500).rows, []
    chart = recipe.chart
    monkeypatch.setattr(recipe, "chart", lambda x, units, seed: started.append(seed) or chart(x, units, seed))
    with pytest.warns(UserWarning, match=r"no latent of 1 units is a copy of the rows \(reconstruction .* in 2 starts"):
        model = tr.fit_isometric(rows, 1, starts=2, seed=5, verbose=0)
    assert started == [5, 6]
    assert np.isfinite(model.log_density(rows)).all()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:latent_units. no latent")
def test_a_seed_gives_the_same_model_in_any_unit(quick):
    rows = DEVELOPABLE["sine sheet"].sample(300).rows
    here, there = (tr.fit_isometric(x, 2.0, starts=1, seed=1, verbose=0).log_density(x) for x in (rows, 64 * rows))
    assert np.quantile(np.abs(there + 2 * np.log(64) - here), 0.95) < 0.02  # EM makes more of rounding at a few rows


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:latent_units. no latent")
def test_the_model_takes_frames_and_exports(quick, tmp_path):
    frame = pd.DataFrame(DEVELOPABLE["sine sheet"].sample(300).rows, columns=["a", "b", "c"])
    model = tr.fit_isometric(frame, 2, starts=1, verbose=0)
    served = tf.saved_model.load(str(tr.export_saved_model(model, tmp_path)))
    rows = tf.constant(frame.to_numpy(np.float32))
    np.testing.assert_allclose(
        served.signatures["serving_default"](features=rows)["energy"], model.energy(frame), rtol=1e-5
    )


def test_bad_arguments_are_named():
    rows = np.random.default_rng(0).normal(size=(300, 3))
    for options, message in (
        ({"latent_units": 0}, "latent_units: 0 must be at least 1"),
        ({"latent_units": 4}, "latent_units: 4 must be at most 3, the columns"),
        ({"rows": rows[:50]}, "rows: 50 distinct ones; 200 are needed"),
        ({"rows": np.repeat(rows[:5], 60, axis=0)}, "rows: 5 distinct ones; 200 are needed"),
        ({"rows": rows @ np.ones((3, 30)), "latent_units": 17}, "latent_units: 17 must be at most 16"),
        ({"rows": rows[:, 0]}, r"rows: shape \(300,\); a matrix"),
        ({"rows": np.ones((300, 3))}, "rows: 1 distinct ones"),
        ({"rows": np.where(rows > 2.5, np.nan, rows)}, "row"),
        ({"starts": 0}, "starts: 0 must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            tr.fit_isometric(**{"rows": rows, "latent_units": 2, **options})
    for name in ("starts", "seed"):
        with pytest.raises(TypeError, match=f"{name}: None must be a whole number"):
            tr.fit_isometric(**{"rows": rows, "latent_units": 2, name: None})


def test_without_latent_units_the_least_that_copy_the_rows_are_taken(monkeypatch):
    tried = []
    monkeypatch.setattr(recipe, "_fitted", lambda x, units, preprocess, seed, verbose: tried.append((units, seed)))
    monkeypatch.setattr(recipe, "_trouble", lambda *_: (0.5, "" if len(tried) == 3 else "folded"))
    rows = np.random.default_rng(0).normal(size=(300, 5))
    tr.fit_isometric(rows, seed=4)
    assert tried == [(1, 4), (2, 4), (3, 4)]
    tried.extend(3 * [None])
    with pytest.warns(UserWarning, match="no latent of 1 to 5 units is a copy"):
        tr.fit_isometric(rows)


def test_noise_off_the_surface_is_not_asked_of_a_reconstruction(monkeypatch):
    measures, neighbourhoods = recipe.measures, recipe.neighbourhoods
    monkeypatch.setattr(measures, "reconstructed_share", lambda *_: 0.95)
    monkeypatch.setattr(measures, "round_trips", lambda *_: np.zeros(3))
    monkeypatch.setattr(neighbourhoods, "torn_rows", lambda *_: np.zeros(3))
    monkeypatch.setattr(neighbourhoods, "local_dimension", lambda *_: 2)
    model = type("Fitted", (), {"active_dimensions": 2})()
    assert recipe._trouble(model, None, noise=0.0)[1] == "reconstruction 0.950 < 0.99"
    assert recipe._trouble(model, None, noise=0.026)[1].startswith("reconstruction")
    assert not recipe._trouble(model, None, noise=0.027)[1]
    monkeypatch.setattr(neighbourhoods, "local_dimension", lambda *_: 1)
    assert recipe._trouble(model, None, noise=0.1)[1] == "local dimension 1 < 2"
    monkeypatch.setattr(measures, "reconstructed_share", lambda *_: 0.8)
    assert recipe._trouble(model, None, noise=0.7)[1].startswith("reconstruction 0.800 < 0.84")


def test_more_units_are_not_tried_where_one_is_too_many(monkeypatch):
    tried = []
    monkeypatch.setattr(recipe, "_fitted", lambda x, units, *_: tried.append(units))
    monkeypatch.setattr(
        recipe, "_trouble", lambda *_: (0.1 * len(tried), "torn rows" if len(tried) < 2 else "local dimension 1 < 2")
    )
    with pytest.warns(UserWarning, match="no latent of 1 to 2 units .* a dimension too many"):
        tr.fit_isometric(np.random.default_rng(0).normal(size=(300, 5)))
    assert tried == [1, 2]
