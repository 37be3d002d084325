"""Copies of models and of their parts within a process; what they are made of need not be registered."""

from __future__ import annotations

from typing import Any

from tf_radogaga._core import functional
from tf_radogaga._core.keras_configs import UNKNOWN, plain, require_told, with_input_shapes
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.preprocessing import Preprocessing
from tf_radogaga.priors.base import Prior
from tf_radogaga.training.end_of_fit import Trained

REMEMBERED = {
    "straightening": "",
    "threshold_on": "",
    "_shuffle_seed": "",
    "term_names": "steps",
    "adaptation": "prior",
    "residual_law": "residuals",
    "tails": "joint",
}
"""What a model remembers beside weights and configuration, and its part that has it: kept by saving and by copying."""

RENAMED = {"judged_by": "threshold_on", "_term_names": "term_names"}
"""Names in files of earlier versions."""


def fresh(value: Any, argument: str) -> Any:
    """A layer of the same configuration and of initial weights; what is no layer has none and is shared.

    Preprocessing keeps what it was adapted to, as no training finds that again.

    Args:
        value: of a configuration; also lists and mappings of layers.
        argument: that took the value, for the message.

    Raises:
        TypeError: a layer does not tell its configuration, or not all of it.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(fresh(item, argument) for item in value)
    if isinstance(value, dict):
        return {key: fresh(item, argument) for key, item in value.items()}
    if not isinstance(value, keras.layers.Layer):
        return value
    require_told(value)
    try:
        with keras.utils.custom_object_scope(UNKNOWN):
            if isinstance(value, Prior):
                made = value.fresh()
            else:
                made = type(value).from_config(with_input_shapes(value.get_config()))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise TypeError(
            f"{argument}: {type(value).__name__} cannot be copied ({error}); give it a get_config that returns the"
            " arguments of its constructor."
        ) from error
    shared = {id(variable) for variable in _variables(made)} & {id(variable) for variable in _variables(value)}
    if shared:
        raise TypeError(
            f"{argument}: variables of {type(value).__name__} cannot be copied; give a class or a function that makes"
            " them anew."
        )
    if isinstance(value, Preprocessing):
        made.set_weights(value.get_weights())
    return made


def _variables(layer: keras.layers.Layer) -> list[tf.Variable]:
    """None of a model that makes them at its first call."""
    try:
        return layer.variables
    except ValueError:
        return []


def copy_model(model: Trained) -> Trained:
    """A model of the same weights, seeds and threshold, compiled with an optimizer of the same settings.

    Raises:
        TypeError: a network does not tell its configuration, so that there is no other of the same structure.
    """
    twin = type(model).from_config(model.get_config())
    freeze(twin, frozen(model))
    states = [[*part.variables, *(found.state for found in functional.generators(part))] for part in (model, twin)]
    shapes = [[variable.shape for variable in part] for part in states]
    if shapes[0] != shapes[1]:
        raise TypeError(
            f"model: a copy of this {type(model).__name__} has {len(shapes[1])} variables of other shapes or number"
            f" than its {len(shapes[0])}; give its networks a get_config that returns the arguments of their"
            " constructors."
        )
    for source, target in zip(*states):
        target.assign(source)
    weights_assigned(twin)
    remember(twin, remembered(model))
    if model.optimizer is not None:
        twin.compile(
            type(model.optimizer).from_config(model.optimizer.get_config()),
            steps_per_execution=int(model._steps_per_execution),
            jit_compile=model._jit_compile,
            run_eagerly=model._run_eagerly,
        )
    return twin


def remembered(model: Trained) -> dict[str, Any]:
    """Copies of what this model has of `REMEMBERED`, by name, as JSON types."""
    parts = {name: getattr(model, part) if part else model for name, part in REMEMBERED.items()}
    return {name: plain(getattr(part, name), finite=False) for name, part in parts.items() if hasattr(part, name)}


def remember(model: Trained, values: dict[str, Any]) -> None:
    """Gives them to another model; names that this version does not know are left out."""
    values = {RENAMED.get(name, name): value for name, value in values.items()}
    for name in REMEMBERED.keys() & values.keys():
        setattr(getattr(model, REMEMBERED[name]) if REMEMBERED[name] else model, name, values[name])


def weights_assigned(model: keras.Model) -> None:
    """Tells layers that their weights have been assigned: some, as `Normalization`, compute by numbers made of them."""
    for layer in model._flatten_layers():
        layer.finalize_state()


def require_apart(model: keras.Model) -> None:
    """
    Raises:
        TypeError: encoder and decoder share variables, of which there would be two in another model.
    """
    owned = [{id(v): v.name for v in part.variables} for part in (model.encoder, model.decoder)]
    if shared := sorted(owned[0][key] for key in owned[0].keys() & owned[1].keys()):
        raise TypeError(
            f"encoder, decoder: they share {shared}, which a configuration cannot tell; make the other model by the"
            " code that made this one, and use model.save_weights and load_weights."
        )


def _layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """By their paths from the model, those that hold others first."""
    found = model._flatten(predicate=lambda value: isinstance(value, keras.layers.Layer), with_path=True)
    named = [(path, layer) for path, layer in found if path[0] != "_self_tracked_trackables"]  # the same once more
    return {"/".join(map(str, path)): layer for path, layer in sorted(named, key=lambda item: len(item[0]))}


def frozen(model: keras.Model) -> list[str]:
    """Paths of the layers that are not trained."""
    return [path for path, layer in _layers(model).items() if not layer.trainable]


def freeze(model: keras.Model, paths: list[str]) -> None:
    """Leaves the layers of these paths out of training, and only them.

    Raises:
        ValueError: there is no such layer.
    """
    layers = _layers(model)
    if unknown := sorted(set(paths) - set(layers)):
        raise ValueError(f"frozen: {unknown} are no layers of the model.")
    for path, layer in layers.items():  # a layer sets those that it holds, and they are set after it
        layer.trainable = path not in paths


def refuse_formats(*_: Any, **__: Any) -> None:
    """In place of methods that write Keras' own formats, which lose parameters of GDN layers and entropy models."""
    raise NotImplementedError(
        "Keras' and TensorFlow's own formats (.keras, .h5, model.save, tf.saved_model.save) silently lose layers of"
        " tensorflow-compression; save with tf_radogaga.save_model(model, directory), export with"
        " tf_radogaga.export_saved_model(model, directory), or functions of your own by keras.export.ExportArchive."
    )
