import numpy as np
import pytest
from helpers.marks import after
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from tf_radogaga.datasets.manifolds import CURVED, DEVELOPABLE, MANIFOLDS, Angle, Clusters, Manifold
from tf_radogaga.datasets.manifolds.charts import Product, Sphere, Torus
from tf_radogaga.datasets.manifolds.curves import Circle, Line, Sine, Spiral

PLANES = [name for name, manifold in MANIFOLDS.items() if manifold.chart.dimensions <= 2]
EVERY = pytest.mark.parametrize("name", MANIFOLDS)


def grid(low, high, steps):
    """Midpoints of cells of a box, and the size of a cell."""
    axes = [np.linspace(a, b, 2 * steps + 1)[1::2] for a, b in zip(low, high)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)), np.prod((high - low) / steps)


def jacobians(manifold, u, step=1e-5):
    """(n, M, N) by central differences."""
    moves = step * np.eye(u.shape[1])
    return np.stack([(manifold.points(u + move) - manifold.points(u - move)) / (2 * step) for move in moves], axis=2)


@pytest.mark.parametrize("name", PLANES)
def test_density_integrates_to_one_over_the_surface(name):
    """Cells of u, each as large as the numeric Jacobian makes it on the surface."""
    manifold = MANIFOLDS[name].embedded(MANIFOLDS[name].columns or MANIFOLDS[name].chart.columns)
    u = manifold.sample(20_000).coordinates
    margin = 0.15 * np.ptp(u, axis=0)
    low, high = u.min(0) - margin, u.max(0) + margin
    for axis, curve in enumerate(getattr(manifold.chart, "curves", ())):
        first, last = {Circle: (-np.pi, np.pi), Spiral: (1e-3, np.inf)}.get(type(curve), (-np.inf, np.inf))
        low[axis], high[axis] = max(low[axis], first), min(high[axis], last)
    points, cell = grid(low, high, 300)
    jacobian = jacobians(manifold, points)
    volume = np.sqrt(np.linalg.det(np.swapaxes(jacobian, 1, 2) @ jacobian))
    assert np.sum(np.exp(manifold.log_density(points)) * volume * cell) == pytest.approx(1, abs=1e-4)


def test_density_of_pictures_integrates_to_one():
    """E[q(u) / (p(x) volume)] = 1 for a density q of u, with volumes by other differences than those of the density."""
    manifold = MANIFOLDS["pictures"]
    data = manifold.sample(3000)
    narrow = Clusters([1.0], [[0, 0, np.log(2.2), 0]], [[0.5, 0.5, 0.07, 0.2]])
    jacobian = jacobians(manifold, data.coordinates, step=1e-4)
    log_volume = 0.5 * np.linalg.slogdet(np.swapaxes(jacobian, 1, 2) @ jacobian)[1]
    weights = np.exp(narrow.log_prob(data.coordinates).numpy() - data.log_density - log_volume)
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.05 and weights.mean() == pytest.approx(1, abs=4 * error)


@EVERY
def test_volume_is_that_of_the_numeric_jacobian(name):
    manifold = MANIFOLDS[name].embedded(300)
    u = manifold.sample(50).coordinates
    jacobian = jacobians(manifold, u)
    found = 0.5 * np.linalg.slogdet(np.swapaxes(jacobian, 1, 2) @ jacobian)[1]
    np.testing.assert_allclose(manifold.chart.log_volume(u), found, atol=1e-5)


@pytest.mark.parametrize("name", DEVELOPABLE)
def test_developable_surfaces_have_the_metric_of_the_plane(name):
    manifold = MANIFOLDS[name]
    jacobian = jacobians(manifold, manifold.sample(50).coordinates)
    identity = np.eye(manifold.chart.dimensions)
    np.testing.assert_allclose(np.swapaxes(jacobian, 1, 2) @ jacobian, identity + 0 * jacobian[:, :1, :1], atol=1e-8)


@pytest.mark.parametrize("name", after(2, [n for n in PLANES if n != "torus patch"]))
def test_distances_are_those_of_shortest_paths(name):
    """Through a fine grid of points, each joined to its neighbours by the straight line, which is just shorter."""
    manifold = MANIFOLDS[name]
    u = manifold.sample(400, seed=1).coordinates
    step = np.ptp(u, axis=0).max() / 130
    low, high = u.min(0), u.max(0)
    nodes = np.stack(np.meshgrid(*map(lambda a, b: np.arange(a, b, step), low, high)), axis=-1).reshape(-1, len(low))
    if isinstance(manifold.chart, Sphere):
        nodes = nodes[np.linalg.norm(nodes, axis=1) < 1]  # with every shortest path between them
    tree, ends = cKDTree(manifold.points(nodes)), np.random.default_rng(0).integers(len(nodes), size=4)
    found = dijkstra(tree.sparse_distance_matrix(tree, 4 * step).tocsr(), indices=ends)
    exact = manifold.distances(nodes[ends], nodes)
    far = exact > 10 * step
    np.testing.assert_allclose(found[far], exact[far], rtol=0.02)


def test_the_torus_and_pictures_have_no_distances():
    for name in ("torus patch", "pictures"):
        with pytest.raises(NotImplementedError, match="no closed form"):
            MANIFOLDS[name].distances(MANIFOLDS[name].sample(3).coordinates)


