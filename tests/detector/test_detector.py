"""Laws of `AnomalyDetector` and of the densities it averages."""

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.marks import after
from helpers.models import clusters, rotated, small_model, table
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from tf_radogaga import AnomalyDetector
from tf_radogaga.detector.densities import IndependentColumns, KernelDensity, MixtureDensity
from tf_radogaga.detector.densities.mixture import log_prob_left_out


@pytest.fixture(scope="module")
def fitted():
    return AnomalyDetector(random_state=0).fit(rotated())


def grid(width, steps):
    """Points of a square around 0 and the area of each."""
    axis = (np.arange(steps) + 0.5) / steps * 2 * width - width
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2), (2 * width / steps) ** 2


def test_scores_are_log_densities_that_integrate_to_one(fitted):
    points, area = grid(20, 150)
    assert np.exp(fitted.score_samples(points + np.array([2, -1.5]))).sum() * area == pytest.approx(1, abs=0.03)


def test_each_density_integrates_to_one():
    rng = np.random.default_rng(1)
    rows = rotated()[:, :1]
    rows = np.sort((rows - rows.mean()) / rows.std(), axis=0)
    kernel = KernelDensity(rows, rng)
    mixture = MixtureDensity(rows[::8], rng)
    assert len(mixture.mixtures) == 1  # of several sizes the geometric mean is below a density
    points = np.arange(-200, 200, 0.02)[:, None]
    wide = kernel.log_prob(points)
    for log_prob in (wide, mixture.log_prob(points, wide), IndependentColumns(rows, held_out=rows).log_prob(points)):
        assert np.exp(log_prob).sum() * 0.02 == pytest.approx(1, abs=0.01)


def test_densities_find_the_one_that_made_the_rows():
    truth = multivariate_normal([1, 2], [[2, 1.2], [1.2, 1]])
    detector = AnomalyDetector(random_state=0).fit(truth.rvs(1500, random_state=0))
    fresh = truth.rvs(1000, random_state=1)
    gap = truth.logpdf(fresh) - detector.score_samples(fresh)
    assert 0 <= gap.mean() < 0.15 and "columns" not in detector.used_


def test_columns_count_where_they_are_independent():
    rng = np.random.default_rng(2)
    apart = np.concatenate([rng.gamma(0.5, size=(600, 3)), rng.exponential(size=(600, 3))], axis=1)
    detector = AnomalyDetector(random_state=0).fit(apart)
    assert "columns" in detector.used_ and max(detector.held_out_, key=detector.held_out_.get) == "columns"
    together = np.repeat(apart[:, :3], 2, axis=1) + 0.1 * rng.normal(size=(600, 6))
    assert "columns" not in AnomalyDetector(random_state=0).fit(together).used_


def test_held_out_likelihood_is_that_of_fresh_rows():
    rng = np.random.default_rng(3)
    rows, fresh = rng.normal(size=(2, 1500, 3))
    kernel = KernelDensity(rows, rng)
    assert kernel.held_out == pytest.approx(kernel.log_prob(fresh).mean(), abs=0.1)
    columns = IndependentColumns(rows, held_out=rows)
    assert columns.held_out == pytest.approx(columns.log_prob(fresh).mean(), abs=0.1)


def test_kernels_draw_from_their_density():
    rng = np.random.default_rng(4)
    kernel = KernelDensity(rng.normal(size=(50, 1)), rng)
    drawn = np.sort(kernel.sample(20_000, rng)[:, 0])
    points = np.linspace(-200, 200, 80_001)[:, None]
    cumulative = np.cumsum(np.exp(kernel.log_prob(points))) * 0.005
    gap = np.interp(drawn, points[:, 0], cumulative) - (np.arange(len(drawn)) + 0.5) / len(drawn)
    assert np.abs(gap).max() < 0.02  # Kolmogorov's distance; 0.0096 at 5 %


def test_rows_in_another_order_score_alike():
    rows = rotated()
    order = np.random.default_rng(5).permutation(len(rows))
    first, second = (AnomalyDetector(random_state=0).fit(r).score_samples(rows) for r in (rows, rows[order]))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_units_of_columns_shift_the_density_and_nothing_else():
    rows, unit, origin = rotated(), np.array([1000.0, 0.01]), np.array([5.0, -3.0])
    first = AnomalyDetector(random_state=0).fit(rows).score_samples(rows)
    second = AnomalyDetector(random_state=0).fit(rows * unit + origin).score_samples(rows * unit + origin)
    np.testing.assert_allclose(second, first - np.log(unit).sum(), atol=1e-6)


def test_repeated_rows_count_once_in_joint_densities():
    rows = rotated(100)
    once, often = (AnomalyDetector(random_state=0).fit(r) for r in (rows, np.concatenate([rows, *[rows[:2]] * 50])))
    assert often.held_out_["kernel"] == pytest.approx(once.held_out_["kernel"], abs=1)


