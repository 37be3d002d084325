"""Which models can be trained together. Each check raises an error that names what differs or is not supported."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from tf_radogaga import saving
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.training import copies

WEIGHTS = ("lambda1", "lambda2")
"""Settings that may differ between models trained together, beside the learning rate."""

_FOLLOWING = ("beta", "scale")
"""Attributes that follow from them: beta is 1 / lambda2, the gauge starts at a scale that lambda2 fixes."""

_DRAWS = ("RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal", "StatefulUniform")


def require_plain(options: dict[str, Any]) -> None:
    """TypeError for options of `fit` that are not those of models trained together."""
    plain = {"validation_data": None, "validation_split": 0, "sample_weight": None, "class_weight": None}
    for name, unset in {**plain, "shuffle": True}.items():
        value = options.get(name, unset)
        if value is not unset and not (np.isscalar(value) and value == unset):
            raise TypeError(f"{name}: models that need it are trained one by one, by fit.")


def require_alike(models: list[Autoencoder]) -> None:
    """TypeError or ValueError for models that differ in more than `WEIGHTS` and the learning rate."""
    if len(set(map(id, models))) < len(models):
        raise ValueError("models: one of them is given twice.")
    for model in models:
        if type(getattr(model, "optimizer", None)) is not keras.optimizers.Adam:
            raise TypeError("models: each must be compiled with tf.keras.optimizers.Adam before it is trained.")
        used = [name for name in ("clipnorm", "global_clipnorm", "use_ema") if getattr(model.optimizer, name)]
        if used:
            raise ValueError(f"{used[0]}: not per model where many are trained together; leave it out.")
    first, *others = (_settings(model) for model in models)
    for number, other in enumerate(others, 1):
        for name in {**first, **other}:
            if first.get(name) != other.get(name):
                raise ValueError(
                    f"{name}: {first.get(name)} of models[0] and {other.get(name)} of models[{number}]; models trained"
                    f" together differ in {', '.join(WEIGHTS)} and the learning rate alone."
                )


def require_pure(model: Autoencoder) -> None:
    """ValueError for networks that draw noise from a generator of their own, or use variables that are not trained."""
    networks = model.encoder, model.decoder
    fixed = (variable for network in networks for variable in network.non_trainable_variables)
    if names := [part.name for part in (*fixed, *model.steps.metrics_of_layers())]:
        raise ValueError(
            f"models: {names[0]} of a network is not trained, being frozen, a metric or a statistic of batch"
            " normalization; such models are trained one by one, by fit."
        )
    if all(type(network).__module__.startswith("tf_radogaga.") for network in networks):
        return
    step = tf.function(lambda x: model.steps.all_terms(x, training=True)[0])
    graph = step.get_concrete_function(tf.TensorSpec((2, *model.preprocess.event_shape))).graph.as_graph_def()
    for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
        if node.op in _DRAWS or node.op.startswith("Assign"):
            raise ValueError(
                f"models: {node.name} ({node.op}) of a network draws noise or keeps a state of its own, as dropout"
                " does; such models are trained one by one, by fit."
            )


def _settings(model: Autoencoder) -> dict[str, Any]:
    """What must be the same in all models: configuration, optimizer and steps already taken."""
    config = saving.described(model)
    differing = {*WEIGHTS, *_FOLLOWING, "preprocess"}
    settings = {name: _unnumbered(value) for name, value in config["config"].items() if name not in differing}
    optimizer = {name: value for name, value in model.optimizer.get_config().items() if name != "learning_rate"}
    settings["frozen"] = copies.frozen(model)
    return {"class": config["class"], **settings, **optimizer, "steps": int(model.optimizer.iterations)}


def _unnumbered(value: Any) -> Any:
    """A configuration without the numbers by which Keras tells layers of one name apart."""
    return re.sub(r"_\d+(?=[\"_])", "", json.dumps(value)) if isinstance(value, dict) and "keras" in value else value
