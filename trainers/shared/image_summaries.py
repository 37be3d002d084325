"""What an image model makes of its data while it trains, for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

keras = tf.keras

SHOWN, DIMENSIONS, STEPS, SPAN = 8, 8, 7, 2.0


class ImageSummaries(keras.callbacks.Callback):
    """Writes originals beside reconstructions, and traversals of the latent dimensions of the largest variance.

    Args:
        folder: of the event files.
        images: raw held-out images; the first `SHOWN` are shown, all give means and variances of the latent.
    """

    def __init__(self, folder: Path, images: np.ndarray):
        super().__init__()
        self.writer, self.images = tf.summary.create_file_writer(str(folder)), images

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        model = self.model
        z = model.encode(self.images).numpy()
        x, x_hat = model.preprocess(model.preprocess.check(self.images[:SHOWN])), model.decode(z[:SHOWN])
        axes = np.argsort(-z.var(axis=0))[:DIMENSIONS]
        moved = np.tile(z.mean(axis=0), (len(axes), STEPS, 1))
        for row, axis in zip(moved, axes):
            row[:, axis] += np.linspace(-SPAN, SPAN, STEPS) * z[:, axis].std()
        decoded = model.decode(moved.reshape(-1, z.shape[1]))
        decoded = tf.reshape(decoded, (len(axes), STEPS, *decoded.shape[1:]))
        with self.writer.as_default(step=int(model.optimizer.iterations)):
            pairs = tf.concat([x, x_hat], axis=2)
            tf.summary.image("original | reconstruction", tf.clip_by_value(pairs, 0, 1), max_outputs=SHOWN)
            strips = tf.concat(tf.unstack(decoded, axis=1), axis=2)
            tf.summary.image("traversals by variance", tf.clip_by_value(strips, 0, 1), max_outputs=DIMENSIONS)
        self.writer.flush()
