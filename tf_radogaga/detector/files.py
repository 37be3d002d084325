"""A fitted detector as a directory: `detector.json`, `arrays.npz`, and `model/` where it has trained one. No pickle.

What a detector holds is written as it is: plain values in JSON, arrays beside them, and of densities the class, one of
those that `densities` knows, and what they hold in turn.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from tf_radogaga._core import directories
from tf_radogaga._core.frames import listed
from tf_radogaga.detector import densities
from tf_radogaga.detector.export import served_model
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.preprocessing import TableEncoding
from tf_radogaga.saving import load_model, save_model
from tf_radogaga.serving.export import export_saved_model
from tf_radogaga.training.copies import copy_model

STATE, ARRAYS, MODEL = "detector.json", "arrays.npz", "model"
FORMAT = {"format": "tf_radogaga.AnomalyDetector", "version": 2}

_SEQUENCES = {"list": list, "tuple": tuple, "set": set}
_CLASSES = {name: value for name, value in vars(densities).items() if isinstance(value, type)}


class KeptInFiles:
    """What an `AnomalyDetector` offers to files and other processes: `save`, `load`, `export`, clones and pickles."""

    def save(self, directory: str | Path) -> None:
        """Writes the fitted detector to a directory, whole or not at all: JSON, arrays, and a `model` as `save_model`
        does. A directory that already holds a detector is replaced only after the new one is complete.

        Raises:
            NotFittedError: before `fit`.
            FileExistsError: the directory holds something else than a detector.
            TypeError: a part of the `model` could not be read again, named.
        """
        check_is_fitted(self, "threshold_")
        state = {**vars(self), "categorical": listed(self.categorical)}
        state["model"] = state.pop("model_", None)
        write(state, directory)

    @classmethod
    def load(cls, directory: str | Path) -> KeptInFiles:
        """Reads a detector written by `save`; its `model` is the trained one.

        Raises:
            FileNotFoundError: no detector there.
            ValueError: a file is damaged, named.
        """
        detector = cls()
        vars(detector).update(read(directory))
        if detector.model is not None:
            detector.model_ = detector.model
        return detector

    def export(
        self,
        directory: str | Path,
        version: int | None = None,
        card: Mapping[str, Any] | None = None,
        warmup_rows: Any = None,
    ) -> Path:
        """Writes `<directory>/<version>/`, a SavedModel of the scores for TensorFlow Serving; see `export_saved_model`.

        serving_default takes `features` (B, M) float32, or one input a column where some are text, and returns energy
        (-score), log_density (nats), anomaly and valid; latent and reconstruction of the other signatures are those of
        the isometric latent. A `model` is exported as it is, with the threshold of the detector: its energy is -log
        P(z), and anomaly tells by the scores.

        Args:
            directory, version, card, warmup_rows: as base_dir and the others of `export_saved_model`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: float32, which a server takes, holds too little of a column, named: served scores would differ
                from those of the detector by more than 1e-4 nats.
            FileExistsError, TypeError, ValueError, ImportError, OSError: as `export_saved_model`.
        """
        check_is_fitted(self, "threshold_")
        return export_saved_model(served_model(self), directory, version, card, warmup_rows)

    def __sklearn_clone__(self) -> KeptInFiles:
        params = self.get_params(deep=False)
        model = params.pop("model")
        params = {name: clone(value, safe=False) for name, value in params.items()}
        return type(self)(model=None if model is None else copy_model(model), **params)

    def __copy__(self) -> KeptInFiles:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> KeptInFiles:
        twin = memo[id(self)] = object.__new__(type(self))
        for name, value in vars(self).items():
            encoded = isinstance(value, TableEncoding)
            vars(twin)[name] = unpacked(packed(value)) if encoded else copy.deepcopy(value, memo)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        if self.model is not None or self.model_ is not None:
            raise TypeError(
                "model: a TensorFlow model is not pickled; use save and AnomalyDetector.load, and n_jobs=1 in searches."
            )
        state = dict(super().__getstate__())
        if "_encoding" in state:
            state["_encoding"] = packed(state["_encoding"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_encoding" in state:
            state = {**state, "_encoding": unpacked(state["_encoding"])}
        super().__setstate__(state)


def write(state: dict[str, Any], directory: str | Path) -> None:
    """Writes what a detector holds, whole or not at all.

    Raises:
        FileExistsError: the directory holds something else than a detector.
        TypeError: something that it holds could not be read again, named.
    """
    arrays, models = {}, []
    encoded = _encoded(state, arrays, models)
    with directories.atomic_directory(Path(directory), "detector", STATE, ARRAYS, MODEL) as new:
        np.savez(new / ARRAYS, **arrays)
        if models:
            save_model(models[0], new / MODEL)
        digests = {"arrays": _digest((new / ARRAYS).read_bytes()), "state": _state_digest(encoded)}
        (new / STATE).write_text(json.dumps({**FORMAT, "sha256": digests, "state": encoded}, indent=1) + "\n")


def read(directory: str | Path) -> dict[str, Any]:
    """Reads what `write` wrote.

    Raises:
        FileNotFoundError: no detector there.
        ValueError: a file is damaged or foreign, named.
    """
    directory = directories.whole(Path(directory))
    path = directory / STATE
    if not path.exists():
        raise FileNotFoundError(f"{directory}: holds no {STATE}, so it is not a detector's directory.")
    try:
        content = json.loads(path.read_text())
        if {name: content[name] for name in FORMAT} != FORMAT:
            raise ValueError(f"not of {FORMAT}")
        encoded, digests = content["state"], content["sha256"]
        if _state_digest(encoded) != digests["state"]:
            raise ValueError("not what was written")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or not of an AnomalyDetector ({error}).") from error
    arrays = _read_arrays(directory / ARRAYS, digests.get("arrays"))
    try:
        return _decoded(encoded, arrays, directory)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged, or of another version of tf_radogaga ({error!r}).") from error


def _read_arrays(path: Path, digest: str) -> dict[str, np.ndarray]:
    try:
        content = path.read_bytes()
        if _digest(content) != digest:
            raise ValueError("not what was written")
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged, or not of {STATE} ({error}).") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _state_digest(encoded: Any) -> str:
    return _digest(json.dumps(encoded, sort_keys=True).encode())


def packed(encoding: TableEncoding | None) -> dict[str, Any] | None:
    """A `TableEncoding` as plain values and arrays."""
    return encoding and {"columns": encoding.columns, "weights": encoding.scaling.get_weights()}


def unpacked(state: dict[str, Any] | None) -> TableEncoding | None:
    """What was `packed`."""
    if state is None:
        return None
    encoding = TableEncoding(state["columns"])
    encoding.scaling.set_weights(state["weights"])
    return encoding


def _encoded(value: Any, arrays: dict[str, np.ndarray], models: list[Autoencoder]) -> Any:
    """JSON of a value: plain ones as they are, others a pair of their kind and what they hold."""

    def inner(held):
        return _encoded(held, arrays, models)

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays[f"array_{len(arrays)}"] = value
        return ["array", f"array_{len(arrays) - 1}"]
    if isinstance(value, np.ndarray):
        return ["objects", [inner(item) for item in value]]
    for kind, sequence in _SEQUENCES.items():
        if isinstance(value, sequence):
            return [kind, [inner(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", [[inner(name), inner(item)] for name, item in value.items()]]
    if isinstance(value, pd.DataFrame):
        return ["table", [[name, inner(column.to_numpy())] for name, column in value.items()]]
    if isinstance(value, np.random.RandomState):
        return ["RandomState", inner(value.get_state())]
    if isinstance(value, TableEncoding):
        return ["TableEncoding", inner(packed(value))]
    if isinstance(value, Autoencoder):
        models.append(value)
        return ["model", None]
    if type(value).__name__ in _CLASSES:
        return ["object", [type(value).__name__, inner(vars(value))]]
    raise TypeError(f"{value!r}: a detector that holds it cannot be saved.")


def _decoded(value: Any, arrays: dict[str, np.ndarray], directory: Path) -> Any:
    if not isinstance(value, list):
        return value
    kind, held = value

    def inner(item):
        return _decoded(item, arrays, directory)

    if kind == "array":
        return arrays[held]
    if kind == "objects":
        found = np.empty(len(held), object)
        found[:] = [inner(item) for item in held]
        return found
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](inner(item) for item in held)
    if kind == "dict":
        return {inner(name): inner(item) for name, item in held}
    if kind == "table":
        return pd.DataFrame({name: inner(column) for name, column in held})
    if kind == "RandomState":
        random = np.random.RandomState()
        random.set_state(inner(held))
        return random
    if kind == "TableEncoding":
        return unpacked(inner(held))
    if kind == "model":
        return load_model(directory / MODEL)
    if kind == "object":
        name, state = held
        found = object.__new__(_CLASSES[name])
        vars(found).update(inner(state))
        return found
    raise TypeError(f"kind {kind!r}")
