"""Isometry of real images (ICML 2020, section 5.1; ICML 2021, section 5.2): RaDOGAGA beside the beta-VAE of the same
size, by each metric, measured on held-out images. Pictures of faces are not downloaded and never kept here."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from tf_radogaga.presets import Preset
from tf_radogaga.presets import images as image_presets
from tf_radogaga_trainers import train_images
from tf_radogaga_trainers.reproduce.records import digest, mean_or_value
from tf_radogaga_trainers.shared.arguments import positive

HELP = "isometry of images: RaDOGAGA beside the beta-VAE (ICML 2020, section 5.1; ICML 2021, section 5.2)"
KEY = ("dataset", "model", "distortion", "seed", "settings")
DISTORTIONS = ("mse", "ssim")
LINEAR = "radogaga-linear"
"""RaDOGAGA with the linear gauge alone."""
MODELS = ("radogaga", LINEAR, *image_presets.MODELS[1:])
SHAPE = (64, 64, 3)

COLUMNS = {
    "tangent_r": ("tangent r", 4),
    "tangent_slope": ("slope", 3),
    "top_tenth_variance_share": ("variance in the top tenth", 3),
    "implicit_tangent_r": ("r in y", 4),
    "implicit_tangent_slope": ("slope in y", 3),
    "unit_norm_mean_above_10": ("unit norm", 3),
    "rate_nats": ("rate [nats]", 1),
    "psnr": ("PSNR [dB]", 2),
    "ssim": ("SSIM", 3),
    "steps": ("steps", 0),
    "wall_seconds": ("seconds", 0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dataset", default="celeba", help="celeba, or PATH of a folder or zip of images (default: %(default)s)")
    add("--data-dir", type=Path, help="celeba: its folder or zip")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS))
    add("--distortions", nargs="+", choices=DISTORTIONS, default=list(DISTORTIONS))
    add("--seeds", type=positive(int), default=1, help="trainings of each model (default: %(default)s)")
    add("--steps", type=positive(int), help="training steps (default: the preset's)")


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    if args.dataset == "celeba" and not args.data_dir:
        sys.exit("--data-dir: is needed for celeba, which is not downloaded; name its folder or zip.")
    source = (args.dataset, args.data_dir, args.steps)
    pairs = [(model, distortion) for distortion in args.distortions for model in args.models]
    return [(*pair, seed, *source) for seed in range(args.seeds) for pair in pairs]


def preset(model: str, distortion: str, steps: int | None) -> Preset:
    found = image_presets.image_preset(SHAPE, "radogaga" if model == LINEAR else model, distortion, "small")
    if model == LINEAR:
        found = dataclasses.replace(found, gauge="learned")
    return dataclasses.replace(found, steps=steps or found.steps)


def key(model: str, distortion: str, seed: int, dataset: str, data_dir: Path | None, steps: int | None) -> tuple:
    """By which a record is known; of PATH its last part alone counts."""
    return Path(dataset).name, model, distortion, seed, digest(preset(model, distortion, steps))


def run(model: str, distortion: str, seed: int, dataset: str, data_dir: Path | None, steps: int | None) -> dict:
    """One record; a training that fails is one with an `error`."""
    record = dict(zip(KEY, key(model, distortion, seed, dataset, data_dir, steps)))
    started = time.time()
    data = train_images.load(dataset, data_dir, SHAPE)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            settings = preset(model, distortion, steps)
            trained = train_images.fit(settings, data, seed, Path(scratch), verbose=0)
    except (FloatingPointError, ValueError) as error:
        return {**record, "error": str(error)}
    seconds = time.time() - started
    metrics, _ = train_images.measure(trained, data.test, seed)
    plain = {name: value for name, value in metrics.items() if not isinstance(value, dict)}
    return {**record, **plain, "steps": int(trained.optimizer.iterations), "wall_seconds": seconds}


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table, a row for each model and metric."""
    keys = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in keys]
    lines = [
        "# Isometry of images",
        "",
        origin,
        "",
        f"Held-out images. {LINEAR}: without the flow that bends the latent after training. r and slope: Pearson",
        "r of random pairs of tangent vectors in z with what the decoder makes",
        "of them, in the metric of the loss, and the slope in units of the theory, in which 1 is right; that of the",
        "beta-VAE is scaled so that the mean squared length is 1. In y: the same in the implicit isometric coordinates",
        "of the beta-VAE. Unit norm: over the dimensions with E[sigma^-2] above 10. Seconds: data, training and",
        "pictures, on cores that were shared. Paper (ICML 2020, Fig. 4): r = 0.97, its beta-VAE about 0.7; (ICML 2021,",
        "section 5.2): unit norm 1.83 of the conventional, 0.92 of the decomposed beta-VAE. More than one seed: mean",
        "(sd).",
        "",
        "| model | metric | " + " | ".join(name for name, _ in COLUMNS.values()) + " |",
        "|" + "---|" * (len(COLUMNS) + 2),
    ]
    for distortion in args.distortions:
        for model in args.models:
            found = [r for r in records if (r["model"], r["distortion"]) == (model, distortion)]
            lines.append(f"| {model} | {distortion} | " + " | ".join(cells(found)) + " |")
    return "\n".join(lines) + "\n"


def cells(records: list[dict]) -> list[str]:
    """A cell for each column: empty where the model does not have it."""
    records, failed = [r for r in records if "error" not in r], [r for r in records if "error" in r]
    if not records:
        return [f"{len(failed)} failed", *[""] * (len(COLUMNS) - 1)]
    texts = []
    for column, (_, digits) in COLUMNS.items():
        values = [record[column] for record in records if record.get(column) is not None]
        texts.append(mean_or_value(values, digits))
    return [*texts[:-1], texts[-1] + (f"; {len(failed)} failed" if failed else "")]
