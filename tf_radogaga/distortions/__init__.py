"""Distortions D(x, y) and the metric tensors A(x) they induce."""

from tf_radogaga.distortions.base import (
    BinaryCrossEntropy,
    Distortion,
    DownwardConvexError,
    EuclideanNorm,
    FunctionDistortion,
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
