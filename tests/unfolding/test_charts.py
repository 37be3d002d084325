import numpy as np
import pytest
from helpers.marks import after
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation
from sklearn.neighbors import NearestNeighbors

from tf_radogaga.datasets.manifolds import DEVELOPABLE, MANIFOLDS
from tf_radogaga.unfolding.charts import _graph, chart, extended, noise_share, tangent_planes, unfolded


def moved_onto(y, u):
    """y turned and shifted, but not stretched, onto u."""
    y, centre = y - y.mean(0), u.mean(0)
    left, _, right = np.linalg.svd(y.T @ (u - centre))
    return y @ left @ right + centre


@pytest.mark.parametrize("name", after(2, ["sine sheet", "swiss roll", "cylinder", "flat torus", "arc of a circle"]))
@pytest.mark.parametrize("seed", after(1, range(3)))
def test_charts_of_developable_surfaces_are_their_coordinates(name, seed):
    """But for a rigid motion, and for a row in a thousand that lies as near to another turn of the roll."""
    data = DEVELOPABLE[name].embedded(16, embedding_seed=seed).sample(6000, seed=seed)
    y = chart(data.rows, data.coordinates.shape[1], seed)
    off = np.linalg.norm(moved_onto(y, data.coordinates) - data.coordinates, axis=1)
    spread = np.linalg.norm(data.coordinates.std(0))
    assert np.median(off) < 0.02 * spread and np.quantile(off, 0.99) < 0.1 * spread


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_noise_off_the_surface_moves_charts_little(noise):
    data = DEVELOPABLE["sine sheet"].embedded(16, noise=noise).sample(6000)
    y = chart(data.rows, 2)
    assert procrustes(y, data.coordinates)[2] < 1e-3  # share of the squares


def plane(rows=1500, hole=0.0, columns=5):
    """Rows on a square in a plane without a disc in its middle: their coordinates, and turned into space."""
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (rows, 2))
    u = u[np.linalg.norm(u, axis=1) > hole]
    return u, u @ np.linalg.qr(rng.normal(size=(columns, 2)))[0].T


@pytest.mark.parametrize("hole", [0.0, 0.7])
def test_unfolded_paths_are_straight_lines_also_around_a_hole(hole):
    u, x = plane(hole=hole)
    graph, inside = _graph(x)
    assert len(inside) == len(x)
    near = NearestNeighbors(n_neighbors=15).fit(x).kneighbors(x, return_distance=False)
    sources = np.array([0, 7], np.int32)
    moves = unfolded(x, graph, tangent_planes(x, near, 2), sources)
    exact = np.linalg.norm(u[sources][:, None] - u, axis=2)
    np.testing.assert_allclose(np.linalg.norm(moves, axis=2), exact, atol=1e-9)
    along = dijkstra(graph, directed=False, indices=sources)
    assert (along > exact * (1.05 + hole / 4)).any()  # the paths themselves are longer


def test_known_coordinates_extend_along_the_surface():
    u, x = plane()
    turn = Rotation.from_euler("z", 0.3).as_matrix()[:2, :2]
    y = u @ turn
    known = np.where((np.abs(u) < 0.5).all(axis=1)[:, None], y, np.nan)
    np.testing.assert_allclose(extended(x, known, reach=0.05), y, atol=1e-8)


def test_rows_that_are_equal_or_far_apart_have_coordinates_too():
    u, x = plane()
    far = x + 20 * x[:1] / np.linalg.norm(x[:1])
    rows = np.concatenate([x, x[:100], far, 50 * x[:1]])
    y = chart(rows, 2)
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y[: len(x)][:100], y[len(x) :][:100], atol=1e-8)
    distance = np.linalg.norm(y[len(x) + 100 :][: len(x)] - y[: len(x)], axis=1)
    np.testing.assert_allclose(distance, 20, rtol=0.01)  # along the bridge between the two parts
    assert len(u) == len(x)


def test_a_seed_gives_the_same_chart_again():
    rows = MANIFOLDS["half sphere"].sample(1000).rows
    np.testing.assert_array_equal(chart(rows, 2, seed=1), chart(rows, 2, seed=1))


@pytest.mark.parametrize("sd", [0.0, 0.02, 0.05])
def test_the_noise_off_a_surface_is_measured_but_for_a_third(sd):
    surface = MANIFOLDS["half sphere"].embedded(20, noise=sd)
    rows = surface.sample(4000).rows
    share = 18 * sd**2 / rows.var(axis=0).sum()
    assert 2 / 3 * share <= noise_share(rows, 2) <= share + 2e-3
