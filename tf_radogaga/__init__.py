"""tf_radogaga: autoencoders whose latent space is an isometric copy of the data, and the densities this gives."""

from importlib import metadata as _metadata

_REQUIRED = {
    "tensorflow": "2.14.",
    "tensorflow-compression": "2.14.",
    "keras": "2.14.",
    "tensorflow-probability": "0.22.",
}


def _check_stack() -> None:
    """tensorflow-compression works with TensorFlow and Keras 2.14 only, so anything else fails here, not later."""
    wrong = []
    for package, prefix in _REQUIRED.items():
        try:
            found = _metadata.version(package)
        except _metadata.PackageNotFoundError:
            found = "none"
        if not found.startswith(prefix):
            wrong.append(f"{package} {prefix}* (found: {found})")
    if wrong:
        pins = " ".join(f"'{package}=={prefix}*'" for package, prefix in _REQUIRED.items())
        raise ImportError(f"tf_radogaga needs {', '.join(wrong)}. On Python 3.9-3.11 run: pip install {pins} 'numpy<2'")


_check_stack()

from tf_radogaga._core.version import __version__  # noqa: E402, F401
from tf_radogaga.detector import AnomalyDetector  # noqa: E402
from tf_radogaga.distortions import (  # noqa: E402
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
from tf_radogaga.ensemble import fit_together, mean_energy, mean_log_density  # noqa: E402
from tf_radogaga.isometry.report import implicit_report, isometry_report  # noqa: E402
from tf_radogaga.models import DAGMM, BetaVAE, RaDOGAGA  # noqa: E402
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder, DenseNetwork  # noqa: E402
from tf_radogaga.preprocessing import ImageScaling, MinMaxScaling, PassThrough, TableEncoding  # noqa: E402
from tf_radogaga.priors import DistributionPrior, FactorizedPrior, MixturePrior, NormalPrior, Prior  # noqa: E402
from tf_radogaga.saving import load_model, save_model  # noqa: E402
from tf_radogaga.serving import export_saved_model  # noqa: E402

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
    "StructuralDissimilarity",
    "SumSquaredError",
    "TableEncoding",
    "UpwardConvexError",
    "export_saved_model",
    "fit_together",
    "implicit_report",
    "isometry_report",
    "load_model",
    "mean_energy",
    "mean_log_density",
    "save_model",
]
