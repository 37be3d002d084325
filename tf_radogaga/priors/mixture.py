"""Gaussian mixtures in float64: their densities, marginals and sufficient statistics, and the prior made of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tf_radogaga._core import blocks, checks, replicas, seeds
from tf_radogaga._core.constants import as_constant
from tf_radogaga._core.keras_configs import attributes
from tf_radogaga._core.squares import sum_of_squares
from tf_radogaga._core.stack import keras, tf, tfp
from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.priors.base import Prior
from tf_radogaga.priors.stacking import MEMBERS, stacked

LEAST_LOG_WEIGHT = math.log(1e-20)
"""Of components that only fill the room for more of them."""

CLUSTERED_ROWS = 10_000
"""Latents that scikit-learn's mixture is fitted to, at most, for EM to go on from."""


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
        whitened = tf.reshape(z @ whitening, (tf.shape(z)[0], components, units)) - offset
        diagonal = tf.reduce_sum(self.inverse_cholesky * np.eye(units), axis=-1)  # OpenVINO lacks the op of diag_part
        log_scale = tf.reduce_sum(tf.math.log(diagonal), axis=-1)
        log_norm = self.log_weights + log_scale - 0.5 * units * math.log(2 * math.pi)
        return log_norm - 0.5 * sum_of_squares(whitened, first_axis=2)

    def energy(self, z: tf.Tensor) -> tf.Tensor:
        """-log sum_k pi_k N(z; mu_k, Sigma_k) in nats, (B, N) -> (B,)."""
        return -tf.reduce_logsumexp(self.component_log_prob(z), axis=-1)

    def padded(self, components: int) -> Mixture:
        """The same mixture as one of more components: copies of the heaviest, which weigh nothing."""
        heaviest = tf.argmax(self.log_weights)
        more = components - self.mean.shape[0]
        log_weights = tf.concat([self.log_weights, tf.fill((more,), np.float64(LEAST_LOG_WEIGHT))], axis=0)
        copies = (tf.concat([v, tf.repeat(v[heaviest][None], more, axis=0)], axis=0) for v in self[1:])
        return Mixture(log_weights, *copies)

    def along(self, directions: tf.Tensor) -> Mixture:
        """The mixture of the coordinates z . d_j along orthonormal directions (n, N): a marginal of this one."""
        directions = tf.cast(directions, self.mean.dtype)
        mean = tf.linalg.matmul(self.mean, directions, transpose_b=True)
        covariance = directions @ tf.linalg.matmul(self.covariance, directions, transpose_b=True)
        return Mixture(self.log_weights, mean, covariance, _inverse_cholesky(covariance))

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
        rows, (units, components) = tf.shape(z)[0], (z.shape[1], memberships.shape[1])
        weighted = tf.reshape(memberships[:, :, None] * z[:, None, :], (rows, components * units))
        outer = tf.linalg.matmul(weighted, z, transpose_a=True)  # sums over rows are slow, products are not
        return cls(
            tf.reduce_sum(memberships, axis=0),
            tf.linalg.matmul(memberships, z, transpose_a=True),
            tf.reshape(outer, (components, units, units)),
        )

    def __add__(self, other: Statistics) -> Statistics:  # type: ignore[override]  # sums, no longer tuples
        return Statistics(*(a + b for a, b in zip(self, other)))

    def mixture(self, covariance_floor: float) -> Mixture:
        """The mixture with these moments; `covariance_floor` is added to every variance."""
        count = self.count + 1e-8  # a component without members must not divide 0 by 0
        weights = self.count / tf.reduce_sum(self.count)
        mean = self.total / count[:, None]
        covariance = self.outer / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
        covariance = 0.5 * (covariance + tf.linalg.matrix_transpose(covariance))
        covariance += covariance_floor * tf.eye(mean.shape[-1], dtype=mean.dtype)
        return Mixture(tf.math.log(weights + 1e-20), mean, covariance, _inverse_cholesky(covariance))


def _inverse_cholesky(covariance: tf.Tensor) -> tf.Tensor:
    identity = tf.eye(tf.shape(covariance)[-1], batch_shape=tf.shape(covariance)[:1], dtype=covariance.dtype)
    return tf.linalg.triangular_solve(tf.linalg.cholesky(covariance), identity)


