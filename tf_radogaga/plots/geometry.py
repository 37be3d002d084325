"""Figures of a latent and of its isometry."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from tf_radogaga.isometry import ImplicitReport
from tf_radogaga.plots.figures import image_grid, subplots


def tangent_scatter(latent: np.ndarray, data: np.ndarray) -> Figure:
    """Products (pairs,) of tangent vectors in the latent and of their images, as `isometry.tangent_pairs` gives them.

    The line has slope 1. The title has r and the slope of the least-squares line through 0. Source: Kato et al.,
    ICML 2020, Fig. 4.
    """
    figure, (axes,) = subplots(5, 5)
    axes.scatter(latent, data, s=6, alpha=0.5, linewidths=0)
    axes.axline((0, 0), slope=1, color="black", linewidth=1, label="slope 1")
    slope = np.dot(latent, data) / np.dot(latent, latent)
    axes.set(
        xlabel="v . w in the latent [$z^2$]",
        ylabel="$v_x' A w_x$ in the data [$z^2$]",
        title=f"r = {np.corrcoef(latent, data)[0, 1]:.4f}, slope = {slope:.3f}",
    )
    axes.legend()
    return figure


def gram_matrix(matrix: np.ndarray) -> Figure:
    """A Gram matrix (n, n), such as the mean of `isometry.gram_matrices`: the identity is right.

    The title has the ranges on and off the diagonal. Up to 8 x 8, each cell shows its value.
    """
    matrix = np.asarray(matrix)
    figure, (axes,) = subplots(5.5, 5)
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
    axes.locator_params(integer=True)
    return figure


def latent_spectrum(variance: np.ndarray, share: np.ndarray) -> Figure:
    """Variances (n,) of the latent as bars and their cumulative share (n,) as a line, as `isometry.latent_spectrum`.
    Source: Kato et al., ICML 2020, Fig. 5."""
    figure, (axes,) = subplots(7, 4)
    numbers = np.arange(len(variance))
    axes.bar(numbers, variance)
    axes.set(xlabel="latent dimension, by variance", ylabel="variance [$z^2$]")
    axes.locator_params("x", integer=True)
    right = axes.twinx()
    right.plot(numbers, share, color="tab:red", marker=".")
    right.set(ylabel="cumulative share", ylim=(0, 1.05))
    right.yaxis.label.set_color("tab:red")
    return figure


def dimension_response(mean: np.ndarray, sd: np.ndarray) -> Figure:
    """Mean and standard deviation (n,) of `isometry.response` of each dimension; 1 is right.
    Source: Kato et al., arXiv v1, Fig. 4."""
    figure, (axes,) = subplots(7, 4)
    axes.errorbar(np.arange(len(mean)), mean, sd, fmt="o", capsize=3, label="mean, sd over rows")
    axes.axhline(1, color="black", linewidth=1, label="isometric")
    axes.set(xlabel="latent dimension, by variance", ylabel="$D'_i$ times metric scale")
    low, high = axes.get_ylim()
    axes.set_ylim(min(0, low), 1.1 * high)
    axes.locator_params("x", integer=True)
    axes.legend()
    return figure


def traversal(decoded: np.ndarray, variance: np.ndarray | None = None, span: float = 2.0) -> Figure:
    """Decoded points along latent dimensions, (dimensions, steps, *event), as `isometry.traversals` gives them.

    Images (H, W, C) of values in 0..1 make a grid with one row for each dimension. Vectors (M,) make one panel for each
    dimension, with lines over their elements. Source: Kato et al., ICML 2020, Fig. 6.

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
        figure, found = subplots(4 * columns, 2.5 * rows, columns, rows, sharey=True)
        colors = colormaps["coolwarm"](np.linspace(0, 1, steps))
        for axes, lines, label in zip(found, decoded, labels):
            for values, color, distance in zip(lines, colors, distances):
                axes.plot(values, color=color, marker=".", label=distance)
            axes.set_title(label)
        for axes in found[dimensions:]:
            axes.set_visible(False)
        figure.legend(*found[0].get_legend_handles_labels(), loc="outside right center")
        figure.supxlabel("element of x")
    else:
        raise ValueError(f"decoded: events of shape {tuple(event)}, neither vectors (M,) nor images (H, W, C).")
    return figure


def isometry_gap(gap: np.ndarray) -> Figure:
    """The gap (n,) in nats between the exact and the isometric log density, as `isometry.isometry_gap`; 0 is right."""
    gap = np.asarray(gap)
    figure, (axes,) = subplots(7, 4)
    axes.hist(gap, bins=60)
    axes.axvline(0, color="black", linewidth=1)
    axes.set(
        xlabel="log p(x) by the Jacobian - by isometry [nats]",
        ylabel="rows",
        title=f"mean {gap.mean():.3g}, sd {gap.std():.3g}, median absolute {np.median(np.abs(gap)):.3g} nats",
    )
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
    figure, found = subplots(4.5 * len(pairs) + 1, 4.5, len(pairs))
    order = np.argsort(density)  # the dense middle of a cluster is not hidden by its rim
    for axes, (i, j) in zip(found, pairs):
        points = axes.scatter(z[order, i], z[order, j], c=np.asarray(density)[order], s=4, linewidths=0)
        axes.set(xlabel=f"$z_{i}$", ylabel=f"$z_{j}$")
        axes.set_aspect("equal", adjustable="datalim")
    figure.colorbar(points, ax=found)
    return figure


def implicit_spectrum(report: ImplicitReport) -> Figure:
    """Importance E[sigma_j^-2] of each dimension of a beta-VAE, and its unit norm with its sd over rows; 1 is right.
    Source: Nakagawa et al., ICML 2021, Fig. 4, 5 and 28."""
    figure, (left,) = subplots(8, 4)
    place = np.arange(1, len(report.inverse_variance) + 1)
    left.bar(place, report.inverse_variance, color="tab:blue", alpha=0.5)
    left.set(xlabel="dimension, by importance", ylabel="mean of $\\sigma_j^{-2}$ (bars)", yscale="log")
    right = left.twinx()
    right.errorbar(place, report.unit_norm_mean, report.unit_norm_sd, fmt="o", markersize=3, color="tab:red")
    right.axhline(1, color="black", linewidth=1)
    right.set(ylabel="$(2/\\beta)\\, \\sigma_j^2 D'_j$ (dots, sd)", ylim=(0, None))
    return figure
