"""A model of each family and rows at random of its size, for the benchmarks of a training step."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from keras_side import epoch
from worker import Side, answer

import tf_radogaga
from tf_radogaga import presets
from tf_radogaga.presets import images as image_presets

INPUTS, IMAGE = 121, (64, 64, 3)

_LOG = presets.preset("kddcup99", "radogaga-log")
_VAE = {"units": _LOG.units, "latent_units": _LOG.latent_units, "activation": "tanh", "batch_size": _LOG.batch_size}
FAMILIES = {
    "RaDOGAGA, mixture": _LOG,
    "RaDOGAGA, factorized": dataclasses.replace(_LOG, components=None, reconstruction_features=False),
    "DAGMM": presets.preset("kddcup99", "dagmm"),
    "beta-VAE": dataclasses.replace(presets.preset("kddcup99", "vae"), **_VAE),
    "RaDOGAGA, images, MSE": image_presets.image_preset(IMAGE, "radogaga", "mse"),
    "RaDOGAGA, images, 1 - SSIM": image_presets.image_preset(IMAGE, "radogaga", "ssim"),
}


def preprocessing(family: str) -> tf_radogaga.Preprocessing:
    return tf_radogaga.ImageScaling(IMAGE) if FAMILIES[family].filters else tf_radogaga.PassThrough(INPUTS)


def model(family: str, **compiled: bool | int) -> tf_radogaga.Autoencoder:
    """Untrained, and compiled as the presets do but for what is given here."""
    tf.keras.utils.set_random_seed(0)
    built = presets.build(FAMILIES[family], preprocessing(family))
    if compiled:
        built.compile(built.optimizer, **compiled)
    return built


def rows(family: str, steps: int) -> np.ndarray:
    """Raw rows for so many batches: float32 of 0 to 1."""
    shape = IMAGE if FAMILIES[family].filters else (INPUTS,)
    return np.random.default_rng(0).uniform(size=(steps * FAMILIES[family].batch_size, *shape)).astype(np.float32)


def epochs(built: tf_radogaga.Autoencoder, data: np.ndarray | tf.data.Dataset, batch_size: int) -> Callable[[], float]:
    """Trains for an epoch inside of `fit` and returns its seconds; what fixes the prior afterwards is left out."""
    built.end_of_fit = ()
    built._adapt = lambda *args, **kwargs: None  # of revisions without that list
    return lambda: epoch(built, data, batch_size=batch_size)


class Halves(tf.keras.layers.Layer):
    """A network called on each half of its batch."""

    def __init__(self, network: tf.keras.layers.Layer):
        super().__init__()
        self.network = network

    def call(self, z: tf.Tensor) -> tf.Tensor:
        return tf.concat([self.network(part) for part in tf.split(z, 2)], axis=0)


def forms(family: str, data: np.ndarray) -> dict[str, Callable[[], float]]:
    """Epochs as they are, and with one thing done in another way."""
    batch_size = FAMILIES[family].batch_size
    ways = {"fit": {}, "XLA": {"jit_compile": True}, "one step a call": {"steps_per_execution": 1}}
    found = {way: epochs(model(family, **compiled), data, batch_size) for way, compiled in ways.items()}
    stream = tf.data.Dataset.from_tensor_slices(data).shuffle(len(data)).batch(batch_size, drop_remainder=True)
    found["rows shuffled one by one"] = epochs(model(family), stream, batch_size)
    if isinstance(twice := model(family), tf_radogaga.RaDOGAGA):
        twice.decoder = Halves(twice.decoder)
        found["two decoder calls"] = epochs(twice, data, batch_size)
    if FAMILIES[family].filters:
        found["bfloat16"] = in_bfloat16(epochs(model(family), data, batch_size))
    return found


def in_bfloat16(call: Callable[[], float]) -> Callable[[], float]:
    """With oneDNN's mixed precision, which graphs that run meanwhile get."""

    def within():
        option = "auto_mixed_precision_onednn_bfloat16"
        tf.config.optimizer.set_experimental_options({option: True})
        try:
            return call()
        finally:
            tf.config.optimizer.set_experimental_options({option: False})

    return within


def main() -> None:
    """Serves epochs of the family and the number of steps that the command line names."""
    family, steps = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    train = epochs(model(family), rows(family, steps), FAMILIES[family].batch_size)
    print(json.dumps({}), file=answers, flush=True)
    answer(Side(train, train), sys.stdin, answers)


if __name__ == "__main__":
    main()
