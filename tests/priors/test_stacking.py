"""Weights of densities by held-out likelihood, and stacks of mixtures."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal, norm

from tf_radogaga.priors.stacking import MEMBERS, stacked, stacking_weights


def test_weights_are_those_that_a_general_optimizer_finds():
    x = np.random.default_rng(0).normal(0, 1.5, 400)
    log_prob = np.stack([norm(-1, 1).logpdf(x), norm(1, 1).logpdf(x), norm(0, 3).logpdf(x), norm(8, 1).logpdf(x)])
    found = minimize(lambda a: -logsumexp(log_prob, axis=0, b=softmax(a)[:, None]).mean(), np.zeros(4), tol=1e-10)
    np.testing.assert_allclose(stacking_weights(log_prob), softmax(found.x), atol=2e-3)


def test_a_density_far_better_than_the_others_has_all_the_weight_even_where_others_underflow():
    log_prob = np.stack([np.full(50, -2.0), np.full(50, -3000.0), np.full(50, -np.inf)])
    np.testing.assert_allclose(stacking_weights(log_prob), [1, 0, 0], atol=1e-12)


def test_a_stack_is_a_density_of_at_most_so_many_members():
    z = np.random.default_rng(1).standard_t(4, (600, 1))
    stack = stacked(z, 4, 1e-6)
    assert 1 <= stack.members <= MEMBERS and len(stack.weights) <= MEMBERS * 4
    np.testing.assert_allclose(stack.weights.sum(), 1, rtol=1e-9)
    grid = np.linspace(-60, 60, 20_001)[:, None]
    components = [multivariate_normal(*moments).pdf(grid) for moments in zip(stack.means, stack.covariances)]
    np.testing.assert_allclose(np.trapz(stack.weights @ np.stack(components), grid[:, 0]), 1, rtol=1e-6)
    for covariance, upper in zip(stack.covariances, stack.precisions_cholesky):
        np.testing.assert_allclose(upper @ upper.T, np.linalg.inv(covariance), rtol=1e-6)


def test_the_same_rows_give_the_same_stack_and_scaled_ones_the_scaled():
    z = np.random.default_rng(2).normal(size=(500, 2)) ** 3
    first, again, scaled = stacked(z, 3, 1e-9), stacked(z, 3, 1e-9), stacked(10 * z, 3, 1e-7)
    np.testing.assert_array_equal(first.means, again.means)
    np.testing.assert_allclose(scaled.held_out, first.held_out - 2 * np.log(10), rtol=1e-6)


def test_a_stack_tells_how_many_rows_it_needs():
    with pytest.raises(ValueError, match="z: 4 rows leave none to hold out; give at least 5"):
        stacked(np.zeros((4, 2)), 2, 1e-6)


@pytest.mark.parametrize("rows", [5, 9])
@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_few_rows_and_repeated_ones_make_a_density_too(rows, distinct):
    z = np.random.default_rng(3).normal(size=(distinct, 2))[np.arange(rows) % distinct]
    assert np.isfinite(stacked(z, 8, 1e-3).held_out)
