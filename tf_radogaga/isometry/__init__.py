"""Is the latent of a fitted model isometric? Measures of it, and certificates made of them.

At the optimum of RaDOGAGA, with the Jacobian J = dx_hat/dz and the metric A of the distortion at x_hat,

    metric_scale J' A J = I      at every z,      metric_scale = 2 lambda2 sigma2

Each measure takes this from another side, along the n active dimensions of the latent, in units in which the theory's
value is 1. Where `fit` looks for none, as with `reconstruction_features`, all N latent units are measured and n is N.
Where the loss does not fix the scale (`metric_scale` is None), values are raw.

A beta-VAE is isometric in coordinates y, in which steps of z_j count in posterior deviations:

    (2/beta) sigma_j sigma_k (J' A J)_jk = delta_jk,      dy_j = sqrt(beta/2) / sigma_j dmu_j

`implicit=True` measures these. So do the functions that take a BetaVAE alone; they raise TypeError of other models.

Rows are raw, as `Autoencoder.energy` takes them. Every function raises RuntimeError where the prior is not adapted, and
TypeError or ValueError for bad rows and for arguments outside their range.

Sources: Kato et al., ICML 2020, Eq. 13-14 and section 5.1; arXiv v1, section 4.3; Nakagawa et al., ICML 2021.
"""

from tf_radogaga.isometry.implicit import density_estimates, inverse_variances, isometric_coordinates, unit_norms
from tf_radogaga.isometry.measures import (
    gram_matrices,
    isometry_gap,
    latent_axes,
    latent_spectrum,
    reconstructed_share,
    response,
    round_trips,
    tangent_pairs,
    traversals,
)
from tf_radogaga.isometry.neighbourhoods import local_dimension, torn_rows
from tf_radogaga.isometry.report import ImplicitReport, IsometryReport, implicit_report, isometry_report

__all__ = [
    "ImplicitReport",
    "IsometryReport",
    "density_estimates",
    "gram_matrices",
    "implicit_report",
    "inverse_variances",
    "isometric_coordinates",
    "isometry_gap",
    "isometry_report",
    "latent_axes",
    "latent_spectrum",
    "local_dimension",
    "reconstructed_share",
    "response",
    "round_trips",
    "tangent_pairs",
    "torn_rows",
    "traversals",
    "unit_norms",
]
