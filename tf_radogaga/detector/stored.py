"""Objects of numbers and arrays: as files keep them, and as constants of a served graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

Constant = Callable[[str, np.ndarray], tf.Variable]
"""Keeps an array in a layer, by name."""


class Stored:
    """An object whose attributes are numbers and arrays."""

    def state(self) -> dict[str, Any]:
        """All of it as arrays by name."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Any:
        made = object.__new__(cls)
        for name, value in state.items():
            vars(made)[name] = value if np.ndim(value) else np.asarray(value).item()
        return made


class Constants(keras.layers.Layer):
    """A layer that learns nothing and computes in float64."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": tf.float32, **kwargs})  # under any policy

    def constant(self, name: str, values: np.ndarray) -> tf.Variable:
        values = np.asarray(values, np.float64)
        return self.add_weight(name, values.shape, tf.float64, lambda *_, **__: values, trainable=False)
