"""Latent priors P(z): one contract, `rate(z, training)` in nats, `distribution`, and `adapt` after training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from tf_radogaga import randomness

keras = tf.keras
tfd = tfp.distributions


class Prior(keras.layers.Layer):
    """Base class of latent priors over R^N."""

    minimum_rows = 1
    """Fewest training rows that determine this prior."""

    @property
    def adapted(self) -> bool:
        """Whether `rate(z, training=False)` is defined; priors without stored statistics always are."""
        return True

    def invalidate(self) -> None:
        """Marks what `adapt` stored as out of date, because the encoder is about to change."""

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """-log P(z) in nats of each example, (B, N) -> (B,)."""
        raise NotImplementedError

    @property
    def distribution(self) -> tfd.Distribution:
        """The prior as a `tfd.Distribution` over R^N, for `log_prob` and `sample`."""
        raise NotImplementedError

    def adapt(self, latents: Iterable[tf.Tensor], refine: bool = True) -> None:
        """Fixes what scoring needs from the latents of the training set; re-iterable batches of (B, N).

        With `refine=False` a quick answer will do, as between the epochs of a training.
        """


class Mixture(NamedTuple):
    """Gaussian mixture of K full-covariance components, float64: `log_weights` (K,), `mean` (K, N),
    `covariance` (K, N, N) and `inverse_cholesky` (K, N, N), the inverse of its lower Cholesky factor."""

    log_weights: tf.Tensor
    mean: tf.Tensor
    covariance: tf.Tensor
    inverse_cholesky: tf.Tensor

    def component_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log pi_k + log N(z; mu_k, Sigma_k), (B, N) -> (B, K), by matrix products alone."""
        components, units = self.mean.shape
        whitening = tf.reshape(tf.transpose(self.inverse_cholesky, (2, 0, 1)), (units, components * units))
        offset = tf.linalg.matvec(self.inverse_cholesky, self.mean)
        whitened = tf.reshape(z @ whitening, (-1, components, units)) - offset
        log_scale = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(self.inverse_cholesky)), axis=-1)
        log_norm = self.log_weights + log_scale - 0.5 * units * math.log(2 * math.pi)
        return log_norm - 0.5 * tf.reduce_sum(tf.square(whitened), axis=-1)

    def energy(self, z: tf.Tensor) -> tf.Tensor:
        """-log sum_k pi_k N(z; mu_k, Sigma_k) in nats, (B, N) -> (B,)."""
        return -tf.reduce_logsumexp(self.component_log_prob(z), axis=-1)

    def expectation(self, z: tf.Tensor) -> tuple[tf.Tensor, Statistics]:
        """The E step of EM: summed log likelihood (nats) of latents (B, N) and their statistics under this mixture."""
        log_prob = self.component_log_prob(z)
        return tf.reduce_sum(tf.reduce_logsumexp(log_prob, axis=-1)), Statistics.of(z, tf.nn.softmax(log_prob))


class Statistics(NamedTuple):
    """Sufficient statistics of soft memberships gamma: sum gamma (K,), sum gamma z (K, N), sum gamma z z' (K, N, N)."""

    count: tf.Tensor
    total: tf.Tensor
    outer: tf.Tensor

    @classmethod
    def of(cls, z: tf.Tensor, memberships: tf.Tensor) -> Statistics:
        """From float64 latents (B, N) and memberships (B, K)."""
        weighted = memberships[:, :, None] * z[:, None, :]
        return cls(
            tf.reduce_sum(memberships, axis=0),
            tf.reduce_sum(weighted, axis=0),
            tf.einsum("bki,bj->kij", weighted, z),
        )

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(*(a + b for a, b in zip(self, other)))

    def mixture(self, covariance_floor: float) -> Mixture:
        """The mixture with these moments; `covariance_floor` is added to every variance."""
        count = self.count + 1e-8  # a component without members must not divide 0 by 0
        weights = self.count / tf.reduce_sum(self.count)
        mean = self.total / count[:, None]
        covariance = self.outer / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
        covariance = 0.5 * (covariance + tf.linalg.matrix_transpose(covariance))
        identity = tf.eye(mean.shape[-1], dtype=mean.dtype)
        covariance += covariance_floor * identity
        inverse = tf.linalg.triangular_solve(
            tf.linalg.cholesky(covariance), tf.broadcast_to(identity, tf.shape(covariance))
        )
        return Mixture(tf.math.log(weights + 1e-20), mean, covariance, inverse)


@keras.utils.register_keras_serializable(package="tf_radogaga")
class MixturePrior(Prior):
    """Gaussian mixture whose memberships come from an estimation network.

        gamma = softmax(EN(z)),  pi_k = mean gamma_k,  mu_k, Sigma_k = moments of z weighted by gamma_k
        rate(z) = -log sum_k pi_k N(z; mu_k, Sigma_k)                                            [nats]

    While training, the mixture is that of the batch. `adapt` then fixes one mixture for scoring: the network's
    memberships over the whole training set, refined by EM started there, because the network merges clusters
    in some runs. Both likelihoods are kept in `adaptation`; a wide gap on z alone marks such a run.

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
        """Stores the mixture of the training set, streamed: one pass for the network, one per EM iteration.

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
        best, iterations, history = mixture, 0, []
        for iterations in range(self.em_iterations + 1):
            likelihoods, statistics = zip(*(mixture.expectation(tf.cast(z, tf.float64)) for z in latents))
            history.append(-float(sum(likelihoods)) / rows)
            if history[-1] <= min(history):
                best = mixture
            if iterations == self.em_iterations or (iterations and history[-2] - history[-1] < 1e-5):
                break
            mixture = sum(statistics[1:], statistics[0]).mixture(self.covariance_floor)
        self._store(best)
        self.adaptation.update(nll_network=history[0], nll_em=min(history), em_iterations=iterations)

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
