"""Models that start from the shape of the data: surfaces are unfolded before they are learned."""

from tf_radogaga.unfolding.recipe import fit_isometric

__all__ = ["fit_isometric"]
