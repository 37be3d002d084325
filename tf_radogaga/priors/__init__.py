"""Latent priors P(z): rates in nats, distributions, and what fits them."""

from tf_radogaga.priors.base import Prior
from tf_radogaga.priors.factorized import FactorizedPrior
from tf_radogaga.priors.fixed import DistributionPrior, NormalPrior
from tf_radogaga.priors.mixture import MixturePrior
from tf_radogaga.priors.stacked import StackedPrior

__all__ = ["DistributionPrior", "FactorizedPrior", "MixturePrior", "NormalPrior", "Prior", "StackedPrior"]
