"""The factorized prior of learned compression, and its density, made fast to invert and able to sample."""

from __future__ import annotations

import hashlib
import math
import struct
import warnings
import weakref
import zlib

import numpy as np

from tf_radogaga._core import checks
from tf_radogaga._core.constants import as_constant
from tf_radogaga._core.stack import keras, tf, tfc, tfp
from tf_radogaga.priors.base import Prior

CODABLE = 2.0**30
"""Steps from the first of a range coder's table beyond which its escape code, twice as many, overruns int32 and never
ends."""

WITH_DIGEST = 1
"""Start of the check sum of strings that hold a digest of the prior; that of earlier ones was 0."""

FAR = 2.0**16
"""Steps of z from 0 beyond which float32 cannot tell c(z + 1/2) from c(z - 1/2) well."""

_CODERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""Of priors, with the weights that their tables are of: they take longer to make than many rows to code."""


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


@keras.utils.register_keras_serializable(package="tf_radogaga")
class FactorizedPrior(Prior):
    """Independent dimensions, each with a learned cumulative c_i: the entropy model of learned compression.

        P(z) = prod_i [c_i(z_i + 1/2) - c_i(z_i - 1/2)],      rate(z) = -log P(z)                     [nats]

    P(z) is a density, and at rounded latents also the probability of the bin, so `compress` reaches the rate. It cannot
    be narrower than one unit of z: raise lambda2 where the data's spread is below that.

    Source: Balle et al., ICLR 2018, appendix 6, as `tfc.NoisyDeepFactorized`.

    Args:
        latent_units: N.
        filters: hidden widths of each cumulative; (3, 3, 3) is the papers', more resolve finer structure.
        init_scale: width of P at the start, in units of z; choose it above the spread of z.

    Raises:
        ValueError: an argument outside its range.
    """

    has_marginals = True

    def __init__(
        self, latent_units: int, filters: tuple[int, ...] = (3, 3, 3), init_scale: float = 10.0, name: str | None = None
    ):
        super().__init__(name=name)
        checks.at_least(1, latent_units=latent_units)
        checks.positive(init_scale=init_scale)
        self.latent_units, self.filters, self.init_scale = latent_units, tuple(filters), init_scale
        self.noisy = NoisyDeepFactorized(batch_shape=(latent_units,), num_filters=self.filters, init_scale=init_scale)

    @property
    def distribution(self) -> tfp.distributions.Distribution:
        return tfp.distributions.Independent(self.noisy, reinterpreted_batch_ndims=1)

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        """As `Prior.log_prob_along`, for directions that are axes; any others have no closed form."""
        log_prob = self.noisy.log_prob(tf.cast(z, tf.float32))
        return tf.linalg.matvec(log_prob, tf.reduce_sum(tf.square(directions), axis=0))

    def sample_each(self, seeds: tf.Tensor) -> tf.Tensor:
        """As `Prior.sample_each`, the cumulatives of all inverted at once."""
        spec = tf.TensorSpec((2, 1, self.latent_units))
        uniforms = tf.map_fn(lambda seed: self.noisy.uniforms(1, tf.stack([seed, 0])), seeds, fn_output_signature=spec)
        return self.noisy.drawn_by(uniforms[:, 0, 0], uniforms[:, 1, 0])

    def _coder(self) -> tfc.ContinuousBatchedEntropyModel:
        weights, (known, coder) = [v.numpy().tobytes() for v in self.noisy.variables], _CODERS.get(self, (None, None))
        if weights != known:
            _CODERS[self] = weights, (coder := self._new_coder())
        return coder

    def _new_coder(self) -> tfc.ContinuousBatchedEntropyModel:
        width = float(tf.reduce_max(self.noisy._upper_tail(2**-8) - self.noisy._lower_tail(2**-8)))
        if not width < 2**14:  # the table of the range coder has 2**16 entries, and overrunning it ends the process
            raise ValueError(f"prior: it spans {width:.0f} steps of z, too many for range coding; lower lambda2.")
        return tfc.ContinuousBatchedEntropyModel(self.noisy, coding_rank=2, compression=True, range_coder_precision=16)

    def quantize(self, z: tf.Tensor) -> tf.Tensor:
        """The latents (B, N) that `compress` keeps: z rounded to whole steps from each dimension's offset."""
        return self._coder().quantize(z)

    def compress(self, z: tf.Tensor) -> bytes:
        """As `Prior.compress`. The string tells which prior coded it, by a digest of its tables.

        Raises:
            ValueError: z is not (B, N); a row, which is named, has a latent that is not finite or too far for the
                coder, about 2**30 steps; or the prior itself is too wide.
        """
        z, coder = tf.convert_to_tensor(z), self._coder()
        if z.shape.rank != 2 or z.shape[1] != self.latent_units:
            raise ValueError(f"z: shape {z.shape} where (B, {self.latent_units}) is expected.")
        z = tf.cast(z, tf.float32)
        steps = tf.cast(coder.quantize(z), tf.float64) - tf.cast(coder.cdf_offset, tf.float64)
        codable = (tf.abs(steps) < CODABLE).numpy()  # NaN is not
        if not codable.all():
            row, dimension = np.argwhere(~codable)[0]
            raise ValueError(
                f"z: row {row} has {z[row, dimension]} in dimension {dimension}, and range coding takes finite latents"
                f" below {CODABLE:.0f} steps ({np.sum(~codable.all(axis=1))} such rows); leave such rows out."
            )
        coded = struct.pack("<I", len(z)) + _digest(coder) + coder.compress(z).numpy()
        return struct.pack("<I", zlib.crc32(coded, WITH_DIGEST)) + coded

    def decompress(self, strings: bytes) -> tf.Tensor:
        """As `Prior.decompress`. Strings of versions that wrote no digest are read too, with a warning.

        Raises:
            ValueError: a string that is damaged, no output of `compress`, or of another prior than this.
        """
        if not isinstance(strings, bytes):
            raise ValueError(f"strings: a {type(strings).__name__} where the bytes of compress are expected.")
        found, coded = strings[:4], strings[4:]
        digested = found == struct.pack("<I", zlib.crc32(coded, WITH_DIGEST))
        if len(coded) < 4 or not (digested or found == struct.pack("<I", zlib.crc32(coded))):
            raise ValueError(f"strings: these {len(strings)} bytes are no output of compress, or damaged.")
        coder, (rows,), content = self._coder(), struct.unpack_from("<I", coded), coded[4:]
        if digested:
            digest = _digest(coder)
            if content[: len(digest)] != digest:
                raise ValueError(
                    "strings: compressed by another prior than this, or by one whose weights have changed since;"
                    " decompress them by the model that compressed them."
                )
            content = content[len(digest) :]
        else:
            warnings.warn(
                "strings: of an earlier version, which did not note the prior; they are wrong without a word where it"
                " was another. Compress the rows anew.",
                stacklevel=2,
            )
        try:
            return coder.decompress(tf.constant(content), broadcast_shape=[rows])
        except tf.errors.OpError as error:
            raise ValueError("strings: compressed by another prior than this.") from error

    def get_config(self) -> dict:
        return {"latent_units": self.latent_units, "filters": list(self.filters), "init_scale": self.init_scale}


def _digest(coder: tfc.ContinuousBatchedEntropyModel) -> bytes:
    """8 bytes that differ between coders of other tables or other steps."""
    offset = coder.quantization_offset
    parts = (coder.cdf, coder.cdf_offset, *(() if offset is None else (offset,)))
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).digest()[:8]
