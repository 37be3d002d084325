import dataclasses

import numpy as np
import pytest
from matplotlib import colormaps

from tf_radogaga import plots
from tf_radogaga.isometry import ImplicitReport


def test_histogram_shows_every_row_and_the_threshold():
    labels = np.repeat([0, 1], [90, 10])
    energies = np.concatenate([np.linspace(0, 1, 90), np.full(10, 1e6)])
    axes = plots.score_histogram(energies, labels, threshold=3.0).axes[0]
    heights = [patch.get_height() * patch.get_width() for patch in axes.patches]
    np.testing.assert_allclose(sum(heights), 2)  # two densities, nothing cut off
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "normal (90)",
        "anomaly (10)",
        "threshold 3.00",
    ]
    assert len(plots.score_histogram(energies).axes[0].patches) == 60


def test_constant_energies_have_a_histogram():
    assert np.isfinite([p.get_height() for p in plots.score_histogram(np.ones(9)).axes[0].patches]).all()


def test_curves_name_each_score():
    labels = np.array([0, 0, 1, 1])
    figure = plots.roc_pr_curves(labels, {"perfect": np.arange(4.0), "reversed": -np.arange(4.0)})
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "perfect (AUC = 1.00)" in legend and "reversed (AUC = 0.00)" in legend


def _points(axes):
    return np.asarray(axes.collections[0].get_offsets())


def test_tangent_scatter_shows_every_pair_r_and_slope():
    latent = np.array([-1.0, 0.0, 1.0, 2.0])
    data = np.array([-2.0, 0.0, 2.0, 4.5])
    axes = plots.tangent_scatter(latent, data).axes[0]
    np.testing.assert_array_equal(_points(axes), np.stack([latent, data], axis=1))
    slope, r = (latent * data).sum() / (latent**2).sum(), np.corrcoef(latent, data)[0, 1]
    assert axes.get_title() == f"r = {r:.4f}, slope = {slope:.3f}"
    assert axes.lines[0].get_slope() == 1


def test_gram_matrix_shows_values_ranges_and_a_symmetric_colour_scale():
    matrix = np.array([[1.5, -0.2, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.1, 1.1]])
    axes = plots.gram_matrix(matrix).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)
    assert axes.images[0].get_clim() == (-1.5, 1.5)
    assert axes.get_title() == "diagonal 0.9 to 1.5\noff-diagonal -0.2 to 0.1"
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown[(1, 0)] == "-0.2" and shown[(2, 2)] == "1.1" and len(shown) == 9
    assert not plots.gram_matrix(np.eye(9)).axes[0].texts
    assert plots.gram_matrix(np.array([[2.0]])).axes[0].get_title() == "diagonal 2 to 2"


def test_latent_spectrum_has_bars_and_shares():
    variance = np.array([4.0, 3.0, 1.0])
    bars, line = plots.latent_spectrum(variance, np.array([0.5, 0.875, 1.0])).axes
    np.testing.assert_array_equal([patch.get_height() for patch in bars.patches], variance)
    np.testing.assert_array_equal(line.lines[0].get_ydata(), [0.5, 0.875, 1.0])


def test_dimension_response_has_error_bars_and_the_line_at_1():
    axes = plots.dimension_response(np.array([1.1, 0.9]), np.array([0.2, 0.1])).axes[0]
    points, (low, high), _ = axes.containers[0].lines
    np.testing.assert_array_equal(points.get_ydata(), [1.1, 0.9])
    np.testing.assert_allclose(low.get_ydata(), [0.9, 0.8])
    np.testing.assert_allclose(high.get_ydata(), [1.3, 1.0])
    assert [1, 1] in [list(line.get_ydata()) for line in axes.lines]


def test_traversal_of_vectors_draws_a_line_for_every_step():
    decoded = np.random.default_rng(0).normal(size=(4, 5, 6))
    figure = plots.traversal(decoded, variance=np.array([4.0, 3.0, 2.0, 1.0]))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == [f"{i}: variance {4 - i}" for i in range(4)]
    for axes, lines in zip(panels, decoded):
        np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], lines)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["-2 sd", "-1 sd", "mean", "+1 sd", "+2 sd"]


@pytest.mark.parametrize("channels", [1, 3])
def test_traversal_of_images_is_a_grid(channels):
    decoded = np.random.default_rng(0).uniform(-0.1, 1.1, size=(2, 3, 4, 5, channels))
    axes = plots.traversal(decoded, span=1.0).axes[0]
    grid = np.asarray(axes.images[0].get_array()).reshape(8, 15, channels)
    np.testing.assert_allclose(grid[4:8, 5:10], np.clip(decoded[1, 1], 0, 1))
    np.testing.assert_allclose(grid[0:4, 10:15], np.clip(decoded[0, 2], 0, 1))
    assert [text.get_text() for text in axes.get_xticklabels()] == ["-1 sd", "mean", "+1 sd"]
    assert list(axes.get_xticks()) == [2, 7, 12] and list(axes.get_yticks()) == [1.5, 5.5]


