"""Train one model on one set of images, measure its isometry on held-out ones, and export.

    python trainers/train_images.py --dataset mnist --model radogaga --out outputs/mnist --export outputs/served
    python trainers/train_images.py --dataset photos/ --image-shape 64 64 3 --distortion ssim --out outputs/photos
    python trainers/train_images.py --dataset celeba --data-dir img_align_celeba --model beta-vae --out outputs/faces

OUT then holds metrics.json, certificate.txt, figures, TensorBoard logs with reconstructions and traversals, and model/,
which tf_radogaga.load_model reads; it takes images of any size, uint8 or floats of 0 to 1. An interrupted run goes on
where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tf_radogaga
from tf_radogaga import isometry, plots, presets
from tf_radogaga.datasets import idx, tabular
from tf_radogaga.datasets.image_folders import ImageSplit, load_celeba, load_folder
from tf_radogaga.models import Autoencoder, BetaVAE
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.presets import images as image_presets
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.fitting import REPORTS, Data, train
from tf_radogaga_trainers.shared.image_summaries import ImageSummaries
from tf_radogaga_trainers.shared.runs import callbacks, changed, export, finish, prepared_out, verbosity

TRAINING_DIGITS = 50_000
"""Of the 60,000; Nakagawa et al., ICML 2021, appendix F."""

LEAST_INVERSE_VARIANCE = 10
"""Dimensions of a greater E[sigma^-2] have unit norm in the paper; those below are a region of transition."""

STEPS_BETWEEN_BACKUPS = 1000
"""At most."""

JACOBIAN_IMAGES, TRAVERSED, SHOWN, SUMMARIZED = 256, 9, 8, 256


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--dataset", required=True, help="celeba, mnist, fashion-mnist, or PATH of a folder or zip of JPEG or PNG files"
    )
    add("--data-dir", type=Path, help="celeba: its folder or zip; mnist: folder of the idx files, else downloaded")
    add("--model", choices=image_presets.MODELS, default="radogaga", help="loss equation (default: %(default)s)")
    add("--distortion", choices=tuple(image_presets.DISTORTIONS), help="the metric D (default: the preset's)")
    add(
        "--preset",
        choices=image_presets.SIZES,
        help="networks and lambdas: the papers', or small ones (default: paper for the beta-vae of digits, else small)",
    )
    add(
        "--image-shape",
        type=int,
        nargs=3,
        metavar=("H", "W", "C"),
        help="height, width and channels, for PATH (default: 64 64 3)",
    )
    add("--steps", type=positive(int), help="training steps (default: the preset's)")
    add("--batch-size", type=positive(int), help="default: the preset's")
    add("--learning-rate", type=positive(float), help="of Adam (default: the preset's)")
    add("--seed", type=int, default=0, help="seed of weights, batches and noise (default: 0)")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--export", type=Path, help="also write a SavedModel version to this folder, for example saved_models/NAME")
    add("--overwrite", action="store_true", help="discard what OUT holds")
    args = parser.parse_args(arguments)
    if args.image_shape and args.dataset in (*idx.URLS, "celeba"):
        parser.error(f"argument --image-shape: is for your own images, not for {args.dataset}")
    if args.dataset == "celeba" and not args.data_dir:
        parser.error("argument --data-dir: is needed for celeba, which is not downloaded; name its folder or zip")
    return args


def load(dataset: str, data_dir: Path | None, image_shape: tuple[int, int, int]) -> ImageSplit:
    if dataset in idx.URLS:
        found = idx.load_images(dataset, data_dir)
        return ImageSplit(found.train[:TRAINING_DIGITS], found.test)
    if dataset == "celeba":
        return load_celeba(data_dir, image_shape)
    return load_folder(Path(dataset), image_shape)


def choose_preset(args: argparse.Namespace, image_shape: tuple[int, int, int]) -> presets.Preset:
    args.preset = args.preset or image_presets.default_size(image_shape, args.model)
    try:
        preset = image_presets.image_preset(image_shape, args.model, args.distortion, args.preset)
    except ValueError as error:
        sys.exit(f"--model, --distortion, --preset: {error}")
    if preset.distortion == "ssim" and min(image_shape[:2]) < 11:
        sys.exit(
            f"--image-shape: {image_shape} is smaller than the 11 x 11 window of ssim; choose larger ones, or mse."
        )
    changes = {"steps": args.steps, "batch_size": args.batch_size, "learning_rate": args.learning_rate}
    return changed(preset, **{name: value for name, value in changes.items() if value is not None})


def fit(preset: presets.Preset, data: ImageSplit, seed: int, out: Path, verbose: int) -> Autoencoder:
    """The trained model; backups, TensorBoard events and pictures go to OUT."""
    table = Data(data.train, len(data.train), (), ImageScaling(data.train.shape[1:]), None)
    pictures = ImageSummaries(out / "logs" / "images", data.test[:SUMMARIZED])
    reports = min(max(REPORTS, preset.steps // STEPS_BETWEEN_BACKUPS), preset.steps)
    return train(preset, table, seed, (*callbacks(out), pictures), verbose, reports)


def measure(model: Autoencoder, test: np.ndarray, seed: int) -> tuple[dict, list]:
    """The metrics on held-out images, losses in units of D, and the certificates."""
    report = tf_radogaga.isometry_report(model, test, seed=seed, jacobian_rows=JACOBIAN_IMAGES)
    ssim = tf_radogaga.StructuralDissimilarity(window=min(11, *test.shape[1:3]))

    def qualities(x):
        x_hat = model.decode(model.encode_x(x))
        shown = tf.clip_by_value(x_hat, 0, 1)
        psnr = tf.image.psnr(x, shown, max_val=1)
        return tf.stack([psnr, 1 - ssim(x, shown), model.distortion.excess(x, x_hat)], axis=1)

    psnr, similarity, distortion = model.by_blocks(test, qualities).numpy().mean(axis=0)
    energies = model.energy(test).numpy()
    tenth = max(model.latent_units // 10, 1)
    metrics = {
        "tangent_r": report.tangent_r,
        "tangent_slope": report.tangent_slope,
        "rate_nats": float(energies.mean()),
        "psnr": float(psnr),
        "ssim": float(similarity),
        "mean_distortion": float(distortion),
        "top_tenth_variance_share": float(np.sort(report.spectrum)[::-1][:tenth].sum() / report.spectrum.sum()),
        "isometry": report.to_dict(),
    }
    if getattr(model, "straightening", None):
        metrics["divergence_nats"] = model.straightening
    if not isinstance(model, BetaVAE):
        return metrics, [report]
    implicit = tf_radogaga.implicit_report(model, test, seed=seed, jacobian_rows=JACOBIAN_IMAGES)
    above = implicit.inverse_variance > LEAST_INVERSE_VARIANCE
    metrics |= {
        "rate_nats": float(implicit.rate.sum()),
        "implicit_tangent_r": implicit.tangent_r,
        "implicit_tangent_slope": implicit.tangent_slope,
        "unit_norm_mean_above_10": float(implicit.unit_norm_mean[above].mean()) if above.any() else None,
        "unit_norm_sd_above_10": float(implicit.unit_norm_mean[above].std()) if above.any() else None,
        "dimensions_above_10": int(above.sum()),
        "implicit_isometry": implicit.to_dict(),
    }
    return metrics, [report, implicit]


def draw(out: Path, model: Autoencoder, test: np.ndarray, reports: list, seed: int) -> None:
    """Figures 4 to 6 of ICML 2020 and of ICML 2021, the most anomalous and the most typical images, and energies."""
    pairs = isometry.tangent_pairs(model, test, seed=seed)
    spectrum = isometry.latent_spectrum(model, test)
    scale = reports[0].metric_scale if reports[0].scale_is_fitted else 1
    energies = getattr(model, model.threshold_on)(test).numpy()
    order = np.argsort(energies, kind="stable")
    figures = {
        "tangents.png": plots.tangent_scatter(pairs[0], scale * pairs[1]),
        "spectrum.png": plots.latent_spectrum(reports[0].spectrum, reports[0].cumulative_share),
        "traversals.png": plots.traversal(isometry.traversals(model, test, dimensions=TRAVERSED).numpy(), spectrum[0]),
        "reconstructions.png": explained(model, test[:SHOWN], energies[:SHOWN]),
        "anomalous.png": explained(model, test[order[: -SHOWN - 1 : -1]], energies[order[: -SHOWN - 1 : -1]]),
        "typical.png": explained(model, test[order[:SHOWN]], energies[order[:SHOWN]]),
        "scores.png": plots.score_histogram(energies, threshold=float(model.threshold.numpy())),
    }
    figures["scores.png"].axes[0].set_xlabel(f"{model.threshold_on} [nats]")
    if len(reports) > 1:
        figures["implicit_spectrum.png"] = plots.implicit_spectrum(reports[1])
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=120)


def explained(model: Autoencoder, raw: np.ndarray, energies: np.ndarray):
    """Images, reconstructions and what each pixel adds to D, under their energies."""
    x = model.preprocess(model.preprocess.check(raw))
    x_hat = model.decode(model.encode(raw))
    maps = model.distortion.contributions(x, x_hat).numpy()
    return plots.explained_images(x.numpy(), x_hat.numpy(), maps, [f"{energy:.1f} nats" for energy in energies])


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    started = time.time()
    image_shape = (28, 28, 1) if args.dataset in idx.URLS else tuple(args.image_shape or (64, 64, 3))
    preset = choose_preset(args, image_shape)
    data = load(args.dataset, args.data_dir, image_shape)
    with prepared_out(args):
        print(f"{args.dataset}: {len(data.train)} images to train on, {len(data.test)} held out; {preset}")
        model = fit(preset, data, args.seed, args.out, verbosity())
        on = "energy" if model.joint.obstacle() else "surprise"
        model.set_threshold(getattr(model, on)(data.test).numpy(), tabular.share_of(None), on)
        tf_radogaga.save_model(model, args.out / "model")
        metrics, reports = measure(model, data.test, args.seed)
        draw(args.out, model, data.test, reports, args.seed)
        certificate = "\n\n".join(map(str, reports))
        print(certificate)
        (args.out / "certificate.txt").write_text(f"{certificate}\n")
        if args.export:
            export(args, Path(args.dataset).name, preset, data.train, model, metrics)
        identity = {
            "dataset": args.dataset,
            "model": args.model,
            "distortion": preset.distortion,
            "preset": args.preset,
        }
        run = {"seed": args.seed, "steps": int(model.optimizer.iterations), "wall_seconds": time.time() - started}
        finish(args.out, {**identity, **run, **metrics})


if __name__ == "__main__":
    main()
