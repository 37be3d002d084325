"""Densities of an isometric latent that are made without gradients: kernels, mixtures by EM, independent columns, and
their average.

In an isometric latent a density is that of the data up to a constant, so these are comparable with one another. Each
knows its mean log likelihood of rows that it was not fitted to, `held_out`, in nats. None needs a label.

`log_prob` is log p in nats of rows (B, N), (B,). A row that a density was fitted to scores too well: `own` (B,) tells
which of the fitted rows each one is, and each is scored as if it had been left out. `graph` is `log_prob` in core
TensorFlow ops, for export.
"""

from tf_radogaga.detector.densities.columns import IndependentColumns
from tf_radogaga.detector.densities.kernel import KernelDensity
from tf_radogaga.detector.densities.mixture import MixtureDensity
from tf_radogaga.detector.isometric_latent import IsometricLatent

__all__ = ["IndependentColumns", "IsometricLatent", "KernelDensity", "MixtureDensity"]
"""With `IsometricLatent`, as pickles of version 0.1 name it here."""