def test_traversal_of_other_events_is_refused():
    with pytest.raises(ValueError, match=r"decoded: events of shape \(4, 5\)"):
        plots.traversal(np.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize("channels", [1, 3])
def test_explained_images_are_columns_over_one_scale_of_colours(channels):
    originals, reconstructions, maps = np.random.default_rng(0).uniform(size=(3, 2, 4, 5, channels))
    maps[0], maps[1, 2, 3], maps[1, 0, 0] = -maps[0], 2, 0
    figure = plots.explained_images(originals, reconstructions, maps, ["4.1 nats", "0.2 nats"])
    axes, bar = figure.axes
    grid = np.asarray(axes.images[0].get_array())
    assert grid.shape == (12, 10, 3)
    np.testing.assert_array_equal(grid[0:4, 5:10], np.broadcast_to(originals[1], (4, 5, 3)))
    np.testing.assert_array_equal(grid[4:8, 0:5], np.broadcast_to(reconstructions[0], (4, 5, 3)))
    assert bar.get_ylim() == (0, 2 * channels)
    lowest, middle, highest = colormaps["inferno"]([0, maps[1, 1, 1].sum() / (2 * channels), 1.0])[:, :3]
    np.testing.assert_array_equal(grid[8:12, 0:5], np.broadcast_to(lowest, (4, 5, 3)))
    np.testing.assert_array_equal([grid[8, 5], grid[9, 6], grid[10, 8]], [lowest, middle, highest])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["4.1 nats", "0.2 nats"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["original", "reconstruction", "explanation"]


def test_explained_images_of_equal_images():
    images = np.ones((1, 4, 3, 1))
    axes, bar = plots.explained_images(images, images, 0 * images, ["0"]).axes
    assert np.isfinite(axes.images[0].get_array()).all() and bar.get_ylim() == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"originals": np.ones((2, 20))}, r"originals: shape \(2, 20\) is not \(n, H, W, C\); reshape"),
        (
            {"reconstructions": np.ones((1, 4, 5, 1))},
            r"reconstructions: shape \(1, 4, 5, 1\) must .* \(2, 4, 5, 1\)",
        ),
        ({"maps": np.ones((2, 4, 5))}, r"maps: shape \(2, 4, 5\) must be .* \(2, 4, 5, 1\)"),
        ({"titles": ["1.0"]}, r"titles: 1 of them for 2 images"),
    ],
)
def test_explained_images_that_do_not_go_together(arguments, message):
    images = np.ones((2, 4, 5, 1))
    given = {"originals": images, "reconstructions": images, "maps": images, "titles": ["1.0", "2.0"], **arguments}
    with pytest.raises(ValueError, match=message):
        plots.explained_images(**given)


def test_isometry_gap_counts_every_row():
    gap = np.array([-1.0, 0.0, 0.5, 0.5])
    axes = plots.isometry_gap(gap).axes[0]
    assert sum(patch.get_height() for patch in axes.patches) == 4
    assert axes.get_title() == f"mean 0, sd {gap.std():.3g}, median absolute 0.5 nats"


def test_density_scatter_is_scaled_to_1_and_names_r():
    true, model = np.array([0.1, 0.2, 0.4]), np.array([10.0, 30.0, 40.0])
    axes = plots.density_scatter(true, model).axes[0]
    np.testing.assert_allclose(_points(axes), np.stack([true, [0.25, 0.75, 1.0]], axis=1))
    assert axes.get_title() == f"r = {np.corrcoef(true, model)[0, 1]:.4f}"


def test_log_density_scatter_has_the_line_of_equality_and_names_the_error():
    true = np.linspace(-5, 3, 40)
    axes = plots.log_density_scatter(true, true + np.where(np.arange(40) < 30, 0.25, 9)).axes[0]
    assert "0.250 nats" in axes.get_title() and len(axes.collections[0].get_offsets()) == 40
    np.testing.assert_array_equal(*axes.lines[0].get_data())


def test_latent_scatter_pairs_the_first_three_columns():
    rng = np.random.default_rng(0)
    z, density = rng.normal(size=(20, 4)), rng.uniform(size=20)
    order = np.argsort(density)
    figure = plots.latent_scatter(z, density)
    assert len(figure.axes) == 4  # three panels and the colour bar
    for axes, pair in zip(figure.axes, ([0, 1], [0, 2], [1, 2])):
        np.testing.assert_array_equal(_points(axes), z[order][:, pair])
        np.testing.assert_array_equal(axes.collections[0].get_array(), density[order])
        assert axes.get_aspect() == 1
    assert len(plots.latent_scatter(z[:, :2], density).axes) == 2
    with pytest.raises(ValueError, match=r"z: shape \(20, 1\)"):
        plots.latent_scatter(z[:, :1], density)


def test_cost_curves_have_a_line_a_name_and_linear_costs_start_at_0():
    lines = {"train": ([10, 100], [3, 4]), "score": ([10, 100], [1, 2])}
    figure = plots.cost_curves([("rows", "seconds", "log", lines), ("rows", "memory [MB]", "linear", lines)])
    for axes, scale in zip(figure.axes, ("log", "linear")):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", scale)
        assert [line.get_label() for line in axes.lines] == ["train", "score"]
        np.testing.assert_array_equal(axes.lines[1].get_data(), lines["score"])
    assert figure.axes[1].get_ylim()[0] == 0 and figure.axes[1].get_ylabel() == "memory [MB]"


def test_implicit_spectrum_shows_importance_and_unit_norms():
    names = [field.name for field in dataclasses.fields(ImplicitReport)]
    report = ImplicitReport(**{name: np.array([1.0, 0.5, 0.0]) for name in names})
    left, right = plots.implicit_spectrum(report).axes
    np.testing.assert_array_equal([bar.get_height() for bar in left.patches], [1.0, 0.5, 0.0])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [1.0, 0.5, 0.0])
