"""Keras callbacks that every training here runs under."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

keras = tf.keras


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops with an error that names the loss term and the remedy."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # means of NaN stay NaN, so looking once per execution misses nothing
        bad = [name for name, value in (logs or {}).items() if not np.isfinite(value)]
        if bad:
            named = [name for name in bad if name != "loss"] or bad
            raise FloatingPointError(
                f"loss term {named[0]!r} is {logs[named[0]]} after step {int(self.model.optimizer.iterations)}"
                f" (terms affected: {named}). Remedies: a lower learning rate; a larger covariance_floor of the mixture"
                " prior; rows scaled to about 0..1; larger batches."
            )


class AdaptBeforeValidation(keras.callbacks.Callback):
    """Validation scores by the stored prior, so it is brought up to date first."""

    def __init__(self, dataset: tf.data.Dataset):
        super().__init__()
        self.dataset = dataset

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.model._adapt(self.dataset, refine=False)
