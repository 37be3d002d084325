"""A distortion of a user's own, and points to measure."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

import tf_radogaga
from tf_radogaga.distortions import (
    BinaryCrossEntropy,
    Distortion,
    DownwardConvexError,
    MeanSquaredError,
    PseudoHuberError,
    ScaledSquaredError,
    StructuralDissimilarity,
    SumSquaredError,
    UpwardConvexError,
)


@tf.keras.utils.register_keras_serializable(package="tests")
def shifted_quartic(x, y):
    """3 + |y - x|^2 (1 + y_0^2), so D(x, x) = 3."""
    difference = tf.reshape(y - x, (tf.shape(x)[0], -1))
    return 3 + tf.reduce_sum(difference**2, axis=1) * (1 + tf.reshape(y, (tf.shape(y)[0], -1))[:, 0] ** 2)


SCALED = [SumSquaredError(), MeanSquaredError(), DownwardConvexError(), UpwardConvexError()]
WITH_CONSTANTS = StructuralDissimilarity(window=3)
AS_PRINTED = StructuralDissimilarity(window=3, k1=0, k2=0)
METRIC = [*SCALED, PseudoHuberError(0.5), BinaryCrossEntropy(), WITH_CONSTANTS, AS_PRINTED]
CASES = [
    (distortion, event)
    for distortion in METRIC
    for event in ([(6, 4, 2)] if isinstance(distortion, StructuralDissimilarity) else [(5,), (3, 4, 2)])
]
for_each_scaled = pytest.mark.parametrize("distortion", SCALED, ids=lambda d: type(d).__name__)


def normal(*shape, dtype=tf.float64):
    return tf.constant(np.random.default_rng(0).normal(size=shape), dtype)


def uniform(*shape, dtype=tf.float64, low=0.1, high=0.9, seed=1):
    return tf.constant(np.random.default_rng(seed).uniform(low, high, size=shape), dtype)


def shipped():
    """Every distortion class of the package that can be made."""
    return [
        cls
        for _, cls in inspect.getmembers(tf_radogaga, inspect.isclass)
        if issubclass(cls, Distortion) and cls not in (Distortion, ScaledSquaredError)
    ]


def gradients_of(distortion, x, y):
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = distortion(x, y)
    return tape.gradient(value, [x, y])
