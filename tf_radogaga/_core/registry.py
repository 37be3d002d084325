"""Classes and functions by the names under which Keras knows them: what a saved model may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_radogaga._core.stack import keras


def registered_object(name: Any) -> Any:
    """The class or function that this package or its user has registered under a name, else None.

    Keras' own and those of other libraries of TensorFlow are left out, registered or not: some of them run code or
    fetch models that their arguments name.
    """
    found = keras.utils.get_registered_object(name) if isinstance(name, str) else None
    library = (getattr(found, "__module__", None) or "").partition(".")[0]  # that of some functions is None
    return None if library in ("keras", "tf_keras") or library.startswith("tensorflow") else found


def registered_function(argument: str, function: Callable | str) -> Callable:
    """The function itself, or the one registered under a name.

    Raises:
        ValueError: no function is registered under the name, naming the argument.
    """
    if not isinstance(function, str):
        return function
    found = registered_object(function)
    if not callable(found) or isinstance(found, type):
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
    if registered_object(name) is not function:
        raise TypeError(
            f"{argument}: {label} is not registered, so the model could not be read again; decorate it with"
            " tf.keras.utils.register_keras_serializable(package='yours')."
        )
    return name
