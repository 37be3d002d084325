"""Certificates of fitted models: everything that `measures` and `implicit` find on one set of rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from tf_radogaga._core import checks
from tf_radogaga.isometry import implicit, measures, neighbourhoods
from tf_radogaga.isometry.protocols import Measured, Variational
from tf_radogaga.isometry.verdicts import Report, implicitly_isometric, isometric
from tf_radogaga.preprocessing.cells import array_of
from tf_radogaga.training.rows import in_memory

QUANTILE = 0.95
"""Of the round trips in a report."""

NEIGHBOURING_ROWS = 2000
"""Rows, drawn at random, whose neighbours are looked for, at most; of wide rows fewer."""


@dataclasses.dataclass(frozen=True, eq=False)
class IsometryReport(Report):
    """Everything that `measures` finds. Gram matrices, response and gap are of the Jacobian rows."""

    model: str  # its class
    metric_scale: float  # of the loss, or fitted so that gram_diagonal_mean is 1
    scale_is_fitted: bool
    latent_units: int  # N
    active_dimensions: int  # n, or 0 where `fit` looked for none and all N are measured
    gram_diagonal_mean: float
    gram_diagonal_sd: float
    spectrum: np.ndarray  # (n,), as `latent_spectrum`
    cumulative_share: np.ndarray
    response_step: float  # in units of z
    response_mean: np.ndarray  # (n,), of `response` in the order of the spectrum
    response_sd: np.ndarray
    gap_mean: float | None  # of `isometry_gap`, nats; None where it is not defined
    gap_sd: float | None
    gap_median_absolute: float | None
    gap_obstacle: str | None  # why it is not

    @property
    def verdict(self) -> str:
        return isometric(self, self.scale_is_fitted)

    def _lines(self) -> list[str]:
        not_sought = "" if self.active_dimensions else ", not determined: all are measured"
        most = int(np.searchsorted(self.cumulative_share, 0.95)) + 1
        table = [
            ("metric scale", self.metric_scale, "", f"z^2 / D, {'fitted' if self.scale_is_fitted else 'of the loss'}"),
            ("active dimensions", self.active_dimensions, "", f"of {self.latent_units}{not_sought}"),
            ("tangent pairs, Pearson r", self.tangent_r, 1, ""),
            ("tangent pairs, slope", self.tangent_slope, 1, "z^2 / z^2"),
            ("Gram diagonal, mean", self.gram_diagonal_mean, 1, "by the fit" if self.scale_is_fitted else ""),
            ("Gram diagonal, sd", self.gram_diagonal_sd, 0, ""),
            ("Gram off-diagonal, mean |cosine|", self.gram_offdiagonal_mean, 0, ""),
            ("Gram off-diagonal, greatest", self.gram_offdiagonal_max, 0, ""),
            ("reconstruction, share of D", self.reconstructed_share, 1, ""),
            ("round trip, root mean square", self.round_trip_rms, 0, "standard deviations of z"),
            (f"round trip, {100 * QUANTILE:g} % below", self.round_trip_quantile, 0, ""),
            ("torn rows, share", self.torn_share, 0, "neighbours in x that are far apart in z"),
            ("local dimension", self.local_dimension, self.measured_dimensions, ""),
            ("response, least dimension", self.response_mean.min(), 1, f"at a step of {self.response_step:.4g} z"),
            ("response, greatest dimension", self.response_mean.max(), 1, ""),
            ("latent variance, greatest", self.spectrum[0], "", "z^2"),
            ("dimensions that hold 95 % of it", min(most, len(self.spectrum)), "", f"of {len(self.spectrum)}"),
            ("isometry gap, mean", self.gap_mean, 0, "nats"),
            ("isometry gap, sd", self.gap_sd, 0, "nats"),
            ("isometry gap, median absolute", self.gap_median_absolute, 0, "nats"),
        ]
        lines = [f"{self.model}: {self.rows} rows, Jacobians at {self.jacobian_rows}, {self.pairs} tangent pairs"]
        lines.append(f"{'':33} {'found':>9} {'right':>6}")
        for name, value, right, unit in table:
            if value is not None:
                lines.append(f"{name:33} {value:>9.4g} {right:>6}  {unit}".rstrip())
        if self.gap_obstacle:
            lines.append(f"isometry gap: none, {self.gap_obstacle}")
        return lines


def isometry_report(
    model: Measured, rows: Any, pairs: int = 1000, seed: int = 0, jacobian_rows: int = 512
) -> IsometryReport:
    """All measurements of `measures` on one set of rows.

    Args:
        model: fitted.
        rows: raw rows, best held out.
        pairs: of tangent vectors.
        seed: of the pairs and of the rows drawn.
        jacobian_rows: most rows, drawn at random, at which derivatives are taken.

    Raises:
        ValueError: pairs or jacobian_rows below 1.
    """
    checks.at_least(1, pairs=pairs, jacobian_rows=jacobian_rows)
    rows, _ = in_memory(model.preprocess, rows, "rows")
    _, axes, variance = measures.latent_axes(model, rows)
    some = draw(rows, jacobian_rows, seed)
    step = measures.noise_step(model, variance)
    latent, data = measures.tangent_pairs(model, rows, pairs, seed)
    gram = measures.gram_matrices(model, some).numpy().astype(np.float64)
    responses = measures.response(model, some, step, axes).numpy().astype(np.float64)
    obstacle = measures.gap_obstacle(model)
    gap = None if obstacle else measures.isometry_gap(model, some).numpy().astype(np.float64)
    scale = model.metric_scale
    if scale is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = float(1 / np.diagonal(gram, axis1=1, axis2=2).mean())
            data, gram, responses = scale * data, scale * gram, scale * responses
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    return IsometryReport(
        **_common(model, rows, some, (latent, data), gram, seed),
        model=type(model).__name__,
        metric_scale=scale,
        scale_is_fitted=model.metric_scale is None,
        latent_units=axes.shape[1],
        active_dimensions=model.active_dimensions,
        gram_diagonal_mean=float(diagonal.mean()),
        gram_diagonal_sd=float(diagonal.std()),
        spectrum=variance,
        cumulative_share=measures.cumulative_share(variance),
        response_step=step,
        response_mean=responses.mean(axis=0),
        response_sd=responses.std(axis=0),
        gap_mean=None if gap is None else float(gap.mean()),
        gap_sd=None if gap is None else float(gap.std()),
        gap_median_absolute=None if gap is None else float(np.median(np.abs(gap))),
        gap_obstacle=obstacle,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class ImplicitReport(Report):
    """What Nakagawa et al. (ICML 2021) read off a trained beta-VAE. Unit norms, coordinates and Gram matrices are of
    the Jacobian rows. Tangent pairs and Gram matrices are in y. Arrays (N,) go by dimension of the latent, that of the
    greatest inverse_variance first.
    """

    beta: float
    active_dimensions: int  # of a mean rate above `models.beta_vae.LEAST_RATE`
    dimension: np.ndarray  # its place in z
    unit_norm_mean: np.ndarray  # of `unit_norms`: 1 is right, 0 where a dimension carries nothing
    unit_norm_sd: np.ndarray
    response_mean: np.ndarray  # D'_j, squared length of dx_hat/dz_j in the metric
    response_sd: np.ndarray
    inverse_variance: np.ndarray  # E[sigma_j^-2]
    variance: np.ndarray  # of y_j, estimated by beta/2 E[sigma_j^-2]
    coordinate_variance: np.ndarray  # of y_j, of `isometric_coordinates`
    rate: np.ndarray  # mean KL_j, nats
    latent_tangent_r: float  # Pearson r of tangent pairs in z, which is not isometric
    transform_loss: float  # mean D(x, x_check)
    coding_loss: float  # mean D(x_check, x_hat), n beta/2 in theory

    @property
    def verdict(self) -> str:
        return implicitly_isometric(self)

    def _lines(self) -> list[str]:
        columns: dict[str, Any] = {
            "z_j": [str(j) for j in self.dimension],
            "norm": self.unit_norm_mean,
            "sd": self.unit_norm_sd,
            "D'_j": self.response_mean,
            "1/sigma^2": self.inverse_variance,
            "Var y est.": self.variance,
            "Var y": self.coordinate_variance,
            "rate": self.rate,
        }
        cells = [[v if isinstance(v, str) else f"{v:.4g}" for v in column] for column in columns.values()]
        lines = [
            f"BetaVAE, beta {self.beta:.4g}: {self.rows} rows, Jacobians at {self.jacobian_rows}; right is a norm of 1",
            "".join(f"{name:>11}" for name in columns),
            *("".join(f"{cell:>11}" for cell in row) for row in zip(*cells)),
            f"active dimensions: {self.active_dimensions} of {len(self.dimension)}",
            f"tangent pairs in y: Pearson r {self.tangent_r:.4f}, slope {self.tangent_slope:.4f};"
            f" in z: r {self.latent_tangent_r:.4f}",
            f"reconstruction, share of D: {self.reconstructed_share:.4f}",
            f"round trip, in standard deviations of z: root mean square {self.round_trip_rms:.4f},"
            f" {100 * QUANTILE:g} % below {self.round_trip_quantile:.4f}",
            f"torn rows, share: {self.torn_share:.4g}; local dimension: {self.local_dimension} of"
            f" {self.measured_dimensions}",
            f"coding loss: {self.coding_loss:.4g}, in theory {self.active_dimensions * self.beta / 2:.4g};"
            f" transform loss: {self.transform_loss:.4g}",
        ]
        if self.gram_offdiagonal_mean is not None:
            cosines = f"mean {self.gram_offdiagonal_mean:.4g}, greatest {self.gram_offdiagonal_max:.4g}"
            lines.insert(-1, f"|cosine| between dimensions: {cosines}; right is 0")
        return lines


def implicit_report(
    model: Variational, rows: Any, pairs: int = 1000, seed: int = 0, jacobian_rows: int = 512
) -> ImplicitReport:
    """The implicit isometry of a beta-VAE on one set of rows; arguments and errors as of `isometry_report`.

    Raises:
        TypeError: the model is no BetaVAE.
    """
    checks.at_least(1, pairs=pairs, jacobian_rows=jacobian_rows)
    rows, _ = in_memory(model.preprocess, rows, "rows")
    inverse = implicit.inverse_variances(model, rows)
    order = np.argsort(-inverse, kind="stable")
    some = draw(rows, jacobian_rows, seed)
    measured = implicit.unit_norms(model, some), implicit.isometric_coordinates(model, some)
    found = *measured, model.rates(rows), model.posterior(some)[1]
    norms, coordinates, rates, sigma = (values.numpy().astype(np.float64)[:, order] for values in found)
    responses = 0.5 * model.beta * norms / sigma**2
    gram = measures.gram_matrices(model, some, implicit=True).numpy().astype(np.float64)
    transform, coding = np.stack(model.transform_and_coding(rows), axis=1).mean(axis=0)
    return ImplicitReport(
        **_common(model, rows, some, measures.tangent_pairs(model, rows, pairs, seed, implicit=True), gram, seed),
        beta=model.beta,
        active_dimensions=model.active_dimensions,
        dimension=order,
        unit_norm_mean=norms.mean(axis=0),
        unit_norm_sd=norms.std(axis=0),
        response_mean=responses.mean(axis=0),
        response_sd=responses.std(axis=0),
        inverse_variance=inverse[order],
        variance=0.5 * model.beta * inverse[order],
        coordinate_variance=coordinates.var(axis=0),
        rate=rates.mean(axis=0),
        latent_tangent_r=float(np.corrcoef(*measures.tangent_pairs(model, rows, pairs, seed))[0, 1]),
        transform_loss=float(transform),
        coding_loss=float(coding),
    )


def _common(
    model: Measured, rows: Any, some: Any, pairs: tuple[np.ndarray, ...], gram: np.ndarray, seed: int
) -> dict[str, Any]:
    """The fields of `Report`, from tangent pairs of `rows` and the Gram matrices (B, n, n) of `some` of them."""
    (latent, data), diagonal = pairs, np.diagonal(gram, axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore"):  # a decoder that answers nothing has no r and no cosines
        r = np.corrcoef(latent, data)[0, 1]
        cosines = np.abs(gram) / np.sqrt(diagonal[:, :, None] * diagonal[:, None, :])
    near = draw(rows, min(NEIGHBOURING_ROWS, max(2**21 // model.preprocess.width, 200)), seed)
    cosines, trips = cosines[:, ~np.eye(gram.shape[1], dtype=bool)], measures.round_trips(model, rows)
    return {
        "rows": len(rows),
        "jacobian_rows": len(some),
        "pairs": len(data),
        "tangent_r": float(r),
        "tangent_slope": float(latent @ data / (latent @ latent)),
        "gram_offdiagonal_mean": float(cosines.mean()) if cosines.size else None,
        "gram_offdiagonal_max": float(cosines.max()) if cosines.size else None,
        "reconstructed_share": measures.reconstructed_share(model, rows),
        "round_trip_rms": float(np.sqrt(np.mean(trips**2))),
        "round_trip_quantile": float(np.quantile(trips, QUANTILE)),
        "torn_share": float(neighbourhoods.torn_rows(model, near).mean()) if len(near) > 1 else 0.0,
        "local_dimension": neighbourhoods.local_dimension(model, near),
        "measured_dimensions": gram.shape[1],
    }


def draw(rows: Any, most: int, seed: int) -> Any:
    """At most so many of the rows, in random order."""
    drawn = np.random.default_rng(seed).permutation(len(rows))[:most]
    return rows.iloc[drawn] if isinstance(rows, pd.DataFrame) else array_of(rows, "rows")[drawn]
