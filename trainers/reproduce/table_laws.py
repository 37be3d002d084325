"""Laws of z: latents of models of one class of images, as in the table one-class, by the prior that trained them and by
densities that are fitted afterwards. Nats of images that the networks have not seen, and AUROC of the energies."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score

import tf_radogaga as tr
from tf_radogaga.datasets.idx import URLS
from tf_radogaga.detector.densities.average import fit_densities, log_probs
from tf_radogaga_trainers.reproduce import flows, table_one_class
from tf_radogaga_trainers.reproduce.records import digest, failures, mean_or_value
from tf_radogaga_trainers.shared.arguments import positive

keras = tf.keras

HELP = "what fits the latents of images best: priors, kernels, mixtures, flows"
KEY = ("dataset", "label", "seed", "settings")
LAYERS = 5
"""Of a flow."""

FLOW_NOISE, FLOW_RATE = 0.05, 1e-3
"""In standard deviations of each column; fresh whenever a row trains, as flows overfit thousands of rows."""

EPOCHS, PATIENCE, WATCHED = 500, 20, 0.1
"""A flow stops where a share of the rows that is held out gets no likelier for so many epochs."""

FLOWS = {"autoregressive flow": flows.autoregressive, "spline flow": flows.spline}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder of mnist/ and fashion_mnist/ with their idx files, else downloaded")
    add("--datasets", nargs="+", choices=list(URLS), default=list(URLS), help="default: both")
    add("--labels", nargs="+", type=int, choices=range(10), default=list(range(10)), metavar="N", help="default: all")
    add("--seeds", type=positive(int), default=1, help="trainings of each model (default: %(default)s)")
    add("--steps", type=positive(int), default=table_one_class.STEPS, help="of each (default: %(default)s)")


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every model."""
    return [
        (dataset, label, seed, args.data_dir, args.steps)
        for seed in range(args.seeds)
        for dataset in args.datasets
        for label in args.labels
    ]


def key(dataset: str, label: int, seed: int, data_dir: Path | None, steps: int) -> tuple:
    of_flows = LAYERS, flows.WIDTH, flows.BINS, flows.REACH, FLOW_NOISE, FLOW_RATE, EPOCHS, PATIENCE, WATCHED
    return dataset, label, seed, digest((digest(table_one_class.preset(steps)), of_flows))


def run(dataset: str, label: int, seed: int, data_dir: Path | None, steps: int) -> dict:
    """One record: of each law the mean nats of held-out latents, and the AUROC of the energies of the test set."""
    images = table_one_class.load_images(dataset, data_dir)
    normal = np.random.default_rng(seed).permutation(images.train[images.train_labels == label])
    record = {**dict(zip(KEY, key(dataset, label, seed, data_dir, steps))), "method": "laws of z"}
    started = time.time()
    try:
        model, train, held_out = table_one_class.trained(normal, seed, table_one_class.preset(steps))
    except (FloatingPointError, ValueError) as error:
        return {**record, "error": str(error)}
    several = [held_out, images.test]
    z, *others = (model.encode(x).numpy().astype(np.float64) for x in (train, *several))
    found = {"the prior that trained": [-model.energy(x).numpy() for x in several], **fitted_laws(z, others, seed)}
    anomalous = images.test_labels != label
    laws = {
        name: {"nats": float(np.mean(of_held_out)), "auroc": float(roc_auc_score(anomalous, -of_test))}
        for name, (of_held_out, of_test) in found.items()
    }
    return {**record, "laws": laws, "wall_seconds": time.time() - started}


def fitted_laws(z: np.ndarray, others: list[np.ndarray], seed: int) -> dict[str, list[np.ndarray]]:
    """log p in nats, (n,) each, of other latents by laws that are fitted to z (m, N)."""
    stack = tr.StackedPrior(z.shape[1])
    stack.adapt([tf.constant(z, tf.float32)])
    detector = tr.AnomalyDetector(random_state=seed).fit(z)
    latent = detector.scorer_.latent
    densities = fit_densities(latent(z), np.random.default_rng(seed))
    logs = [log_probs(densities, latent(other)) for other in others]
    found = {"stack": [-stack.rate(tf.constant(other, tf.float32)).numpy() for other in others]}
    found["detector"] = [detector.log_density(other) for other in others]
    found |= {f"detector: {name}": [log[name] - latent.log_scale for log in logs] for name in densities}
    for name, layer in FLOWS.items():
        log_prob = flow(z, layer, seed)
        found[name] = [log_prob(other) for other in others]
    return found


def flow(z: np.ndarray, layer: flows.Layer, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """log p (n,) of latents by a normalizing flow that is fitted to z (m, N), column by column in units of its own."""
    keras.utils.set_random_seed(seed)
    shift, scale = z.mean(axis=0), np.maximum(z.std(axis=0), 1e-6)
    model = flows.Flow(z.shape[1], layer, LAYERS, FLOW_NOISE)
    model.compile(keras.optimizers.Adam(FLOW_RATE), loss=lambda _, log_p: -log_p)
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    x = np.random.default_rng(seed).permutation((z - shift) / scale).astype(np.float32)
    model.fit(x, x[:, 0], batch_size=256, epochs=EPOCHS, validation_split=WATCHED, callbacks=[stop], verbose=0)
    log_scale = np.log(scale).sum()
    return lambda other: model.predict((other - shift) / scale, batch_size=1000, verbose=0) - log_scale


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """A table for each data set, a row for each law, the mean over classes and seeds."""
    keys = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in keys]
    lines = ["# Laws of z", "", origin, "", INTRODUCTION]
    for dataset in args.datasets:
        good = [record["laws"] for record in records if record["dataset"] == dataset and "laws" in record]
        lines += [
            "",
            f"## {dataset}, {len(good)} models",
            "",
            "| law | held-out nats | - trained | AUROC | - trained |",
        ]
        lines.append("|" + "---|" * 5)
        for name in good[0] if good else ():
            cells = [name]
            for score, digits in (("nats", 2), ("auroc", 4)):
                values = [laws[name][score] for laws in good]
                gains = [laws[name][score] - laws["the prior that trained"][score] for laws in good]
                cells += [f"{np.mean(values):.{digits}f}", mean_or_value(gains, digits)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *failures(records)]) + "\n"


INTRODUCTION = """\
RaDOGAGA of the table one-class. Laws are fitted to the latents of the training images; nats are log P(z) of images held
out of the networks, AUROC is of -log P(z) on the whole test set. `- trained`: mean (sd) over the models of the
difference to the prior that trained. Flows stop by a tenth of the training latents."""
