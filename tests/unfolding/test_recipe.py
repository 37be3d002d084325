import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_radogaga as tr
from tf_radogaga.datasets.manifolds import DEVELOPABLE, MANIFOLDS
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


def plane_in_noise(rows=3000, columns=8):
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(columns, columns)))[0][:2]
    coordinates = rng.normal(size=(rows, 2)) * [3, 1]
    return coordinates, coordinates @ directions + 0.1 * rng.normal(size=(rows, columns))


def test_a_plane_in_noise_starts_flat_and_what_is_curved_by_its_chart(monkeypatch):
    coordinates, rows = plane_in_noise()
    y = recipe._start(rows, 2, recipe.noise_share(rows, 2), 0)
    some = np.random.default_rng(0).integers(len(rows), size=(2, 500))
    apart, expected = (np.linalg.norm(at[some[0]] - at[some[1]], axis=1) for at in (y, coordinates))
    np.testing.assert_allclose(apart, expected, atol=0.6)  # six times the noise of a column
    monkeypatch.setattr(recipe, "chart", lambda *of: "chart")
    for surface in (DEVELOPABLE["sine sheet"].embedded(8), MANIFOLDS["half sphere"].embedded(8, noise=0.05)):
        bent = surface.sample(2000).rows
        assert recipe._start(bent, 2, recipe.noise_share(bent, 2), 0) == "chart"


@pytest.mark.slow
def test_noise_is_no_dimension():
    model = tr.fit_isometric(plane_in_noise()[1], verbose=0)
    assert model.latent_units == 2


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
        ({"rows": rows[:250], "latent_units": None}, "rows: 250 distinct ones; 300 are needed"),
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


class Tried:
    """In place of models; `known` are the residuals that one was adapted to."""

    def __init__(self, units):
        self.units, self.residuals, self.known = units, self, None

    def undefined(self):
        return None

    def adapt_residuals(self, rows):
        self.known = rows


@pytest.fixture
def searched(monkeypatch):
    """Runs the search, where the fit of N units has held-out nats and troubles by place N - 1 of these lists; returns
    the model and the (units, seed) that were tried."""

    def search(nats, troubles, columns=5, **options):
        tried = []

        def fit(x, units, preprocess, seed, verbose):
            tried.append((units, seed))
            assert len(x) == 300
            if troubles[units - 1] == "diverged":
                raise FloatingPointError("rate became NaN")
            return recipe._Fit(Tried(units), 0.5, troubles[units - 1])

        noise = np.random.default_rng(0).normal(size=100)
        monkeypatch.setattr(recipe, "_fit", fit)
        monkeypatch.setattr(recipe, "_nats", lambda model, rows: nats[model.units - 1] + noise / (1 + model.units))
        rows = np.random.default_rng(0).normal(size=(400, columns))
        return tr.fit_isometric(rows, seed=4, **options), tried

    return search


def test_without_latent_units_those_are_taken_that_make_held_out_rows_likeliest(searched):
    model, tried = searched([0, 2, 2.01, 9], ["folded", "", "", ""])
    assert model.units == 2 and tried == [(1, 4), (2, 4), (3, 4)]
    assert model.known.shape == (100, 5)
    model, tried = searched([0, 1], ["folded", ""], columns=2)
    assert model.units == 2 and tried == [(1, 4), (2, 4)]
    assert searched([-np.inf, 1, 0], ["folded", "", ""])[0].units == 2
    assert searched([0, 2, 2.15, 9], ["", "", "", ""])[0].units == 2  # clear, but too little
    assert searched([0, -np.inf], ["", ""])[0].units == 1


def test_rows_that_are_held_out_are_not_trained_on_by_a_copy(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)[np.arange(1200) % 400]
    parts = []
    monkeypatch.setattr(recipe, "_fit", lambda x, units, *_: parts.append(x) or recipe._Fit(Tried(units), 0.5, ""))
    monkeypatch.setattr(recipe, "_nats", lambda model, held_out: parts.append(held_out) or np.zeros(len(held_out)))
    model = tr.fit_isometric(rows, seed=4)
    seen, held_out = parts[:2]
    assert (len(seen), len(held_out)) == (900, 300) and model.known is held_out
    assert len(np.unique(seen, axis=0)) + len(np.unique(held_out, axis=0)) == 400
    assert sorted(map(tuple, np.concatenate([seen, held_out]))) == sorted(map(tuple, rows))


def test_the_likeliest_number_of_units_is_started_again_where_it_is_no_copy(searched):
    with pytest.warns(UserWarning, match=r"no latent of 2 units is a copy of the rows \(torn rows\), in 3 starts"):
        model, tried = searched([0, 1, 1], ["", "torn rows", ""])
    assert model.units == 2 and tried == [(1, 4), (2, 4), (3, 4), (2, 5), (2, 6)]


def test_more_units_are_not_tried_where_one_is_too_many(searched):
    for ended in ("local dimension 1 < 2", "diverged"):
        model, tried = searched([0, 9, 99], ["", ended, ""])
        assert model.units == 1 and tried == [(1, 4), (2, 4)]
    with pytest.raises(FloatingPointError):
        searched([0, 9], ["diverged", ""])


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
