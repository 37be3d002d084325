"""Keras' loops over the steps of one call, where the number of steps must hold or nobody knows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tensorflow import keras


@contextlib.contextmanager
def executions(model: keras.Model, one_step: bool, *makes: Callable[[], Callable]) -> Iterator[None]:
    """Within, Keras runs as many steps in one call as `compile` was told, or single ones; afterwards the former again.

    The functions are made before: where Keras finds the number shortened to 1, as it does for a while within a short
    epoch, it makes a function of a single step for good. Nor does it restore the number where a step fails.

    Args:
        model: compiled or not.
        one_step: needed where only a pass tells how many batches there are, or there is one batch.
        makes: methods of the model that make the functions that are going to be called.
    """
    steps = model._steps_per_execution
    if steps is None:  # not compiled, so in single steps
        yield
        return
    compiled = int(steps.numpy())
    with model.distribute_strategy.scope():
        for make in makes:
            make()
    try:
        if one_step:
            steps.assign(1)
        yield
    finally:
        steps.assign(compiled)
