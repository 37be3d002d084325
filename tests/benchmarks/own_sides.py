"""Sides of `bench.py` that run in this package's environment: its models, and the bare matrix products
that one of them needs."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import worker
from bench_serving import matrix_products
from keras_side import epoch
from worker import SCORING_BATCH, Side, Stopwatch, Task

import tf_radogaga
from tf_radogaga import presets

keras = tf.keras


def model(name: str, task: Task) -> tf_radogaga.Autoencoder:
    """The preset of KDDCup99; a VAE, whose paper has other sizes, gets those of the task."""
    keras.utils.set_random_seed(0)
    preset = presets.preset("kddcup99", name)
    if name == "vae":
        sizes = {field: getattr(task, field) for field in ("latent_units", "batch_size")}
        preset = dataclasses.replace(preset, units=tuple(task.units), activation="tanh", **sizes)
    return presets.build(preset, tf_radogaga.PassThrough(task.train.shape[1]))


def own(name: str) -> Callable[[Task], Side]:
    def side(task: Task) -> Side:
        built, served = model(name, task), Served(task.test)

        def train():
            served.outdated = True
            return epoch(built, task.train, batch_size=task.batch_size)

        return Side(train, lambda: served.energies(built))

    return side


class Served:
    """Scores rows from the SavedModel, which is exported again after a training, at the first call for scores."""

    outdated = True

    def __init__(self, rows: np.ndarray):
        self.blocks = [rows[first : first + SCORING_BATCH] for first in range(0, len(rows), SCORING_BATCH)]

    def energies(self, trained: tf_radogaga.Autoencoder) -> np.ndarray:
        if self.outdated:
            trained.set_threshold(trained.energy(self.blocks[0]), 0.01)
            with tempfile.TemporaryDirectory() as folder:
                self.loaded = tf.saved_model.load(str(tf_radogaga.export_saved_model(trained, folder)))
            self.outdated = False
        score = self.loaded.signatures["serving_default"]
        return np.concatenate([score(features=tf.constant(block))["energy"].numpy() for block in self.blocks])


def products(task: Task) -> Side:
    """Those that training steps and scores of "tf_radogaga" need, of the same sizes, and nothing else."""
    sized = model("radogaga-log", task)
    train, test, batch_size = tf.constant(task.train), tf.constant(task.test), task.batch_size
    training, scoring = training_products(sized, batch_size), matrix_products(sized)
    watch = Stopwatch()

    def epoch_of_products():
        watch.timed(lambda: training(train).numpy())()
        return watch.seconds

    def score():
        return [scoring(test[first : first + SCORING_BATCH]) for first in range(0, len(test), SCORING_BATCH)]

    return Side(epoch_of_products, score)


def training_products(sized: tf_radogaga.RaDOGAGA, batch_size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """An epoch of products, forward and backward: encoder, decoder of x_hat and x_breve, estimation network, and in
    float64 the whitened input of the mixture and its moments."""
    stacks = [sized.encoder.dense, sized.decoder.dense, [*sized.prior.hidden, sized.prior.logits]]
    kernels = [[tf.constant(layer.kernel.numpy()) for layer in stack] for stack in stacks]
    components, units = sized.prior.stored.mean.shape
    whitening = tf.ones((units, components * units), tf.float64)

    def through(x, stack):
        for kernel in stack:
            x = x @ kernel
        return x

    def forward(x):
        encoder, decoder, estimation = kernels
        z = through(x, encoder)
        decoded = through(tf.concat([z, z], axis=0), decoder)
        seen = tf.concat([z, x[:, : units - sized.latent_units]], axis=1)
        memberships = through(seen, estimation)
        seen = tf.cast(seen, tf.float64)
        whitened = seen @ whitening
        return [decoded, memberships, whitened, tf.linalg.matmul(whitened, seen, transpose_a=True)]

    @tf.function
    def products(rows):
        used = tf.constant(0.0)
        for step in tf.range(len(rows) // batch_size):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)  # steps follow one another
            with tf.GradientTape() as tape:
                tape.watch([kernels, whitening])
                outputs = forward(rows[step * batch_size : (step + 1) * batch_size])
            gradients = tape.gradient(outputs, [*tf.nest.flatten(kernels), whitening], output_gradients=outputs)
            used += tf.add_n([tf.cast(gradient[0, 0], tf.float32) for gradient in gradients])
        return used

    return products


SIDES = {
    "tf_radogaga": own("radogaga-log"),
    "tf_radogaga DAGMM": own("dagmm"),
    "tf_radogaga VAE": own("vae"),
    "matrix products": products,
}

if __name__ == "__main__":
    worker.main(SIDES, ("tf_radogaga", "tensorflow"))
