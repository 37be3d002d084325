"""Sides of `bench.py` in pyod, with the sizes of the task and without batch normalization, dropout and scaling."""

from __future__ import annotations

import worker
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.base_dl import BaseDeepLearningDetector
from pyod.models.vae import VAE
from worker import SCORING_BATCH, Side, Stopwatch, Task


def pyod_autoencoder(task: Task) -> Side:
    hidden = [*task.units, task.latent_units]
    return pyod(task, AutoEncoder(hidden_neuron_list=hidden, batch_norm=False, **shared(task)))


def pyod_vae(task: Task) -> Side:
    sizes = {"encoder_neuron_list": task.units, "decoder_neuron_list": task.units[::-1]}
    return pyod(task, VAE(latent_dim=task.latent_units, **sizes, **shared(task)))


def shared(task: Task) -> dict:
    unused = {"preprocessing": False, "dropout_rate": 0.0, "verbose": 0}
    return {"hidden_activation_name": "tanh", "epoch_num": 1, "batch_size": task.batch_size, **unused}


def pyod(task: Task, detector: BaseDeepLearningDetector) -> Side:
    watch = Stopwatch()
    detector.train = watch.timed(detector.train)

    def train():
        detector.fit(task.train)
        return watch.seconds

    return Side(train, lambda: detector.decision_function(task.test, batch_size=SCORING_BATCH))


SIDES = {"pyod AutoEncoder": pyod_autoencoder, "pyod VAE": pyod_vae}

if __name__ == "__main__":
    worker.main(SIDES, ("pyod", "torch"))