def test_levels_that_are_met_more_often_are_likelier():
    levels = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # all met, so kernels alone tell nothing
    detector = AnomalyDetector(random_state=0).fit(np.repeat(levels, [180, 60, 60, 20], axis=0))
    scores = detector.score_samples(levels)
    assert scores[0] > scores[1] + 0.3 and scores[1] > scores[3] + 0.3
    np.testing.assert_allclose(scores[1], scores[2], atol=1e-9)


def test_columns_are_compared_by_rows_of_their_own():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 2))
    columns = IndependentColumns(rows, held_out=rows[:50])
    left_out = columns.log_prob(rows[:50], own=np.arange(50))
    assert columns.held_out == pytest.approx(left_out.mean(), abs=0.05)
    assert columns.held_out != pytest.approx(IndependentColumns(rows, held_out=rows).held_out, abs=0.01)


def test_rows_that_repeat_are_scored_once_and_alike(fitted, monkeypatch):
    rows = rotated(6, seed=1)
    alone = fitted.score_samples(rows)
    scored, log_prob = [], KernelDensity.log_prob
    monkeypatch.setattr(KernelDensity, "log_prob", lambda self, z, own=None: (scored.append(z), log_prob(self, z))[1])
    order = [0, 3, 0, 5, 1, 1, 2, 4, 0]
    np.testing.assert_allclose(fitted.score_samples(rows[order]), alone[order], rtol=1e-12)
    assert len(scored[0]) == 6


def test_a_constant_column_tells_by_the_rule_of_succession(fitted):
    rows = rotated()
    detector = AnomalyDetector(random_state=0).fit(np.insert(rows, 1, 7.0, axis=1))
    same, novel = (detector.score_samples(np.insert(rows, 1, value, axis=1)) for value in (7.0, 7.5))
    np.testing.assert_allclose(same - novel, math.log(len(rows) + 1))
    np.testing.assert_allclose(same, fitted.score_samples(rows) + math.log((len(rows) + 1) / (len(rows) + 2)))


def test_threshold_is_the_quantile_of_the_rows_it_is_set_on(fitted):
    fresh = rotated(1000, seed=6)
    for name in ("quantile", "false_positive_rate"):
        assert fitted.set_threshold(fresh, **{name: 0.05}) is fitted
        assert (fitted.predict(fresh) == -1).mean() == pytest.approx(0.05, abs=1e-3)
    assert fitted.threshold_ == np.quantile(fitted.score_samples(fresh), 0.05)
    other = AnomalyDetector(random_state=0, false_positive_rate=0.1).fit(rotated())
    assert fitted.set_threshold(quantile=0.1).threshold_ == other.threshold_


@pytest.mark.parametrize("rounded", [False, True])
def test_the_threshold_of_fit_keeps_its_rate_on_fresh_rows(rounded):
    rng, mixing = np.random.default_rng(7), np.random.default_rng(8).normal(size=(6, 6))
    rows, fresh = (rng.normal(size=(n, 6)) @ mixing for n in (300, 3000))
    rows, fresh = (np.round(r) if rounded else r for r in (rows, fresh))
    detector = AnomalyDetector(random_state=0, false_positive_rate=0.05).fit(rows)
    assert (detector.predict(fresh) == -1).mean() == pytest.approx(0.05, abs=0.04)
    as_trained = np.quantile(detector.score_samples(rows), 0.05)
    assert (detector.score_samples(fresh) < as_trained).mean() > 0.15  # rows score themselves too well


def test_kernels_without_a_row_are_kernels_on_the_others():
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(40, 3))
    whole, others = KernelDensity(rows, rng), KernelDensity(rows[1:], rng)
    others.bandwidth = whole.bandwidth
    np.testing.assert_allclose(whole.log_prob(rows[:1], np.array([0])), others.log_prob(rows[:1]), rtol=1e-12)


def test_columns_without_a_row_are_those_of_the_others():
    rows = np.random.default_rng(10).normal(size=(40, 1))
    whole = IndependentColumns(rows, held_out=rows)
    values, _, bandwidths = whole.columns[0]
    z = (rows - whole.mean) / whole.scale
    gaps = np.square(z[1:] - z[0])
    logs = [np.log(np.mean(np.exp(-gaps / (2 * h**2)) / (h * math.sqrt(2 * math.pi)))) for h in bandwidths]
    logs = [np.log(whole.mixed(np.exp(log), z[0, 0])) for log in logs]
    found = whole.log_prob(rows[:1], np.array([0]))[0]
    assert found == pytest.approx(np.mean(logs) - math.log(whole.scale[0]), rel=1e-12) and len(values) == 40


