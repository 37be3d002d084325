"""Images that are no digits: how well models of MNIST tell Fashion-MNIST and rotated, noisy and blank digits from its
test digits, beside a plain autoencoder and an isolation forest on pixels. AUROC: 1 is perfect, 0.5 is chance."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from tf_radogaga import presets
from tf_radogaga.datasets.idx import load_images
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.presets import images as image_presets
from tf_radogaga_trainers.reproduce.image_scores import model_scores, plain_autoencoder
from tf_radogaga_trainers.reproduce.records import digest, mean_or_value
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.train_images import TRAINING_DIGITS

keras = tf.keras

HELP = "out-of-distribution images for models trained on MNIST"
KEY = ("method", "seed", "settings")
MODELS = {  # method -> model and metric of `image_preset`
    "radogaga": ("radogaga", "mse"),
    "radogaga-ssim": ("radogaga", "ssim"),
    "beta-vae": ("beta-vae", "mse"),
    "beta-vae-decomposed": ("beta-vae-decomposed", "mse"),
}
PEERS = ("autoencoder", "isolation-forest")
SHAPE = (28, 28, 1)
NOISE = 64
"""Standard deviation of the noise in noisy digits, in grey levels of 0 to 255."""
OUTLIERS = {
    "fashion": "Fashion-MNIST",
    "rotated": "rotated by 90 degrees",
    "noisy": f"noise of sd {NOISE}",
    "blank": "blank",
}
SCORES = {"surprise": "surprise", "energy": "energy", "distortion": "D(x, x_hat)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder of mnist/ and fashion_mnist/ with their idx files, else downloaded")
    methods = [*MODELS, *PEERS]
    add("--methods", nargs="+", choices=methods, default=methods, help="default: all")
    add("--seeds", type=positive(int), default=1, help="trainings of each method (default: %(default)s)")
    add("--steps", type=positive(int), help="training steps (default: the preset's)")


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    return [(method, seed, args.data_dir, args.steps) for seed in range(args.seeds) for method in args.methods]


def preset(method: str, steps: int | None) -> presets.Preset:
    """Of a model; the plain autoencoder has RaDOGAGA's networks and training."""
    found = image_presets.image_preset(SHAPE, *MODELS.get(method, MODELS["radogaga"]), "small")
    return dataclasses.replace(found, steps=steps or found.steps)


def key(method: str, seed: int, data_dir: Path | None, steps: int | None) -> tuple:
    return method, seed, digest(preset(method, steps)) if method != "isolation-forest" else ""


def outliers(digits: np.ndarray, fashion: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Images (n, 28, 28, 1) that are no digits, by the names of `OUTLIERS`; blank ones are all alike."""
    noise = np.random.default_rng(seed).normal(0, NOISE, digits.shape)
    return {
        "fashion": fashion,
        "rotated": np.rot90(digits, axes=(1, 2)),
        "noisy": np.clip(digits + noise, 0, 255).astype(np.uint8),
        "blank": np.zeros_like(digits[:1]),
    }


def run(method: str, seed: int, data_dir: Path | None, steps: int | None) -> dict:
    """One record: the AUROC of each score of the method on each set of `OUTLIERS`."""
    digits = load_images("mnist", data_dir)
    others = outliers(digits.test, load_images("fashion-mnist", data_dir).test, seed)
    started = time.time()
    record = dict(zip(KEY, key(method, seed, data_dir, steps)))
    try:
        score = fitted(method, digits.train, seed, preset(method, steps))
    except FloatingPointError as error:
        return {**record, "error": str(error)}
    seconds = time.time() - started
    normal, auroc = score(digits.test), {}
    for name, images in others.items():
        for score_name, outlying in score(images).items():
            labels = np.repeat([0, 1], [len(digits.test), len(images)])
            found = roc_auc_score(labels, np.concatenate([normal[score_name], outlying]))
            auroc.setdefault(score_name, {})[name] = float(found)
    return {**record, "auroc": auroc, "wall_seconds": seconds}


def fitted(method: str, digits: np.ndarray, seed: int, settings: presets.Preset):
    """A function of raw images that gives scores (n,) by name, higher being more anomalous; the joint prior is fitted
    to the digits that come after those to train on."""
    digits, held_out = np.split(digits, [TRAINING_DIGITS])
    if method == "isolation-forest":
        forest = IsolationForest(random_state=seed).fit(digits.reshape(len(digits), -1))
        return lambda images: {"energy": -forest.score_samples(images.reshape(len(images), -1))}
    keras.utils.set_random_seed(seed)
    model = presets.build(settings, ImageScaling(SHAPE))
    if method == "autoencoder":
        errors = plain_autoencoder(model, digits, settings, seed)
        return lambda images: {"distortion": errors(images)}
    model.fit(digits, batch_size=settings.batch_size, steps_per_epoch=settings.steps, verbose=0)
    model.adapt_residuals(held_out)
    return lambda images: model_scores(model, images)


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table, a row for each method and score."""
    keys = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in keys]
    lines = [
        "# Images that are no digits",
        "",
        origin,
        "",
        "AUROC against the 10,000 test digits of MNIST, after training on 50,000 others; 10,000 images of each kind,",
        "one blank. The joint prior is fitted to 10,000 more digits. The energy of a beta-VAE holds its distortion",
        "already. More than one seed: mean (sd).",
        "",
        "| method | score | " + " | ".join(OUTLIERS.values()) + " | seconds |",
        "|" + "---|" * (len(OUTLIERS) + 3),
    ]
    for method in args.methods:
        found = [record for record in records if record["method"] == method and "error" not in record]
        failed = sum(record["method"] == method for record in records) - len(found)
        seconds = f"{np.mean([record['wall_seconds'] for record in found]):.0f}" if found else ""
        if failed:
            lines.append(f"| {method} | {failed} failed |" + " |" * (len(OUTLIERS) + 1))
        for score in (name for name in (found[0]["auroc"] if found else ()) if name in SCORES):
            label = "path length" if method == "isolation-forest" else SCORES[score]
            cells = [mean_or_value([record["auroc"][score][name] for record in found], 3) for name in OUTLIERS]
            lines.append(f"| {method} | {label} | " + " | ".join(cells) + f" | {seconds} |")
    return "\n".join(lines) + "\n"
