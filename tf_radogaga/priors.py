"""Latent priors P(z): one contract, `rate(z, training)` in nats, `distribution`, and `adapt` after training."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc
import tensorflow_probability as tfp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from tf_radogaga import randomness
from tf_radogaga.entropy_model import NoisyDeepFactorized
from tf_radogaga.mixtures import Mixture, Statistics
from tf_radogaga.registration import function_name, registered_function

keras = tf.keras
tfd = tfp.distributions


class Prior(keras.layers.Layer):
    """Base class of latent priors over R^N."""

    minimum_rows = 1
    """Fewest training rows that determine this prior."""

    axis_aligned = True
    """Whether the axes of z matter to this prior; one that any rotation leaves in its family overrides this."""

    @property
    def adapted(self) -> bool:
        """Whether `rate(z, training=False)` is defined; priors without stored statistics always are."""
        return True

    def invalidate(self) -> None:
        """Marks what `adapt` stored as out of date, because the encoder is about to change."""

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
            " dimensions; train with fewer latent units, so that all are informative."
        )

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
class MixturePrior(Prior):
    """Gaussian mixture whose memberships come from an estimation network.

        gamma = softmax(EN(z)),  pi_k = mean gamma_k,  mu_k, Sigma_k = moments of z weighted by gamma_k
        rate(z) = -log sum_k pi_k N(z; mu_k, Sigma_k)                                            [nats]

    While training, the mixture is that of the batch. `adapt` then fixes one mixture for scoring: the likelier of two
    that EM refines, one started at the network's memberships over the whole training set, one at scikit-learn's
    clusters, because the network merges clusters in some runs and EM cannot revive a component without members. The
    network's likelihood and the final one are kept in `adaptation`; a wide gap on z alone marks such a run.

    All of it is computed in float64: in float32 the Cholesky factors of narrow components fail.

    Sources: Zong et al., ICLR 2018; Kato et al., arXiv v1 Eq. 17-19 (the ICML text drops pi_k).

    Args:
        latent_units: N, the width of z, counting concatenated reconstruction features.
        components: K.
        units: hidden widths of the estimation network (tanh).
        dropout: dropout rate after each hidden layer of the estimation network.
        covariance_floor: added to every variance of every component, in units of z squared.
        em_iterations: most EM refinements in `adapt`; 0 scores by the network's own mixture.
    """

    axis_aligned = False

    def __init__(
        self,
        latent_units: int,
        components: int,
        units: tuple[int, ...] = (10,),
        dropout: float = 0.5,
        covariance_floor: float = 1e-6,
        em_iterations: int = 100,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.latent_units, self.components, self.units = latent_units, components, tuple(units)
        self.dropout, self.covariance_floor, self.em_iterations = dropout, covariance_floor, em_iterations
        self.minimum_rows = components
        self.adaptation: dict[str, float] = {}
        self.hidden = [keras.layers.Dense(width, "tanh") for width in self.units]
        self.logits = keras.layers.Dense(components)
        widths = (latent_units, *self.units)
        for layer, width in zip((*self.hidden, self.logits), widths):
            layer.build((None, width))
        self.random = randomness.generator()
        shapes = Mixture((components,), (components, latent_units), *2 * ((components, latent_units, latent_units),))
        self.stored = Mixture(
            *(self.add_weight(n, s, "float64", "zeros", trainable=False) for n, s in zip(Mixture._fields, shapes))
        )
        self.is_adapted = self.add_weight("is_adapted", (), "bool", trainable=False)

    @property
    def adapted(self) -> bool:
        with tf.init_scope():
            return bool(self.is_adapted)

    def invalidate(self) -> None:
        self.is_adapted.assign(False)

    def memberships(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """gamma (B, K), float64."""
        h = tf.cast(z, tf.float32)
        for layer in self.hidden:
            h = layer(h)
            if training and self.dropout:
                h = tf.nn.experimental.stateless_dropout(h, self.dropout, self.random.make_seeds(1)[:, 0])
        return tf.nn.softmax(tf.cast(self.logits(h), tf.float64))

    def batch_mixture(self, z: tf.Tensor, training: bool = True) -> Mixture:
        """The mixture of this batch of latents by the estimation network."""
        return Statistics.of(tf.cast(z, tf.float64), self.memberships(z, training)).mixture(self.covariance_floor)

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        mixture = self.batch_mixture(z) if training else Mixture(*(tf.identity(v) for v in self.stored))
        return tf.cast(mixture.energy(tf.cast(z, tf.float64)), tf.float32)

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        marginal = Mixture(*(tf.identity(v) for v in self.stored)).along(directions)
        z = tf.linalg.matmul(tf.cast(z, tf.float64), tf.cast(directions, tf.float64), transpose_b=True)
        return -tf.cast(marginal.energy(z), tf.float32)

    @property
    def distribution(self) -> tfd.Distribution:
        """The stored mixture, float64."""
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=tf.identity(self.stored.log_weights)),
            tfd.MultivariateNormalTriL(
                tf.identity(self.stored.mean), scale_tril=tf.linalg.cholesky(self.stored.covariance)
            ),
        )

    def adapt(self, latents: Iterable[tf.Tensor], refine: bool = True) -> None:
        """Stores the mixture of the training set, streamed: one pass for the network, one per EM iteration and start.

        Raises:
            ValueError: fewer rows than components.
            FloatingPointError: the latents hold NaN or infinity.
        """
        statistics, rows = None, 0
        for z in latents:
            batch = Statistics.of(tf.cast(z, tf.float64), self.memberships(z))
            statistics = batch if statistics is None else statistics + batch
            rows += int(z.shape[0])
        if rows < self.components:
            raise ValueError(
                f"latents: {rows} rows cannot determine components={self.components}; give more rows or fewer"
                " components."
            )
        if not bool(tf.reduce_all(tf.math.is_finite(statistics.outer))):
            raise FloatingPointError(
                "latents: the encoder's output over the training rows holds NaN or infinity, so the prior cannot be"
                " adapted; train again with a lower learning rate."
            )
        mixture = statistics.mixture(self.covariance_floor)
        self._store(mixture)
        if not refine:
            return
        starts = [mixture]
        if self.em_iterations and self.components > 1:
            starts.append(self._clustered(latents, rows))
        results = [self._expectation_maximization(start, latents, rows) for start in starts]
        best, nll, iterations = min(results, key=lambda result: result[1][-1])
        self._store(best)
        self.adaptation.update(nll_network=results[0][1][0], nll_em=nll[-1], em_iterations=iterations)

    def _expectation_maximization(self, mixture: Mixture, latents: Iterable[tf.Tensor], rows: int):
        """The refined mixture, its mean -log likelihoods from the start to it, and the number of iterations."""
        best, history = mixture, []
        for _ in range(self.em_iterations + 1):
            likelihoods, statistics = zip(*(mixture.expectation(tf.cast(z, tf.float64)) for z in latents))
            nll = -float(sum(likelihoods)) / rows
            gain = history[-1] - nll if history else math.inf
            if gain < 0:  # the covariance floor can cost likelihood at the end
                break
            best, history = mixture, [*history, nll]
            if gain < 1e-6:
                break
            mixture = sum(statistics[1:], statistics[0]).mixture(self.covariance_floor)
        return best, history, len(history) - 1

    def _clustered(self, latents: Iterable[tf.Tensor], rows: int) -> Mixture:
        """A start of EM that owes nothing to the network: scikit-learn's, on at most 10,000 spread rows."""
        stride = -(-rows // 10_000)
        sample = np.concatenate([np.asarray(z[::stride], np.float64) for z in latents])
        found = GaussianMixture(self.components, n_init=3, reg_covar=self.covariance_floor, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # EM goes on from here
            found.fit(sample)
        inverse = np.swapaxes(found.precisions_cholesky_, 1, 2)
        return Mixture(*(tf.constant(v) for v in (np.log(found.weights_), found.means_, found.covariances_, inverse)))

    def _store(self, mixture: Mixture) -> None:
        for variable, value in zip(self.stored, mixture):
            variable.assign(value)
        self.is_adapted.assign(True)

    def get_config(self) -> dict:
        return {
            "latent_units": self.latent_units,
            "components": self.components,
            "units": list(self.units),
            "dropout": self.dropout,
            "covariance_floor": self.covariance_floor,
            "em_iterations": self.em_iterations,
        }


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
    """

    def __init__(
        self,
        latent_units: int,
        filters: tuple[int, ...] = (3, 3, 3),
        init_scale: float = 10.0,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.latent_units, self.filters, self.init_scale = latent_units, tuple(filters), init_scale
        self.noisy = NoisyDeepFactorized(batch_shape=(latent_units,), num_filters=self.filters, init_scale=init_scale)

    @property
    def distribution(self) -> tfd.Distribution:
        return tfd.Independent(self.noisy, reinterpreted_batch_ndims=1)

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        """As `Prior.log_prob_along`, for directions that are axes."""
        log_prob = self.noisy.log_prob(tf.cast(z, tf.float32))
        return tf.linalg.matvec(log_prob, tf.reduce_sum(tf.square(directions), axis=0))

    def _coder(self) -> tfc.ContinuousBatchedEntropyModel:
        width = float(tf.reduce_max(self.noisy._upper_tail(2**-8) - self.noisy._lower_tail(2**-8)))
        if not width < 2**14:  # the table of the range coder has 2**16 entries, and overrunning it ends the process
            raise ValueError(f"prior: it spans {width:.0f} steps of z, too many for range coding; lower lambda2.")
        return tfc.ContinuousBatchedEntropyModel(self.noisy, coding_rank=2, compression=True, range_coder_precision=16)

    def quantize(self, z: tf.Tensor) -> tf.Tensor:
        """The latents (B, N) that `compress` keeps: z rounded to whole steps from each dimension's offset."""
        return self._coder().quantize(z)

    def compress(self, z: tf.Tensor) -> bytes:
        coded = struct.pack("<I", len(z)) + self._coder().compress(tf.cast(z, tf.float32)).numpy()
        return struct.pack("<I", zlib.crc32(coded)) + coded

    def decompress(self, strings: bytes) -> tf.Tensor:
        if len(strings) < 8 or struct.unpack_from("<I", strings)[0] != zlib.crc32(strings[4:]):
            raise ValueError(f"strings: these {len(strings)} bytes are no output of compress, or damaged.")
        (rows,) = struct.unpack_from("<I", strings, 4)
        try:
            return self._coder().decompress(tf.constant(strings[8:]), broadcast_shape=[rows])
        except tf.errors.InvalidArgumentError as error:
            raise ValueError("strings: compressed by another prior than this.") from error

    def get_config(self) -> dict:
        return {"latent_units": self.latent_units, "filters": list(self.filters), "init_scale": self.init_scale}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class NormalPrior(Prior):
    """Standard normal: rate(z) = N/2 log(2 pi) + ||z||^2 / 2                                    [nats]

    Args:
        latent_units: N.
    """

    axis_aligned = False

    def __init__(self, latent_units: int, name: str | None = None):
        super().__init__(name=name)
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

    Args:
        build: the distribution, of event shape (N,), or a function without arguments that returns it. To save a model
            give a function registered by `tf.keras.utils.register_keras_serializable`, or its registered name.

    Raises:
        ValueError: the event shape is not (N,), or the name is not registered.
    """

    def __init__(self, build: tfd.Distribution | Callable[[], tfd.Distribution] | str, name: str | None = None):
        super().__init__(name=name)
        given = isinstance(build, tfd.Distribution)
        self.build_distribution = (lambda: build) if given else registered_function("build", build)
        self._distribution = self.build_distribution()
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

    def get_config(self) -> dict:
        return {"build": function_name("build", self.build_distribution)}
