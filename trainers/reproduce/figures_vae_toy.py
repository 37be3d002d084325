"""Figures of the beta-VAE's ablation on toy data of known density: Nakagawa et al., ICML 2021, appendix D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tf_radogaga.plots.figures import subplots

MARKERS = "osD^v"


def ablation(
    lambdas: np.ndarray,
    norms: np.ndarray,
    norm_sds: np.ndarray,
    inverse_variances: np.ndarray,
    correlations: Mapping[str, np.ndarray],
    ratios: Sequence[float] = (4, 16),
) -> Figure:
    """What a VAE measures over lambda = 1/beta: unit norms, ratios of estimated variances, correlations with p(x).

    Source: Fig. 13-21.

    Args:
        lambdas: (L,), ascending.
        norms: (L, N), means over rows of (2/beta) sigma_j^2 D'_j; 1 is right.
        norm_sds: (L, N), their standard deviations.
        inverse_variances: (L, N), E[sigma_j^-2]; shown divided by the first column.
        correlations: name of an estimate of the density -> (L,), NaN where there is none.
        ratios: true ratios of the second, third, ... variance to the first.
    """
    figure, (left, middle, right) = subplots(15, 4.5, 3)
    for j, (norm, sd) in enumerate(zip(np.transpose(norms), np.transpose(norm_sds))):
        left.errorbar(lambdas, norm, sd, marker=MARKERS[j % 5], capsize=3, label=f"$z_{j + 1}$")
    left.axhline(1, color="black", linewidth=1)
    left.set(ylabel=r"$(2/\beta)\, \sigma_j^2 D'_j$, mean and sd over rows", ylim=(0, None), title="(a) unit norm")
    inverse_variances = np.asarray(inverse_variances)
    for j, true in enumerate(ratios, 1):
        measured = inverse_variances[:, j] / inverse_variances[:, 0]
        middle.plot(lambdas, measured, marker=MARKERS[j % 5], label=f"Var($z_{j + 1}$) / Var($z_1$)")
        middle.axhline(true, color="black", linewidth=1, linestyle="--")
    middle.set_yscale("log", base=2)
    middle.yaxis.set_major_formatter("{x:g}")
    middle.set(ylabel=r"ratio of E[$\sigma_j^{-2}$]", title="(b) variance ratios, dashed: of the source")
    for marker, (name, values) in zip(MARKERS, correlations.items()):
        right.plot(lambdas, values, marker=marker, label=name)
    right.set(ylabel="Pearson r", ylim=(None, 1.02), title="(c) correlation with p(x)")
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.set_xlabel(r"$\lambda = 1/\beta$")
        axes.legend()
    return figure


def variance_ratios(ratios: Mapping[str, Mapping[str, Sequence[float]]], true: Sequence[float] = (4, 16)) -> Figure:
    """Ratios of estimated variances as bars: data set -> loss -> Var(z_j) / Var(z_1) for j = 2, 3, ...
    Source: Fig. 22. Dashed: `true`, those of the source."""
    figure, found = subplots(5.5 * len(true), 4.5, len(true))
    losses = list(dict.fromkeys(loss for by_loss in ratios.values() for loss in by_loss))
    for j, (axes, value) in enumerate(zip(found, true)):
        for k, loss in enumerate(losses):
            known = {i: by_loss[loss][j] for i, by_loss in enumerate(ratios.values()) if loss in by_loss}
            places = np.array(list(known)) + 0.8 * ((k + 0.5) / len(losses) - 0.5)
            bars = axes.bar(places, list(known.values()), 0.8 / len(losses), label=loss)
            axes.bar_label(bars, fmt="%.3g", fontsize="small")
        axes.axhline(value, color="black", linewidth=1, linestyle="--")
        axes.set_xticks(range(len(ratios)), list(ratios))
        axes.set(title=f"Var($z_{j + 2}$) / Var($z_1$)", ylabel=r"ratio of E[$\sigma_j^{-2}$]")
        axes.margins(y=0.15)
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(losses))
    return figure


def over_beta(
    measured: Mapping[str, tuple[np.ndarray, np.ndarray]],
    theory: Mapping[str, tuple[np.ndarray, np.ndarray]],
    label: str,
) -> Figure:
    """A loss, or a ratio of losses, over beta on logarithmic axes: points as measured, lines as the theory has it.

    Source: Fig. 23 and 24.

    Args:
        measured: name -> beta (L,) and values (L,).
        theory: the same of lines without points.
        label: of the vertical axis.
    """
    figure, (axes,) = subplots(6, 4.5)
    for marker, (name, (beta, values)) in zip(MARKERS, measured.items()):
        axes.plot(beta, values, marker=marker, linestyle="none", label=name)
    for style, (name, (beta, values)) in zip(("-", "--", ":"), theory.items()):
        axes.plot(beta, values, color="black", linewidth=1, linestyle=style, label=name)
    axes.set(xscale="log", yscale="log", xlabel=r"$\beta = 1/\lambda$", ylabel=label)
    axes.legend()
    return figure


def density_estimates(
    density: np.ndarray, estimates: Mapping[str, np.ndarray], correlations: Mapping[str, float] | None = None
) -> Figure:
    """True densities (n,) against estimates (n,), each shown as shares of its greatest, a panel each.

    Source: Fig. 3, 10 and 25.

    Args:
        density: p(x) of some rows.
        estimates: name -> of the same rows.
        correlations: name -> Pearson r for the title, such as that of all rows; default: of these.
    """
    figure, found = subplots(4 * len(estimates), 4.2, len(estimates))
    for axes, (name, values) in zip(found, estimates.items()):
        r = np.corrcoef(density, values)[0, 1] if correlations is None else correlations[name]
        axes.scatter(density, np.asarray(values) / np.max(values), s=6, alpha=0.4, linewidths=0)
        axes.set(xlabel="p(x)", ylabel=name, xlim=(0, None), ylim=(0, 1.05), title=f"R = {r:.3f}")
    return figure
