"""Train one model on one set of images by a preset of the papers, measure its isometry, and export.

    python trainers/train_images.py --dataset mnist --model beta-vae --out outputs/mnist
    python trainers/train_images.py --dataset fashion-mnist --steps 5000 --out outputs/fashion --export outputs/served

The model sees the first 50,000 of the 60,000 training images, as many as the paper's (ICML 2021, appendix F), and
everything measured is of the 10,000 test images. OUT then holds metrics.json, certificate.txt, figures, TensorBoard
logs and model/, which tf_radogaga.load_model reads; it takes rows of 784 raw pixels, 0 to 255. An interrupted run goes
on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from runs import callbacks, finish, positive, prepare_out, verbosity
from train_tabular import Data, train

import tf_radogaga
from tf_radogaga import isometry, plots, presets
from tf_radogaga.beta_vae import BetaVAE
from tf_radogaga.certificate import ImplicitReport, implicit_report
from tf_radogaga.datasets import idx, tabular

TRAINING_IMAGES = 50_000
"""Nakagawa et al., ICML 2021, appendix F."""

LEAST_INVERSE_VARIANCE = 10
"""Dimensions of a greater E[sigma^-2] have unit norm in the paper; those below are a region of transition."""

TRAVERSED = 16
"""Dimensions drawn as traversals, the most important first."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, choices=tuple(idx.URLS), help="the four idx files of LeCun's or of Zalando's")
    add("--model", choices=("beta-vae",), default="beta-vae", help="loss equation (default: %(default)s)")
    add(
        "--preset",
        choices=("paper", "paper-64"),
        default="paper",
        help="paper: 32 latent units, lambda 2000; paper-64: 64 and 10000 (default: %(default)s)",
    )
    add("--steps", type=positive(int), help="training steps (default: the preset's)")
    add("--batch-size", type=positive(int), help="default: the preset's")
    add("--learning-rate", type=positive(float), help="of Adam (default: the preset's)")
    add("--seed", type=int, default=0, help="of the weights, the batches and the noise (default: 0)")
    add("--data-dir", type=Path, help="folder of the idx files; downloaded to ~/.cache/tf_radogaga without it")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--export", type=Path, help="also write a SavedModel version to this folder, for example saved_models/NAME")
    add("--overwrite", action="store_true", help="discard what OUT holds")
    return parser.parse_args(arguments)


def choose_preset(args: argparse.Namespace) -> presets.Preset:
    changes = {"steps": args.steps, "batch_size": args.batch_size, "learning_rate": args.learning_rate}
    changes = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(presets.image_preset("mnist", args.model, args.preset), **changes)


def as_rows(pixels: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) as the rows (n, H W C) that dense networks take."""
    return pixels.reshape(len(pixels), -1)


def reconstruct(model: BetaVAE, pixels: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """x and x_check of images, (n, H, W, C), in 0..1."""
    rows = as_rows(pixels)
    x, x_check = model.preprocess(model.preprocess.check(rows)), model.decode(model.encode(rows))
    return tf.reshape(x, pixels.shape), tf.reshape(x_check, pixels.shape)


def measure(model: BetaVAE, pixels: np.ndarray, seed: int) -> tuple[dict, ImplicitReport]:
    """The metrics on held-out images, losses in units of D, and the certificate.

    Sets the threshold, at the share of images that an unlabelled table has flagged.
    """
    rows = as_rows(pixels)
    report = implicit_report(model, rows, seed=seed)
    above = report.inverse_variance > LEAST_INVERSE_VARIANCE
    energies, rate = model.energy(rows).numpy(), float(report.rate.sum())
    model.set_threshold(energies, tabular.share_of(None))
    return {
        "unit_norm_mean_above_10": float(report.unit_norm_mean[above].mean()) if above.any() else None,
        "dimensions_above_10": int(above.sum()),
        "rate_nats": rate,
        "psnr": float(np.mean(tf.image.psnr(*reconstruct(model, pixels), max_val=1))),
        "distortion": model.beta * (float(np.mean(energies)) - rate),
        "coding_loss": report.coding_loss,
        "transform_loss": report.transform_loss,
        "implicit_isometry": report.to_dict(),
    }, report


def draw(out: Path, model: BetaVAE, pixels: np.ndarray, report: ImplicitReport) -> None:
    """Figures 6 and 28 of the paper, reconstructions, and a histogram of energies with the threshold."""
    rows = as_rows(pixels)
    moved = isometry.traversals(model, rows, dimensions=TRAVERSED).numpy()
    moved = moved.reshape(*moved.shape[:2], *pixels.shape[1:])
    x, x_check = reconstruct(model, pixels[:12])
    figures = {
        "implicit_spectrum.png": plots.implicit_spectrum(report),
        "traversals.png": plots.traversal(moved, isometry.latent_spectrum(model, rows)[0]),
        "reconstructions.png": plots.image_grid({"original": x.numpy(), "reconstruction": x_check.numpy()}),
        "scores.png": plots.score_histogram(model.energy(rows).numpy(), threshold=float(model.threshold)),
    }
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    started = time.time()
    data = idx.load_images(args.dataset, args.data_dir)
    rows = as_rows(data.train[:TRAINING_IMAGES])
    preset = choose_preset(args)
    prepare_out(args)
    print(f"{args.dataset}: {len(rows)} images to train on, {len(data.test)} to test on; {preset}")
    table = Data(rows, len(rows), (), data.preprocessing(), None)
    model = train(preset, table, args.seed, callbacks(args.out), verbose=verbosity())
    metrics, report = measure(model, data.test, args.seed)
    draw(args.out, model, data.test, report)
    print(report)
    (args.out / "certificate.txt").write_text(f"{report}\n")
    tf_radogaga.save_model(model, args.out / "model")
    if args.export:
        print(f"SavedModel: {tf_radogaga.export_saved_model(model, args.export)}")
    identity = {"dataset": args.dataset, "model": args.model, "preset": args.preset, "seed": args.seed}
    run = {"steps": int(model.optimizer.iterations), "wall_seconds": time.time() - started}
    finish(args.out, {**identity, **run, **metrics})


if __name__ == "__main__":
    main()
