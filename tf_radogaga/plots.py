"""Figures; every function returns a matplotlib Figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay


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
    axes.set(xlabel="energy -log P(z) [nats]", ylabel="density")
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
