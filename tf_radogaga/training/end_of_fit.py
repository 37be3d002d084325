"""What is found of a trained model at the end of `fit`, step by step, and forgotten before its weights change again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

if TYPE_CHECKING:
    from tf_radogaga.training.loop import TrainedOnRows


class Step(NamedTuple):
    """One of the steps in the list `end_of_fit` of a model.

    find: of a model and batches of x; whether these are of rows in memory; and False where a quick answer will do.
    forget: an interrupted training must leave nothing of the last one.
    """

    find: Callable[[TrainedOnRows, tf.data.Dataset, bool, bool], None]
    forget: Callable[[TrainedOnRows], None]


def find_all(model: TrainedOnRows, dataset: tf.data.Dataset, in_memory: bool = False, refine: bool = True) -> None:
    for step in model.end_of_fit:
        step.find(model, dataset, in_memory, refine)


def forget(model: TrainedOnRows) -> None:
    for step in model.end_of_fit:
        step.forget(model)
    model.threshold.assign(math.inf)
