"""A model's computation with other values in place of its parameters, so that many models of one structure run at once.

`tf.vectorized_map` over the parameters of S models runs the loss of one of them, written for one, on all S: every
product of matrices becomes a batched one. Random numbers stay those that each model alone would draw.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from tf_radogaga._core.stack import tf

_DRAW = 256
"""Steps of a Philox counter that `tf.random.Generator` takes for one seed."""


class Weight:
    """A number of a loss equation as a tensor, which multiplies tensors of any type as a Python number does."""

    def __init__(self, value: tf.Tensor):
        self.value = value

    def __mul__(self, other: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.value, other.dtype) * other

    __rmul__ = __mul__


def generators(model: tf.Module) -> list[tf.random.Generator]:
    """The generators that a model and its layers draw from, in the same order for every model of one structure."""
    owned = (value for part in (model, *model.submodules) for value in vars(part).values())
    return [value for value in owned if isinstance(value, tf.random.Generator)]


def advanced(state: tf.Variable, drawn: list[int]) -> tf.Tensor:
    """States (S, G, 3), int64, of G generators of S models after each has drawn so many seeds more."""
    return state + tf.constant([[[_DRAW * count, 0, 0] for count in drawn]], tf.int64)


@contextlib.contextmanager
def substituted(
    model: tf.keras.Model, values: list[tf.Tensor], states: tf.Tensor, weights: list[tuple[Any, str, tf.Tensor]]
) -> Iterator[list[int]]:
    """Within, the model reads these values in place of its own and leaves its own alone.

    Args:
        values: one for each of `model.trainable_variables`.
        states: (G, 3), int64, one for each of `generators(model)`.
        weights: layer, attribute and scalar, of the numbers in the loss.

    Returns:
        How many seeds each generator has been asked for so far.

    Raises:
        NotImplementedError: the model reads a variable that is not trainable.
    """
    drawn = [0] * states.shape[0]
    with contextlib.ExitStack() as stack:

        def shadow(owner: Any, attribute: str, value: Any) -> None:
            own = vars(owner).get(attribute)
            object.__setattr__(owner, attribute, value)
            if own is None:
                stack.callback(object.__delattr__, owner, attribute)
            else:
                stack.callback(object.__setattr__, owner, attribute, own)

        for variable in model.non_trainable_variables:
            shadow(variable, "_read_variable_op", functools.partial(_refuse, variable.name))
        for variable, value in zip(model.trainable_variables, values):
            shadow(variable, "_read_variable_op", lambda no_copy=False, value=value: value)
        for number, generator in enumerate(generators(model)):
            shadow(generator, "skip", functools.partial(_skip, states, drawn, number))
        for layer, attribute, value in weights:
            shadow(layer, attribute, Weight(value))
        yield drawn


def _refuse(name: str, no_copy: bool = False) -> tf.Tensor:
    raise NotImplementedError(
        f"{name}: the loss reads it and it is not trainable; such models are trained one by one, by fit."
    )


def _skip(states: tf.Tensor, drawn: list[int], number: int, delta: int) -> tf.Tensor:
    """Without the generator's own op, which has state and so no place in a vectorized map."""
    drawn[number] += delta
    return states[number] + tf.constant([_DRAW * (drawn[number] - delta), 0, 0], tf.int64)
