"""Figures; every function returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

from tf_radogaga.isometry.report import ImplicitReport


def score_histogram(energies: np.ndarray, labels: np.ndarray | None = None, threshold: float | None = None) -> Figure:
    """Energies (n,) in nats, normal rows beside anomalies where labels (n,) are known, with the threshold.

    The axis ends at the 99.5 % quantile of all energies; rows beyond it are counted in the last bin.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.min(energies), max(np.quantile(energies, 0.995), threshold or -np.inf)
    bins = np.linspace(low, high if high > low else low + 1, 61)
    groups = (
        {"rows": energies} if labels is None else {"normal": energies[labels == 0], "anomaly": energies[labels == 1]}
    )
    for name, values in groups.items():
        axes.hist(np.clip(values, bins[0], bins[-1]), bins, density=True, alpha=0.6, label=f"{name} ({len(values)})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="energy [nats]", ylabel="density")
    axes.legend()
    return figure


def roc_pr_curves(labels: np.ndarray, energies: dict[str, np.ndarray]) -> Figure:
    """ROC and precision-recall curves of one or more named scores over the same labels (1 = anomaly)."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in energies.items():
        RocCurveDisplay.from_predictions(labels, values, name=name, ax=left)
        PrecisionRecallDisplay.from_predictions(labels, values, name=name, ax=right)
    return figure


def tangent_scatter(latent: np.ndarray, data: np.ndarray) -> Figure:
    """Products (pairs,) of tangent vectors in the latent and of their images, as `measures.tangent_pairs` gives them.

    The line has slope 1; r and the slope of the least-squares line through 0 stand in the title. Source: Kato et al.,
    ICML 2020, Fig. 4.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(latent, data, s=6, alpha=0.5, linewidths=0)
    axes.axline((0, 0), slope=1, color="black", linewidth=1, label="slope 1")
    slope = np.dot(latent, data) / np.dot(latent, latent)
    axes.set(
        xlabel="v . w in the latent [$z^2$]",
        ylabel="$v_x' A w_x$ in the data [$z^2$]",
        title=f"r = {_pearson_r(latent, data):.4f}, slope = {slope:.3f}",
    )
    axes.legend()
    return figure


def gram_matrix(matrix: np.ndarray) -> Figure:
    """A Gram matrix (n, n), such as the mean of `measures.gram_matrices`: the identity is right.

    The ranges on and off the diagonal stand in the title, up to 8 x 8 also each value in its cell.
    """
    matrix = np.asarray(matrix)
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    limit = max(1, np.abs(matrix).max())
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=axes)
    if len(matrix) <= 8:
        for (i, j), value in np.ndenumerate(matrix):
            color = "white" if abs(value) > limit / 2 else "black"
            axes.text(j, i, f"{value:.3g}", ha="center", va="center", color=color)
    off_diagonal = matrix[~np.eye(len(matrix), dtype=bool)]
    title = f"diagonal {np.diag(matrix).min():.3g} to {np.diag(matrix).max():.3g}"
    if off_diagonal.size:
        title += f"\noff-diagonal {off_diagonal.min():.3g} to {off_diagonal.max():.3g}"
    axes.set(xlabel="latent direction", ylabel="latent direction", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return figure


def latent_spectrum(variance: np.ndarray, share: np.ndarray) -> Figure:
    """Variances (n,) of the latent as bars and their cumulative share (n,) as a line, as `measures.latent_spectrum`.

    Source: Kato et al., ICML 2020, Fig. 5.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    numbers = np.arange(len(variance))
    axes.bar(numbers, variance)
    axes.set(xlabel="latent dimension, by variance", ylabel="variance [$z^2$]")
    axes.xaxis.get_major_locator().set_params(integer=True)
    right = axes.twinx()
    right.plot(numbers, share, color="tab:red", marker=".")
    right.set(ylabel="cumulative share", ylim=(0, 1.05))
    right.yaxis.label.set_color("tab:red")
    return figure


def dimension_response(mean: np.ndarray, sd: np.ndarray) -> Figure:
    """Mean and standard deviation (n,) of `measures.response` of each dimension; 1 is right.

    Source: Kato et al., arXiv v1, Fig. 4.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(np.arange(len(mean)), mean, sd, fmt="o", capsize=3, label="mean, sd over rows")
    axes.axhline(1, color="black", linewidth=1, label="isometric")
    axes.set(xlabel="latent dimension, by variance", ylabel="$D'_i$ times metric scale")
    low, high = axes.get_ylim()
    axes.set_ylim(min(0, low), 1.1 * high)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def traversal(decoded: np.ndarray, variance: np.ndarray | None = None, span: float = 2.0) -> Figure:
    """Decoded points along latent dimensions, (dimensions, steps, *event), as `measures.traversals` gives them.

    Images (H, W, C) of values in 0..1 make a grid, a row of it for each dimension; vectors (M,) make a panel of lines
    over their elements for each dimension. Source: Kato et al., ICML 2020, Fig. 6.

    Args:
        decoded: values.
        variance: (dimensions,) or more, of the latent along each, for the labels.
        span: standard deviations between the mean and either end, for the labels.

    Raises:
        ValueError: events of another rank.
    """
    decoded = np.asarray(decoded)
    dimensions, steps, *event = decoded.shape
    distances = [f"{d:+.3g} sd" if d else "mean" for d in np.linspace(-span, span, steps)]
    labels = [str(i) if variance is None else f"{i}: variance {variance[i]:.3g}" for i in range(dimensions)]
    if len(event) == 3:
        figure = image_grid(dict(zip(labels, decoded)), distances)
    elif len(event) == 1:
        columns = min(dimensions, 3)
        rows = -(-dimensions // columns)
        figure = Figure(figsize=(4 * columns, 2.5 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        colors = colormaps["coolwarm"](np.linspace(0, 1, steps))
        for axes, lines, label in zip(panels, decoded, labels):
            for values, color, distance in zip(lines, colors, distances):
                axes.plot(values, color=color, marker=".", label=distance)
            axes.set_title(label)
        for axes in panels[dimensions:]:
            axes.set_visible(False)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
        figure.supxlabel("element of x")
    else:
        raise ValueError(f"decoded: events of shape {tuple(event)}, neither vectors (M,) nor images (H, W, C).")
    return figure


def image_grid(images: dict[str, np.ndarray], columns: Sequence[str] = ()) -> Figure:
    """Images (n, H, W, C) of values in 0..1 as a grid, a row of it for each name; `columns` labels the n."""
    stacked = np.stack(list(images.values()))
    rows, count, height, width, channels = stacked.shape
    figure = Figure(figsize=(count + 2, rows + 0.5), layout="constrained")
    axes = figure.add_subplot()
    mosaic = stacked.transpose(0, 2, 1, 3, 4).reshape(rows * height, count * width, channels)
    mosaic = np.clip(mosaic if channels == 3 else mosaic.mean(axis=2), 0, 1)
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks((np.arange(len(columns)) + 0.5) * width - 0.5, columns)
    axes.set_yticks((np.arange(rows) + 0.5) * height - 0.5, list(images))
    return figure


def explained_images(
    originals: np.ndarray, reconstructions: np.ndarray, maps: np.ndarray, titles: Sequence[str]
) -> Figure:
    """A column an image: the original, its reconstruction, and how much each pixel adds to the distortion.

    Args:
        originals, reconstructions: (n, H, W, C) of values in 0..1, grey or colour.
        maps: (n, H, W, C) in units of the distortion, as `Distortion.contributions` gives them; shown are sums over
            channels, in one scale of colours from 0 to the greatest. Sums below 0 look like 0.
        titles: n, such as energies, to stand under the columns.

    Raises:
        ValueError: shapes or numbers that do not go together.
    """
    originals, reconstructions, maps = (np.asarray(images) for images in (originals, reconstructions, maps))
    if originals.ndim != 4:
        raise ValueError(f"originals: shape {originals.shape} is not (n, H, W, C); reshape the rows to images.")
    for name, images in (("reconstructions", reconstructions), ("maps", maps)):
        if images.shape != originals.shape:
            raise ValueError(f"{name}: shape {images.shape} must be that of the originals, {originals.shape}.")
    if len(titles) != len(originals):
        raise ValueError(f"titles: {len(titles)} of them for {len(originals)} images; give one each.")
    total = maps.sum(axis=-1)
    scale = ScalarMappable(Normalize(0, total.max() if total.max() > 0 else 1), "inferno")
    rows = {
        "original": _as_colour(originals),
        "reconstruction": _as_colour(reconstructions),
        "explanation": scale.cmap(scale.norm(total))[..., :3],
    }
    figure = image_grid(rows, titles)
    figure.colorbar(scale, ax=figure.axes[0], label="distortion of a pixel")
    return figure


def _as_colour(images: np.ndarray) -> np.ndarray:
    """(n, H, W, C) -> (n, H, W, 3), grey unless C is 3."""
    return images if images.shape[-1] == 3 else np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)


def isometry_gap(gap: np.ndarray) -> Figure:
    """The gap (n,) in nats between the exact and the isometric log density, as `measures.isometry_gap`; 0 is right."""
    gap = np.asarray(gap)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(gap, bins=60)
    axes.axvline(0, color="black", linewidth=1)
    axes.set(
        xlabel="log p(x) by the Jacobian - by isometry [nats]",
        ylabel="rows",
        title=f"mean {gap.mean():.3g}, sd {gap.std():.3g}, median absolute {np.median(np.abs(gap)):.3g} nats",
    )
    return figure


def density_scatter(true_density: np.ndarray, model_density: np.ndarray) -> Figure:
    """True densities (n,) against a model's (n,), shown as shares of its greatest; Pearson r in the title.

    Source: Kato et al., ICML 2020, Fig. 8.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(true_density, np.asarray(model_density) / np.max(model_density), s=6, alpha=0.3, linewidths=0)
    axes.set(
        xlabel="p(x)",
        ylabel="P(z), its greatest as 1",
        xlim=(0, None),
        ylim=(0, 1.05),
        title=f"r = {_pearson_r(true_density, model_density):.4f}",
    )
    return figure


def log_density_scatter(true_log_density: np.ndarray, log_density: np.ndarray) -> Figure:
    """True log p(x) (n,) against a model's (n,), both in absolute nats, with the line where they are equal."""
    true_log_density, log_density = np.asarray(true_log_density), np.asarray(log_density)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(true_log_density, log_density, s=6, alpha=0.3, linewidths=0)
    ends = [true_log_density.min(), true_log_density.max()]
    axes.plot(ends, ends, color="black", linewidth=1, label="equal")
    axes.set(
        xlabel="true log p(x) [nats]",
        ylabel="the model's log p(x) [nats]",
        title=f"median absolute error {np.median(np.abs(log_density - true_log_density)):.3f} nats",
    )
    axes.legend()
    return figure


def latent_scatter(z: np.ndarray, density: np.ndarray) -> Figure:
    """The first three columns of z (n, 2 or more), in pairs, coloured by a density or its logarithm (n,).

    Both axes of a panel have one scale, so that distances can be read. Source: Kato et al., ICML 2020, Fig. 7.

    Raises:
        ValueError: z has one column only.
    """
    z = np.asarray(z)
    if z.ndim != 2 or z.shape[1] < 2:
        raise ValueError(f"z: shape {z.shape} where (rows, 2 or more) is expected.")
    pairs = [(0, 1), (0, 2), (1, 2)] if z.shape[1] > 2 else [(0, 1)]
    figure = Figure(figsize=(4.5 * len(pairs) + 1, 4.5), layout="constrained")
    order = np.argsort(density)  # the dense middle of a cluster is not hidden by its rim
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axes, (i, j) in zip(panels, pairs):
        points = axes.scatter(z[order, i], z[order, j], c=np.asarray(density)[order], s=4, linewidths=0)
        axes.set(xlabel=f"$z_{i}$", ylabel=f"$z_{j}$")
        axes.set_aspect("equal", adjustable="datalim")
    figure.colorbar(points, ax=list(panels))
    return figure


def implicit_spectrum(report: ImplicitReport) -> Figure:
    """Importance E[sigma_j^-2] of each dimension of a beta-VAE, and its unit norm with its sd over rows; 1 is right.

    Source: Nakagawa et al., ICML 2021, Fig. 4, 5 and 28.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    left = figure.add_subplot()
    place = np.arange(1, len(report.inverse_variance) + 1)
    left.bar(place, report.inverse_variance, color="tab:blue", alpha=0.5)
    left.set(xlabel="dimension, by importance", ylabel="mean of $\\sigma_j^{-2}$ (bars)", yscale="log")
    right = left.twinx()
    right.errorbar(place, report.unit_norm_mean, report.unit_norm_sd, fmt="o", markersize=3, color="tab:red")
    right.axhline(1, color="black", linewidth=1)
    right.set(ylabel="$(2/\\beta)\\, \\sigma_j^2 D'_j$ (dots, sd)", ylim=(0, None))
    return figure


def cost_curves(
    panels: Sequence[tuple[str, str, str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]],
) -> Figure:
    """Measured costs against sizes, these on a logarithmic axis.

    Args:
        panels: of each the label of the sizes, that of the costs, "log" or "linear" (from 0) for the axis of these, and
            by name of a line its sizes and costs.
    """
    figure = Figure(figsize=(4.5 * len(panels), 4), layout="constrained")
    for axes, (size, cost, scale, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        for name, (sizes, costs) in lines.items():
            axes.plot(sizes, costs, marker="o", label=name)
        axes.set(xlabel=size, ylabel=cost, xscale="log", yscale=scale)
        if scale == "linear":
            axes.set_ylim(bottom=0)
        axes.legend()
    return figure


def curves_by_table(
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], x_label: str, y_label: str
) -> Figure:
    """A measure of several methods over a setting, a panel a table, with one legend.

    Args:
        curves: table -> method -> values of the setting, and of the measure.
        x_label: the setting.
        y_label: the measure.
    """
    columns = min(len(curves), 5)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3 * columns + 0.5, 2.6 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (table, lines) in zip(panels, curves.items()):
        for name, (settings, values) in lines.items():
            axes.plot(settings, values, marker="o", markersize=4, label=name)
        axes.set_title(table)
    for axes in panels[len(curves) :]:
        axes.remove()
    figure.supxlabel(x_label)
    figure.supylabel(y_label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _pearson_r(x: np.ndarray, y: np.ndarray) -> float:
    return np.corrcoef(x, y)[0, 1]
