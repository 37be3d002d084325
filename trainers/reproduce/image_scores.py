"""Scores of images by the models of the tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_radogaga import presets
from tf_radogaga.models import Autoencoder

keras = tf.keras


def plain_autoencoder(
    model: Autoencoder, images: np.ndarray, settings: presets.Preset, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Trains the networks of a model by the squared error alone; gives the errors (n,) of images."""
    plain = keras.Sequential([model.encoder, model.decoder])
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    plain.compile(keras.optimizers.Adam(rate), "mse", steps_per_execution=50)
    x = images.astype(np.float32) / 255
    data = tf.data.Dataset.from_tensor_slices((x, x)).shuffle(len(x), seed).repeat().batch(settings.batch_size)
    plain.fit(data, steps_per_epoch=settings.steps, verbose=0)

    def squared_errors(images: np.ndarray) -> np.ndarray:
        x = images.astype(np.float32) / 255
        return np.square(x - plain.predict(x, batch_size=1000, verbose=0)).mean(axis=(1, 2, 3))

    return squared_errors


def model_scores(model: Autoencoder, images: np.ndarray) -> dict[str, np.ndarray]:
    """surprise, energy and distortion (n,) of images, higher being more anomalous."""
    distortions = []
    for i in range(0, len(images), 1000):
        x = model.preprocess(model.preprocess.check(images[i : i + 1000]))
        distortions.append(model.distortion.excess(x, model.decode(model.encode(images[i : i + 1000]))))
    energies = {"surprise": model.surprise(images).numpy(), "energy": model.energy(images).numpy()}
    return {**energies, "distortion": np.concatenate(distortions)}
