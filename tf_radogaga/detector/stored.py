"""Objects of numbers and arrays: as files keep them, and as constants of a served graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.stack import keras, tf

Constant = Callable[[str, np.ndarray], tf.Variable]
"""Keeps an array in a layer, by name."""


def restored(kind: type, attributes: Mapping[str, Any]) -> Any:
    """The object of these attributes, numbers and arrays."""
    made: Any = object.__new__(kind)
    vars(made).update(attributes)
    return made


class Constants(keras.layers.Layer):
    """A layer that learns nothing and computes in float64."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": tf.float32, **kwargs})  # under any policy

    def constant(self, name: str, values: np.ndarray) -> tf.Variable:
        values = np.asarray(values, np.float64)
        return self.add_weight(name, values.shape, tf.float64, lambda *_, **__: values, trainable=False)
