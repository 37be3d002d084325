"""Latent priors P(z): one contract, `rate(z, training)` in nats, `distribution`, and `adapt` after training."""

from __future__ import annotations

import hashlib
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc
import tensorflow_probability as tfp
from tensorflow import keras
from tensorflow_probability import distributions as tfd

from tf_radogaga._core import checks
from tf_radogaga._core.registry import function_name, registered_function
from tf_radogaga.priors.deep_factorized import NoisyDeepFactorized

CODABLE = 2.0**30
"""Steps from the first of a range coder's table beyond which its escape code, twice as many, overruns int32 and never
ends."""

WITH_DIGEST = 1
"""Start of the check sum of strings that hold a digest of the prior; that of earlier ones was 0."""


class Prior(keras.layers.Layer):
    """Base class of latent priors over R^N."""

    minimum_rows = 1
    """Fewest training rows that determine this prior."""

    axis_aligned = True
    """Whether the axes of z matter to this prior; one that any rotation leaves in its family overrides this."""

    has_marginals = False
    """Whether `log_prob_along` has a closed form for fewer than N directions."""

    def __init__(self, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **{"dtype": tf.float32, **kwargs})  # under any policy: densities need it

    @property
    def learned(self) -> bool:
        """Whether P can follow the law of z; only then the latent becomes isometric, as a fixed P bends z to itself."""
        return bool(self.trainable_variables)

    @property
    def adapted(self) -> bool:
        """Whether `rate(z, training=False)` is defined; priors without stored statistics always are."""
        return True

    @property
    def has_sampler(self) -> bool:
        """Whether latents can be drawn from `distribution`."""
        return type(self).distribution is not Prior.distribution

    def require_adapted(self) -> None:
        """RuntimeError where it is not, but not in a graph, which is made before."""
        if tf.executing_eagerly() and not self.adapted:
            raise RuntimeError("prior: not adapted, so there is no mixture to score by; call fit or adapt_prior first.")

    def invalidate(self) -> None:
        """Marks what `adapt` stored as out of date, because the encoder is about to change."""

    def fresh(self) -> Prior:
        """A prior of the same configuration, not trained."""
        return type(self).from_config(self.get_config())

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """-log P(z) in nats of each example, (B, N) -> (B,)."""
        return -tf.cast(self.distribution.log_prob(tf.cast(z, self.distribution.dtype)), tf.float32)

    @property
    def distribution(self) -> tfd.Distribution:
        """The prior as a `tfd.Distribution` over R^N, for `log_prob` and `sample`."""
        raise NotImplementedError

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        """log density in nats of the coordinates of z (B, N) along orthonormal directions (n, N), (B,): of a marginal.

        Raises:
            NotImplementedError: n is below N and this prior has no closed-form marginals.
        """
        if directions.shape[0] == directions.shape[1]:
            return -self.rate(z)
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form marginal on {directions.shape[0]} of {directions.shape[1]}"
            " dimensions; train with fewer latent units, so that all are active."
        )

    def sample_each(self, seeds: tf.Tensor) -> tf.Tensor:
        """A latent for each seed (B,), (B, N) float32, which depends on that seed alone."""

        def draw(seed):
            return tf.cast(self.distribution.sample(seed=tf.stack([seed, 0])), tf.float32)

        return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(self.distribution.event_shape))

    def compress(self, z: tf.Tensor) -> bytes:
        """One string for the rounded latents (B, N)."""
        raise NotImplementedError(f"{type(self).__name__} has no range coder; train with a FactorizedPrior.")

    def decompress(self, strings: bytes) -> tf.Tensor:
        """The rounded latents (B, N) of a string of `compress`."""
        raise NotImplementedError(f"{type(self).__name__} has no range coder; train with a FactorizedPrior.")

    def adapt(self, latents: Iterable[tf.Tensor], refine: bool = True) -> None:
        """Fixes what scoring needs from the latents of the training set; re-iterable batches of (B, N).

        With `refine=False` a quick answer will do, as between the epochs of a training.
        """


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
        self,
        latent_units: int,
        filters: tuple[int, ...] = (3, 3, 3),
        init_scale: float = 10.0,
        name: str | None = None,
    ):
        super().__init__(name=name)
        checks.at_least(1, latent_units=latent_units)
        checks.positive(init_scale=init_scale)
        self.latent_units, self.filters, self.init_scale = latent_units, tuple(filters), init_scale
        self.noisy = NoisyDeepFactorized(batch_shape=(latent_units,), num_filters=self.filters, init_scale=init_scale)

    @property
    def distribution(self) -> tfd.Distribution:
        return tfd.Independent(self.noisy, reinterpreted_batch_ndims=1)

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


