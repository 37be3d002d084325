"""Laws of Shapley values and of `AnomalyDetector.explain`."""

import itertools
import math

import numpy as np
import pytest
from helpers.models import rotated, table

from tf_radogaga import AnomalyDetector
from tf_radogaga.detector.explanations import shapley_values


def exact(score, row, reference):
    """Over all orders of the columns."""
    width, total = len(row), np.zeros(len(row))
    for order in itertools.permutations(range(width)):
        mixed = reference.copy()
        for column in order:
            before = score(mixed[None])[0]
            mixed[column] = row[column]
            total[column] += score(mixed[None])[0] - before
    return total / math.factorial(width)


def test_values_are_those_of_all_orders_for_interactions_of_two():
    rng = np.random.default_rng(0)
    rows, references, matrix = rng.normal(size=(4, 5)), rng.normal(size=(4, 5)), rng.normal(size=(5, 5))

    def score(x):
        return np.einsum("bi,ij,bj->b", x, matrix, x) + x[:, 0]

    found = shapley_values(score, rows, references)
    for place in range(4):
        np.testing.assert_allclose(found[place], exact(score, rows[place], references[place]), atol=1e-12)


def test_values_sum_to_the_gap_whatever_the_score():
    rng = np.random.default_rng(1)
    rows, references = rng.normal(size=(2, 6, 7))

    def score(x):
        return np.prod(np.cos(x), axis=1) + np.max(x, axis=1)

    found = shapley_values(score, rows, references)
    np.testing.assert_allclose(found.sum(axis=1), score(rows) - score(references), atol=1e-12)
    alone = shapley_values(lambda x: np.exp(x[:, 2]), rows, references)
    assert not np.delete(alone, 2, axis=1).any()  # the others do nothing


@pytest.fixture(scope="module")
def fitted():
    return AnomalyDetector(random_state=0).fit(np.insert(rotated(), 1, 7.0, axis=1))


def test_explanations_sum_to_the_gap_to_a_typical_row(fitted):
    odd = np.insert(rotated(50, seed=1), 1, 7.0, axis=1)
    odd[0, 0] += 30
    odd[1, 1] = 8.0
    typical = fitted.typical_rows(odd)
    found = fitted.explain(odd)
    gap = fitted.score_samples(odd) - fitted.score_samples(typical)
    np.testing.assert_allclose(found.sum(axis=1), gap, atol=1e-9)
    assert found[0].argmin() == 0 and found[1].argmin() == 1
    assert found[1, 1] == pytest.approx(-math.log(len(rotated()) + 1))  # the odds of a new value, see the class
    np.testing.assert_allclose(fitted.explain(odd[3:5]), found[3:5], atol=1e-9)  # rows do not see one another


def test_typical_rows_are_training_rows_that_score_well(fitted):
    rows = np.insert(rotated(), 1, 7.0, axis=1)
    typical = fitted.typical_rows(rows + np.array([9, 0, 9]))
    assert {tuple(row) for row in typical} <= {tuple(row) for row in rows}
    assert fitted.score_samples(typical).min() >= np.median(fitted.training_scores_)
    np.testing.assert_array_equal(fitted.typical_rows(typical), typical)


def test_a_column_of_text_has_one_number():
    frame = table()
    detector = AnomalyDetector(categorical=("code",), random_state=0).fit(frame)
    odd = frame[:20].copy()
    odd.loc[0, "kind"] = "never seen"
    found, typical = detector.explain(odd), detector.typical_rows(odd)
    assert found.shape == (20, 4) and list(typical) == list(frame)
    gap = detector.score_samples(odd) - detector.score_samples(typical)
    np.testing.assert_allclose(found.sum(axis=1), gap, atol=1e-9)
    assert found[0].argmin() == 1
