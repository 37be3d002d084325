"""Scores of preprocessed x: energies, and densities in data space by two volumes, or why there are none."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tf_radogaga._core import blocks
from tf_radogaga._core.stack import tf
from tf_radogaga.isometry import active_directions, neighbourhoods, tangents
from tf_radogaga.isometry.protocols import Measured
from tf_radogaga.models.reconstruction_features import prior_input, with_scored_features
from tf_radogaga.models.residuals import Residuals
from tf_radogaga.priors.base import Prior
from tf_radogaga.priors.stacked import StackedPrior
from tf_radogaga.training.end_of_fit import Step, priors

SHEET_ROWS, LEAST_SHEET_ROWS = 2000, 500
"""Training rows whose neighbours in z tell a sheet, at most and at least."""


class Scored(Measured, Protocol):
    """A model beside its density; `Autoencoder` says what each member is."""

    density: Density
    residuals: Residuals
    joint: Any
    joint_prior: Any
    scoring_prior: StackedPrior | None
    reconstruction_features: bool
    threshold: tf.Variable
    threshold_on: str
    _directions: tf.Variable
    _informative: tf.Variable

    def scores(self, rows: Any) -> dict[str, tf.Tensor]: ...


def blank(valid: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`values` (B, ...) with NaN in the rows that are not valid (B,)."""
    return tf.where(tf.reshape(valid, (-1, *[1] * (values.shape.rank - 1))), values, math.nan)


def without_nan(values: tf.Tensor, infinity: float) -> tf.Tensor:
    """`values`, with `infinity` where something on the way to them was more than float32 holds; they can be ranked."""
    return tf.where(tf.math.is_nan(values), infinity, values)


