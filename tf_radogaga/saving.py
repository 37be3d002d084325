"""A model as a directory: `config.json`, which names registered classes only, and TensorFlow checkpoint files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tf_radogaga._core import directories
from tf_radogaga._core.keras_configs import from_keras_config, keras_config, require_told
from tf_radogaga._core.registry import registered_object
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.training.copies import copy_model as copy_model
from tf_radogaga.training.copies import freeze, frozen, remember, remembered, weights_assigned

CONFIG = "config.json"
WEIGHTS = "weights"


def save_model(model: Autoencoder, directory: str | Path) -> None:
    """Writes a model, its preprocessing, prior statistics and threshold to a directory, atomically.

    A directory that already holds a model is replaced only after the new one is complete. What a save that was killed
    has left beside it is put right by the next one; `load_model` reads the model that was there meanwhile.

    Raises:
        FileExistsError: the directory holds something else than a model.
        TypeError: the model could not be read again: a part of it is of a class that is not registered, or whose
            get_config leaves arguments out, or encoder and decoder share variables.
        BlockingIOError: another process is writing a model there.
        OSError: the disk is full or cannot be written to; the model that was there stays as it was.
    """
    config = described(model)
    if paths := frozen(model):
        config["frozen"] = paths
    config["remembered"] = described(remembered(model))
    config = json.dumps(config, indent=1) + "\n"
    with directories.atomic_directory(
        Path(directory), "model", CONFIG, f"{WEIGHTS}.*", needed=directories.weight_bytes(model)
    ) as new:
        tf.train.Checkpoint(model=model).write(str(new / WEIGHTS))
        (new / CONFIG).write_text(config)


def load_model(directory: str | Path, optimizer: keras.optimizers.Optimizer | None = None) -> Autoencoder:
    """Reads a model written by `save_model`, from these files alone, and builds classes of this package, layers of
    Keras that run no code of their configuration, and classes that the user has registered, nothing else: a directory
    from elsewhere cannot run code that is not loaded yet.

    The model is complete when it is returned: it keeps no tie to the files, and a later `compile` is the caller's own.

    Args:
        directory: of `save_model`.
        optimizer: to go on with a training: one of the kind that the model was saved with. The model comes back
            compiled with it, its steps, moments and learning rate those that were saved; assign
            `model.optimizer.learning_rate` for another.

    Raises:
        FileNotFoundError: no model there.
        ValueError: `config.json` or the weights are damaged or do not belong together, naming the file; or they hold
            no state of such an optimizer.
    """
    directory = directories.complete(Path(directory))
    path = directory / CONFIG
    if not path.exists():
        raise FileNotFoundError(f"{directory}: holds no {CONFIG}, so it is not a model directory.")
    try:
        described = json.loads(path.read_text())
        if not isinstance(described, dict):
            raise TypeError(f"it describes a {type(described).__name__}, not a model")
        paths, values = described.pop("frozen", []), described.pop("remembered", {})
        model = _decode(described)
        if not isinstance(model, Autoencoder):
            raise TypeError(f"it describes a {type(model).__name__}, not a model")
        if paths:
            freeze(model, paths)
        remember(model, values)
    except Exception as error:  # of the constructors, which are given whatever stands there
        raise ValueError(f"{path}: damaged, or of an unregistered class ({error}).") from error
    _restore(model, directory / WEIGHTS)
    if optimizer is not None:
        _resume(model, directory / WEIGHTS, optimizer)
    return model


def _restore(model: Autoencoder, weights: Path) -> None:
    checkpoint = tf.train.Checkpoint(model=model)
    try:
        checkpoint.read(str(weights)).assert_existing_objects_matched().expect_partial()
    except Exception as error:
        raise ValueError(f"{weights}: damaged, or not of the model in {CONFIG} ({error}).") from error
    # what the files hold beside, such as an optimizer, would be read as soon as the model has the like
    for part in tf.train.TrackableView(checkpoint).descendants():
        part._deferred_dependencies.clear()
    weights_assigned(model)


def _resume(model: Autoencoder, weights: Path, optimizer: keras.optimizers.Optimizer) -> None:
    model.compile(optimizer)
    model.steps.build_optimizer()
    try:
        _restore(model, weights)  # legacy optimizers find their moments by the variables that these are of
    except ValueError as error:
        raise ValueError(
            f"optimizer: {weights} holds no state of such a {type(optimizer).__name__}; give one of the kind that the"
            " model was saved with, or load without and compile."
        ) from error


def described(value: Any) -> Any:
    """What `config.json` holds of a model or a part of it: registered names and plain values.

    Raises:
        TypeError: a class is not registered.
    """
    if hasattr(value, "get_config"):
        name = keras.utils.get_registered_name(type(value))
        if registered_object(name) is None:
            return {"keras": keras_config(value)}
        require_told(value)
        return {"class": name, "config": described(value.get_config())}
    if isinstance(value, dict):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"keras"} and isinstance(value["keras"], dict):
        return from_keras_config(value["keras"])
    if set(value) != {"class", "config"} or not isinstance(value["class"], str):  # columns may have these names
        return {key: _decode(item) for key, item in value.items()}
    registered = registered_object(value["class"])
    if not (isinstance(registered, type) and issubclass(registered, (keras.layers.Layer, Distortion))):
        raise ValueError(
            f"class {value['class']!r} is not registered as a part of a model; import the module that registers it with"
            " tf.keras.utils.register_keras_serializable before loading."
        )
    config = _decode(value["config"])
    if issubclass(registered, Autoencoder) or not issubclass(registered, keras.layers.Layer):
        return registered(**config)
    return registered.from_config(config)  # type: ignore[union-attr]
