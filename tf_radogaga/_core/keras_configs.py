"""Configurations of Keras' own layers and models as plain values, safe to read from a file that nobody vouches for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.registry import registered_object
from tf_radogaga._core.stack import keras

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
_PACKAGE = keras.Model.__module__.partition(".")[0]
"""That of the Keras in use: keras, or tf_keras beside Keras 3; configurations in files name keras."""

_PLAIN = ("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__slice__")
UNKNOWN = {"SpectralNormalization": keras.layers.SpectralNormalization}
"""Layers of Keras that its own list of them lacks, so that a Sequential is not read again."""

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


def attributes(value: Any, *names: str) -> dict[str, Any]:
    """Attributes of an object by name, tuples as lists, as a `get_config` returns them."""
    found = {name: getattr(value, name) for name in names}
    return {name: list(part) if isinstance(part, tuple) else part for name, part in found.items()}


def plain(value: Any, finite: bool = True) -> Any:
    """A value, also in lists and mappings, as JSON types; None for a number that is not finite, where it must be."""
    if isinstance(value, Mapping):
        return {str(key): plain(item, finite) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item, finite) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if finite and isinstance(value, float) and not math.isfinite(value) else value


def keras_config(value: Any) -> dict:
    """What `from_keras_config` makes the same object of: JSON types.

    Raises:
        TypeError: the object, or a part of it, is neither Keras' own nor registered, or runs code.
    """
    require_told(value)
    config = with_input_shapes(_moved(keras.saving.serialize_keras_object(value), _PACKAGE, "keras"))
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
    with keras.utils.custom_object_scope(UNKNOWN):
        return keras.saving.deserialize_keras_object(_moved(config, "keras", _PACKAGE))


def _moved(config: Any, old: str, new: str) -> Any:
    """A configuration in which the private modules of Keras are those of a package of another name, and in which inputs
    lack the argument that they have from 2.18 on."""
    if isinstance(config, list):
        return [_moved(item, old, new) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: _moved(item, old, new) for key, item in config.items()}
    module = config.get("module")
    if "class_name" in config and isinstance(module, str) and module.startswith(f"{old}.src."):
        config["module"] = new + module[len(old) :]
    own = config.get("config")
    if config.get("class_name") == "InputLayer" and isinstance(own, dict) and own.get("optional") is False:
        config["config"] = {key: item for key, item in own.items() if key != "optional"}
    return config


def require_told(value: Any) -> None:
    """
    Raises:
        TypeError: the object, or a layer that it holds, has a constructor whose arguments its get_config leaves out.
    """
    for part in _told_with(value):
        if untold := _untold(part):
            raise TypeError(
                f"{type(part).__name__}: its get_config does not tell {untold}, so another one would be different; give"
                " the class a get_config that returns the arguments of its constructor."
            )


def _told_with(value: Any) -> Iterator[Any]:
    """An object and those that Keras tells with it."""
    yield value
    held = value.layers if isinstance(value, keras.Sequential) or getattr(value, "_is_graph_network", False) else []
    held = [value.layer] if isinstance(value, keras.layers.Wrapper) else held
    for part in held:
        yield from _told_with(part)


def _untold(value: Any) -> str | None:
    """Arguments of the constructor that the configuration lacks."""
    if type(value).get_config is keras.Model.get_config:
        try:
            keras.layers.Layer.get_config(value)
        except NotImplementedError:  # Keras warns and goes on without
            return "the arguments of its constructor"
    if getattr(value.get_config, "_is_default", False):
        return None  # made of the arguments, or refused
    ancestry = type(value).__mro__
    telling = next(i for i, kind in enumerate(ancestry) if "get_config" in vars(kind))
    told = {name for kind in ancestry[telling:] for name in _arguments(kind)}
    new = {name: default for kind in ancestry[:telling] for name, default in _arguments(kind).items()}
    untold = [name for name, default in new.items() if name not in told and not _same(value, name, default)]
    return ", ".join(untold) or None


def _arguments(kind: type) -> dict[str, Any]:
    """Names and defaults of the arguments of a class's own constructor."""
    if "__init__" not in vars(kind):
        return {}
    _, *given = inspect.signature(vars(kind)["__init__"]).parameters.values()
    return {part.name: part.default for part in given if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)}


def _same(value: Any, name: str, default: Any) -> bool:
    found = getattr(value, name, inspect.Parameter.empty)
    return (
        name == "name"
        or (found is default and default is not inspect.Parameter.empty)
        or (type(found) is type(default) and isinstance(default, (bool, int, float, str)) and found == default)
    )


def with_input_shapes(config: Any) -> Any:
    """A configuration in which a Sequential that begins with an adapted layer has the shape of its input: Keras leaves
    it out, and cannot build the layer again."""
    if isinstance(config, list):
        return [with_input_shapes(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: with_input_shapes(item) for key, item in config.items()}
    layers = config.get("layers")
    if isinstance(layers, list) and len(layers) > 1 and all(isinstance(layer, dict) for layer in layers):
        first, second = layers[:2]
        known = (second.get("build_config") or {}).get("input_shape")
        if first.get("class_name") == "InputLayer" and known and not any(first["config"]["batch_input_shape"]):
            inputs = {**first, "config": {**first["config"], "batch_input_shape": known}}
            config["layers"] = [inputs, *layers[1:]]
    return config


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
