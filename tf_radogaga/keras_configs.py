"""Configurations of Keras' own layers and models as plain values, safe to read from a file that nobody vouches for."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_radogaga.registration import registered_object

keras = tf.keras

_MODULES = (
    "keras",
    "keras.layers",
    "keras.models",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.mixed_precision",
    "keras.src.engine.functional",
    "keras.src.engine.sequential",
    "keras.src.layers.core.tf_op_layer",
)
_PLAIN = ("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__slice__")
_CODE = ("Lambda", "__lambda__")
_OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
_LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")
_SPACES = ("__operators__", "math", "nn", "linalg", "image", "signal")
_FUNCTIONS = frozenset(
    "abs add argsort boolean_mask broadcast_to cast clip_by_norm clip_by_value concat convert_to_tensor cos cumsum"
    " divide einsum exp expand_dims eye fill gather gather_nd identity maximum minimum multiply norm one_hot ones"
    " ones_like pad pow range rank realdiv repeat reshape reverse roll round scalar_mul shape sign sin size slice sort"
    " split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh tensordot tile transpose truediv"
    " unstack where zeros zeros_like".split()
)


def keras_config(value: Any) -> dict:
    """What `from_keras_config` makes the same object of: JSON types.

    Raises:
        TypeError: the object, or a part of it, is neither Keras' own nor registered, or runs code.
    """
    config = keras.saving.serialize_keras_object(value)
    if unsafe := _unsafe(config):
        raise TypeError(
            f"{unsafe}: not registered, so the model could not be read again; decorate the class or function with"
            " tf.keras.utils.register_keras_serializable(package='yours'), and use it in place of a Lambda."
        )
    return config


def from_keras_config(config: dict) -> Any:
    """
    Raises:
        ValueError: it names what is neither Keras' own nor registered, or what could run code.
    """
    if unsafe := _unsafe(config):
        raise ValueError(
            f"class {unsafe!r} is not registered as a part of a model; import the module that registers it with"
            " tf.keras.utils.register_keras_serializable before loading."
        )
    return keras.saving.deserialize_keras_object(config)


def _unsafe(value: Any) -> str | None:
    """The first name that Keras would look up outside of its own layers and of what is registered."""
    if isinstance(value, dict):
        if "class_name" in value and not _is_safe(value):
            return str(value["class_name"] if value["class_name"] != "function" else value.get("config"))
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(_unsafe, value)), None)
    return None


def _is_safe(value: dict) -> bool:
    name, module, config = value["class_name"], value.get("module"), value.get("config")
    if name == "function":
        return registered_object(config) is not None or (
            module == "builtins" and isinstance(config, str) and callable(getattr(keras.activations, config, None))
        )
    if registered_object(value.get("registered_name")) is not None or name in _PLAIN:
        return True
    if name in _CODE or module not in _MODULES:
        return False
    if name in _OPERATIONS:
        function = (config or {}).get("function")
        space, _, rest = str(function).partition(".")
        return space in _SPACES if rest else space in _FUNCTIONS
    if name in _LOOKUPS:  # a name of a file would be read
        return not isinstance((config or {}).get("vocabulary"), str)
    return True
