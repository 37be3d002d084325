"""Latent priors P(z): rates in nats, distributions, and what fits them."""

from tf_radogaga.priors.base import DistributionPrior, FactorizedPrior, NormalPrior, Prior
from tf_radogaga.priors.mixture import MixturePrior

__all__ = ["DistributionPrior", "FactorizedPrior", "MixturePrior", "NormalPrior", "Prior"]
