"""What is found of a trained model at the end of `fit`, step by step, and forgotten before its weights change again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tf_radogaga._core.stack import keras, tf
from tf_radogaga.preprocessing import Preprocessing
from tf_radogaga.priors.base import Prior


class Trained(keras.Model):
    """What this folder asks of a model, beside the terms of its loss."""

    preprocess: Preprocessing
    prior: Prior
    scoring_prior: Prior | None
    threshold: tf.Variable
    end_of_fit: tuple[Step, ...]


class Step(NamedTuple):
    """One of the steps in the list `end_of_fit` of a model.

    find: of a model and batches of x; whether these are of rows in memory; and False where a quick answer will do.
    forget: an interrupted training must leave nothing of the last one.
    find_in_held_out: of a model and batches of x that its networks have not seen, where `fit` has such.
    """

    find: Callable[[Trained, tf.data.Dataset, bool, bool], None]
    forget: Callable[[Trained], None]
    find_in_held_out: Callable[[Trained, tf.data.Dataset], None] | None = None


def priors(model: Any) -> list[Prior]:
    """That which trains, and that which scores, where it is another."""
    return [model.prior] if model.scoring_prior is None else [model.prior, model.scoring_prior]


def least_rows(model: Any) -> int:
    """Fewest training rows that determine the priors."""
    return max(prior.minimum_rows for prior in priors(model))


def require_adapted(model: Any) -> None:
    """RuntimeError where what scores is still to be found by `fit` or `adapt_prior`."""
    for prior in priors(model):
        prior.require_adapted()


def find_all(model: Trained, dataset: tf.data.Dataset, in_memory: bool = False, refine: bool = True) -> None:
    for step in model.end_of_fit:
        step.find(model, dataset, in_memory, refine)


def find_between(model: Trained, dataset: tf.data.Dataset) -> None:
    """What the loss of a validation needs, between two epochs."""
    find_all(model, dataset, refine=False)
    if model.scoring_prior is not None:
        model.scoring_prior.invalidate()  # a rough one must not get into a checkpoint


def find_in_held_out(model: Trained, dataset: tf.data.Dataset) -> None:
    for step in model.end_of_fit:
        if step.find_in_held_out is not None:
            step.find_in_held_out(model, dataset)


def forget_held_out(model: Trained) -> None:
    """Of other weights nothing is known of the rows that they have not seen."""
    for step in model.end_of_fit:
        if step.find_in_held_out is not None:
            step.forget(model)


def forget(model: Trained) -> None:
    for step in model.end_of_fit:
        step.forget(model)
    model.threshold.assign(math.inf)
