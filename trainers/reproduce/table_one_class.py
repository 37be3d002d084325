"""One-class detection of images: each class of MNIST and Fashion-MNIST in turn is normal. A model is trained on its
training images alone, and tells the others from it on the whole test set. AUROC: 1 is perfect, 0.5 is chance."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import tf_radogaga as tr
from tf_radogaga import presets
from tf_radogaga.datasets.idx import URLS, load_images
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.presets import images as image_presets
from tf_radogaga_trainers.reproduce.baselines import add_peers_argument, baseline_energies, obstacle
from tf_radogaga_trainers.reproduce.image_scores import model_scores, plain_autoencoder
from tf_radogaga_trainers.reproduce.records import digest, failures, mean_or_value
from tf_radogaga_trainers.shared.arguments import positive

HELP = "each class of MNIST and Fashion-MNIST against the other nine"
KEY = ("dataset", "label", "method", "seed", "settings")
SHAPE = (28, 28, 1)
HELD_OUT = 6
"""One training image of so many is held out of the networks, and tells the joint prior."""

COMPONENTS = 32
"""Of the principal components that the detector sees."""

MODELS = ("radogaga", "autoencoder")
PEERS = ("nearest-neighbours", "isolation-forest", "one-class-svm", "pyod-deep-svdd")
METHODS = (*MODELS, "detector", *PEERS)
STEPS = 2000
"""Half of those of the `small` preset, which is for all classes together."""

NAMES = {"surprise": "surprise", "energy": "energy", "distortion": "D(x, x_hat)", "score": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder of mnist/ and fashion_mnist/ with their idx files, else downloaded")
    add("--datasets", nargs="+", choices=list(URLS), default=list(URLS), help="default: both")
    add("--labels", nargs="+", type=int, choices=range(10), default=list(range(10)), metavar="N", help="default: all")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), help=f"{', '.join(METHODS)} (default: all)")
    add("--seeds", type=positive(int), default=3, help="trainings of each method (default: %(default)s)")
    add("--steps", type=positive(int), default=STEPS, help="of each training (default: %(default)s)")
    add_peers_argument(parser)


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    reasons = {name: found for name in args.methods if (found := obstacle(name, args.peers_python))}
    for reason in dict.fromkeys(reasons.values()):
        print(f"left out: {reason}")
    return [
        (dataset, label, method, seed, args.data_dir, args.steps, args.peers_python)
        for seed in range(args.seeds)
        for dataset in args.datasets
        for label in args.labels
        for method in args.methods
        if method not in reasons
    ]


def preset(steps: int) -> presets.Preset:
    """Of every class; the plain autoencoder has RaDOGAGA's networks and training."""
    return dataclasses.replace(image_presets.image_preset(SHAPE, "radogaga", "mse", "small"), steps=steps)


def key(dataset: str, label: int, method: str, seed: int, data_dir: Path | None, steps: int, python: Path) -> tuple:
    settings = digest(preset(steps)) if method in MODELS else str(COMPONENTS) if method == "detector" else ""
    return dataset, label, method, seed, settings


def run(dataset: str, label: int, method: str, seed: int, data_dir: Path | None, steps: int, python: Path) -> dict:
    """One record: the AUROC of each score of the method."""
    images = load_images(dataset, data_dir)
    normal = np.random.default_rng(seed).permutation(images.train[images.train_labels == label])
    record = dict(zip(KEY, key(dataset, label, method, seed, data_dir, steps, python)))
    started = time.time()
    try:
        scores = found_scores(method, normal, images.test, seed, preset(steps), python)
    except (FloatingPointError, ValueError) as error:
        return {**record, "error": str(error)}
    anomalous = images.test_labels != label
    auroc = {name: float(roc_auc_score(anomalous, values)) for name, values in scores.items()}
    return {**record, "auroc": auroc, "wall_seconds": time.time() - started}


def found_scores(
    method: str, normal: np.ndarray, test: np.ndarray, seed: int, settings: presets.Preset, python: Path
) -> dict[str, np.ndarray]:
    """Scores (n,) of test images by name, higher being more anomalous."""
    if method in PEERS:
        rows = (x.reshape(len(x), -1) / np.float32(255) for x in (normal, test))
        return {"score": baseline_energies(method, *rows, seed, python)}
    if method == "detector":
        components = PCA(COMPONENTS, random_state=seed).fit(normal.reshape(len(normal), -1))
        z, z_test = (components.transform(x.reshape(len(x), -1)) for x in (normal, test))
        return {"score": -tr.AnomalyDetector(random_state=seed).fit(z).score_samples(z_test)}
    if method == "autoencoder":
        tf.keras.utils.set_random_seed(seed)
        untrained = presets.build(settings, ImageScaling(SHAPE))
        return {"distortion": plain_autoencoder(untrained, _parts(normal)[1], settings, seed)(test)}
    model, _, held_out = trained(normal, seed, settings)
    model.adapt_residuals(held_out)
    return model_scores(model, test)


def trained(normal: np.ndarray, seed: int, settings: presets.Preset) -> tuple[tr.RaDOGAGA, np.ndarray, np.ndarray]:
    """RaDOGAGA of images of one class, those that it saw, and those held out."""
    held_out, train = _parts(normal)
    tf.keras.utils.set_random_seed(seed)
    model = presets.build(settings, ImageScaling(SHAPE))
    model.fit(train, batch_size=settings.batch_size, steps_per_epoch=settings.steps, verbose=0)
    return model, train, held_out


def _parts(normal: np.ndarray) -> list[np.ndarray]:
    """Images held out, and the others."""
    return np.split(normal, [len(normal) // HELD_OUT])


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """A table for each data set, a row for each method and score."""
    keys = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in keys]
    lines = ["# Each class against the others", "", origin, "", INTRODUCTION]
    for dataset in args.datasets:
        heads = ["method", "score", "mean", *map(str, args.labels), "seeds", "s/run"]
        lines += ["", f"## {dataset}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for method in args.methods:
            of = [record for record in records if (record["dataset"], record["method"]) == (dataset, method)]
            lines += _rows(method, args.labels, of)
    return "\n".join([*lines, *failures(records)]) + "\n"


INTRODUCTION = f"""\
AUROC on the 10,000 test images, in which one class is normal; the mean is over the classes, (sd) over the seeds.
RaDOGAGA and the autoencoder have the networks of the preset `small`, and do not train on one image in {HELD_OUT}, which
tells the joint prior of RaDOGAGA; the others train on all. The detector sees {COMPONENTS} principal components, the
peers see pixels."""


def _rows(method: str, labels: list[int], records: list[dict]) -> list[str]:
    good = [record for record in records if "error" not in record]
    failed = f" ({len(records) - len(good)} failed)" if len(good) < len(records) else ""
    seeds = sorted({record["seed"] for record in good})
    if records and not good:
        return [f"| {' | '.join([method, '', 'failed', *['' for _ in labels], f'0{failed}', ''])} |"]
    rows = []
    for score in (name for name in NAMES if good and name in good[0]["auroc"]):
        of = {(record["seed"], record["label"]): record["auroc"][score] for record in good}
        whole = [seed for seed in seeds if all((seed, label) in of for label in labels)]
        means = mean_or_value([float(np.mean([of[seed, label] for label in labels])) for seed in whole], 4)
        cells = [mean_or_value([of[seed, label] for seed in seeds if (seed, label) in of], 3) for label in labels]
        seconds = f"{np.mean([record['wall_seconds'] for record in good]):.0f}"
        rows.append(f"| {' | '.join([method, NAMES[score], means, *cells, f'{len(seeds)}{failed}', seconds])} |")
    return rows
