"""The factorized density of learned compression, made fast to invert and able to sample."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_compression as tfc
import tensorflow_probability as tfp

from tf_radogaga._core.constants import as_constant

FAR = 2.0**16
"""Steps of z from 0 beyond which float32 cannot tell c(z + 1/2) from c(z - 1/2) well."""


class NoisyDeepFactorized(tfc.NoisyDeepFactorized):
    """`tfc.NoisyDeepFactorized` that can be drawn from, its cumulative inverted by bisection: the library's search
    walks from 0 in steps of 0.1, thousands of them for wide latents. Beyond `FAR` its log density goes on along a
    straight line, as that of a logistic does; the library's becomes -inf."""

    def _log_prob(self, y: tf.Tensor) -> tf.Tensor:
        near = tf.clip_by_value(y, -FAR, FAR)
        lower, upper = as_constant(self._tail_slopes)
        return super()._log_prob(near) - tf.abs(y - near) * tf.where(y < 0, lower, upper)

    def _tail_slopes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Of the logits of the cumulative below -FAR and above FAR, (*batch_shape) each."""
        ends = tf.constant([-FAR, -FAR / 2, FAR / 2, FAR])
        points = tf.tile(tf.reshape(ends, (4, *[1] * self.batch_shape.rank)), (1, *self.batch_shape))
        logits = self.base._logits_cumulative(points)
        return (logits[1] - logits[0]) / (FAR / 2), (logits[3] - logits[2]) / (FAR / 2)

    def _solve(self, logit: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
        """y between low and high with c(y) = sigmoid(logit)."""

        def halved(low, high):
            middle = 0.5 * (low + high)
            below = self.base._logits_cumulative(middle) < logit
            return tf.where(below, middle, low), tf.where(below, high, middle)

        low, high = tf.while_loop(lambda *_: True, halved, (low, high), maximum_iterations=50)
        return tf.stop_gradient(0.5 * (low + high))

    def _quantile(self, probability: float) -> tf.Tensor:
        far = tf.fill(self.batch_shape, 2.0**24)
        return self._solve(math.log(probability / (1 - probability)), -far, far)

    def _quantization_offset(self):
        median = self._quantile(0.5)
        return median - tf.round(median)

    def _lower_tail(self, tail_mass):
        return self._quantile(tail_mass / 2)

    def _upper_tail(self, tail_mass):
        return self._quantile(1 - tail_mass / 2)

    def uniforms(self, n: int, seed: tf.Tensor | None) -> tf.Tensor:
        """What `drawn_by` takes for n draws, (2, n, *batch_shape)."""
        return tf.random.stateless_uniform((2, n, *self.batch_shape), tfp.random.sanitize_seed(seed), 1e-6, 1 - 1e-6)

    def _sample_n(self, n, seed=None):
        return self.drawn_by(*tf.unstack(self.uniforms(n, seed)))

    def drawn_by(self, uniform: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Draws (n, *batch_shape) by uniform numbers of the same shape."""
        low, high = as_constant(lambda: [self._quantile(p) for p in (0.9e-6, 1 - 0.9e-6)])
        low, high = tf.broadcast_to(low, tf.shape(uniform)), tf.broadcast_to(high, tf.shape(uniform))
        return self._solve(tf.math.log(uniform) - tf.math.log1p(-uniform), low, high) + noise - 0.5
