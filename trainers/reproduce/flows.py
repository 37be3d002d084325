"""Normalizing flows of TensorFlow Probability, as densities to compare with."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp

keras, tfb = tf.keras, tfp.bijectors

WIDTH = 64
"""Of the two hidden layers of each network."""

BINS, REACH = 8, 6.0
"""Of a spline, which is the identity beyond so many standard deviations."""

LEAST = 1e-2
"""Share of a spline that all bins hold alike, and its least slope."""

Layer = Callable[[int], tuple[keras.Model, tfb.Bijector]]
"""Of a number of columns: a network, and the bijector from noise to rows that it drives."""


class Flow(keras.Model):
    """Layers of a flow with the columns turned between them; its output is the log density of rows (B, M), (B,).

    Rows get fresh noise whenever it trains."""

    def __init__(self, columns: int, layer: Layer, layers: int, noise: float):
        super().__init__()
        turn = tfb.Permute(list(range(columns))[::-1])
        self.networks, bijectors = map(list, zip(*(layer(columns) for _ in range(layers))))
        normal = tfp.distributions.MultivariateNormalDiag(tf.zeros(columns))
        chain = tfb.Chain([part for bijector in bijectors for part in (bijector, turn)])
        self.flow, self.noise = tfp.distributions.TransformedDistribution(normal, chain), noise

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.flow.log_prob(x + self.noise * tf.random.normal(tf.shape(x)) if training else x)


def autoregressive(columns: int) -> tuple[keras.Model, tfb.Bijector]:
    """Source: Papamakarios et al., Masked autoregressive flow for density estimation, NeurIPS 2017."""
    network = tfb.AutoregressiveNetwork(2, event_shape=[columns], hidden_units=[WIDTH, WIDTH], activation="tanh")
    return network, tfb.MaskedAutoregressiveFlow(network)


def spline(columns: int) -> tuple[keras.Model, tfb.Bijector]:
    """A coupling layer of rational quadratic splines. Source: Durkan et al., Neural spline flows, NeurIPS 2019."""
    kept = columns // 2
    numbers = 3 * BINS - 1
    network = keras.Sequential(
        [*(keras.layers.Dense(WIDTH, "relu") for _ in range(2)), keras.layers.Dense((columns - kept) * numbers)]
    )
    network.build((None, kept))

    def moved(x: tf.Tensor, count: int, **_: tf.Tensor) -> tfb.Bijector:
        *parts, slopes = tf.split(tf.reshape(network(x), (-1, count, numbers)), [BINS, BINS, BINS - 1], axis=-1)
        sizes = [2 * REACH * (LEAST / BINS + (1 - LEAST) * tf.nn.softmax(part)) for part in parts]
        return tfb.RationalQuadraticSpline(*sizes, tf.nn.softplus(slopes + 0.54) + LEAST, range_min=-REACH)

    return network, tfb.RealNVP(num_masked=kept, bijector_fn=moved)
