import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid, trapezoid
from scipy.stats import ks_1samp, norm

from tf_radogaga.datasets.toy import BASIS
from tf_radogaga.datasets.vae_toy import (
    NORMAL,
    SETS,
    VARIANCES,
    Shape,
    estimated_variances,
    generate_vae_toy,
    source_log_density,
)

SHAPES = [pytest.param(shape, id=f"{name} {i + 1}") for name in SETS for i, shape in enumerate(SETS[name])]
LINE = np.linspace(-8, 8, 20_001)


@pytest.fixture(scope="module", params=list(SETS))
def data(request):
    return request.param, generate_vae_toy(request.param, seed=3)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_is_a_density_of_mean_0_and_variance_1(shape):
    density = np.exp(shape.log_density(LINE))
    for power, moment in enumerate((1, 0, 1)):
        assert trapezoid(LINE**power * density, LINE) == pytest.approx(moment, abs=1e-9)
    np.testing.assert_allclose(shape.cdf(LINE), cumulative_trapezoid(density, LINE, initial=0), atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_posterior_at_lambda_100_resolves_every_part(name):
    for shape, variance in zip(SETS[name], VARIANCES):
        assert np.sqrt(variance) * shape.components()[2].min() > 1.5 * np.sqrt(0.005)


def test_moving_mirroring_and_stretching_the_parts_keeps_the_shape():
    weights, centres, deviations = (1, 2, 3), (0, 1, 4), (1, 0.5, 2)
    shape, u = Shape(weights, centres, deviations), LINE[::100]
    moved = Shape((10, 20, 30), tuple(5 + 3 * np.array(centres)), tuple(3 * np.array(deviations)))
    mirrored = Shape(weights, tuple(-np.array(centres)), deviations)
    np.testing.assert_allclose(moved.log_density(u), shape.log_density(u), atol=1e-12)
    np.testing.assert_allclose(mirrored.log_density(-u), shape.log_density(u), atol=1e-12)
    assert moved.excess() == pytest.approx(shape.excess(), rel=1e-9)
    assert mirrored.excess() == pytest.approx(shape.excess(), rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_excess_is_the_mean_square_slope_of_the_transport(shape):
    """Against u = cdf^-1(Phi(z)) inverted by a table; never below 1, by Poincare's inequality."""
    z = np.linspace(-5, 5, 4001)
    u = np.interp(norm.cdf(z), shape.cdf(LINE), LINE)
    slope = np.gradient(u, z)
    assert shape.excess() == pytest.approx(trapezoid(slope**2 * norm.pdf(z), z), rel=2e-3)
    assert shape.excess() >= 1 - 1e-9


def test_excess_in_closed_form():
    assert NORMAL.excess() == pytest.approx(1, abs=1e-9)
    wide = Shape((1,) * 500, tuple(range(500)), 0.75)  # all but uniform, where du/dz = sqrt(12) phi(z)
    assert wide.excess() == pytest.approx(12 / (2 * np.sqrt(3) * np.pi), rel=2e-3)


def test_density_of_the_source_integrates_to_1_with_the_papers_variances():
    np.testing.assert_allclose(VARIANCES, [1 / 6, 2 / 3, 8 / 3])
    axes = [np.linspace(-4.5, 4.5, 72) * np.sqrt(variance) for variance in VARIANCES]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    for name in SETS:
        mass = np.exp(source_log_density(name, grid)) * cell
        assert mass.sum() == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(mass @ grid, 0, atol=1e-3)
        np.testing.assert_allclose(np.cov(grid.T, aweights=mass, ddof=0), np.diag(VARIANCES), atol=1e-3)


def test_rows_lie_on_a_plane_and_keep_the_density_of_the_source(data):
    name, (rows, log_density, source) = data
    assert rows.shape == (50_000, 16) and rows.dtype == np.float64 and source.shape == (50_000, 3)
    np.testing.assert_allclose(BASIS @ BASIS.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(rows @ BASIS.T, source, atol=1e-12)
    np.testing.assert_allclose(rows, source @ BASIS, atol=1e-12)
    np.testing.assert_allclose(source_log_density(name, rows @ BASIS.T), log_density, atol=1e-9)


def test_rows_follow_their_density(data):
    name, (_, log_density, source) = data
    for shape, values in zip(SETS[name], (source / np.sqrt(VARIANCES)).T):
        assert ks_1samp(values, shape.cdf).pvalue > 1e-3
        assert ks_1samp(values + 0.03, shape.cdf).pvalue < 1e-3  # the test has the power to tell
    np.testing.assert_allclose(source.var(axis=0), VARIANCES, rtol=0.04)
    correlation = np.corrcoef(source.T) - np.eye(3)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(source))
    entropy = 0.5 * np.log(VARIANCES).sum()
    for shape in SETS[name]:
        logs = shape.log_density(LINE)
        entropy -= trapezoid(np.exp(logs) * logs, LINE)
    assert -log_density.mean() == pytest.approx(entropy, abs=5 * log_density.std() / np.sqrt(len(log_density)))


def test_sets_differ_and_only_norm_is_normal():
    assert [round(shape.excess(), 6) for shape in SETS["norm"]] == [1, 1, 1]
    for name in ("mix", "ramp"):
        assert len(set(SETS[name])) == 3
        assert min(shape.excess() for shape in SETS[name]) > 1.02
    drawn = [generate_vae_toy(name, 20).rows for name in SETS]
    assert not np.isin(drawn[0], drawn[1]).any() and not np.isin(drawn[1], drawn[2]).any()


def test_estimated_variances_are_nearer_to_the_source_than_the_papers():
    np.testing.assert_allclose(estimated_variances("norm"), VARIANCES, rtol=1e-9)
    mix = estimated_variances("mix")
    np.testing.assert_array_less(np.abs(mix / mix[0] - [1, 4, 16]), [1e-9, 0.39, 1.69])
    np.testing.assert_array_less(VARIANCES, mix)


def test_seed_fixes_the_rows():
    first, again, other = (generate_vae_toy("mix", 50, seed) for seed in (3, 3, 4))
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert not np.isin(first.rows, other.rows).any()


def test_one_row_is_enough():
    data = generate_vae_toy("ramp", 1)
    assert data.rows.shape == (1, 16) and data.log_density.shape == (1,)


def test_bad_arguments_are_named():
    for call in (generate_vae_toy, estimated_variances, lambda name: source_log_density(name, np.zeros((1, 3)))):
        with pytest.raises(ValueError, match=r"name: 'mixed' is not one of \('mix', 'ramp', 'norm'\)"):
            call("mixed")
    with pytest.raises(ValueError, match="rows: 0 must be at least 1"):
        generate_vae_toy("mix", 0)
    with pytest.raises(ValueError, match="seed: -1 must be at least 0"):
        generate_vae_toy("mix", 10, seed=-1)
