"""The toy experiment of ICML 2020, section 5.2: is the latent isometric, and is the density right in absolute terms?

    python trainers/train_toy.py --model radogaga-log --out outputs/toy
    python trainers/train_toy.py --model radogaga-d --data generate --seed 1 --gauge none --out outputs/toy-papers-form

The data are a three-component Gaussian mixture on a 3-dimensional plane in 16 dimensions, whose density is known.
OUT then holds metrics.json, figures 7 and 8 of the paper, the isometry certificate with its figures, TensorBoard logs
and model/. An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import tf_radogaga
from tf_radogaga import isometry, plots, presets
from tf_radogaga.datasets import tabular, toy
from tf_radogaga.models import Autoencoder
from tf_radogaga.preprocessing import PassThrough
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.fitting import Data, train
from tf_radogaga_trainers.shared.runs import callbacks, changed, export, finish, prepared_out, verbosity

AUTHORS = "radogaga_toy.csv"
GAUGES = {"learned": "learned", "none": None}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", choices=presets.MIXTURE_MODELS, default="radogaga-log", help="loss equation (default: %(default)s)")
    add(
        "--data",
        type=lambda text: Path(text).name,
        choices=(AUTHORS, "generate"),
        default=AUTHORS,
        help="the authors' 10,000 rows, which ship with the package (default), or fresh ones by the seed",
    )
    add("--seed", type=int, default=0, help="seed of weights, batches, noise and generated rows (default: 0)")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--gauge", choices=tuple(GAUGES), default="learned", help="none: the papers' form (default: %(default)s)")
    add("--distortion", choices=tuple(presets.DISTORTIONS), default="sum", help="metric D (default: %(default)s)")
    add("--steps", type=positive(int), help="training steps (default: the preset's)")
    add("--export", type=Path, help="also write a SavedModel version to this folder, for example saved_models/NAME")
    add("--overwrite", action="store_true", help="discard what OUT holds")
    return parser.parse_args(arguments)


def load(source: str, seed: int) -> toy.ToyData:
    """The rows scaled by one minimum and maximum, with their true log density there."""
    return (toy.load_toy() if source == AUTHORS else toy.generate_toy(seed=seed)).scaled()


def choose_preset(
    model: str, gauge: str = "learned", distortion: str = "sum", steps: int | None = None
) -> presets.Preset:
    """The toy preset with these changes; the lambdas are for the sum of squares, so those of the mean are 16 times."""
    preset = presets.preset("toy", model)
    factor = 16 if distortion == "mean" else 1
    return changed(
        preset,
        gauge=GAUGES[gauge] and preset.gauge,
        distortion=distortion,
        lambda1=preset.lambda1 * (factor if model == "radogaga-d" else 1),
        lambda2=preset.lambda2 * factor,
        steps=steps or preset.steps,
    )


def fit(preset: presets.Preset, data: toy.ToyData, seed: int, callbacks: tuple = (), verbose: int = 0) -> Autoencoder:
    rows = data.rows.astype(np.float32)
    return train(preset, Data(rows, len(rows), (), PassThrough(rows.shape[1]), None), seed, callbacks, verbose=verbose)


def pearson_r(data: toy.ToyData, energy: np.ndarray) -> float:
    """Correlation of the true density with P(z)."""
    return float(np.corrcoef(np.exp(data.log_density), np.exp(energy.min() - energy))[0, 1])


def regression_residual(data: toy.ToyData, energy: np.ndarray) -> float:
    """Mean squared residual of P(z), normalised to 0..1, regressed linearly on the true density (arXiv v1, 4.1)."""
    prior = np.exp(energy.min() - energy)
    prior = (prior - prior.min()) / (prior.max() - prior.min())
    density = np.exp(data.log_density - data.log_density.max())
    return float(np.mean((prior - np.polyval(np.polyfit(density, prior, 1), density)) ** 2))


def measure(model: Autoencoder, data: toy.ToyData) -> tuple[dict, isometry.IsometryReport]:
    """The metrics of one fitted model and its certificate."""
    rows = data.rows.astype(np.float32)
    model.adapt_prior(rows, refine=False)
    network = pearson_r(data, model.energy(rows).numpy())
    model.adapt_prior(rows)
    energy = model.energy(rows).numpy()
    errors = {}
    for volume in ("isometric", "jacobian"):
        try:
            errors[volume] = float(np.median(np.abs(model.log_density(rows, volume=volume) - data.log_density)))
        except NotImplementedError:  # DAGMM's loss fixes no volume
            errors[volume] = None
    report = isometry.isometry_report(model, rows)
    return {
        "pearson_r": pearson_r(data, energy),
        "pearson_r_network": network,
        "regression_residual": regression_residual(data, energy),
        "abs_log_density_error_median": errors["isometric"],
        "abs_log_density_error_median_jacobian": errors["jacobian"],
        "gram_diagonal_mean": report.gram_diagonal_mean,
        "gram_diagonal_sd": report.gram_diagonal_sd,
        "gram_offdiagonal_mean": report.gram_offdiagonal_mean,
        "gram_offdiagonal_max": report.gram_offdiagonal_max,
        "tangent_r": report.tangent_r,
        "tangent_slope": report.tangent_slope,
    }, report


def draw(args: argparse.Namespace, model: Autoencoder, data: toy.ToyData, report: isometry.IsometryReport) -> None:
    """Figures 7 and 8, and those of the certificate."""
    rows = data.rows.astype(np.float32)
    energy = model.energy(rows).numpy()
    source = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    density = np.exp(data.log_density - data.log_density.max())
    latent, tangent = isometry.tangent_pairs(model, rows)
    figures = {
        "figure7_source.png": plots.latent_scatter(source[0][:, :3] * source[1][:3], density),
        "figure7_latent.png": plots.latent_scatter(model.encode(rows).numpy(), np.exp(energy.min() - energy)),
        "figure8.png": plots.density_scatter(density, np.exp(energy.min() - energy)),
        "tangents.png": plots.tangent_scatter(latent, tangent),
        "gram.png": plots.gram_matrix(isometry.gram_matrices(model, rows[::20]).numpy().mean(axis=0)),
        "spectrum.png": plots.latent_spectrum(report.spectrum, report.cumulative_share),
        "response.png": plots.dimension_response(report.response_mean, report.response_sd),
        "traversals.png": plots.traversal(isometry.traversals(model, rows).numpy(), report.spectrum),
    }
    if model.has_log_density:
        figures["isometry_gap.png"] = plots.isometry_gap(isometry.isometry_gap(model, rows).numpy())
        figures["log_density.png"] = plots.log_density_scatter(data.log_density, model.log_density(rows).numpy())
    for name, figure in figures.items():
        figure.savefig(args.out / name, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    started = time.time()
    data = load(args.data, args.seed)
    preset = choose_preset(args.model, args.gauge, args.distortion, args.steps)
    with prepared_out(args):
        rows = data.rows.astype(np.float32)
        print(f"{len(rows)} rows in {data.rows.shape[1]} dimensions; {preset}")
        model = fit(preset, data, args.seed, callbacks(args.out), verbosity())
        metrics, report = measure(model, data)
        draw(args, model, data, report)
        print(report)
        (args.out / "certificate.txt").write_text(f"{report}\n")
        model.set_threshold(model.energy(rows).numpy(), tabular.share_of(None))
        tf_radogaga.save_model(model, args.out / "model")
        if args.export:
            export(args, args.data, preset, rows, model, metrics)
        finish(args.out, {"model": args.model, "seed": args.seed, **metrics, "wall_seconds": time.time() - started})


if __name__ == "__main__":
    main()
