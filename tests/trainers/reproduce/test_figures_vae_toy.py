import numpy as np

from tf_radogaga_trainers.reproduce import figures_vae_toy

LAMBDAS = np.array([1.0, 10.0, 100.0])


def _legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_ablation_has_norms_ratios_and_correlations():
    norms, sds = np.array([[0.1, 0.5], [0.6, 0.9], [0.97, 1.0]]), np.full((3, 2), 0.1)
    inverse = np.array([[1.0, 3.0], [2.0, 7.0], [10.0, 41.0]])
    correlations = {"prior": np.array([0.3, 0.4, 0.5]), "loss": np.array([np.nan, 0.9, 0.99])}
    left, middle, right = figures_vae_toy.ablation(LAMBDAS, norms, sds, inverse, correlations, ratios=(4,)).axes
    for j, container in enumerate(left.containers):
        np.testing.assert_array_equal(container.lines[0].get_data(), [LAMBDAS, norms[:, j]])
        np.testing.assert_allclose(container.lines[1][1].get_ydata(), norms[:, j] + 0.1)
    np.testing.assert_array_equal(middle.lines[0].get_data(), [LAMBDAS, [3, 3.5, 4.1]])
    assert list(middle.lines[1].get_ydata()) == [4, 4]
    for line, values in zip(right.lines, correlations.values()):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert _legend(left) == ["$z_1$", "$z_2$"] and _legend(right) == ["prior", "loss"]
    assert {axes.get_xscale() for axes in (left, middle, right)} == {"log"}


def test_variance_ratios_has_a_bar_for_every_set_and_loss():
    ratios = {"mix": {"sum": (4.1, 16.5), "convex": (4.0, 15.0)}, "norm": {"convex": (3.9, 15.9)}, "none": {}}
    figure = figures_vae_toy.variance_ratios(ratios)
    for j, axes in enumerate(figure.axes):
        heights = [[bar.get_height() for bar in container] for container in axes.containers]
        assert heights == [[ratios["mix"]["sum"][j]], [ratios["mix"]["convex"][j], ratios["norm"]["convex"][j]]]
        assert [round(bar.get_x() + bar.get_width() / 2) for bar in axes.containers[1]] == [0, 1]
        assert list(axes.lines[0].get_ydata()) == [(4, 16)[j]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sum", "convex"]


def test_over_beta_has_points_and_lines_on_logarithmic_axes():
    beta = 1 / LAMBDAS
    axes = figures_vae_toy.over_beta({"mix": (beta, 1.4 * beta)}, {"theory": (beta, 1.5 * beta)}, "coding").axes[0]
    points, line = axes.lines
    np.testing.assert_array_equal(points.get_data(), [beta, 1.4 * beta])
    np.testing.assert_array_equal(line.get_data(), [beta, 1.5 * beta])
    assert (points.get_linestyle(), line.get_linestyle()) == ("None", "-")
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "log", "coding")


def test_density_estimates_are_scaled_to_1_and_name_r():
    density, estimates = np.array([0.1, 0.2, 0.4]), {"a": np.array([1.0, 3.0, 4.0]), "b": np.array([4.0, 1.0, 2.0])}
    figure = figures_vae_toy.density_estimates(density, estimates, {"a": 0.5, "b": -0.25})
    assert [axes.get_title() for axes in figure.axes] == ["R = 0.500", "R = -0.250"]
    for axes, values in zip(figure.axes, estimates.values()):
        points = np.asarray(axes.collections[0].get_offsets())
        np.testing.assert_allclose(points, np.stack([density, values / 4], axis=1))
    own = figures_vae_toy.density_estimates(density, estimates).axes[0].get_title()
    assert own == f"R = {np.corrcoef(density, estimates['a'])[0, 1]:.3f}"
