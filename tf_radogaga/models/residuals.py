"""What a latent leaves out, rho = x - x_hat, and its law, for a density of all space.

It takes rho to be normal to the manifold, as it is where x_hat is the point of the manifold nearest to x, and short
beside the manifold's radius of curvature.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_radogaga._core import blocks, seeds
from tf_radogaga._core.stack import tf
from tf_radogaga.distortions.base import over_event
from tf_radogaga.isometry import tangents
from tf_radogaga.isometry.protocols import Measured
from tf_radogaga.models import residual_laws
from tf_radogaga.models.residual_laws import LEAST_ROWS, Law

MOST_ROWS, MOST_NUMBERS = 10_000, 2**24
"""Rows that the law is fitted to, and numbers in their residuals, at most."""

VOLUME_ROWS = 500
"""Of these, rows at which the directions of the manifold are measured, at most."""

MOST_SLANT = 0.01
"""Mean share of a squared residual along the manifold up to which its directions are told."""


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

    def of(self, x: tf.Tensor) -> tf.Tensor:
        """sqrt(A(x)) (x - x_hat), (B, M), whose length is in the metric of the distortion; A is a multiple of I."""
        rho = x - self.model.decode(self.model.encode_x(x))
        scale = tf.exp(self.model.distortion.log_volume(x, 1))
        return tf.reshape(over_event(scale, rho) * rho, (-1, self.model.preprocess.width))

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
        graph = tf.function(lambda x: (self.of(x), self.model.encode_x(x))).get_concrete_function(spec)
        most = max(min(MOST_ROWS, MOST_NUMBERS // self.model.preprocess.width), LEAST_ROWS)
        samples = blocks.EvenSample(most), blocks.EvenSample(most)
        for x in dataset:
            for sample, values in zip(samples, graph(x)):
                sample.add(values)
        rho, z = (np.empty((0, 1)) if sample.rows is None else sample.rows.numpy() for sample in samples)
        if wrong := residual_laws.trouble(rho):
            if required:
                raise ValueError(wrong)
            return
        volumes = self._volumes(rho, z) if rho.shape[1] <= residual_laws.MOST_COLUMNS else None
        self.residual_law = residual_laws.fitted_law(rho, volumes, self.codimension)

    def _volumes(self, rho: np.ndarray, z: np.ndarray) -> residual_laws.Volumes | None:
        """For `fitted_law`; None where residuals are not normal to the manifold, as directions would then count what
        lies along it twice."""
        some = blocks.places(len(z), VOLUME_ROWS)
        found = self._at_tangents(z[some], lambda tangents: tangents)
        along = tf.linalg.matvec(found, rho[some].astype(np.float32)).numpy()
        shares = np.sum(along**2, axis=1) / np.maximum(np.sum(rho[some] ** 2, axis=1), residual_laws.LEAST_LENGTH**2)
        return functools.partial(residual_laws.log_volumes, tangents=found) if np.mean(shares) < MOST_SLANT else None

    def log_prob(self, x: tf.Tensor, measured: bool = False) -> tf.Tensor:
        """log q(x - x_hat) in the space of x, (B,), in nats; with the manifold's directions measured at each row, or by
        their mean."""
        law = self._required_law()
        if law is None:
            return tf.zeros(tf.shape(x)[:1])
        volumes = self._log_volumes(self.model.encode_x(x), law) if measured else None
        found = residual_laws.log_prob(law, self.of(x), volumes)
        return self.model.distortion.log_volume(x, self.codimension) + tf.cast(found, tf.float32)

    def decoded(self, z: tf.Tensor, seed: int | None) -> tf.Tensor:
        """x_hat + rho of latents (B, N), with rho from its law, normal to the manifold."""
        law, x_hat = self._required_law(), self.model.decode(z)
        if law is None:
            return x_hat
        rng = np.random.default_rng((seeds.draw_seed() if seed is None else seed) % 2**64)
        rho = self._at_tangents(z, lambda found: residual_laws.drawn(law, found.numpy(), rng).astype(np.float32))
        scale = tf.exp(self.model.distortion.log_volume(x_hat, 1))
        return x_hat + tf.reshape(rho, tf.shape(x_hat)) / over_event(scale, x_hat)

    def _log_volumes(self, z: tf.Tensor, law: Law) -> tf.Tensor:
        if "scales" not in law:
            return tf.zeros(len(z), tf.float64)
        return self._at_tangents(z, functools.partial(residual_laws.log_volumes, law))

    def _at_tangents(self, z: tf.Tensor, function: Callable[[tf.Tensor], Any]) -> tf.Tensor:
        """A function of orthonormal tangents of the manifold (B, n, M), at latents (B, N)."""
        model = self.model

        def at(part: slice) -> tf.Tensor:
            _, found = tangents.tangents(model.decode, z[part], model.active_directions)
            columns = tf.linalg.matrix_transpose(tf.reshape(found, (*found.shape[:2], -1)))
            return function(tf.linalg.matrix_transpose(tf.linalg.qr(columns).q))

        return tangents.in_blocks(at, len(z), model.preprocess.width * model.active_dimensions)

    def _required_law(self) -> Law | None:
        """None where the manifold fills all dimensions.

        Raises:
            NotImplementedError: there is no density of all space.
        """
        if obstacle := self.obstacle():
            raise NotImplementedError(obstacle)
        return self.residual_law if self.codimension else None