class Density:
    """Energies and densities by the prior of a model's latent."""

    volume_by_prior = True
    """Whether the volume of z is the theory's, which a prior that is learned and the loss fix."""

    def __init__(self, model: Scored):
        self.model = model
        self.x_spec = tf.TensorSpec((None, *model.preprocess.event_shape), tf.float32)

    @property
    def prior(self) -> Prior:
        """P(z) that scores."""
        return self.model.prior if self.model.scoring_prior is None else self.model.scoring_prior

    def latents(self, x: tf.Tensor) -> tf.Tensor:
        """What the prior is adapted to and scores."""
        z = self.model.encode_x(x)
        wanted = self.model.reconstruction_features
        return prior_input(wanted, z, x, self.model.decode(z) if wanted else x, with_scored_features)

    def energy(self, x: tf.Tensor) -> tf.Tensor:
        return without_nan(self.prior.rate(self.latents(x), training=False), math.inf)

    @functools.cached_property
    def scoring_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`energy` compiled as it is served: eager kernels round otherwise, and narrow priors magnify that."""
        return tf.function(self.energy).get_concrete_function(self.x_spec)

    def _scored(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        if energy is not None:
            return energy
        return self.scoring_graph(x) if tf.executing_eagerly() else self.energy(x)

    def scores(self, x: tf.Tensor, valid: tf.Tensor, space: str = "manifold") -> dict[str, tf.Tensor]:
        """`Autoencoder.scores` of x, of which some are known not to be valid."""
        energy = self._scored(x)
        found = {"energy": blank(valid, energy), "valid": valid}
        if self.obstacle("isometric") is None:
            found["log_density"] = blank(valid, self.log_density_in(space, x, energy))
        if self.model.joint.obstacle() is None:
            found["surprise"] = blank(valid, self.model.joint.surprise(x))
        on = self.model.threshold_on
        if on == "ambient":
            compared = -self.log_density_in(on, x, energy)
        else:
            compared = -found["log_density"] if on == "log_density" else found[on]
        return {**found, "anomaly": valid & ~(compared <= self.model.threshold)}

    def threshold_obstacle(self, on: str) -> str | None:
        """Why rows cannot be flagged by this score, or None."""
        if on == "surprise":
            return self.model.joint.obstacle()
        return self.obstacle("isometric") or self.model.residuals.obstacle() if on == "ambient" else None

    def obstacle(self, volume: str) -> str | None:
        """Why there is no log density by this volume."""
        model, prior = self.model, self.prior
        isometric, by_prior = volume == "isometric", volume == "isometric" and self.volume_by_prior
        if model.reconstruction_features:
            return (
                "reconstruction_features: the prior sees more than z, so the energy is no density; train with"
                " reconstruction_features=False."
            )
        if by_prior and model.metric_scale is None:
            return f"the loss of {type(model).__name__} does not fix the volume of z; use volume='jacobian'."
        if by_prior and not model.prior.learned:
            return (
                f"{type(model.prior).__name__} is fixed, so the latent bends towards it and is not isometric; use"
                " volume='jacobian' or a prior that is learned."
            )
        if isometric and not model.distortion.has_log_volume:
            return f"{type(model.distortion).__name__} has no closed-form volume; use volume='jacobian'."
        if prior.adapted and not model.active_dimensions:
            return (
                "active_dimensions: 0, no latent direction is known to carry more than noise; call fit or adapt_prior,"
                " and if that finds none train longer, or with greater lambdas or a smaller beta."
            )
        if model.active_dimensions < model.latent_units and not prior.has_marginals:
            return (
                f"{type(prior).__name__} has no closed-form marginal on {model.active_dimensions} of"
                f" {model.latent_units} dimensions; train with fewer latent units, so that all are active."
            )
        return None

    def require_prior_of_latent(self, what: str) -> None:
        """NotImplementedError where the prior is not one of z alone, which this needs."""
        if self.model.reconstruction_features:
            why = "with reconstruction_features the prior sees more than z; train with reconstruction_features=False."
            raise NotImplementedError(f"{what}: {why}")

    def log_density_of_x_hat(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        """By the isometric volume, on the manifold."""
        return self.log_density(x, energy)

    def log_density_in(
        self, space: str, x: tf.Tensor, energy: tf.Tensor | None = None, volume: str = "isometric"
    ) -> tf.Tensor:
        """On the manifold or of all space; by the Jacobian outside of graphs."""
        if volume == "jacobian":
            of_x_hat = self.jacobian_log_density(x)
        else:
            of_x_hat = self.log_density(x, energy) if space == "manifold" else self.log_density_of_x_hat(x, energy)
        if space == "manifold":
            return of_x_hat
        return without_nan(of_x_hat + self.model.residuals.log_prob(x, volume == "jacobian"), -math.inf)

    def log_density(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        """By the isometric volume; of the energies of x where they are known."""
        count = self.model.active_dimensions
        scale = 0.5 * count * math.log(self.model.metric_scale or 1.0)  # without one there is an obstacle
        return without_nan(scale + self.model.distortion.log_volume(x, count) + self._log_prob(x, energy), -math.inf)

    def jacobian_log_density(self, x: tf.Tensor) -> tf.Tensor:
        directions = self.model.active_directions
        elements = self.model.preprocess.width * len(directions)
        volumes = tangents.in_blocks(lambda part: self._volume_graph(x[part], directions), len(x), elements)
        return self._log_prob(x) - tf.cast(volumes, tf.float32)

    def _log_prob(self, x: tf.Tensor, energy: tf.Tensor | None = None) -> tf.Tensor:
        """log P of the active part of z."""
        if self.model.active_dimensions == self.model.latent_units:
            return -self._scored(x, energy)
        return self.prior.log_prob_along(self.model.encode_x(x), self.model.active_directions)

    @functools.cached_property
    def _volume_graph(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        def log_volume(x, directions):
            return tangents.log_volume(self.model.decode, self.model.encode_x(x), directions)

        directions = tf.TensorSpec((None, self.model.latent_units), tf.float32)
        return tf.function(log_volume).get_concrete_function(self.x_spec, directions)

    def find_active(self, dataset: tf.data.Dataset) -> None:
        """Finds which directions of the latent carry data, of batches of x."""
        if self.model.metric_scale is None:
            self.keep_all()
        else:
            self._keep(*active_directions.find(self.model, dataset))

    def keep_all(self) -> None:
        units = self.model.latent_units
        self._keep(tf.eye(units), tf.ones(units, tf.bool), tf.ones(units))

    def _keep(self, directions: tf.Tensor, active: tf.Tensor, signal: tf.Tensor) -> None:
        """Stores directions (N, N), the active ones first, in the order of their signal (N,)."""
        _forget_residuals(self.model)  # of another number of dimensions
        ordered = tf.cast(tf.gather(directions, tf.argsort(signal, direction="DESCENDING")), tf.float32)
        self.model._directions.assign(tf.eye(self.model.latent_units) if tf.reduce_all(active) else ordered)
        self.model._informative.assign(tf.reduce_sum(tf.cast(active, tf.int32)))


def _adapt_prior(model: Scored, dataset: tf.data.Dataset, in_memory: bool, refine: bool) -> None:
    # tables in memory eagerly: tracing a graph would take longer than their few blocks
    latents = model.density.latents
    found = [latents(x) for x in dataset] if in_memory else dataset.map(latents)
    for prior in priors(model):
        prior.adapt(found, refine)


def _forget_prior(model: Scored) -> None:
    for prior in priors(model):
        prior.invalidate()


def _find_directions(model: Scored, dataset: tf.data.Dataset, in_memory: bool, refine: bool) -> None:
    if refine and not model.reconstruction_features:
        model.density.find_active(dataset)


def _warn_of_sheets(model: Scored, dataset: tf.data.Dataset, in_memory: bool, refine: bool) -> None:
    """The rows may lie on thin sheets of fewer dimensions, as a circle in two units; they have no density there."""
    active = model.active_dimensions
    if not refine or active < 2 or model.metric_scale is None:
        return
    sample = blocks.EvenSample(SHEET_ROWS)
    for x in dataset:
        sample.add(model.encode_x(x))
        if sample.seen > 10 * SHEET_ROWS:  # a stream need not be read again to its end
            break
    z = tf.linalg.matmul(sample.rows, model.active_directions, transpose_b=True).numpy().astype(np.float64)
    found = neighbourhoods.dimension(z, model.noise_variance) if len(z) >= LEAST_SHEET_ROWS else active
    if found < active:
        warnings.warn(
            f"latent_units: the rows lie on sheets of dimension {found} in {active} active latent dimensions, so"
            f" log_density is no density in nats; energies still rank rows. If they lie on one curved sheet, train with"
            f" {found} units; if a column takes few values, leave it out, or compare energies alone.",
            stacklevel=2,
        )


def forget_threshold(model: Scored, on: str) -> None:
    """What scores by this is no more: no row is flagged by it."""
    if model.threshold_on == on:
        model.threshold_on = "energy"
        model.threshold.assign(math.inf)


def _forget_residuals(model: Scored) -> None:
    model.residuals.residual_law = None
    forget_threshold(model, "ambient")


def _fit_residuals(model: Scored, dataset: tf.data.Dataset) -> None:
    if not model.reconstruction_features:
        model.residuals.fit(dataset, required=False)


PRIOR = Step(_adapt_prior, _forget_prior)
DIRECTIONS = Step(_find_directions, lambda model: model._informative.assign(0))
RESIDUALS = Step(lambda *_: None, _forget_residuals, _fit_residuals)
SHEETS = Step(_warn_of_sheets, lambda model: None)
