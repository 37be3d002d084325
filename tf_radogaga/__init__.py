"""tf_radogaga: autoencoders whose latent space is an isometric copy of the data, and the densities this gives."""

from tf_radogaga._core import stack as _stack  # noqa: F401  first of all: it chooses Keras
from tf_radogaga._core.version import __version__  # noqa: F401
from tf_radogaga.detector import AnomalyDetector
from tf_radogaga.distortions import (
    BinaryCrossEntropy,
    Distortion,
    DownwardConvexError,
    EuclideanNorm,
    FunctionDistortion,
    MeanSquaredError,
    PseudoHuberError,
    ScaledSquaredError,
    StructuralDissimilarity,
    SumSquaredError,
    UpwardConvexError,
)
from tf_radogaga.ensemble import fit_together, mean_energy, mean_log_density
from tf_radogaga.isometry.report import implicit_report, isometry_report
from tf_radogaga.models import DAGMM, BetaVAE, RaDOGAGA, explain
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder, DenseNetwork
from tf_radogaga.preprocessing import ImageScaling, MinMaxScaling, PassThrough, TableEncoding
from tf_radogaga.priors import DistributionPrior, FactorizedPrior, MixturePrior, NormalPrior, Prior, StackedPrior
from tf_radogaga.saving import load_model, save_model
from tf_radogaga.serving import export_saved_model
from tf_radogaga.unfolding import fit_isometric

__all__ = [
    "DAGMM",
    "AnomalyDetector",
    "BetaVAE",
    "BinaryCrossEntropy",
    "ConvolutionalDecoder",
    "ConvolutionalEncoder",
    "DenseNetwork",
    "Distortion",
    "DistributionPrior",
    "DownwardConvexError",
    "EuclideanNorm",
    "FactorizedPrior",
    "FunctionDistortion",
    "ImageScaling",
    "MeanSquaredError",
    "MinMaxScaling",
    "MixturePrior",
    "NormalPrior",
    "PassThrough",
    "Prior",
    "PseudoHuberError",
    "RaDOGAGA",
    "ScaledSquaredError",
    "StackedPrior",
    "StructuralDissimilarity",
    "SumSquaredError",
    "TableEncoding",
    "UpwardConvexError",
    "explain",
    "export_saved_model",
    "fit_isometric",
    "fit_together",
    "implicit_report",
    "isometry_report",
    "load_model",
    "mean_energy",
    "mean_log_density",
    "save_model",
]
