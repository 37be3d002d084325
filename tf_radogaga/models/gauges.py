"""A nonlinear gauge: an invertible map before the latent that makes the decoder of a trained model isometric."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga._core import blocks, sampling
from tf_radogaga.isometry import tangents
from tf_radogaga.priors.base import Prior

keras = tf.keras

GRAM_ROWS = 3000
"""Training rows at which the metric of the decoder is measured, at most."""

LEARNING_RATE, BATCH, EPOCHS = 5e-3, 64, 100
PRIOR_LEARNING_RATE, PRIOR_BATCH, PRIOR_STEPS = 3e-3, 1024, 1000


@keras.utils.register_keras_serializable(package="tf_radogaga")
class CouplingFlow(keras.layers.Layer):
    """z = phi(u), invertible: couplings, each of half the coordinates by the others; at first the identity.

        c_b <- sinh((arsinh(c_b) + d) exp(k)) exp(s) + t,     d, s in (-1, 1), k in (-1/4, 1/4), t functions of c_a

    in coordinates c along an orthonormal basis, of which the first `moved` take part and the others stay as they are.
    The bounds keep rows far off the data finite.

    Sources: Dinh et al., ICLR 2017 (affine couplings); Jones and Pewsey, Biometrika 2009 (sinh-arcsinh).

    Args:
        units: N.
        couplings: how many.
        width: hidden units (tanh) of d, k, s and t.
    """

    def __init__(self, units: int, couplings: int = 12, width: int = 64, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self.units, self.couplings, self.width = units, couplings, width
        self.basis = self.add_weight("basis", (units, units), initializer="identity", trainable=False)
        self.moved = self.add_weight("moved", (units,), initializer="zeros", trainable=False)
        self.centre = self.add_weight("centre", (units,), initializer="zeros", trainable=False)
        self.spread = self.add_weight("spread", (units,), initializer="ones", trainable=False)
        self.networks = []
        for number in range(couplings):
            initial = keras.initializers.GlorotUniform(seed=number)
            hidden = keras.layers.Dense(width, "tanh", kernel_initializer=initial, dtype="float32")
            outputs = keras.layers.Dense(4 * units, kernel_initializer="zeros", dtype="float32")
            hidden.build((None, units))
            outputs.build((None, width))
            self.networks.append([hidden, outputs])
        self.trainable = False  # by the loss; `straighten` fits it

    def reset(self) -> None:
        """Becomes the identity."""
        self.moved.assign(tf.zeros_like(self.moved))

    def start(self, u: np.ndarray, basis: np.ndarray, moved: int) -> None:
        """At the identity, with the coordinates that move, their centre and their spread from latents (B, N)."""
        self.basis.assign(basis)
        self.moved.assign(tf.cast(tf.range(self.units) < moved, tf.float32))
        coordinates = u @ basis.T
        self.centre.assign(coordinates.mean(axis=0))
        self.spread.assign(np.maximum(coordinates.std(axis=0), 1e-6))
        for hidden, outputs in self.networks:
            hidden.kernel.assign(hidden.kernel_initializer(hidden.kernel.shape))
            for weight in (hidden.bias, *outputs.weights):
                weight.assign(tf.zeros_like(weight))

    def _halves(self) -> list[tf.Tensor]:
        """Which coordinates steer at each coupling, (N,), every other one the complement of that before; those that
        move are divided evenly."""
        random, halves = np.random.default_rng(0), []
        for _ in range(0, self.couplings, 2):
            order = random.permutation(self.units)
            rank = tf.cumsum(tf.gather(self.moved, order))
            steering = tf.gather(tf.math.floormod(rank, 2), np.argsort(order))
            halves += [steering, 1 - steering]
        return halves[: self.couplings]

    def _steered(self, network: list, steering: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """d, exp(k), exp(s) and t at each coordinate, those of the identity where it steers or does not move."""
        steered = (1 - steering) * self.moved
        hidden, outputs = network
        skew, tail, scale, shift = tf.split(outputs(hidden(c * steering * self.moved)), 4, axis=-1)
        tail, scale = tf.exp(0.25 * steered * tf.tanh(tail)), tf.exp(steered * tf.tanh(scale))
        return steered * tf.tanh(skew), tail, scale, steered * shift

    def call(self, u: tf.Tensor) -> tf.Tensor:
        c = (tf.linalg.matmul(u, self.basis, transpose_b=True) - self.centre) / self.spread
        for network, steering in zip(self.networks, self._halves()):
            skew, tail, scale, shift = self._steered(network, steering, c)
            c = tf.sinh((tf.asinh(c) + skew) * tail) * scale + shift
        return (c * self.spread + self.centre) @ self.basis

    def inverse(self, z: tf.Tensor) -> tf.Tensor:
        """u of z."""
        c = (tf.linalg.matmul(z, self.basis, transpose_b=True) - self.centre) / self.spread
        for network, steering in reversed(list(zip(self.networks, self._halves()))):
            skew, tail, scale, shift = self._steered(network, steering, c)
            c = tf.sinh(tf.asinh((c - shift) / scale) / tail - skew)
        return (c * self.spread + self.centre) @ self.basis

    def get_config(self) -> dict:
        return {"units": self.units, "couplings": self.couplings, "width": self.width}


def divergence(gram: tf.Tensor) -> tf.Tensor:
    """1/2 tr G - 1/2 log det G - n/2 of Gram matrices (B, n, n) in units of the theory, (B,), nats; 0 for the identity.

    So much exceeds the loss of RaDOGAGA at an example, where P(z) follows the law of z and the noise is small, that of
    an isometric latent of the same decoder: the coding term is 1/2 tr G there, and the rate -1/2 log det G up to what
    no map of the latent changes. Source: Kato et al., ICML 2020, Eq. 7-13.
    """
    log_det = tf.linalg.slogdet(gram).log_abs_determinant
    return 0.5 * (tf.linalg.trace(gram) - log_det - float(gram.shape[-1]))


class _Straightened(keras.Model):
    """Trains a flow on pairs of latents and Gram matrices, by the mean divergence of the Gram matrices behind it."""

    def __init__(self, flow: CouplingFlow, directions: tf.Tensor):
        super().__init__(dtype=tf.float32)
        self.flow, self.directions = flow, directions
        self.fitted = [weight for network in flow.networks for layer in network for weight in layer.weights]
        self.mean = keras.metrics.Mean("divergence")

    def divergences(self, u: tf.Tensor, gram: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(u)
            moved = tf.linalg.matmul(self.flow(u), self.directions, transpose_b=True)
        jacobian = tf.linalg.matmul(tape.batch_jacobian(moved, u), self.directions, transpose_b=True)
        inverse = tf.linalg.inv(jacobian)
        return divergence(tf.linalg.matmul(inverse, gram @ inverse, transpose_a=True))

    def train_step(self, data: tuple) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = self.divergences(*data)
            mean = tf.reduce_mean(loss)
        self.optimizer.apply_gradients(zip(tape.gradient(mean, self.fitted), self.fitted))
        self.mean.update_state(loss)
        return {"divergence": self.mean.result()}

    def test_step(self, data: tuple) -> dict[str, tf.Tensor]:
        self.mean.update_state(self.divergences(*data))
        return {"divergence": self.mean.result()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.mean]


class _Following(keras.Model):
    """Trains a prior on latents, by their mean rate."""

    def __init__(self, prior: Prior):
        super().__init__(dtype=tf.float32)
        self.prior = prior

    def train_step(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            rate = tf.reduce_mean(self.prior.rate(z, training=True))
        weights = self.prior.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(rate, weights), weights))
        return {"rate": rate}


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
    x = _spread(dataset, GRAM_ROWS)
    parts = list(blocks.slices(len(x), blocks.block_rows(blocks.TANGENTS, model.preprocess.width * count)))
    u = tf.concat([model.encode_x(x[part]) for part in parts], axis=0)
    measure = tf.function(
        lambda z: tangents.gram(model._decode, model.distortion, z, directions), reduce_retracing=True
    )
    gram = model.metric_scale * tf.concat([measure(u[part]) for part in parts], axis=0)
    gram += (
        1e-4 * tf.reduce_mean(tf.linalg.diag_part(gram)) * tf.eye(count)
    )  # a direction that the decoder does not hear at some row
    flow.start(u.numpy(), model._directions.numpy(), count)
    held_out = max(len(u) // 8, 1)
    batch = max(min(BATCH, len(u) - held_out), 1)
    steps = max((len(u) - held_out) // batch, 1)
    pairs = tf.data.Dataset.from_tensor_slices((u, gram))
    rest = pairs.skip(held_out).cache().shuffle(len(u), seed=0).batch(batch, drop_remainder=True)
    trained = _Straightened(flow, directions)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * EPOCHS)
    trained.compile(_built(keras.optimizers.Adam(rate), trained.fitted), steps_per_execution=steps)
    best = keras.callbacks.EarlyStopping("val_divergence", patience=EPOCHS // 4, restore_best_weights=True, mode="min")
    held = pairs.take(held_out).batch(held_out)
    before = trained.evaluate(held, verbose=0)
    history = trained.fit(rest, validation_data=held, epochs=EPOCHS, callbacks=[best], verbose=0).history
    after = min(history["val_divergence"])
    if best.best_weights and not best.stopped_epoch:  # Keras restores them where it stopped early only
        trained.set_weights(best.best_weights)
    if not after < before:
        flow.reset()
    _follow(model.prior, tf.concat([model.encode_x(x) for x in dataset], axis=0))
    return {"before": before, "after": min(before, after)}


def _built(optimizer: keras.optimizers.Optimizer, weights: list[tf.Variable]) -> keras.optimizers.Optimizer:
    """With its variables made, as a step that makes them is traced twice."""
    optimizer.build(weights)
    return optimizer


def _spread(dataset: tf.data.Dataset, most: int) -> tf.Tensor:
    """At most so many examples, taken evenly from the whole of a dataset of batches, in random order."""
    sample = sampling.EvenSample(most)
    for x in dataset:
        sample.add(x)
    return tf.gather(sample.rows, np.random.default_rng(0).permutation(len(sample.rows)))


def _follow(prior: Prior, z: tf.Tensor) -> None:
    if not prior.trainable_variables:
        return
    following = _Following(prior)
    batch = min(PRIOR_BATCH, len(z))
    rate = keras.optimizers.schedules.CosineDecay(PRIOR_LEARNING_RATE, PRIOR_STEPS)
    following.compile(_built(keras.optimizers.Adam(rate), prior.trainable_variables), steps_per_execution=50)
    rows = tf.data.Dataset.from_tensor_slices(z).cache().shuffle(len(z), seed=0).repeat().batch(batch)
    following.fit(rows, steps_per_epoch=PRIOR_STEPS, epochs=1, verbose=0)
