"""Densities of an isometric latent that are made without gradients: kernels, mixtures by EM, and independent columns.

In an isometric latent a density is that of the data up to a constant, so these are comparable with one another. Each
knows its mean log likelihood of rows that it was not fitted to, `held_out`, in nats. None needs a label.

A row that a density was fitted to scores too well. `log_prob(rows, own)` scores such rows as if each had been left out:
`own` (B,) tells which of the fitted rows each one is. `graph` is `log_prob` in core TensorFlow ops, for export.
"""

from tf_radogaga.detector.densities.average import MOST_ROWS, AverageDensity
from tf_radogaga.detector.densities.columns import IndependentColumns
from tf_radogaga.detector.densities.kernel import KernelDensity
from tf_radogaga.detector.densities.mixture import MixtureDensity
from tf_radogaga.detector.isometric_latent import IsometricLatent  # pickles of version 0.1 have it from here

__all__ = ["MOST_ROWS", "AverageDensity", "IndependentColumns", "IsometricLatent", "KernelDensity", "MixtureDensity"]
