"""The mixture of DAGMM, and of RaDOGAGA on tables: memberships by a network, and EM at the end."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

from tf_radogaga._core import checks, replicas, seeds
from tf_radogaga._core.keras_configs import attributes
from tf_radogaga._core.stack import keras, tf
from tf_radogaga._core.stopped_early import gaussian_mixture
from tf_radogaga.priors.gaussians import Mixture, Statistics, fixed_mixture
from tf_radogaga.priors.stacking import MEMBERS, stacked
from tf_radogaga.priors.stored import StoredMixture, spread_rows


@keras.utils.register_keras_serializable(package="tf_radogaga")
class MixturePrior(StoredMixture):
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
        checks.at_least(1, latent_units=latent_units, components=components)
        checks.at_least(0, covariance_floor=covariance_floor, em_iterations=em_iterations)
        checks.in_range("dropout", dropout, 0, 1)
        checks.one_of("selection", selection, (None, "stacked"))
        if selection and not covariance_floor:
            raise ValueError("covariance_floor: 0, with which EM cannot start from single rows; give more, as 1e-6.")
        super().__init__(latent_units, (MEMBERS if selection else 1) * components, name=name)
        self.components, self.units = components, tuple(units)
        self.dropout, self.covariance_floor, self.em_iterations = dropout, covariance_floor, em_iterations
        self.selection = selection
        self.minimum_rows = max(components, 5) if selection else components
        self.hidden = [keras.layers.Dense(width, "tanh", dtype="float32") for width in self.units]
        self.logits = keras.layers.Dense(components, dtype="float32")
        widths = (latent_units, *self.units)
        for layer, width in zip((*self.hidden, self.logits), widths):
            layer.build((None, width))
        self.random = tf.random.Generator.from_seed(seeds.draw_seed())

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
        mixture = self.batch_mixture(z) if training else self.stored_mixture()
        return tf.cast(mixture.energy(tf.cast(z, tf.float64)), tf.float32)

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
            stack = stacked(spread_rows(latents, rows), self.components, self.covariance_floor)
            self.store(fixed_mixture(*stack[:4]).padded(room))
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
        found = gaussian_mixture(spread_rows(latents, rows), self.components, **options)
        return fixed_mixture(found.weights_, found.means_, found.covariances_, found.precisions_cholesky_)

    def get_config(self) -> dict:
        names = "latent_units", "components", "units", "dropout", "covariance_floor", "em_iterations", "selection"
        return attributes(self, *names)
