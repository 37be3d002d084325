"""A model as a directory: `config.json`, which names registered classes only, and TensorFlow checkpoint files."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga import files
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
    directory = Path(directory).absolute()
    others = [] if not directory.exists() else [p.name for p in directory.iterdir() if not p.match(f"{WEIGHTS}.*")]
    if set(others) - {CONFIG}:
        raise FileExistsError(f"{directory}: holds {others}, so it is not a model; choose another directory.")
    config = json.dumps(described(model), indent=1) + "\n"
    with files.room_named("directory", directory, "the model", files.weight_bytes(model)), _staging(directory) as new:
        tf.train.Checkpoint(model=model).write(str(new / WEIGHTS))
        (new / CONFIG).write_text(config)
        if directory.exists():
            directory.rename(_replaced(directory))
        new.rename(directory)


def _staged(directory: Path) -> Path:
    """The folder beside a model's in which the next one is written."""
    return directory.with_name(f".{directory.name}.saving")


def _replaced(directory: Path) -> Path:
    """Where the older model is while the newer one takes its place."""
    return _staged(directory) / "old"


@contextlib.contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """A new folder, locked; in the end, and after a save that was killed, the older model is put back where it was."""
    staging = _staged(directory)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with files.lock(staging):
            _put_back(directory)
            shutil.rmtree(staging / "new", ignore_errors=True)
            (staging / "new").mkdir()
            try:
                yield staging / "new"
            finally:
                _put_back(directory)
                shutil.rmtree(staging, ignore_errors=True)
    except BlockingIOError as error:
        raise BlockingIOError(
            error.errno, f"directory: another process is writing a model to {directory}; choose another directory."
        ) from error
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise OSError(
            error.errno, f"directory: {directory.parent} cannot be written to ({error}); choose another directory."
        ) from error


def _put_back(directory: Path) -> None:
    old = _replaced(directory)
    if old.exists() and not directory.exists():
        old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def load_model(directory: str | Path) -> Autoencoder:
    """Reads a model written by `save_model`, from these files alone, and builds classes of this package and classes
    that the user has registered, nothing else: a directory from elsewhere cannot run code that is not loaded yet.

    Raises:
        FileNotFoundError: no model there.
        ValueError: `config.json` or the weights are damaged or do not belong together, naming the file.
    """
    directory = Path(directory).absolute()
    if not directory.exists() and _replaced(directory).exists():  # a save was killed between two renames
        directory = _replaced(directory)
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
