"""Functions of the user's own as distortions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_radogaga._core.registry import function_name, registered_function
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.distortions.pointwise import SumSquaredError


@keras.utils.register_keras_serializable(package="tf_radogaga")
class FunctionDistortion(Distortion):
    """D(x, y) = function(x, y), a twice differentiable function of one's own; its geometry is the Hessian rule.

    Args:
        function: f(x, y) -> (B,), or the name under which such a function is registered.

    Raises:
        ValueError: no function is registered under the name; later, the function does not return (B,).
    """

    def __init__(self, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | str):
        self.function = registered_function("function", function)

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        distortion = tf.convert_to_tensor(self.function(x, y))
        if distortion.shape.rank not in (1, None):
            raise ValueError(f"function: returned shape {distortion.shape}, one number per example, (B,), is needed.")
        return distortion

    def self_distortion(self, x: tf.Tensor) -> tf.Tensor:
        return self(x, x)

    def get_config(self) -> dict:
        """
        Raises:
            TypeError: the function is not registered, so it could not be found again.
        """
        return {"function": function_name("function", self.function)}


def as_distortion(value: Any, name: str = "distortion") -> Distortion:
    """The distortion that an argument stands for.

    Args:
        value: a `Distortion`; None, for `SumSquaredError`; or a function f(x, y) -> (B,).
        name: of the argument, for the message.

    Raises:
        TypeError: anything else, naming the argument.
    """
    if value is None:
        return SumSquaredError()
    if isinstance(value, Distortion):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionDistortion(value)
    hint = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, Distortion) else ""
    raise TypeError(f"{name}: {value!r} is neither a Distortion nor a function f(x, y) -> (B,){hint}.")
