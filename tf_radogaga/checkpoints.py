"""A model as a directory: `config.json`, which names registered classes only, and TensorFlow checkpoint files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga import files, functional
from tf_radogaga.autoencoder import Autoencoder
from tf_radogaga.distortions import Distortion
from tf_radogaga.registration import registered_object

keras = tf.keras

CONFIG = "config.json"
WEIGHTS = "weights"


def save_model(model: Autoencoder, directory: str | Path) -> None:
    """Writes a model, its preprocessing, prior statistics and threshold to a directory, whole or not at all.

    A directory that already holds a model is replaced only after the new one is complete. What a save that was killed
    has left beside it is put right by the next one; `load_model` reads the model that was there meanwhile.

    Raises:
        FileExistsError: the directory holds something else than a model.
        TypeError: a part of the model is of a class that is not registered, so it could not be read again.
        BlockingIOError: another process is writing a model there.
        OSError: the disk is full or cannot be written to; the model that was there is still whole.
    """
    config = json.dumps(described(model), indent=1) + "\n"
    with files.written_whole(Path(directory), "model", CONFIG, f"{WEIGHTS}.*", needed=files.weight_bytes(model)) as new:
        tf.train.Checkpoint(model=model).write(str(new / WEIGHTS))
        (new / CONFIG).write_text(config)


def load_model(directory: str | Path) -> Autoencoder:
    """Reads a model written by `save_model`, from these files alone, and builds classes of this package and classes
    that the user has registered, nothing else: a directory from elsewhere cannot run code that is not loaded yet.

    Raises:
        FileNotFoundError: no model there.
        ValueError: `config.json` or the weights are damaged or do not belong together, naming the file.
    """
    directory = files.whole(Path(directory))
    path = directory / CONFIG
    if not path.exists():
        raise FileNotFoundError(f"{directory}: holds no {CONFIG}, so it is not a model directory.")
    try:
        model = _decode(json.loads(path.read_text()))
    except Exception as error:  # of the constructors, which are given whatever stands there
        raise ValueError(f"{path}: damaged, or of an unregistered class ({error}).") from error
    if not isinstance(model, Autoencoder):
        raise ValueError(f"{path}: describes a {type(model).__name__}, not a model.")
    try:
        status = tf.train.Checkpoint(model=model).read(str(directory / WEIGHTS))
        status.assert_existing_objects_matched().expect_partial()
    except Exception as error:
        raise ValueError(f"{directory / WEIGHTS}: damaged, or not of the model in {CONFIG} ({error}).") from error
    return model


def copy_model(model: Autoencoder) -> Autoencoder:
    """A model of the same weights, seeds and threshold, compiled with an optimizer of the same settings.

    Raises:
        TypeError: as `save_model`.
    """
    twin = _decode(json.loads(json.dumps(described(model))))
    states = ([*part.variables, *(found.state for found in functional.generators(part))] for part in (model, twin))
    for source, target in zip(*states):
        target.assign(source)
    twin._shuffle_seed = model._shuffle_seed
    if model.optimizer is not None:
        twin.compile(
            type(model.optimizer).from_config(model.optimizer.get_config()),
            steps_per_execution=int(model._steps_per_execution),
            jit_compile=model._jit_compile,
            run_eagerly=model._run_eagerly,
        )
    return twin


def described(value: Any) -> Any:
    """What `config.json` holds of a model or a part of it: registered names and plain values.

    Raises:
        TypeError: a class is not registered.
    """
    if hasattr(value, "get_config"):
        name = keras.utils.get_registered_name(type(value))
        if registered_object(name) is None:
            raise TypeError(
                f"{name}: not registered, so the model could not be read again; decorate the class with"
                " tf.keras.utils.register_keras_serializable(package='yours')."
            )
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
    if set(value) != {"class", "config"} or not isinstance(value["class"], str):  # columns may have these names
        return {key: _decode(item) for key, item in value.items()}
    registered = registered_object(value["class"])
    if not (isinstance(registered, type) and issubclass(registered, (keras.layers.Layer, Distortion))):
        raise ValueError(
            f"class {value['class']!r} is not registered as a part of a model; import the module that registers it with"
            " tf.keras.utils.register_keras_serializable before loading."
        )
    return registered(**_decode(value["config"]))
