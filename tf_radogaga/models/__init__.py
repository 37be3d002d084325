"""The models: each its loss equation, on one base."""

from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.beta_vae import BetaVAE
from tf_radogaga.models.dagmm import DAGMM
from tf_radogaga.models.explanation import Explanation, explain
from tf_radogaga.models.radogaga import RaDOGAGA

__all__ = ["DAGMM", "Autoencoder", "BetaVAE", "Explanation", "RaDOGAGA", "explain"]
