"""Sides of `bench.py` in alibi-detect, with the sizes of the task and one sample to score a VAE by, the cheapest."""

from __future__ import annotations

from types import ModuleType

import alibi_detect.od.aegmm
import alibi_detect.od.vae
import tensorflow as tf
import worker
from worker import SCORING_BATCH, Side, Stopwatch, Task

keras = tf.keras


def stack(inputs: int, units: list[int], *outputs: keras.layers.Layer) -> keras.Sequential:
    layers = [keras.layers.Dense(width, "tanh") for width in units]
    return keras.Sequential([keras.Input((inputs,)), *layers, *outputs])


def alibi_aegmm(task: Task) -> Side:
    inputs, latent_units = task.train.shape[1], task.latent_units
    seen = latent_units + 2
    gates = keras.layers.Dropout(0.5), keras.layers.Dense(task.components, "softmax")
    detector = alibi_detect.od.aegmm.OutlierAEGMM(
        encoder_net=stack(inputs, task.units, keras.layers.Dense(latent_units)),
        decoder_net=stack(latent_units, task.units[::-1], keras.layers.Dense(inputs)),
        gmm_density_net=stack(seen, task.estimation_units, *gates),
        n_gmm=task.components,
    )
    return alibi(task, detector, alibi_detect.od.aegmm)


def alibi_vae(task: Task) -> Side:
    inputs, latent_units = task.train.shape[1], task.latent_units
    detector = alibi_detect.od.vae.OutlierVAE(
        encoder_net=stack(inputs, task.units),
        decoder_net=stack(latent_units, task.units[::-1], keras.layers.Dense(inputs)),
        latent_dim=latent_units,
        samples=1,
    )
    return alibi(task, detector, alibi_detect.od.vae)


def alibi(task: Task, detector: alibi_detect.base.BaseDetector, module: ModuleType) -> Side:
    """`module.trainer` is the loop over epochs that `detector.fit` calls."""
    optimizer, watch = keras.optimizers.Adam(1e-3), Stopwatch()
    module.trainer = watch.timed(module.trainer)

    def train():
        detector.fit(task.train, optimizer=optimizer, epochs=1, batch_size=task.batch_size, verbose=False)
        return watch.seconds

    return Side(train, lambda: detector.score(task.test, batch_size=SCORING_BATCH))


SIDES = {"alibi-detect OutlierAEGMM": alibi_aegmm, "alibi-detect OutlierVAE": alibi_vae}

if __name__ == "__main__":
    worker.main(SIDES, ("alibi-detect", "tensorflow", "keras"))
