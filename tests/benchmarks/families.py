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
from tf_radogaga import image_presets, presets

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


def steps_of_fit(built: tf_radogaga.Autoencoder, data: np.ndarray, batch_size: int) -> Callable[[], float]:
    """Trains for an epoch inside of `fit` and returns its seconds; what fixes the prior afterwards is left out."""
    built._adapt = lambda *args, **kwargs: None
    return lambda: epoch(built, data, batch_size=batch_size)


def main() -> None:
    """Serves epochs of the family and the number of steps that the command line names."""
    family, steps = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    train = steps_of_fit(model(family), rows(family, steps), FAMILIES[family].batch_size)
    print(json.dumps({}), file=answers, flush=True)
    answer(Side(train, train), sys.stdin, answers)


if __name__ == "__main__":
    main()
