"""Fits by EM that stop early say nothing, and leave what is the whole process's alone."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from tf_radogaga import AnomalyDetector
from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.priors import MixturePrior

ROWS = np.random.default_rng(0).normal(size=(200, 3)) * [1, 5, 0.1]


def detector():
    AnomalyDetector(random_state=0).fit(ROWS)


def prior():
    MixturePrior(3, 2).adapt([tf.constant(ROWS, tf.float32)])


@pytest.mark.parametrize("iterations", [1, 200])
def test_a_mixture_is_that_of_scikit_learn(iterations):
    options = {"max_iter": iterations, "random_state": 3}
    expected = GaussianMixture(4, **options)
    if iterations == 1:
        with pytest.warns(ConvergenceWarning):
            expected.fit(ROWS)
    else:
        expected.fit(ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gaussian_mixture(ROWS, 4, **options)
    assert type(found) is GaussianMixture and vars(found).keys() == vars(expected).keys()
    assert found.converged_ == expected.converged_ == (iterations > 1)
    np.testing.assert_array_equal(found.score_samples(ROWS), expected.score_samples(ROWS))
    np.testing.assert_array_equal(found.precisions_cholesky_, expected.precisions_cholesky_)


@pytest.mark.thorough
@pytest.mark.parametrize("fit", [detector, prior])
def test_filters_of_warnings_are_the_users_while_a_mixture_is_fitted(fit, monkeypatch):
    seen, own = [], GaussianMixture.fit_predict
    monkeypatch.setattr(GaussianMixture, "fit_predict", lambda *a: (seen.append(list(warnings.filters)), own(*a))[1])
    before = list(warnings.filters)
    fit()
    assert seen and all(filters == before for filters in seen)