@keras.utils.register_keras_serializable(package="tf_radogaga")
class NormalPrior(Prior):
    """Standard normal: rate(z) = N/2 log(2 pi) + ||z||^2 / 2                                    [nats]

    It is fixed, so RaDOGAGA's latent is not isometric under it; log_density then needs volume="jacobian".

    Args:
        latent_units: N.

    Raises:
        ValueError: latent_units below 1.
    """

    axis_aligned = False
    has_marginals = True

    def __init__(self, latent_units: int, name: str | None = None):
        super().__init__(name=name)
        checks.at_least(1, latent_units=latent_units)
        self.latent_units = latent_units

    @property
    def distribution(self) -> tfd.Distribution:
        return tfd.MultivariateNormalDiag(tf.zeros(self.latent_units))

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        along = tf.linalg.matmul(tf.cast(z, tf.float32), directions, transpose_b=True)
        return tf.reduce_sum(tfd.Normal(0.0, 1.0).log_prob(along), axis=-1)

    def get_config(self) -> dict:
        return {"latent_units": self.latent_units}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class DistributionPrior(Prior):
    """Any `tfd.Distribution` over R^N; parameters that are `tf.Variable`s are learned with the model.

    Without such parameters it is fixed, and the latent not isometric, as under `NormalPrior`.

    Args:
        build: the distribution, of event shape (N,), or a function without arguments that returns it. To save a model
            give a function registered by `tf.keras.utils.register_keras_serializable`, or its registered name.

    Raises:
        ValueError: the event shape is not (N,), or the name is not registered.
        TypeError: there is no distribution.
    """

    def __init__(self, build: tfd.Distribution | Callable[[], tfd.Distribution] | str, name: str | None = None):
        super().__init__(name=name)
        self._given = given = isinstance(build, tfd.Distribution)
        if not (given or callable(build) or isinstance(build, str)):
            raise TypeError(f"build: {build!r} is neither a tfd.Distribution nor a function that returns one.")
        self.build_distribution = (lambda: build) if given else registered_function("build", build)
        self._distribution = self.build_distribution()
        if not isinstance(self._distribution, tfd.Distribution):
            raise TypeError(f"build: returned {self._distribution!r}, a tfd.Distribution is needed.")
        if self._distribution.event_shape.rank != 1 or self._distribution.batch_shape.rank != 0:
            raise ValueError(
                f"build: {self._distribution.name} has batch shape {self._distribution.batch_shape} and event shape"
                f" {self._distribution.event_shape}; one event of shape (N,) is needed, as tfd.Independent or"
                " tfd.Sample make it."
            )
        self.latent_units = int(self._distribution.event_shape[0])

    @property
    def distribution(self) -> tfd.Distribution:
        return self._distribution

    @property
    def has_sampler(self) -> bool:
        try:
            self.distribution.sample(seed=tf.constant([0, 0]))
        except NotImplementedError:  # as tfp tells it
            return False
        return True

    def fresh(self) -> DistributionPrior:
        return DistributionPrior(_apart(self._distribution) if self._given else self.build_distribution)

    def get_config(self) -> dict:
        return {"build": function_name("build", self.build_distribution)}


def _apart(value: Any) -> Any:
    """A distribution, or a parameter of one, with variables of its own."""
    if isinstance(value, tfp.util.TransformedVariable):
        inner = value.pretransformed_input
        return tfp.util.TransformedVariable(tf.convert_to_tensor(value), value.bijector, trainable=inner.trainable)
    if isinstance(value, tf.Variable):
        return tf.Variable(value, trainable=value.trainable)
    if isinstance(value, tfd.Distribution):
        return type(value)(**{name: _apart(part) for name, part in value.parameters.items()})
    return tf.nest.map_structure(_apart, value) if isinstance(value, (list, tuple, dict)) else value


def as_prior(value: Any) -> Prior:
    """The prior that an argument stands for: a `Prior`, or a `tfd.Distribution` over R^N.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, tfd.Distribution):
        return DistributionPrior(value)
    if not isinstance(value, Prior):
        raise TypeError(f"prior: {value!r} is neither a Prior nor a tfd.Distribution.")
    return value
