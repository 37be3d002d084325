"""Distortions D(x, y) and the metric tensors A(x) they induce."""

from tf_radogaga.distortions.base import Distortion
from tf_radogaga.distortions.functions import FunctionDistortion
from tf_radogaga.distortions.pointwise import (
    BinaryCrossEntropy,
    DownwardConvexError,
    EuclideanNorm,
    MeanSquaredError,
    PseudoHuberError,
    ScaledSquaredError,
    SumSquaredError,
    UpwardConvexError,
)
from tf_radogaga.distortions.structural import StructuralDissimilarity

__all__ = [
    "BinaryCrossEntropy",
    "Distortion",
    "DownwardConvexError",
    "EuclideanNorm",
    "FunctionDistortion",
    "MeanSquaredError",
    "PseudoHuberError",
    "ScaledSquaredError",
    "StructuralDissimilarity",
    "SumSquaredError",
    "UpwardConvexError",
]