def _spread_rows(latents: Iterable[tf.Tensor], rows: int) -> np.ndarray:
    """At most `CLUSTERED_ROWS` of so many rows, float64."""
    sample = blocks.EvenSample(CLUSTERED_ROWS, rows)
    for z in latents:
        sample.add(z)
    return np.asarray(sample.rows, np.float64)


def _fixed(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, precisions_cholesky: np.ndarray) -> Mixture:
    """From scikit-learn's arrays."""
    inverse = np.swapaxes(precisions_cholesky, 1, 2)
    return Mixture(*(tf.constant(v) for v in (np.log(np.maximum(weights, 1e-20)), means, covariances, inverse)))


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
        selection: None, or "stacked": `adapt` takes no start from the network. It stores a weighted mean of mixtures of
            1 to `components` components (`priors.stacking`), fitted to at most `CLUSTERED_ROWS` latents, with
            weights by held-out likelihood. `adaptation` tells how many mixtures and components that are.

    Raises:
        ValueError: an argument outside its range.
    """

    axis_aligned = False
    has_marginals = True

    def __init__(
        self,
        latent_units: int,
        components: int,
        units: tuple[int, ...] = (10,),
        dropout: float = 0.5,
        covariance_floor: float = 1e-6,
        em_iterations: int = 100,
        selection: str | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        checks.at_least(1, latent_units=latent_units, components=components)
        checks.at_least(0, covariance_floor=covariance_floor, em_iterations=em_iterations)
        checks.in_range("dropout", dropout, 0, 1)
        checks.one_of("selection", selection, (None, "stacked"))
        if selection and not covariance_floor:
            raise ValueError("covariance_floor: 0, with which EM cannot start from single rows; give more, as 1e-6.")
        self.latent_units, self.components, self.units = latent_units, components, tuple(units)
        self.dropout, self.covariance_floor, self.em_iterations = dropout, covariance_floor, em_iterations
        self.selection = selection
        self.minimum_rows = max(components, 5) if selection else components
        self.adaptation: dict[str, float] = {}
        self.hidden = [keras.layers.Dense(width, "tanh", dtype="float32") for width in self.units]
        self.logits = keras.layers.Dense(components, dtype="float32")
        widths = (latent_units, *self.units)
        for layer, width in zip((*self.hidden, self.logits), widths):
            layer.build((None, width))
        self.random = tf.random.Generator.from_seed(seeds.draw_seed())
        most = (MEMBERS if selection else 1) * components
        shapes = Mixture((most,), (most, latent_units), *2 * ((most, latent_units, latent_units),))
        self.stored = Mixture(
            *(self.add_weight(n, s, "float64", "zeros", trainable=False) for n, s in zip(Mixture._fields, shapes))
        )
        self.is_adapted = self.add_weight("is_adapted", (), "bool", trainable=False)

    @property
    def adapted(self) -> bool:
        with tf.init_scope():
            return bool(self.is_adapted.numpy())

    def invalidate(self) -> None:
        self.is_adapted.assign(False)
        self.adaptation = {}

    def memberships(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """gamma (B, K), float64."""
        h = tf.cast(z, tf.float32)
        for layer in self.hidden:
            h = layer(h)
            if training and self.dropout:
                h *= replicas.own_rows(functools.partial(self._dropped, seeds.next_seed(self.random)), tf.shape(h))
        return tf.nn.softmax(tf.cast(self.logits(h), tf.float64))

    def _dropped(self, seed: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        return tf.nn.experimental.stateless_dropout(tf.ones(shape), self.dropout, seed)

    def batch_mixture(self, z: tf.Tensor, training: bool = True) -> Mixture:
        """The mixture of this batch of latents by the estimation network, on whatever replicas its rows are."""
        statistics = replicas.total(Statistics.of(tf.cast(z, tf.float64), self.memberships(z, training)))
        return statistics.mixture(self.covariance_floor)

    def rate(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        mixture = self.batch_mixture(z) if training else self._stored_mixture()
        return tf.cast(mixture.energy(tf.cast(z, tf.float64)), tf.float32)

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        marginal = as_constant(lambda: self._stored_mixture().along(directions))
        z = tf.linalg.matmul(tf.cast(z, tf.float64), tf.cast(directions, tf.float64), transpose_b=True)
        return -tf.cast(marginal.energy(z), tf.float32)

    def _stored_mixture(self) -> Mixture:
        return as_constant(lambda: Mixture(*(tf.identity(v) for v in self.stored)))

    @property
    def distribution(self) -> tfp.distributions.Distribution:
        """The stored mixture, float64."""
        return as_constant(
            lambda: tfp.distributions.MixtureSameFamily(
                tfp.distributions.Categorical(logits=tf.identity(self.stored.log_weights)),
                tfp.distributions.MultivariateNormalTriL(
                    tf.identity(self.stored.mean), scale_tril=tf.linalg.cholesky(self.stored.covariance)
                ),
            )
        )

    def adapt(self, latents: Iterable[tf.Tensor], refine: bool = True) -> None:
        """Stores the mixture of the training set, streamed: one pass for the network, one per EM iteration and start.

        Raises:
            ValueError: fewer rows than components.
            FloatingPointError: the latents hold NaN or infinity.
        """
        statistics: Statistics | None = None
        rows = 0
        for z in latents:
            batch = Statistics.of(tf.cast(z, tf.float64), self.memberships(z))
            statistics = batch if statistics is None else statistics + batch
            rows += int(z.shape[0])
        if statistics is None or rows < self.minimum_rows:
            raise ValueError(
                f"latents: {rows} rows cannot determine components={self.components}; give at least"
                f" {self.minimum_rows} rows or fewer components."
            )
        if not bool(tf.reduce_all(tf.math.is_finite(statistics.outer))):
            raise FloatingPointError(
                "latents: the encoder's output over the training rows holds NaN or infinity, so the prior cannot be"
                " adapted; train again with a lower learning rate."
            )
        mixture, room = statistics.mixture(self.covariance_floor), self.stored.mean.shape[0]
        if not refine:
            self.store(mixture.padded(room))
            return
        if self.selection:
            stack = stacked(_spread_rows(latents, rows), self.components, self.covariance_floor)
            self.store(_fixed(*stack[:4]).padded(room))
            told = {"mixtures": stack.members, "components": len(stack.weights), "nll_held_out": -stack.held_out}
            self.adaptation.update(told)
            return
        starts = [mixture]
        if self.em_iterations and self.components > 1:
            starts.append(self.clustered(latents, rows))
        results = [self._expectation_maximization(start, latents, rows) for start in starts]
        best, nll, iterations = min(results, key=lambda result: result[1][-1])
        self.store(best)
        self.adaptation.update(nll_network=results[0][1][0], nll_em=nll[-1], em_iterations=iterations)

    def _expectation_maximization(self, mixture: Mixture, latents: Iterable[tf.Tensor], rows: int):
        """The refined mixture, its mean -log likelihoods from the start to it, and the number of iterations."""
        best = mixture
        history: list[float] = []
        for _ in range(self.em_iterations + 1):
            batches = (mixture.expectation(tf.cast(z, tf.float64)) for z in latents)
            likelihood, statistics = functools.reduce(lambda a, b: tf.nest.map_structure(tf.add, a, b), batches)
            nll = -float(likelihood) / rows
            gain = history[-1] - nll if history else math.inf
            if gain < 0:  # the covariance floor can cost likelihood at the end
                break
            best, history = mixture, [*history, nll]
            if gain < 1e-6:
                break
            mixture = statistics.mixture(self.covariance_floor)
        return best, history, len(history) - 1

    def clustered(self, latents: Iterable[tf.Tensor], rows: int) -> Mixture:
        """A start of EM that owes nothing to the network: scikit-learn's, on spread rows."""
        options = {"n_init": 3, "reg_covar": self.covariance_floor, "random_state": 0}
        found = gaussian_mixture(_spread_rows(latents, rows), self.components, **options)
        return _fixed(found.weights_, found.means_, found.covariances_, found.precisions_cholesky_)

    def store(self, mixture: Mixture) -> None:
        self.invalidate()  # for as long as only some of it is stored
        for variable, value in zip(self.stored, mixture):
            variable.assign(value)
        self.is_adapted.assign(True)

    def get_config(self) -> dict:
        names = "latent_units", "components", "units", "dropout", "covariance_floor", "em_iterations", "selection"
        return attributes(self, *names)
