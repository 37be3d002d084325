"""The beta-VAE for toy data of known density: its settings, the metrics of a fitted one, and the theory's losses."""

from __future__ import annotations

import numpy as np

from tf_radogaga import isometry
from tf_radogaga.datasets import vae_toy
from tf_radogaga.models import BetaVAE
from tf_radogaga.presets import Preset

ERROR = "abs_log_density_error_median"
# metric -> (key of `isometry.density_estimates`, label)
ESTIMATES = {
    "r_prior": ("prior", r"$p(\mu)$"),
    "r_posterior": ("posterior", r"$p(\mu) \prod \sigma_j$"),
    "r_loss": ("loss", r"$\exp(-L/\beta)$"),
    "r_prior_scaled": ("posterior_scaled", r"$a_x^{n/2} p(\mu) \prod \sigma_j$"),
    "r_loss_scaled": ("loss_scaled", r"$a_x^{n/2} \exp(-L/\beta)$"),
}


def preset(loss: str, lam: float, latent_units: int, steps: int | None) -> Preset:
    """The networks are the paper's (appendix C.1). Its 500 epochs of 128 rows at a learning rate of 1e-3 are 20 times
    as many steps; greater ones, a batch that calms them, and decay fit as well, the larger lambda the later."""
    return Preset(
        "vae",
        (128, 64),
        latent_units,
        components=None,
        lambda1=None,
        lambda2=lam,
        source="networks: Nakagawa et al., ICML 2021, appendix C.1; lambda2: D.2; the rest: chosen here",
        distortion=loss,
        learning_rate=1e-2,
        decay=True,
        batch_size=512,
        steps=steps or (10_000 if lam <= 100 else 30_000),
        reconstruction_features=False,
    )


def measure(model: BetaVAE, data: vae_toy.VaeToyData, keep_rows: int = 0) -> dict:
    """The metrics of one fitted model.

    Lists go by latent dimension as in the paper: first the three of the greatest E[sigma_j^-2], that of the smallest of
    them first, as s_1 to s_3; then the rest, which are idle. With `keep_rows`, the log densities of so many rows.
    """
    rows = data.rows.astype(np.float32)
    report = isometry.implicit_report(model, rows, jacobian_rows=4000)
    order = [2, 1, 0, *range(3, len(report.dimension))]
    arrays = ("unit_norm_mean", "unit_norm_sd", "response_mean", "response_sd", "inverse_variance", "rate")
    density, estimates = np.exp(data.log_density), isometry.density_estimates(model, rows)
    error = np.median(np.abs(estimates["loss_scaled"] - data.log_density))
    metrics = {
        **{name: getattr(report, name)[order].tolist() for name in arrays},
        "active_dimensions": report.active_dimensions,
        "transform_loss": report.transform_loss,
        "coding_loss": report.coding_loss,
        **{name: _pearson_r(density, estimates[estimate]) for name, (estimate, _) in ESTIMATES.items()},
        # a density over fewer dimensions has another unit
        ERROR: float(error) if report.active_dimensions == 3 else None,
    }
    if keep_rows:
        logs = {"true": data.log_density, **{name: estimates[estimate] for name, (estimate, _) in ESTIMATES.items()}}
        metrics["log_densities"] = {name: values[:keep_rows].round(3).tolist() for name, values in logs.items()}
    return metrics


def _pearson_r(density: np.ndarray, log_estimate: np.ndarray) -> float | None:
    """None where the estimate is the same in every row."""
    estimate = np.exp(log_estimate - log_estimate.max())
    return float(np.corrcoef(density, estimate)[0, 1]) if np.ptp(estimate) else None


def normal_optimum(beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transform and coding loss (L,) of the best VAE at each beta (L,), were s normal and D the square error.

    The exact KL bends the paper's lines: where beta/2 < Var(s_j) a dimension gives (beta/2)^2 / Var(s_j) and
    beta/2 (1 - beta/2 / Var(s_j)), elsewhere it is idle and gives Var(s_j) and 0.
    """
    noise, variances = np.asarray(beta)[:, None] / 2, vae_toy.VARIANCES
    kept = noise < variances
    transform = np.where(kept, noise**2 / variances, variances)
    coding = np.where(kept, noise * (1 - noise / variances), 0)
    return transform.sum(axis=1), coding.sum(axis=1)
