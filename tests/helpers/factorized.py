"""Factorized priors that tests train, their latents, and models of them."""

import numpy as np
import tensorflow as tf

from tf_radogaga import DenseNetwork, RaDOGAGA
from tf_radogaga.priors import FactorizedPrior


def perturbed(prior, seed=0):
    rng = np.random.default_rng(seed)
    for variable in prior.trainable_variables:
        variable.assign_add(rng.normal(0, 0.5, variable.shape))
    return prior


def bimodal_and_normal(rows, seed=0):
    """Latents (rows, 2) float32: two modes 10 apart, and a normal."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 2)) * [0.7, 3.0] + np.stack([rng.choice([-5, 5], rows), np.full(rows, 0.3)], axis=1)
    return tf.constant(z, tf.float32)


def trained_factorized():
    """A FactorizedPrior fitted to `bimodal_and_normal` plus noise."""
    tf.keras.utils.set_random_seed(7)
    prior, z = FactorizedPrior(2), bimodal_and_normal(20000)
    steps = 1000
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.03, steps))
    optimizer.build(prior.trainable_variables)

    @tf.function
    def train():
        for _ in tf.range(steps):
            batch = tf.gather(z, tf.random.uniform([512], 0, len(z), tf.int32))
            batch += tf.random.uniform(batch.shape, -0.5, 0.5)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(prior.rate(batch, training=True))
            optimizer.apply_gradients(zip(tape.gradient(loss, prior.trainable_variables), prior.trainable_variables))

    train()
    return prior


def model_with(prior, **options):
    """An untrained RaDOGAGA of four columns and two latent dimensions."""
    networks = DenseNetwork(4, (8,), 2), DenseNetwork(2, (8,), 4)
    return RaDOGAGA(*networks, prior, **{"lambda1": 100.0, "lambda2": 100.0, **options})
