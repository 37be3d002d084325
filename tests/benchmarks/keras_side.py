"""The side of `bench.py` that needs TensorFlow alone: a plain Keras model."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf
import worker
from worker import SCORING_BATCH, Side, Task

keras = tf.keras


def epoch(model: keras.Model, *data: np.ndarray, batch_size: int) -> float:
    """Seconds of one epoch inside of `fit`."""
    times = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: times.append(time.perf_counter()),
        on_epoch_end=lambda *_: times.append(time.perf_counter()),
    )
    model.fit(*data, batch_size=batch_size, epochs=1, callbacks=[clock], verbose=0)
    return times[1] - times[0]


def plain_keras(task: Task) -> Side:
    """The same autoencoder without prior, noise and coding term, as Keras' defaults train it."""
    keras.utils.set_random_seed(0)
    inputs = task.train.shape[1]
    dense = [keras.layers.Dense(width, "tanh") for width in task.units]
    dense.append(keras.layers.Dense(task.latent_units))
    dense += [keras.layers.Dense(width, "tanh") for width in task.units[::-1]]
    network = keras.Sequential([keras.Input((inputs,)), *dense, keras.layers.Dense(inputs)])
    network.compile("adam", "mse")

    def score():
        reconstruction = network.predict(task.test, batch_size=SCORING_BATCH, verbose=0)
        return np.square(task.test - reconstruction).mean(axis=1)

    return Side(lambda: epoch(network, task.train, task.train, batch_size=task.batch_size), score)


if __name__ == "__main__":
    worker.main({"Keras fit": plain_keras}, ("tensorflow",))
