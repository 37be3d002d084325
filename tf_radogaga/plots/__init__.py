"""Figures; every function returns a matplotlib Figure."""

from tf_radogaga.plots.figures import (
    cost_curves,
    curves_by_table,
    density_scatter,
    explained_images,
    image_grid,
    log_density_scatter,
    roc_pr_curves,
    score_histogram,
)
from tf_radogaga.plots.geometry import (
    dimension_response,
    gram_matrix,
    implicit_spectrum,
    isometry_gap,
    latent_scatter,
    latent_spectrum,
    tangent_scatter,
    traversal,
)

__all__ = [
    "cost_curves",
    "curves_by_table",
    "density_scatter",
    "dimension_response",
    "explained_images",
    "gram_matrix",
    "image_grid",
    "implicit_spectrum",
    "isometry_gap",
    "latent_scatter",
    "latent_spectrum",
    "log_density_scatter",
    "roc_pr_curves",
    "score_histogram",
    "tangent_scatter",
    "traversal",
]
