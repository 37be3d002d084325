"""Distributions that tests take as priors."""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


@tf.keras.utils.register_keras_serializable(package="test_priors")
def correlated_normal():
    return tfd.MultivariateNormalTriL([1.0, -2.0], [[2.0, 0.0], [1.5, 0.5]])


@tf.keras.utils.register_keras_serializable(package="test_priors")
def trainable_normal():
    scale = tfp.util.TransformedVariable(tf.eye(2), tfp.bijectors.FillScaleTriL(), name="scale")
    return tfd.MultivariateNormalTriL(tf.Variable(tf.zeros(2), name="loc"), scale)
