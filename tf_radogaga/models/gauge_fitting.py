"""The fit of a nonlinear gauge, which makes the decoder of a trained model isometric."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.isometry import tangents
from tf_radogaga.models.gauges import CouplingFlow, FlowGauge
from tf_radogaga.priors.base import Prior
from tf_radogaga.training.end_of_fit import Step, forget_held_out

GRAM_ROWS = 3000
"""Training rows at which the metric of the decoder is measured, at most."""

LEARNING_RATE, BATCH, EPOCHS, LEAST_EPOCHS = 1e-2, 128, 60, 15

FULL_DIMENSIONS = 4
"""With more, the epochs become fewer, down to LEAST_EPOCHS: the cost of one grows with the square of the dimensions."""

DIFFERENCE = 0.01
"""Step, in standard deviations near the centre, of the differences that stand for derivatives of a flow: a gradient of
gradients takes several times as long."""

PRIOR_LEARNING_RATE, PRIOR_BATCH, PRIOR_STEPS = 3e-3, 1024, 1000


def divergence(gram: tf.Tensor) -> tf.Tensor:
    """1/2 tr G - 1/2 log det G - n/2 of Gram matrices (B, n, n) in units of the theory, (B,), nats; 0 for the identity.

    So much exceeds the loss of RaDOGAGA at an example, where P(z) follows the law of z and the noise is small, that of
    an isometric latent of the same decoder: the coding term is 1/2 tr G there, and the rate -1/2 log det G up to what
    no map of the latent changes. Source: Kato et al., ICML 2020, Eq. 7-13.
    """
    log_det = tf.linalg.slogdet(gram).log_abs_determinant
    return 0.5 * (tf.linalg.trace(gram) - log_det - float(gram.shape[-1]))


class _Minimized(keras.Model):
    """Trains weights by the mean loss of examples, with Adam and a rate that falls to 0."""

    def __init__(self, loss: Callable, weights: list[tf.Variable], rate: float, steps: int, steps_per_execution: int):
        super().__init__(dtype=tf.float32)
        self.loss_of, self.fitted = loss, weights
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
        optimizer.build(weights)  # a step that makes its variables is traced twice
        self.compile(optimizer, loss=lambda _, losses: losses, steps_per_execution=steps_per_execution)

    def call(self, data: Any) -> tf.Tensor:
        return self.loss_of(data)


def _untargeted(examples: Any) -> tf.data.Dataset:
    """Examples (B, ...), with targets as Keras wants them, which no loss reads."""
    return tf.data.Dataset.from_tensor_slices((examples, tf.zeros(len(tf.nest.flatten(examples)[0]))))


def straighten(model: Any, flow: CouplingFlow, dataset: tf.data.Dataset) -> dict[str, float]:
    """Fits the flow, so far the identity, to the metric of a trained decoder, and the prior to the new latents.

    The Gram matrices of some training rows are measured once; then no decoder is needed. An eighth of these rows is
    held out, and the flow that is best on it is kept.

    Args:
        model: a RaDOGAGA whose active dimensions are known; with none nothing is done.
        flow: the last map before z.
        dataset: batches of x.

    Returns:
        Mean `divergence` of the held-out rows before and after, nats; what `RaDOGAGA.straightening` holds.
    """
    directions, count = model.active_directions, model.active_dimensions
    if not count:
        return {}
    sample = blocks.EvenSample(GRAM_ROWS)
    for x in dataset:
        sample.add(x)
    x = tf.gather(sample.rows, np.random.default_rng(0).permutation(len(sample.rows)))
    parts = list(blocks.slices(len(x), blocks.block_rows(blocks.TANGENTS, model.preprocess.width * count)))
    u = tf.concat([model.encode_x(x[part]) for part in parts], axis=0)
    measure = tf.function(lambda z: tangents.gram(model.decode, model.distortion, z, directions), reduce_retracing=True)
    gram = model.metric_scale * tf.concat([measure(u[part]) for part in parts], axis=0)
    # a direction that the decoder does not hear at some row
    gram += 1e-4 * tf.reduce_mean(tf.linalg.diag_part(gram)) * tf.eye(count)
    flow.start(u.numpy(), model._directions.numpy(), count)
    held_out = max(len(u) // 8, 1)
    batch = max(min(BATCH, len(u) - held_out), 1)
    steps = max((len(u) - held_out) // batch, 1)
    pairs = _untargeted((u, gram))
    rest = pairs.skip(held_out).cache().shuffle(len(u), seed=0).batch(batch, drop_remainder=True)
    weights = [weight for network in flow.networks for layer in network for weight in layer.weights]
    loss = functools.partial(_divergences, flow)
    epochs = min(EPOCHS, max(EPOCHS * FULL_DIMENSIONS // count, LEAST_EPOCHS))
    trained = _Minimized(loss, weights, LEARNING_RATE, steps * epochs, steps)
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=max(epochs // 4, 1), restore_best_weights=True, mode="min"
    )
    held = pairs.take(held_out).batch(batch)
    before = trained.evaluate(held, verbose=0)
    history = trained.fit(rest, validation_data=held, epochs=epochs, callbacks=[best], verbose=0).history
    after = min(history["val_loss"])
    if best.best_weights and not best.stopped_epoch:  # Keras restores them where it stopped early only
        trained.set_weights(best.best_weights)
    if not after < before:
        flow.reset()
    _follow(model.prior, tf.concat([model.encode_x(x) for x in dataset], axis=0))
    return {"before": before, "after": min(before, after)}


def _divergences(flow: CouplingFlow, pairs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """`divergence`, behind the flow, of pairs of latents and Gram matrices."""
    u, gram = pairs
    count, c = gram.shape[1], flow.standardized(u)
    steps = DIFFERENCE * (1 + tf.abs(c[:, :count, None]))  # those of rows far off must not round away
    moves = steps * tf.eye(count, flow.units)
    points = c[:, None] + tf.stack([-moves, moves])
    before, after = tf.unstack(tf.reshape(flow.coupled(tf.reshape(points, (-1, flow.units))), tf.shape(points)))
    spread = flow.spread[:count]
    transposed = (after - before)[:, :, :count] / (2 * steps) * spread / spread[:, None]
    inverse = tf.linalg.inv(transposed)
    return divergence(tf.linalg.matmul(inverse @ gram, inverse, transpose_b=True))


def _follow(prior: Prior, z: tf.Tensor) -> None:
    if not prior.trainable_variables:
        return
    weights, batch = prior.trainable_variables, min(PRIOR_BATCH, len(z))
    following = _Minimized(lambda z: prior.rate(z, training=True), weights, PRIOR_LEARNING_RATE, PRIOR_STEPS, 50)
    rows = _untargeted(z).cache().shuffle(len(z), seed=0).repeat().batch(batch)
    following.fit(rows, steps_per_epoch=PRIOR_STEPS, epochs=1, verbose=0)


def _fit_gauge(model: Any, dataset: tf.data.Dataset, in_memory: bool, refine: bool) -> None:
    if refine and isinstance(model.gauge, FlowGauge):
        model.gauge.flow.reset()
        forget_held_out(model)  # z is another
        model.density.find_active(dataset)
        model.straightening = straighten(model, model.gauge.flow, dataset)


def _forget_gauge(model: Any) -> None:
    model.straightening = {}
    if isinstance(model.gauge, FlowGauge):
        model.gauge.flow.reset()


GAUGE = Step(_fit_gauge, _forget_gauge)
