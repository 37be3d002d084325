"""Functions of the user's own as constructor arguments: saved by the name under which Keras knows them."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

keras = tf.keras


def registered_function(argument: str, function: Callable | str) -> Callable:
    """The function itself, or the one registered under a name.

    Raises:
        ValueError: no function is registered under the name, naming the argument.
    """
    if not isinstance(function, str):
        return function
    found = keras.utils.get_registered_object(function)
    if found is None or isinstance(found, type):
        raise ValueError(
            f"{argument}: {function!r} is not a registered function; import the module that registers it with"
            " tf.keras.utils.register_keras_serializable first."
        )
    return found


def function_name(argument: str, function: Callable) -> str:
    """The name under which a function is registered.

    Raises:
        TypeError: it is not registered, so it could not be found again, naming the argument.
    """
    label = getattr(function, "__name__", None) or repr(function)
    name = keras.utils.get_registered_name(function) if hasattr(function, "__name__") else label
    if keras.utils.get_registered_object(name) is not function:
        raise TypeError(
            f"{argument}: {label} is not registered, so the model could not be read again; decorate it with"
            " tf.keras.utils.register_keras_serializable(package='yours')."
        )
    return name