def test_a_mixture_without_a_row_is_a_step_of_em_on_the_others():
    rows = rotated(200)
    mixture = GaussianMixture(3, reg_covar=1e-12, random_state=0, max_iter=300, tol=1e-9).fit(rows)
    members = mixture.predict_proba(rows)
    for place in (0, 50, int(mixture.score_samples(rows).argmin())):
        others, shares = np.delete(rows, place, axis=0), np.delete(members, place, axis=0)
        density = 0
        for share in shares.T:
            mean = share @ others / share.sum()
            spread = (others - mean).T @ (share[:, None] * (others - mean)) / share.sum()
            density += share.mean() * multivariate_normal(mean, spread).pdf(rows[place])
        parts = mixture.weights_, mixture.means_, mixture.precisions_cholesky_
        (found,) = log_prob_left_out(rows[place : place + 1], len(rows), *parts)
        assert found == pytest.approx(math.log(density), rel=1e-4)


def test_a_repeated_row_left_out_once_is_still_there():
    rows = rotated(60)
    detector = AnomalyDetector(random_state=0).fit(np.concatenate([rows, rows[:1]]))
    np.testing.assert_allclose(detector.training_scores_[[0, 60]], detector.score_samples(rows[[0, 0]]), rtol=1e-9)
    assert (detector.training_scores_[1:60] < detector.score_samples(rows[1:])).all()


def test_signs_agree(fitted):
    points = np.array([[0.0, 0.0], [40.0, 40.0], [4.0, -3.0]])
    decision = fitted.decision_function(points)
    np.testing.assert_array_equal(fitted.predict(points), [1, -1, 1])
    np.testing.assert_array_equal(np.sign(decision), fitted.predict(points))
    np.testing.assert_allclose(decision, fitted.score_samples(points) - fitted.threshold_)


def test_text_columns_are_levels():
    frame = table()
    detector = AnomalyDetector(categorical=("code",), random_state=0).fit(frame)
    odd = frame.assign(kind=np.where(np.arange(300) % 2, "never seen", frame["kind"]))
    scores = detector.score_samples(odd)
    assert roc_auc_score(np.arange(300) % 2, -scores) > 0.95
    with pytest.raises(ValueError, match="columns"):
        detector.score_samples(frame.drop(columns="kind"))


@pytest.mark.parametrize(("kind", "features"), after(1, [("log", False), ("dagmm", True)]))
def test_other_models_are_trained_and_give_their_own_scores(kind, features):
    model, rows = small_model(kind, reconstruction_features=features), clusters()
    model.compile(tf.keras.optimizers.Adam(1e-3), run_eagerly=True)
    before = [variable.numpy() for variable in model.trainable_variables]
    detector = AnomalyDetector(model, epochs=1, false_positive_rate=0.1).fit(rows)
    trained = detector.model_
    own = -trained.energy(rows) if features else trained.log_density(rows)
    np.testing.assert_allclose(detector.score_samples(rows), own, rtol=1e-6)
    assert (detector.predict(rows[9::10]) == -1).mean() == pytest.approx(0.1)  # the rows that it has not seen
    assert all((old == variable.numpy()).all() for old, variable in zip(before, model.trainable_variables))
    assert any((old != variable.numpy()).any() for old, variable in zip(before, trained.trainable_variables))
    if features:
        with pytest.raises(NotImplementedError, match="energy is no density"):
            detector.log_density(rows)
    else:
        np.testing.assert_array_equal(detector.log_density(rows), detector.score_samples(rows))


def test_bad_rows_and_arguments_are_named(fitted):
    rows = rotated(30)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        AnomalyDetector().fit(np.where(rows > 4, np.nan, rows))
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2"):
        AnomalyDetector().fit(rows[:1])
    with pytest.raises(ValueError, match=r"X: all 5 rows are equal; give rows that differ"):
        AnomalyDetector().fit(np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"X has 3 features, but AnomalyDetector is expecting 2 .*training rows"):
        fitted.predict(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"false_positive_rate: 0.5 is outside \[0, 0.5\); give a share"):
        AnomalyDetector(false_positive_rate=0.5).fit(rows)
    with pytest.raises(TypeError, match="model: 'RaDOGAGA' is no model"):
        AnomalyDetector("RaDOGAGA").fit(rows)
    with pytest.raises(ValueError, match=r"model: not compiled.*model\.compile"):
        AnomalyDetector(small_model()).fit(rows)
    with pytest.raises(TypeError, match=r"categorical: \('code',\) names columns; give X as a DataFrame"):
        AnomalyDetector(categorical=("code",)).fit(rows)
    with pytest.raises(NotFittedError):
        AnomalyDetector().score_samples(rows)
    for wrong in ({}, {"quantile": 0.1, "false_positive_rate": 0.1}):
        with pytest.raises(ValueError, match="give quantile or false_positive_rate"):
            fitted.set_threshold(**wrong)
    with pytest.raises(ValueError, match=r"quantile: 1\.5 is outside"):
        fitted.set_threshold(quantile=1.5)
    frame = pd.DataFrame(rotated(), columns=["a", "b"])
    with pytest.raises(ValueError, match=r"columns \['b', 'a'\] where those of fit belong, \['a', 'b'\]"):
        AnomalyDetector().fit(frame).predict(frame[["b", "a"]])
