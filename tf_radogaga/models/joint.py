"""One score for detection, of the latent and of the length of what it leaves out.

The energy speaks of x_hat alone, and the distortion finds the emptiest row the most normal of all. Their joint density
is two-sided: it is low where z is odd, and where x - x_hat is longer, or shorter, than it is at such a z. But z has
many dimensions, in which a length far too long can drown; so that also counts by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import tf
from tf_radogaga.models.density import Scored, forget_threshold, without_nan
from tf_radogaga.models.residual_laws import LEAST_LENGTH, LEAST_ROWS
from tf_radogaga.models.tails import Tail, fitted_tail, nats
from tf_radogaga.priors.stored import CLUSTERED_ROWS
from tf_radogaga.training.end_of_fit import Step

FOLDS = 5
MOST_CROSSED = 1000
"""Rows up to which energies are those of all folds, each left out; of more, the first alone is."""


class Joint:
    """What the `joint_prior` of a model says, N + 1 units; rho = x - x_hat, |rho| = sqrt(D(x, x_hat)).

        energy = -log p(z, log |rho|)
        surprise = -log P(E > energy) - log P(L > |rho|),

    the chances that a normal row has a greater energy, and a longer residual, combined as Fisher's method combines
    tests.
    """

    def __init__(self, model: Scored):
        self.model = model
        self.tails: Mapping[str, Tail] | None = None
        self._traced: tuple | None = None

    def obstacle(self) -> str | None:
        """Why there is no surprise."""
        prior = self.model.joint_prior
        if prior is None:
            return (
                "joint_prior: the model was made without one; make it with"
                f" joint_prior=StackedPrior({self.model.latent_units + 1})."
            )
        if not prior.adapted or self.tails is None:
            return (
                f"joint_prior: not fitted; give fit at least {LEAST_ROWS} validation rows, or call adapt_residuals"
                " with normal rows that it has not seen."
            )
        return None

    def coordinates(self, x: tf.Tensor) -> tf.Tensor:
        """[z, log |rho|] of x, (B, N + 1)."""
        z = self.model.encode_x(x)
        squares = self.model.distortion.excess(x, self.model.decode(z))
        return tf.concat([z, 0.5 * tf.math.log(tf.maximum(squares, LEAST_LENGTH**2))[:, None]], axis=1)

    def surprise(self, x: tf.Tensor) -> tf.Tensor:
        """Of x, (B,), in nats, compiled as it is served."""
        return self._graph(x) if tf.executing_eagerly() else self._surprise(x)

    def _surprise(self, x: tf.Tensor) -> tf.Tensor:
        tails = self.tails or {}
        coordinates = self.coordinates(x)
        energies, lengths = self.model.joint_prior.rate(coordinates), coordinates[:, -1]
        found = nats(tails["energy"], energies) + nats(tails["longer"], lengths)
        return without_nan(tf.cast(found, tf.float32), math.inf)

    @property
    def _graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        if self._traced is None or self._traced[0] is not self.tails:
            graph = tf.function(lambda x: self._surprise(x)).get_concrete_function(self.model.density.x_spec)
            self._traced = self.tails, graph
        return self._traced[1]

    def fit(self, dataset: tf.data.Dataset, required: bool = True) -> None:
        """The joint prior and the tails, of batches of x that the networks have not seen.

        Raises:
            ValueError: it is required, and there are too few rows, or some that float32 does not hold.
        """
        prior = self.model.joint_prior
        if prior is None:
            return
        graph = tf.function(self.coordinates).get_concrete_function(self.model.density.x_spec)
        sample = blocks.EvenSample(CLUSTERED_ROWS)
        for x in dataset:
            sample.add(graph(x))
        rows = np.empty((0, 1)) if sample.rows is None else sample.rows.numpy()
        if wrong := _trouble(rows):
            if required:
                raise ValueError(wrong)
            return
        self.tails = None  # for as long as the prior is of a fold
        folds, left_out = np.arange(len(rows)) % FOLDS, []
        for fold in range(FOLDS if len(rows) <= MOST_CROSSED else 1):
            prior.adapt([tf.constant(rows[folds != fold])])
            left_out.append(prior.rate(tf.constant(rows[folds == fold])).numpy())
        prior.adapt([tf.constant(rows)])
        laws = {"energy": np.concatenate(left_out), "longer": rows[:, -1]}
        self.tails = {name: fitted_tail(values) for name, values in laws.items()}


def _trouble(rows: np.ndarray) -> str | None:
    """Why nothing can be fitted to coordinates (n, N + 1), or None."""
    if len(rows) < LEAST_ROWS:
        return f"rows: {len(rows)}; the joint prior needs at least {LEAST_ROWS}."
    if not np.isfinite(rows).all():
        return "rows: some are so far off that float32 overflows; leave them out."
    return None


def _forget(model: Scored) -> None:
    if model.joint_prior is not None:
        model.joint_prior.invalidate()
    model.joint.tails = None
    forget_threshold(model, "surprise")


JOINT = Step(lambda *_: None, _forget, lambda model, dataset: model.joint.fit(dataset, required=False))
