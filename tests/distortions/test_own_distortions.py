"""Distortions by a function of the user's, and their configurations."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from helpers.distortions import normal, shifted_quartic, shipped, uniform

from tf_radogaga.distortions import (
    BinaryCrossEntropy,
    FunctionDistortion,
    MeanSquaredError,
    StructuralDissimilarity,
    SumSquaredError,
)
from tf_radogaga.distortions.functions import as_distortion


def test_function_distortion_is_its_function_with_geometry():
    x, (v, w) = normal(6, 5), tf.unstack(normal(2, 6, 5))
    distortion = as_distortion(shifted_quartic)
    np.testing.assert_array_equal(distortion(x, v), shifted_quartic(x, v))
    assert distortion.get_config() == {"function": "tests>shifted_quartic"}
    np.testing.assert_allclose(distortion.self_distortion(x), 3 * np.ones(6))
    expected = (1 + x[:, 0] ** 2) * tf.reduce_sum(v * w, axis=1)
    np.testing.assert_allclose(distortion.inner_product(x, v, w), expected, rtol=1e-9)
    compiled = FunctionDistortion(tf.function(shifted_quartic))
    np.testing.assert_allclose(compiled.inner_product(x, v, w), expected, rtol=1e-9)


def test_as_distortion():
    own = MeanSquaredError()
    assert as_distortion(own) is own
    assert type(as_distortion(None)) is SumSquaredError
    assert as_distortion(shifted_quartic).function is shifted_quartic
    with pytest.raises(TypeError, match=r"distortion: 'mse' is neither a Distortion nor a function"):
        as_distortion("mse")
    with pytest.raises(TypeError, match=r"transform_distortion: 3 is neither"):
        as_distortion(3, name="transform_distortion")
    with pytest.raises(TypeError, match=r"write MeanSquaredError\(\)"):
        as_distortion(MeanSquaredError)


def test_function_must_give_one_number_per_example():
    x = normal(6, 5)
    with pytest.raises(ValueError, match=r"function: returned shape \(6, 5\)"):
        FunctionDistortion(lambda x, y: (x - y) ** 2)(x, x)
    with pytest.raises(ValueError, match=r"function: returned shape \(\)"):
        FunctionDistortion(lambda x, y: tf.reduce_sum((x - y) ** 2))(x, x)


ARGUMENTS = {
    BinaryCrossEntropy: {"epsilon": 1e-2},
    StructuralDissimilarity: {"window": 5, "k1": 0.1, "k2": 0.2, "max_value": 2.0},
    FunctionDistortion: {"function": shifted_quartic},
}


@pytest.mark.parametrize("cls", shipped(), ids=lambda cls: cls.__name__)
def test_config_round_trip(cls):
    distortion = cls(**ARGUMENTS.get(cls, {}))
    name = tf.keras.utils.get_registered_name(cls)
    assert name == f"tf_radogaga>{cls.__name__}"
    again = tf.keras.utils.get_registered_object(name)(**json.loads(json.dumps(distortion.get_config())))
    x, y = uniform(2, 12, 11, 1, low=0, high=1), uniform(2, 12, 11, 1, low=0, high=1, seed=2)
    x = tf.round(x)  # so that epsilon counts
    np.testing.assert_array_equal(again(x, y), distortion(x, y))
    if distortion.has_metric:
        np.testing.assert_array_equal(again.inner_product(x, y, y), distortion.inner_product(x, y, y))
    assert again.get_config() == distortion.get_config()


@pytest.mark.parametrize(
    "function",
    [lambda x, y: 0, functools.partial(shifted_quartic), tf.keras.losses.mse],
    ids=["lambda", "partial", "mse"],
)
def test_unregistered_function_cannot_be_saved(function):
    with pytest.raises(TypeError, match=r"function: .* is not registered.*register_keras_serializable"):
        FunctionDistortion(function).get_config()


@pytest.mark.parametrize("name", ["tests>nothing", "tf_radogaga>SumSquaredError"])
def test_function_by_an_unknown_name(name):
    with pytest.raises(ValueError, match=f"function: '{name}' is not a registered function"):
        FunctionDistortion(name)
