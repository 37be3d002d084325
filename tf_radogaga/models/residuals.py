"""The law of what a latent leaves out, rho = x - x_hat, for a density of all space.

    q(rho) = h(log |rho|) / (S |rho|^c),      S = 2 pi^(c/2) / Gamma(c/2),      c = M - n

where h is the density of log |rho| on rows that the networks have not seen, and no direction is likelier than another.
Lengths are in the metric of the distortion. It takes rho to be normal to the manifold, as it is where x_hat is the
point of the manifold nearest to x, and short beside the manifold's radius of curvature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_radogaga._core import blocks, seeds
from tf_radogaga._core.stack import tf
from tf_radogaga.distortions.base import over_event
from tf_radogaga.isometry import tangents
from tf_radogaga.isometry.protocols import Measured
from tf_radogaga.priors.stacking import HELD_OUT, stacked

LEAST_ROWS, MOST_ROWS = 50, 10_000
"""From which the law is fitted."""

COMPONENTS = 3
"""Of each mixture of log |rho|, at most."""

LEAST_LENGTH = 1e-12
"""Shorter residuals count as this long, in the units of the distortion's metric."""

LEAST_VARIANCE = 1e-4
"""Added to the variances of log |rho|."""

GAIN = 2.0
"""Standard errors by which a mixture of log |rho| must be likelier than the normal law, on rows held out."""

Law = Mapping[str, Any]
"""`codimension`; `sigma`, the deviation of a normal rho along each direction; and, where these replace it, `weights`,
`means` and `deviations` of normal components of log |rho|."""


class Residuals:
    """Those of a model, and their law; None where it is not known."""

    def __init__(self, model: Measured):
        self.model = model
        self.residual_law: Law | None = None

    @property
    def codimension(self) -> int:
        """M - n."""
        return self.model.preprocess.width - self.model.active_dimensions

    def undefined(self) -> str | None:
        """Why residuals have no law, whatever the rows, or None."""
        if not self.model.distortion.has_log_volume:
            name = type(self.model.distortion).__name__
            return f"{name} has no closed-form volume off the manifold; train with a squared error."
        if not self.model.active_dimensions:
            return "active_dimensions: 0, so there is no manifold; call fit or adapt_prior, or train longer."
        if self.codimension < 0:
            units, columns = self.model.active_dimensions, self.model.preprocess.width
            return f"{units} active dimensions are more than the {columns} columns; train with fewer latent units."
        return None

    def obstacle(self) -> str | None:
        """Why there is no density of all space, where there is one on the manifold."""
        if wrong := self.undefined():
            return wrong
        known = self.residual_law["codimension"] if self.residual_law else 0
        if self.codimension != known:
            return (
                f"the law of residuals is not known: give fit at least {LEAST_ROWS} validation rows, or call"
                " adapt_residuals with normal rows that it has not seen, none so far off that float32 overflows."
            )
        return None

    def lengths(self, x: tf.Tensor) -> tf.Tensor:
        """|x - x_hat| in the metric of the distortion at x, (B,)."""
        rho = x - self.model.decode(self.model.encode_x(x))
        return tf.sqrt(self.model.distortion.inner_product(x, rho, rho))

    def fit(self, dataset: tf.data.Dataset, required: bool = True) -> None:
        """The law of the residuals of batches of x that the networks have not seen.

        Raises:
            NotImplementedError: it is required, and not defined for this model.
            ValueError: it is required, and there are too few rows, or residuals that are not finite.
        """
        if wrong := self.undefined():
            if required:
                raise NotImplementedError(wrong)
            return
        if not self.codimension:
            return
        spec = tf.TensorSpec((None, *self.model.preprocess.event_shape), tf.float32)
        graph = tf.function(self.lengths).get_concrete_function(spec)
        sample = blocks.EvenSample(MOST_ROWS)
        for x in dataset:
            sample.add(graph(x))
        lengths = np.empty(0) if sample.rows is None else sample.rows.numpy()
        if required or trouble(lengths) is None:
            self.residual_law = fitted_law(lengths, self.codimension)

    def log_prob(self, x: tf.Tensor) -> tf.Tensor:
        """log q(x - x_hat) in the space of x, (B,), in nats."""
        law = self._required_law()
        if law is None:
            return tf.zeros(tf.shape(x)[:1])
        normal = log_density_of_residuals(law, self.lengths(x))
        return self.model.distortion.log_volume(x, self.codimension) + tf.cast(normal, tf.float32)

    def decoded(self, z: tf.Tensor, seed: int | None) -> tf.Tensor:
        """x_hat + rho of latents (B, N), with rho from its law, in a random direction normal to the manifold."""
        law = self._required_law()
        if law is None:
            return self.model.decode(z)
        model, rng = self.model, np.random.default_rng((seeds.draw_seed() if seed is None else seed) % 2**64)
        normals = rng.standard_normal((len(z), model.preprocess.width)).astype(np.float32)
        lengths = drawn_lengths(law, len(z), rng).astype(np.float32)

        def moved(part: slice) -> tf.Tensor:
            x_hat, tangent = tangents.tangents(model.decode, z[part], model.active_directions)
            basis = tf.linalg.qr(tf.linalg.matrix_transpose(tf.reshape(tangent, (*tangent.shape[:2], -1)))).q
            along = tf.linalg.matvec(basis, tf.linalg.matvec(basis, normals[part], transpose_a=True))
            rho = tf.reshape(normals[part] - along, tf.shape(x_hat))
            unit = tf.sqrt(model.distortion.inner_product(x_hat, rho, rho))
            return x_hat + rho * over_event(lengths[part] / unit, rho)

        return tangents.in_blocks(moved, len(z), model.preprocess.width * model.active_dimensions)

    def _required_law(self) -> Law | None:
        """None where the manifold fills all dimensions.

        Raises:
            NotImplementedError: there is no density of all space.
        """
        if obstacle := self.obstacle():
            raise NotImplementedError(obstacle)
        return self.residual_law if self.codimension else None


