"""Flows are densities, and laws of z are compared in nats."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tf_radogaga_trainers.reproduce import table_laws


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(table_laws, "EPOCHS", 3)


@pytest.mark.parametrize("name", table_laws.FLOWS)
def test_a_flow_integrates_to_one_and_learns(name, quick):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 2)) @ [[3, 1], [0, 0.5]] + [1, -2]
    log_prob = table_laws.flow(z, table_laws.FLOWS[name], seed=0)
    axes = np.linspace(-29, 31, 401), np.linspace(-14, 10, 401)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert np.exp(log_prob(grid)).sum() * cell == pytest.approx(1, abs=0.01)
    apart = multivariate_normal(z.mean(axis=0), np.diag(z.var(axis=0))).logpdf(z).mean()
    assert log_prob(z).mean() > apart  # it sees that columns go together


@pytest.mark.thorough
def test_laws_of_normal_latents_are_as_likely_as_the_true_one(quick):
    rng = np.random.default_rng(0)
    z, other = rng.normal(size=(1000, 2)), rng.normal(size=(500, 2))
    true = multivariate_normal(np.zeros(2)).logpdf(other).mean()
    found = table_laws.fitted_laws(2 * z, [2 * other], seed=0)
    assert list(found) == [
        "stack",
        "detector",
        *(f"detector: {name}" for name in ("kernel", "mixture", "columns")),
        *table_laws.FLOWS,
    ]
    for name, (log_p,) in found.items():
        assert log_p.mean() + 2 * np.log(2) == pytest.approx(true, abs=0.3 if name in table_laws.FLOWS else 0.1)
