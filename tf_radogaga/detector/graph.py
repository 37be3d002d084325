"""The densities of an `AnomalyDetector` as a model of core TensorFlow ops in float64, for export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from scipy.special import gammaln

from tf_radogaga._core import blocks
from tf_radogaga.detector.densities import FREEDOM, IndependentColumns, KernelDensity, MixtureDensity, averaged
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.preprocessing import PassThrough
from tf_radogaga.priors.base import Prior

if TYPE_CHECKING:
    from tf_radogaga.detector.estimator import AnomalyDetector

keras = tf.keras


class _Constants(keras.layers.Layer):
    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": tf.float32, **kwargs})  # under any policy

    def constant(self, name: str, values: np.ndarray) -> tf.Variable:
        values = np.asarray(values, np.float64)
        return self.add_weight(name, values.shape, tf.float64, lambda *_, **__: values, trainable=False)


class IsometricEncoder(_Constants):
    """z = (x - mean) / s of the columns that vary, (B, M) -> (B, N)."""

    def __init__(self, varies: np.ndarray, mean: np.ndarray, scale: np.ndarray):
        super().__init__()
        self.input_units, self.output_units = len(varies), len(mean)
        self.places = np.flatnonzero(varies)
        self.mean, self.scale = self.constant("mean", mean), self.constant("scale", scale)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return (tf.cast(tf.gather(x, self.places, axis=1), tf.float64) - self.mean) / self.scale


class IsometricDecoder(_Constants):
    """x = mean + s z, and the values of constant columns, (B, N) -> (B, M)."""

    def __init__(self, encoder: IsometricEncoder, origin: np.ndarray):
        super().__init__()
        self.input_units, self.output_units = encoder.output_units, encoder.input_units
        self.encoder, self.origin = encoder, self.constant("origin", origin)
        self.placing = self.constant("placing", np.eye(self.output_units)[encoder.places])

    def call(self, z: tf.Tensor) -> tf.Tensor:
        x = tf.matmul(tf.cast(z, tf.float64) * self.encoder.scale, self.placing) + self.origin
        return tf.cast(x, tf.float32)


class AveragedDensities(Prior, _Constants):
    """P(z) of a fitted detector, by the same formulas as in `densities`."""

    def __init__(self, densities: Mapping[str, object], log_normalizer: float):
        super().__init__()
        self.log_normalizer, self.parts = log_normalizer, {}
        build = {KernelDensity: self._kernel, MixtureDensity: self._mixture, IndependentColumns: self._columns}
        for name, density in densities.items():
            if type(density) not in build:
                raise TypeError(f"{name}: a {type(density).__name__} has no graph, so it cannot be exported.")
            self.parts[name] = build[type(density)](density)
        self.latent_units = densities["kernel"].centres.shape[1]
        self.block = blocks.block_rows(blocks.SERVED_KERNELS, len(densities["kernel"].centres))

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """-log P(z) in nats, (B, N) -> (B,) float64, of so many rows at once as memory takes."""
        z, rows = tf.cast(z, tf.float64), tf.shape(z)[0]
        size = tf.clip_by_value(rows, 1, self.block)
        blocks = tf.maximum((rows + size - 1) // size, 1)  # map_fn takes no empty list
        padded = tf.pad(z, [[0, blocks * size - rows], [0, 0]])
        shaped = tf.reshape(padded, (blocks, size, self.latent_units))
        found = tf.map_fn(self._rate, shaped, parallel_iterations=1)
        return tf.reshape(found, [-1])[:rows]

    def _rate(self, z: tf.Tensor) -> tf.Tensor:
        logs = {"kernel": self.parts["kernel"](z)}
        if "mixture" in self.parts:
            logs["mixture"] = self.parts["mixture"](z, logs["kernel"])
        if "columns" in self.parts:
            logs["columns"] = self.parts["columns"](z)
        return self.log_normalizer - averaged(logs)

    def _kernel(self, density: KernelDensity):
        centres = self.constant("centres", density.centres)
        lengths = self.constant("lengths", np.square(density.centres).sum(axis=1))
        count, units = density.centres.shape
        log_norm = math.log(count) + gammaln(FREEDOM / 2) - gammaln((FREEDOM + units) / 2)
        log_norm += units * math.log(density.bandwidth * math.sqrt(FREEDOM * math.pi))
        narrow = FREEDOM * float(density.bandwidth) ** 2

        def log_prob(z):
            squares = tf.reduce_sum(tf.square(z), axis=1, keepdims=True) + lengths
            squares = tf.maximum(squares - 2 * tf.matmul(z, centres, transpose_b=True), 0)
            return tf.reduce_logsumexp(-(FREEDOM + units) / 2 * tf.math.log1p(squares / narrow), axis=1) - log_norm

        return log_prob

    def _mixture(self, density: MixtureDensity):
        parts = []
        for number, mixture in enumerate(density.mixtures):
            whitening = mixture.precisions_cholesky_  # (K, N, N)
            offsets = np.einsum("kn,knm->km", mixture.means_, whitening)
            logs = np.log(mixture.weights_) + np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
            logs = logs - whitening.shape[1] / 2 * math.log(2 * math.pi)
            found = {"whitening": whitening, "offsets": offsets, "logs": logs}
            parts.append([self.constant(f"mixture_{number}_{name}", values) for name, values in found.items()])

        def log_prob(z, wide):
            total = 0
            for whitening, offsets, logs in parts:
                halves = tf.einsum("bn,knm->bkm", z, whitening) - offsets
                own = tf.reduce_logsumexp(logs - tf.reduce_sum(tf.square(halves), axis=2) / 2, axis=1)
                own += math.log(density.rows)
                total += tf.maximum(own, wide) + tf.math.softplus(-tf.abs(own - wide))
            return total / len(parts) - math.log(density.rows + 1)

        return log_prob

    def _columns(self, density: IndependentColumns):
        parts = []
        for number, (values, shares, bandwidths) in enumerate(density.columns):
            found = {"values": values, "shares": shares[:, None]}
            tensors = [self.constant(f"column_{number}_{name}", found[name]) for name in found]
            parts.append((*tensors, bandwidths))
        mean, scale = self.constant("column_means", density.mean), self.constant("column_scales", density.scale)
        log_scale, rows = np.log(density.scale).sum(), density.rows

        def log_prob(z):
            total = -log_scale
            for column, (values, shares, bandwidths) in zip(tf.unstack((z - mean) / scale, axis=1), parts):
                squares = tf.square(column[:, None] - values)
                wide = 1 / (3 * math.pi * (1 + tf.square(column / 3)))
                for h in bandwidths:
                    kernels = tf.exp(-squares / (2 * h**2)) / (h * math.sqrt(2 * math.pi))
                    mixed = (rows * tf.matmul(kernels, shares)[:, 0] + wide) / (rows + 1)
                    total += tf.math.log(mixed) / len(bandwidths)
            return total

        return log_prob


class DensityModel(Autoencoder):
    """A fitted detector in the house of models: energy = -log p(x), so that it is exported as they are."""

    def __init__(self, detector: AnomalyDetector):
        latent = detector._latent
        encoder = IsometricEncoder(latent.varies, latent.mean, latent.scale)
        origin = np.zeros(len(latent.varies))
        origin[latent.varies], origin[~latent.varies] = latent.mean, latent.constants
        prior = AveragedDensities(detector._densities, detector._log_normalizer)
        preprocess = detector._encoding or PassThrough(len(latent.varies))
        super().__init__(encoder, IsometricDecoder(encoder, origin), prior, preprocess)
        self.fixed, self.constants = np.flatnonzero(~latent.varies), latent.constants
        self.tolerance, self.as_float32 = latent.tolerance, latent.as_float32
        self.novelty, self.log_scale = math.log(latent.rows + 1), latent.log_scale
        self.log_scale += len(latent.constants) * math.log1p(1 / (latent.rows + 1))
        units = self.latent_units
        self._keep_directions(tf.eye(units), tf.ones(units, tf.bool), tf.ones(units))

    @property
    def has_log_density(self) -> bool:
        return True

    def encode_x(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.encoder(x), tf.float32)

    def _energy(self, x: tf.Tensor) -> tf.Tensor:
        fixed = tf.gather(x, self.fixed, axis=1)
        fixed = tf.cast(tf.where(tf.abs(fixed) < np.finfo(np.float32).tiny, 0.0, fixed), tf.float64)
        novel = tf.abs(fixed - self.constants) > self.tolerance
        novel &= (fixed != self.as_float32[0]) & (fixed != self.as_float32[1])
        surprise = self.novelty * tf.reduce_sum(tf.cast(novel, tf.float64), axis=1)
        return tf.cast(self.prior.rate(self.encoder(x)) + self.log_scale + surprise, tf.float32)

    def _log_density(self, x: tf.Tensor) -> tf.Tensor:
        return -self._energy(x)

    def sample(self, rows: int, seed: int | None = None) -> tf.Tensor:
        raise NotImplementedError("sample: an average of log densities has no sampler.")