def trouble(lengths: np.ndarray) -> str | None:
    """Why no law can be fitted to residuals of these lengths, or None."""
    if len(lengths) < LEAST_ROWS:
        return f"rows: {len(lengths)}; the law of residuals needs at least {LEAST_ROWS}."
    if far := np.flatnonzero(~np.isfinite(lengths)).tolist():
        return f"rows: row {far[0]} is so far off that its residual is more than float32 holds; leave it out."
    return None


def fitted_law(lengths: np.ndarray, codimension: int) -> Law:
    """The law of residuals of these lengths |rho|, (n,), in c >= 1 dimensions.

    Raises:
        ValueError: fewer than `LEAST_ROWS` lengths, or some that are not finite.
    """
    if wrong := trouble(lengths):
        raise ValueError(wrong)
    lengths = np.maximum(np.asarray(lengths, np.float64), LEAST_LENGTH)
    held_out, seen = np.split(np.random.default_rng(0).permutation(lengths), [int(HELD_OUT * len(lengths))])
    normal = _normal(seen, codimension)
    gains = log_prob_of_log_length({**normal, **_mixture(seen)}, held_out) - log_prob_of_log_length(normal, held_out)
    replaced = np.mean(gains) > GAIN * np.std(gains) / math.sqrt(len(gains))
    return {**_normal(lengths, codimension), **(_mixture(lengths) if replaced else {})}


def log_prob_of_log_length(law: Law, lengths: tf.Tensor) -> tf.Tensor:
    """log h(log |rho|), (B,), float64, in nats: low where a residual is too long, and where it is too short."""
    lengths = tf.maximum(tf.cast(lengths, tf.float64), LEAST_LENGTH)
    if "weights" not in law:
        c, sigma = law["codimension"], law["sigma"]
        constant = math.log(2) - 0.5 * c * math.log(2) - math.lgamma(0.5 * c)
        return constant + c * tf.math.log(lengths / sigma) - 0.5 * tf.square(lengths / sigma)
    deviations = np.array(law["deviations"])
    constants = np.log(law["weights"]) - np.log(deviations) - 0.5 * math.log(2 * math.pi)
    scaled = (tf.math.log(lengths)[:, None] - np.array(law["means"])) / deviations
    return tf.reduce_logsumexp(constants - 0.5 * tf.square(scaled), axis=-1)


def log_density_of_residuals(law: Law, lengths: tf.Tensor) -> tf.Tensor:
    """log q(rho) of residuals of these lengths, (B,), float64, in nats."""
    c = law["codimension"]
    log_sphere = math.log(2) + 0.5 * c * math.log(math.pi) - math.lgamma(0.5 * c)
    log_lengths = tf.math.log(tf.maximum(tf.cast(lengths, tf.float64), LEAST_LENGTH))
    return log_prob_of_log_length(law, lengths) - log_sphere - c * log_lengths


def drawn_lengths(law: Law, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths |rho|, (rows,), from the law."""
    if "weights" not in law:
        return law["sigma"] * np.sqrt(rng.chisquare(law["codimension"], rows))
    weights = np.array(law["weights"])
    component = rng.choice(len(weights), rows, p=weights / weights.sum())
    return np.exp(rng.normal(np.array(law["means"])[component], np.array(law["deviations"])[component]))


def _normal(lengths: np.ndarray, codimension: int) -> dict[str, Any]:
    return {"codimension": codimension, "sigma": math.sqrt(np.mean(lengths**2) / codimension)}


def _mixture(lengths: np.ndarray) -> dict[str, list[float]]:
    stack = stacked(np.log(lengths)[:, None], COMPONENTS, LEAST_VARIANCE)
    kept = stack.weights > 0
    return {
        "weights": stack.weights[kept].tolist(),
        "means": stack.means[kept, 0].tolist(),
        "deviations": np.sqrt(stack.covariances[kept, 0, 0]).tolist(),
    }
