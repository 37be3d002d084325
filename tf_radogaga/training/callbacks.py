"""Keras callbacks that every training here runs under."""

from __future__ import annotations

import numpy as np

from tf_radogaga._core.stack import keras, tf


def non_finite_error(term: str, step: int) -> FloatingPointError:
    """Names the loss term, or the gradient, and the remedy."""
    subject = "the gradient of the loss" if term == "gradient" else f"loss term {term!r}"
    return FloatingPointError(
        f"{subject} was the first to become NaN or infinite, at step {step}. Remedies: a lower learning rate; a larger"
        " covariance_floor of the mixture prior; rows scaled to about 0..1; larger batches; no NaN in the rows of your"
        " own tf.data pipeline."
    )


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops with an error that names the loss term and the remedy."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # means of NaN stay NaN, so looking once per execution misses nothing; the model remembers which came first
        means = (value for name, value in (logs or {}).items() if name in self.model.steps.means)
        if not all(map(np.isfinite, means)):
            raise non_finite_error(*self.model.steps.first_non_finite())


def start_at_step(model: keras.Model, first_step: tf.Variable) -> keras.callbacks.Callback:
    """Hands the optimizer's step to the stream of batches before it starts, and after a backup has been restored.

    The stream cannot read the optimizer's own variable: that moves on while the first batch is drawn.
    """
    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda _: first_step.assign(tf.cast(model.optimizer.iterations, tf.int64))
    )
