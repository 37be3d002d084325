"""Laws of residuals: their integrals, closed forms, draws, and which of them is taken."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tf_radogaga.models import residual_laws


def normal_space(columns, tangents, seed=0):
    """Orthonormal tangents (n, M) and a basis of what is normal to them (M, M - n)."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(columns, columns)))[0]
    return basis[:, :tangents].T, basis[:, tangents:]


def none(law):
    """log v where there is no manifold: the residual has all dimensions."""
    return -np.sum(np.log(law["scales"])) - 0.5 * np.sum(np.log1p(law["excess"]))


def at(tangents):
    """log v at a row of these tangents (n, M)."""
    return functools.partial(residual_laws.log_volumes, tangents=tf.constant(tangents[None]))


def with_directions(codimension=3, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(columns, 2)))[0].T
    law = {"codimension": codimension, "sigma": 0.7, "scales": rng.uniform(0.5, 2, columns).tolist()}
    law.update(vectors=vectors.tolist(), excess=[3.0, 0.5])
    scales = np.diag(law["scales"])
    return law, scales @ (np.eye(columns) + vectors.T @ np.diag(law["excess"]) @ vectors) @ scales


def test_the_law_of_lengths_integrates_to_one_and_the_sphere_turns_it_into_a_density():
    rng = np.random.default_rng(1)
    rho = rng.normal(size=(500, 3))
    rho *= (np.exp(rng.normal(size=500)) + 1)[:, None] / np.linalg.norm(rho, axis=1, keepdims=True)
    law = residual_laws.fitted_law(rho, none, 3)
    assert "weights" in law
    grid = np.exp(np.linspace(-12, 8, 20_001))
    log_h = residual_laws.log_prob_of_log_length(law, tf.constant(grid)).numpy()
    assert abs(np.trapz(np.exp(log_h), np.log(grid)) - 1) < 1e-5
    log_q = residual_laws.log_prob(law, grid[:, None] * [[0, 1.0, 0]]).numpy()
    np.testing.assert_allclose(log_q, log_h - np.log(4 * np.pi * grid**3), atol=1e-9)


def test_the_normal_law_is_that_of_scipy():
    rho = np.random.default_rng(2).normal(0, 0.3, (3000, 5))
    law = residual_laws.fitted_law(rho, none, 5)
    assert set(law) == {"codimension", "sigma"}
    expected = stats.multivariate_normal(np.zeros(5), law["sigma"] ** 2 * np.eye(5)).logpdf(rho[:50])
    np.testing.assert_allclose(residual_laws.log_prob(law, rho[:50]), expected, rtol=1e-9)


def test_a_law_of_directions_is_the_normal_one_within_the_normal_space():
    law, covariance = with_directions()
    tangents, basis = normal_space(5, 2)
    within = 0.49 * np.linalg.inv(basis.T @ np.linalg.inv(covariance) @ basis)
    a = np.random.default_rng(3).normal(size=(40, 3))
    volume = residual_laws.log_volumes(law, tf.constant(np.tile(tangents, (40, 1, 1))))
    found = residual_laws.log_prob(law, a @ basis.T, volume)
    np.testing.assert_allclose(found, stats.multivariate_normal(np.zeros(3), within).logpdf(a), rtol=1e-9)


@pytest.mark.parametrize("directions", [False, True])
def test_draws_are_normal_to_the_tangents_and_have_the_covariance_of_the_law(directions):
    law, covariance = with_directions() if directions else ({"codimension": 3, "sigma": 0.7}, np.eye(5))
    tangents, basis = normal_space(5, 2)
    drawn = residual_laws.drawn(law, np.tile(tangents, (40_000, 1, 1)), np.random.default_rng(4))
    np.testing.assert_allclose(drawn @ tangents.T, 0, atol=1e-9)
    within = 0.49 * np.linalg.inv(basis.T @ np.linalg.inv(covariance) @ basis)
    np.testing.assert_allclose(np.cov((drawn @ basis).T), within, atol=0.03 * within.max())


def test_mixtures_are_drawn_from_too():
    rng = np.random.default_rng(4)
    lengths = np.exp(np.where(rng.random(4000) < 0.3, rng.normal(-3, 0.2, 4000), rng.normal(1, 0.3, 4000)))
    rho = rng.normal(size=(4000, 4))
    rho *= (lengths / np.linalg.norm(rho, axis=1))[:, None]
    law = residual_laws.fitted_law(rho, none, 4)
    drawn = residual_laws.drawn(law, np.empty((4000, 0, 4)), np.random.default_rng(5))
    assert stats.ks_2samp(np.linalg.norm(drawn, axis=1), lengths).pvalue > 1e-3


def test_directions_are_taken_where_they_are_clear_and_rows_are_many():
    rng, tangents = np.random.default_rng(6), at(normal_space(6, 2)[0])
    unlike = rng.normal(size=(2000, 6)) * [0.1, 0.1, 1, 1, 3, 3]
    shared = 0.1 * rng.normal(size=(2000, 6)) + rng.normal(size=(2000, 1))
    assert len(residual_laws.fitted_law(unlike, tangents, 4)["scales"]) == 6
    assert len(residual_laws.fitted_law(shared, tangents, 4)["excess"]) >= 1
    for rows in (rng.normal(size=(2000, 6)), unlike[: 5 * 6 - 1 + 25]):
        law = residual_laws.fitted_law(rows, tangents, 4)
        assert "scales" not in law or len(rows) * 0.8 >= 30


def test_the_floor_holds_where_a_column_is_constant():
    rho = np.random.default_rng(7).normal(size=(1000, 4)) * [0, 1, 1, 5]
    law = residual_laws.fitted_law(rho, at(np.eye(4)[:1]), 3)
    assert min(law["scales"]) ** 2 >= 0.5 * residual_laws.FLOOR * np.mean(np.square(law["scales"]))
    assert np.isfinite(residual_laws.log_prob(law, np.array([[1.0, 0, 0, 0]]))).all()


ROWS = np.random.default_rng(8).normal(size=(500, 4))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rho",
    [0 * ROWS, 0 * ROWS + 1, 1e-14 * ROWS, ROWS * [1, 0, 0, 0], ROWS * [1e15, 1, 1, 1], ROWS[:, :1] @ ROWS[:1]],
    ids=["none", "the same", "tiny", "one column", "one huge column", "one direction"],
)
def test_degenerate_residuals_have_a_finite_law(rho):
    law = residual_laws.fitted_law(rho, none, 4)
    assert np.isfinite(residual_laws.log_prob(law, np.concatenate([rho[:3], ROWS[:3]]))).all()
    assert np.isfinite(residual_laws.drawn(law, np.zeros((5, 0, 4)), np.random.default_rng(0))).all()


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("factor", [10, 1e4, 1e12])
@pytest.mark.parametrize("unlike", [False, True])
def test_one_row_far_off_does_not_rule_the_law(place, factor, unlike):
    deviations = np.array([0.1, 0.1, 1, 1, 3, 3]) if unlike else np.ones(6)
    rho = deviations * np.random.default_rng(9).normal(size=(1600, 6))
    seen, fresh = rho[:600].copy(), rho[600:]
    seen[np.random.default_rng(0).permutation(600)[place]] *= factor
    law = residual_laws.fitted_law(seen, none, 6)
    assert "scales" in law or not unlike
    true = stats.multivariate_normal(np.zeros(6), np.diag(deviations**2)).logpdf(fresh).mean()
    assert abs(np.mean(residual_laws.log_prob(law, fresh)) - true) < 0.3
