"""How far out in the tail of a law a value is."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tf_radogaga.models.tails import SHARE, fitted_tail, nats


@pytest.mark.parametrize("law", [stats.expon(scale=3), stats.norm(5, 2), stats.gamma(4)], ids=lambda law: law.dist.name)
def test_it_is_minus_log_of_the_share_that_exceeds(law):
    tail, fresh = fitted_tail(law.rvs(20_000, random_state=0)), law.rvs(2000, random_state=1)
    within = law.sf(fresh) > SHARE
    found, true = nats(tail, tf.constant(fresh)).numpy(), -law.logsf(fresh)
    np.testing.assert_allclose(found[within], true[within], atol=0.1)
    assert abs(found.mean() - 1) < 0.05  # -log p of a fair p


def test_beyond_it_grows_evenly_as_an_exponential_tail_does():
    law = stats.expon(scale=3)
    tail = fitted_tail(law.rvs(20_000, random_state=0))
    far = np.array([20.0, 40.0, 80.0])
    np.testing.assert_allclose(nats(tail, tf.constant(far)), -law.logsf(far), rtol=0.1)
    np.testing.assert_allclose(np.diff(nats(tail, tf.constant(far))), far[:2] / tail["excess"])
    assert np.isposinf(nats(tail, tf.constant([np.inf]))) and nats(tail, tf.constant([-np.inf])) == 0


def test_it_never_falls_and_keeps_to_its_units():
    values = np.random.default_rng(0).standard_t(2, 300)
    grid = np.linspace(-30, 30, 1001)
    found = nats(fitted_tail(values), tf.constant(grid)).numpy()
    assert (np.diff(found) >= 0).all() and found[0] == 0
    np.testing.assert_allclose(nats(fitted_tail(8 * values + 3), tf.constant(8 * grid + 3)), found, atol=1e-9)


@pytest.mark.parametrize("values", [[1.0], [2.0] * 50, [0.0, 0.0, 1.0]], ids=["one", "equal", "repeated"])
def test_few_and_repeated_values_have_one_too(values):
    tail = fitted_tail(np.array(values))
    found = nats(tail, tf.constant([-1e6, *values, 1e6], tf.float64)).numpy()
    assert np.isfinite(found).all() and found[0] == 0 and found[-1] > 10