def test_the_torus_has_the_area_of_pappus():
    points, cell = grid(np.array([-np.pi, -np.pi]), np.array([np.pi, np.pi]), 100)
    assert np.sum(np.exp(Torus(3, 0.5).log_volume(points)) * cell) == pytest.approx(4 * np.pi**2 * 3 * 0.5)


@pytest.mark.parametrize("curve", [Line(), Circle(0.7), Sine(2.0), Spiral(0.2)], ids=lambda curve: type(curve).__name__)
def test_curves_have_unit_speed(curve):
    s = np.linspace(0.1, 9, 500)
    speed = np.linalg.norm(curve.points(s + 1e-6) - curve.points(s - 1e-6), axis=1) / 2e-6
    np.testing.assert_allclose(speed, 1, atol=1e-8)


def test_the_spiral_has_nothing_before_its_start():
    with pytest.raises(ValueError, match=r"s: -1.0 is negative"):
        Spiral().points(np.array([3.0, -1.0]))


@pytest.mark.parametrize("height", [0.1, 3.0, 20.0])
def test_points_of_a_sine_lie_at_their_arc_length_however_steep_it_is(height):
    s = np.linspace(-200, 200, 5001)
    np.testing.assert_allclose(Sine(height).length(Sine(height).points(s)[:, 0]), s, atol=1e-10)


def test_turns_of_the_spiral_lie_apart_by_its_pitch():
    pitch, spiral = 0.2, Spiral(0.2)
    s = spiral.length(np.array([5.0, 5.0 + 2 * np.pi]))
    radii = np.linalg.norm(spiral.points(s), axis=1)
    np.testing.assert_allclose(radii, [pitch * 5, pitch * (5 + 2 * np.pi)])


def test_the_roll_makes_two_turns():
    s = np.quantile(MANIFOLDS["swiss roll"].sample(10_000).coordinates[:, 0], [0.001, 0.999])
    angles = np.linalg.norm(Spiral().points(s), axis=1) / 0.1
    assert np.ptp(angles) / (2 * np.pi) == pytest.approx(2, abs=0.2)


def test_coordinates_undo_the_sphere():
    u = MANIFOLDS["half sphere"].sample(100).coordinates
    np.testing.assert_allclose(Sphere().coordinates(Sphere().points(u)), u, atol=1e-12)


@EVERY
def test_rows_are_the_points_of_their_coordinates_in_any_number_of_columns(name):
    manifold = MANIFOLDS[name].embedded(300, embedding_seed=3)
    data = manifold.sample(20, seed=2)
    np.testing.assert_allclose(data.rows @ manifold.basis.T, manifold.chart.points(data.coordinates), atol=1e-12)
    np.testing.assert_allclose(manifold.basis @ manifold.basis.T, np.eye(manifold.chart.columns), atol=1e-12)
    flat = MANIFOLDS[name].sample(20, seed=2)
    np.testing.assert_array_equal(data.log_density, flat.log_density)  # an isometry changes no density
    np.testing.assert_array_equal(data.log_density, manifold.log_density(data.coordinates))


def test_noise_is_normal_and_leaves_the_density_of_the_point():
    clean = MANIFOLDS["sine sheet"].embedded(8)
    noisy = clean.embedded(8, noise=0.1).sample(5000, seed=1)
    left = noisy.rows - clean.sample(5000, seed=1).rows
    assert left.std() == pytest.approx(0.1, rel=0.02) and abs(left.mean()) < 0.002
    np.testing.assert_array_equal(noisy.log_density, clean.sample(5000, seed=1).log_density)


@EVERY
def test_a_seed_gives_the_same_rows_again_and_another_gives_others(name):
    first, again, other = (MANIFOLDS[name].sample(50, seed=seed).rows for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).all(axis=1).any()


def test_rows_follow_the_law():
    """The mean log density is minus the entropy of the law, which a fresh sample gives too."""
    for name in MANIFOLDS:
        first, second = (MANIFOLDS[name].sample(4000, seed=seed).log_density for seed in (0, 1))
        error = np.hypot(first.std(), second.std()) / np.sqrt(4000)
        assert abs(first.mean() - second.mean()) < 4 * error


def test_what_cannot_be_is_named():
    manifold = Manifold(Product((Circle(), Line())), Clusters([1], [[0, 0]], [[1, 1]]))
    with pytest.raises(ValueError, match="columns: 2 must be at least 3"):
        manifold.embedded(2)
    with pytest.raises(ValueError, match="noise"):
        manifold.embedded(3, noise=-1)
    with pytest.raises(ValueError, match="rows: 0 must be at least 1"):
        manifold.sample(0)
    with pytest.raises(ValueError, match="seed: -1 must be at least 0"):
        manifold.sample(seed=-1)


def test_a_law_of_the_angle_closes_the_circle():
    """The von Mises law is the same at both sides of the cut."""
    circle = Manifold(Product((Circle(),)), Angle(0.5))
    ends = np.array([[np.pi], [-np.pi]])
    np.testing.assert_allclose(*circle.points(ends), atol=1e-12)
    np.testing.assert_allclose(*circle.log_density(ends))


def test_no_name_is_given_twice():
    assert len(MANIFOLDS) == len(DEVELOPABLE) + len(CURVED)
