import gzip
import hashlib

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import digamma, logsumexp
from scipy.stats import chi2, ks_2samp, multivariate_normal

from tf_radogaga.datasets import toy
from tf_radogaga.datasets.toy import BASIS, MEANS, VARIANCES, ToyData, generate_toy, load_toy, mixture_log_density


@pytest.fixture(scope="module")
def shipped():
    return load_toy()


@pytest.fixture(scope="module", params=["shipped", "generated", "shipped scaled", "generated scaled"])
def data(request):
    data = generate_toy(seed=5) if "generated" in request.param else load_toy()
    return data.scaled() if "scaled" in request.param else data


def in_the_plane(rows):
    """(n, 3) coordinates in an orthonormal frame found from the rows alone, so that volume is the plane's own."""
    centred = rows - rows.mean(0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:3].T


def component_normals(points, component, shrink=1.0):
    """The mixture of normals with the moments of each component: log density at the points."""
    logs = []
    for k in range(3):
        own = points[component == k]
        normal = multivariate_normal(own.mean(0), shrink * np.cov(own.T))
        logs.append(np.log(len(own) / len(points)) + normal.logpdf(points))
    return logsumexp(logs, axis=0)


def test_shipped_rows_are_the_authors():
    assert hashlib.sha256(gzip.decompress(toy.TOY_PATH.read_bytes())).hexdigest() == toy.TOY_SHA256
    data = load_toy()
    assert data.rows.shape == (10000, 16) and data.rows.dtype == np.float64
    assert np.bincount(data.component).tolist() == [3333, 3333, 3334] and (np.diff(data.component) >= 0).all()
    assert data.rows.max() - data.rows.min() == pytest.approx(27.9, abs=0.01)
    assert np.exp(data.log_density.max()) == pytest.approx(0.0211, abs=5e-5)


def test_stated_density_is_exactly_the_mixture(shipped):
    np.testing.assert_allclose(BASIS @ BASIS.T, np.eye(3), atol=1e-14)
    source = shipped.rows @ BASIS.T
    np.testing.assert_allclose(source @ BASIS, shipped.rows, atol=1e-12)
    np.testing.assert_allclose(mixture_log_density(source), shipped.log_density, atol=1e-12)


def test_rank_is_three(data):
    centred = data.rows - data.rows.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    assert values[2] > 0.1 * values[0] and values[3] < 1e-12 * values[0]


def test_density_is_that_of_the_rows(data):
    """Up to sampling error: twice the log likelihood ratio to fitted moments is chi square with a degree per parameter.

    With respect to the volume of the plane, in the coordinates of the rows: neither formula nor basis is used.
    """
    fitted = component_normals(in_the_plane(data.rows), data.component)
    low, high = chi2(3 * 9 + 2).ppf([1e-3, 1 - 1e-3])
    assert low < 2 * (fitted - data.log_density).sum() < high
    assert np.sqrt(np.mean((fitted - data.log_density) ** 2)) < 0.1


def test_density_integrates_to_one(data):
    """As E_p[q / p] = 1 for any density q on the plane; q is narrower than p, so that the weights are bounded."""
    narrow = component_normals(in_the_plane(data.rows), data.component, shrink=0.5)
    weights = np.exp(narrow - data.log_density)
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.01 and weights.mean() == pytest.approx(1, abs=4 * error)


def test_mean_of_minus_log_density_is_the_entropy(data):
    """By Kozachenko and Leonenko's estimate from the distances to the nearest rows, in 16 dimensions."""
    neighbours = 3
    radius = cKDTree(data.rows).query(data.rows, neighbours + 1)[0][:, -1]
    volumes = np.log(4 / 3 * np.pi) + 3 * np.log(radius)
    entropy = digamma(len(radius)) - digamma(neighbours) + volumes.mean()
    assert -data.log_density.mean() == pytest.approx(entropy, abs=0.05)


def test_generated_and_shipped_rows_agree_in_law(shipped):
    generated = generate_toy(30000, seed=11)
    rng = np.random.default_rng(2)
    directions = [*BASIS, *(rng.normal(size=(5, 3)) @ BASIS)]
    for direction in directions:
        assert ks_2samp(generated.rows @ direction, shipped.rows @ direction).pvalue > 1e-3
    assert ks_2samp(generated.log_density, shipped.log_density).pvalue > 1e-3
    for data in (generated, shipped):
        for k in range(3):
            own = data.rows[data.component == k] @ BASIS.T
            assert len(own) / len(data.rows) == pytest.approx(1 / 3, abs=0.012)
            np.testing.assert_allclose(own.mean(0), MEANS[k], atol=4.5 * np.sqrt(VARIANCES[k] / len(own)))
            spread = 4.5 * VARIANCES[k] * np.sqrt(2 / len(own))
            np.testing.assert_allclose(np.cov(own.T), VARIANCES[k] * np.eye(3), atol=spread)


def test_scaling_law(shipped):
    scaled = shipped.scaled()
    span = np.ptp(shipped.rows)
    assert (scaled.rows.min(), scaled.rows.max()) == (0, 1)
    np.testing.assert_allclose(scaled.rows * span + shipped.rows.min(), shipped.rows, atol=1e-12)
    np.testing.assert_allclose(scaled.log_density - shipped.log_density, 3 * np.log(span), atol=1e-12)
    np.testing.assert_array_equal(scaled.component, shipped.component)
    again = scaled.scaled()
    np.testing.assert_array_equal(again.rows, scaled.rows)
    np.testing.assert_array_equal(again.log_density, scaled.log_density)


def test_held_out_rows_are_scaled_like_the_training_set(shipped):
    held_out = generate_toy(500, seed=1)
    scaled = held_out.scaled(by=shipped)
    np.testing.assert_allclose(scaled.rows, (held_out.rows - shipped.rows.min()) / np.ptp(shipped.rows), atol=1e-12)
    shift = scaled.log_density - held_out.log_density
    np.testing.assert_allclose(shift, 3 * np.log(np.ptp(shipped.rows)), atol=1e-12)


def test_seed_fixes_the_rows():
    first, again, other = generate_toy(50, seed=3), generate_toy(50, seed=3), generate_toy(50, seed=4)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert not np.isin(first.rows, other.rows).any()


def test_one_row_is_enough():
    data = generate_toy(1)
    assert data.rows.shape == (1, 16) and data.log_density.shape == data.component.shape == (1,)


def test_bad_arguments_are_named():
    for rows in (0, -5):
        with pytest.raises(ValueError, match=f"rows: {rows} must be at least 1"):
            generate_toy(rows)
    with pytest.raises(ValueError, match="seed: -1 must be at least 0"):
        generate_toy(10, seed=-1)
    with pytest.raises(ValueError, match=r"minimum 1\.0 and maximum 1\.0 leave no range"):
        ToyData(np.ones((4, 16)), np.zeros(4), np.zeros(4, int)).scaled()


def test_damaged_file_is_refused_by_name(tmp_path, monkeypatch):
    packed = toy.TOY_PATH.read_bytes()
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 1
    path = tmp_path / "radogaga_toy.csv.gz"
    monkeypatch.setattr(toy, "TOY_PATH", path)
    for content, reason in [
        (packed[:-1000], "damaged"),
        (bytes(flipped), "damaged"),
        (b"no gzip", "damaged"),
        (b"", "sha256"),
        (gzip.compress(gzip.decompress(packed).replace(b"0.0056684", b"0.0056685", 1)), "sha256"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"radogaga_toy\.csv\.gz: {reason}.*install the package anew"):
            load_toy()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="radogaga_toy"):
        load_toy()
