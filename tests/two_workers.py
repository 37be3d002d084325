"""One of two workers that train together, inside a network namespace: python two_workers.py INDEX FOLDER.

FOLDER gets what worker INDEX has in the end; the test compares it with one device's.
"""

import json
import os
import sys
from pathlib import Path

PORTS = (29311, 29312)
STEPS = {"batch_size": 50, "epochs": 2, "verbose": 0}


def trained(kind, rows, seed=7):
    """A model that has seen each of 300 rows twice, from a table, or from a stream whose last batch is not whole."""
    import tensorflow as tf
    from conftest import scaled, small_model

    tf.keras.utils.set_random_seed(seed)
    model = small_model(kind, scaled(rows), reconstruction_features=kind == "dagmm")
    model.compile(tf.keras.optimizers.Adam(1e-3), steps_per_execution=3)
    data = rows
    if kind == "dagmm":
        data = tf.data.Dataset.from_tensor_slices(rows.astype("float32")).batch(67)
    history = model.fit(data, validation_data=rows[:100], **STEPS).history
    energy = model.energy(rows).numpy()
    model.set_threshold(energy, 0.1)
    numbers = {"energy": energy, "threshold": float(model.threshold.numpy()), "weights": weights(model)}
    return model, {**numbers, **{f"history {name}": values for name, values in history.items()}}


def weights(model):
    import numpy as np

    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])


def main():
    index, folder = int(sys.argv[1]), Path(sys.argv[2])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in PORTS]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before any other use of TensorFlow
    import tf_radogaga

    rows = np.load(folder / "rows.npy")
    for kind in ("noisy-rate", "dagmm"):
        with strategy.scope():
            model, numbers = trained(kind, rows, seed=7 + index)  # only the first worker's may count
        np.savez(folder / f"{kind}{index}.npz", **numbers)
        if index == 0:  # the other does not wait for it
            tf_radogaga.save_model(model, folder / kind)


if __name__ == "__main__":
    main()
