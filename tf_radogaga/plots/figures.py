"""Figures of scores, densities, costs and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay


def subplots(width: float, height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches and its panels, row by row; options of `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).ravel())


def score_histogram(energies: np.ndarray, labels: np.ndarray | None = None, threshold: float | None = None) -> Figure:
    """Energies (n,) in nats with the threshold. Where labels (n,) are known, normal rows stand beside anomalies.

    The axis ends at the 99.5 % quantile of all energies. The last bin counts the rows beyond it.
    """
    figure, (axes,) = subplots(7, 4)
    low, high = np.min(energies), max(np.quantile(energies, 0.995), threshold or -np.inf)
    bins = np.linspace(low, high if high > low else low + 1, 61)
    groups = {"rows": energies}
    if labels is not None:
        groups = {"normal": energies[labels == 0], "anomaly": energies[labels == 1]}
    for name, values in groups.items():
        axes.hist(np.clip(values, bins[0], bins[-1]), bins, density=True, alpha=0.6, label=f"{name} ({len(values)})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="energy [nats]", ylabel="density")
    axes.legend()
    return figure


def roc_pr_curves(labels: np.ndarray, energies: dict[str, np.ndarray]) -> Figure:
    """ROC and precision-recall curves of one or more named scores over the same labels (1 = anomaly)."""
    figure, (left, right) = subplots(10, 4.5, 2)
    for name, values in energies.items():
        RocCurveDisplay.from_predictions(labels, values, name=name, ax=left)
        PrecisionRecallDisplay.from_predictions(labels, values, name=name, ax=right)
    return figure


def density_scatter(true_density: np.ndarray, model_density: np.ndarray) -> Figure:
    """True densities (n,) against a model's (n,), shown as shares of its greatest; Pearson r in the title.
    Source: Kato et al., ICML 2020, Fig. 8."""
    figure, (axes,) = subplots(5, 5)
    axes.scatter(true_density, np.asarray(model_density) / np.max(model_density), s=6, alpha=0.3, linewidths=0)
    axes.set(xlabel="p(x)", ylabel="P(z), its greatest as 1", xlim=(0, None), ylim=(0, 1.05))
    axes.set_title(f"r = {np.corrcoef(true_density, model_density)[0, 1]:.4f}")
    return figure


def log_density_scatter(true_log_density: np.ndarray, log_density: np.ndarray) -> Figure:
    """True log p(x) (n,) against a model's (n,), both in absolute nats, with the line where they are equal."""
    true_log_density, log_density = np.asarray(true_log_density), np.asarray(log_density)
    figure, (axes,) = subplots(5, 5)
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


def cost_curves(
    panels: Sequence[tuple[str, str, str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]],
) -> Figure:
    """Measured costs against sizes on a logarithmic axis.

    Args:
        panels: of each the label of sizes, the label of costs, "log" or "linear" (from 0) for the axis of costs, and
            lines: name -> sizes and costs.
    """
    figure, found = subplots(4.5 * len(panels), 4, len(panels))
    for axes, (size, cost, scale, lines) in zip(found, panels):
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
    """A measure of several methods over a setting, in one panel for each table, with one legend.

    Args:
        curves: table -> method -> values of the setting, and of the measure.
        x_label: the setting.
        y_label: the measure.
    """
    columns = min(len(curves), 5)
    rows = -(-len(curves) // columns)
    figure, found = subplots(3 * columns + 0.5, 2.6 * rows + 0.8, columns, rows)
    for axes, (table, lines) in zip(found, curves.items()):
        for name, (settings, values) in lines.items():
            axes.plot(settings, values, marker="o", markersize=4, label=name)
        axes.set_title(table)
    for axes in found[len(curves) :]:
        axes.remove()
    figure.supxlabel(x_label)
    figure.supylabel(y_label)
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def image_grid(images: dict[str, np.ndarray], columns: Sequence[str] = ()) -> Figure:
    """Images (n, H, W, C) of values in 0..1 as a grid with one row for each name; `columns` labels the n."""
    stacked = np.stack(list(images.values()))
    rows, count, height, width, channels = stacked.shape
    figure, (axes,) = subplots(count + 2, rows + 0.5)
    mosaic = stacked.transpose(0, 2, 1, 3, 4).reshape(rows * height, count * width, channels)
    mosaic = np.clip(mosaic if channels == 3 else mosaic.mean(axis=2), 0, 1)
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks((np.arange(len(columns)) + 0.5) * width - 0.5, columns)
    axes.set_yticks((np.arange(rows) + 0.5) * height - 0.5, list(images))
    return figure


def explained_images(
    originals: np.ndarray, reconstructions: np.ndarray, maps: np.ndarray, titles: Sequence[str]
) -> Figure:
    """One column for each image: the original, its reconstruction, and what each pixel adds to the distortion.

    Args:
        originals, reconstructions: (n, H, W, C) of values in 0..1, grey or colour.
        maps: (n, H, W, C) in units of the distortion, as `Distortion.contributions` gives them. The figure shows sums
            over channels in one scale of colours, from 0 to the greatest. Sums below 0 look like 0.
        titles: n texts under the columns, such as energies.

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
        "explanation": np.asarray(scale.cmap(scale.norm(total)))[..., :3],
    }
    figure = image_grid(rows, titles)
    figure.colorbar(scale, ax=figure.axes[0], label="distortion of a pixel")
    return figure


def _as_colour(images: np.ndarray) -> np.ndarray:
    """(n, H, W, C) -> (n, H, W, 3), grey unless C is 3."""
    return images if images.shape[-1] == 3 else np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
