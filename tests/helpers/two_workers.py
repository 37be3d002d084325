"""One of two workers that train together, inside a network namespace: python -m helpers.two_workers INDEX FOLDER.

FOLDER gets what worker INDEX has in the end; the test compares it with one device's.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

import tf_radogaga
from helpers.models import scaled, small_model

KINDS = ("noisy-rate", "dagmm")
PORTS = (29311, 29312)  # of the namespace's own network


def trained(kind, rows, seed=7):
    """A model and what it has come to: compiled and from a table, or eager and from a stream of uneven batches."""
    tf.keras.utils.set_random_seed(seed)
    streamed = kind == "dagmm"
    model = small_model(kind, scaled(rows), reconstruction_features=streamed)
    model.compile(optimizer(), steps_per_execution=3, run_eagerly=streamed)
    data = tf.data.Dataset.from_tensor_slices(rows.astype("float32")).batch(67) if streamed else rows
    history = model.fit(data, batch_size=50, epochs=2, verbose=0).history
    energy = model.energy(rows).numpy()
    model.set_threshold(energy, 0.1)
    numbers = {"energy": energy, "threshold": model.threshold.numpy(), "weights": weights(model)}
    return model, {**numbers, **history}


def optimizer():
    """Adam, but one that does not make whole steps of gradients that are rounding errors."""
    return tf.keras.optimizers.Adam(1e-3, epsilon=1e-3)


def weights(model):
    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])


def main():
    index, folder = int(sys.argv[1]), Path(sys.argv[2])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in PORTS]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    rows = np.load(folder / "rows.npy")
    for kind in KINDS:
        with strategy.scope():
            model, numbers = trained(kind, rows, seed=7 + index)  # only the first worker's may count
        np.savez(folder / f"{kind}{index}.npz", **numbers)
        if index == 0:  # the other does not wait for it
            tf_radogaga.save_model(model, folder / kind)


if __name__ == "__main__":
    main()
