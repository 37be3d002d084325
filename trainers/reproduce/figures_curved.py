"""A rolled surface beside the latent that unrolls it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_radogaga.datasets.manifolds import Manifold, ManifoldData

ROWS, GRID, LINE_POINTS = 800, 0.5, 70
"""Rows that are shown, the step of the grid in units of the data, and points of each of its lines."""


def drawing(manifold: Manifold, model: Any, data: ManifoldData) -> dict[str, list]:
    """What `unrolled` draws of a model of two latent units, as JSON types.

    Returns:
        points (n, 3) and latent (n, 2), in units of the data; log_density and true (n,), nats; coordinates (n,), the
        first of the surface; grid, lines (k, 3) on the surface that the decoder makes of lines of z, GRID apart.
    """
    rows = data.rows[:ROWS]
    z = model.encode(rows).numpy() / np.sqrt(model.metric_scale)
    centre = z.mean(axis=0)
    axes = np.linalg.svd(z - centre, full_matrices=False)[2]
    latent = (z - centre) @ axes.T
    lines = [model.decode((line @ axes + centre) * np.sqrt(model.metric_scale)) for line in _lines(latent)]
    return {
        "points": (rows @ manifold.basis.T).round(3).tolist(),
        "latent": latent.round(3).tolist(),
        "log_density": model.log_density(rows).numpy().astype(np.float64).round(3).tolist(),
        "true": data.log_density[:ROWS].round(3).tolist(),
        "coordinates": data.coordinates[:ROWS, 0].round(3).tolist(),
        "grid": [(np.asarray(line) @ manifold.basis.T).astype(np.float64).round(3).tolist() for line in lines],
    }


def _lines(latent: np.ndarray) -> list[np.ndarray]:
    """Straight lines (k, 2) through the rows, float32: both ways, GRID apart, each no longer than the rows near it."""
    lines = []
    for along in (0, 1):
        across = 1 - along
        low, high = (GRID * np.round(np.quantile(latent[:, across], share) / GRID) for share in (0.005, 0.995))
        for place in np.arange(low, high + GRID / 2, GRID):
            near = latent[np.abs(latent[:, across] - place) < GRID / 2, along]
            if len(near) > 1:
                line = np.empty((LINE_POINTS, 2), np.float32)
                line[:, along], line[:, across] = np.linspace(near.min(), near.max(), LINE_POINTS), place
                lines.append(line)
    return lines


def unrolled(drawn: dict[str, list]) -> Figure:
    """The surface and its latent, coloured by log density and by the true place along the roll, and the log densities
    beside the true ones. The grid on the surface is square where the latent is isometric."""
    points, latent, coordinates = (np.array(drawn[name]) for name in ("points", "latent", "coordinates"))
    log_density, true = np.array(drawn["log_density"]), np.array(drawn["true"])
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=[1, 1.6, 1])
    roll = figure.add_subplot(grid[:, 0], projection="3d")
    for line in drawn["grid"]:
        roll.plot(*np.array(line).T, color="black", linewidth=0.4, alpha=0.6)
    shades = np.clip(log_density, *np.quantile(log_density, [0.02, 1]))
    roll.scatter(*points.T, c=shades, s=3, depthshade=False)
    roll.view_init(elev=68, azim=-80)
    roll.set(title="data; grid: equal steps of z", xticks=[], yticks=[], zticks=[], box_aspect=np.ptp(points, axis=0))
    for row, label, colours, cmap in (
        (0, "log p(x) [nats]", shades, "viridis"),
        (1, "true length", coordinates, "twilight"),
    ):
        axes = figure.add_subplot(grid[row, 1])
        figure.colorbar(axes.scatter(*latent.T, c=colours, s=3, cmap=cmap), ax=axes, label=label)
        axes.set(aspect="equal")
        if not row:
            axes.set(title="latent z, in units of the data")
    right = figure.add_subplot(grid[:, 2])
    ends = [true.min(), true.max()]
    right.scatter(true, log_density, s=4, alpha=0.4, linewidths=0)
    right.plot(ends, ends, color="black", linewidth=1)
    error = np.median(np.abs(log_density - true))
    right.set(
        aspect="equal",
        xlabel="true log p(x) [nats]",
        ylabel="log p(x) of the model",
        title=f"median absolute error {error:.3f} nats",
    )
    return figure
