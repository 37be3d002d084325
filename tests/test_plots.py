import numpy as np

from tf_radogaga import plots


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
