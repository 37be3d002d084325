"""A fitted detector as a directory: `detector.json`, `arrays.npz`, and `model/` where it has trained one. No pickle.

Plain values are in JSON as they are; what JSON does not know is a pair of its kind and what it holds, and arrays are
beside it, under the names that lead to them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tf_radogaga._core import directories
from tf_radogaga._core.rounding import FLOAT64
from tf_radogaga.detector.scorers import scorer_of
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.saving import load_model, save_model

STATE, ARRAYS, MODEL = "detector.json", "arrays.npz", "model"
FORMAT, VERSION = "tf_radogaga.AnomalyDetector", 4

_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "objects": np.ndarray}
_CLASSES_2 = ("IsometricLatent", "KernelDensity", "MixtureDensity", "IndependentColumns", "GaussianMixture")
"""Objects of which files of version 2 hold the attributes."""
_JOINED_3 = {"mixture": ("mixtures", "weights", "means", "whitening"), "columns": ("columns", "values", "shares")}


def write(state: dict[str, Any], directory: str | Path) -> None:
    """Writes the attributes of a detector, all of it or nothing; `scorer_` is the state of its scorer.

    Raises:
        FileExistsError: the directory holds something else than a detector.
        TypeError: something that it holds could not be read again, named.
    """
    arrays: dict[str, np.ndarray] = {}
    models: list[Autoencoder] = []
    encoded = _encoded(state, "", arrays, models)
    with directories.atomic_directory(Path(directory), "detector", STATE, ARRAYS, MODEL) as new:
        np.savez(new / ARRAYS, **arrays)
        if models:
            save_model(models[0], new / MODEL)
        digests = {"arrays": _digest((new / ARRAYS).read_bytes()), "state": state_digest(encoded)}
        content = {"format": FORMAT, "version": VERSION, "sha256": digests, "state": encoded}
        (new / STATE).write_text(json.dumps(content, indent=1) + "\n")


def read(directory: str | Path) -> dict[str, Any]:
    """The attributes of a detector that `write` wrote, also of versions 2 and 3; `scorer_` is its scorer.

    Raises:
        FileNotFoundError: no detector there.
        ValueError: a file is damaged or foreign, named.
    """
    directory = directories.complete(Path(directory))
    path = directory / STATE
    if not path.exists():
        raise FileNotFoundError(f"{directory}: holds no {STATE}, so it is not a detector's directory.")
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT or content["version"] not in _READ:
            raise ValueError(f"not a {FORMAT} of version {', '.join(map(str, _READ))}")
        encoded, digests = content["state"], content["sha256"]
        if state_digest(encoded) != digests["state"]:
            raise ValueError("not what was written")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or not of an AnomalyDetector ({error}).") from error
    arrays = _read_arrays(directory / ARRAYS, digests.get("arrays"))
    try:
        state = _decoded(encoded, arrays, directory)
        state = _READ[content["version"]](state)
        return {**state, "scorer_": scorer_of(state["scorer_"])}
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


def state_digest(encoded: Any) -> str:
    return _digest(json.dumps(encoded, sort_keys=True).encode())


def _encoded(value: Any, name: str, arrays: dict[str, np.ndarray], models: list[Autoencoder]) -> Any:
    """JSON of the value of this name: plain ones as they are, others a pair of their kind and what they hold."""

    def inner(held: Any, place: Any) -> Any:
        return _encoded(held, f"{name}/{place}" if name else str(place), arrays, models)

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {key: inner(item, key) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays[name] = value
        return ["array", name]
    for kind, sequence in _SEQUENCES.items():
        if isinstance(value, sequence):
            return [kind, [inner(item, place) for place, item in enumerate(value)]]
    if isinstance(value, pd.DataFrame):
        columns = enumerate(value.items())
        return ["table", [[column, inner(values.to_numpy(), place)] for place, (column, values) in columns]]
    if isinstance(value, np.random.RandomState):
        return ["RandomState", inner(value.get_state(), "state")]
    if isinstance(value, Autoencoder):
        models.append(value)
        return ["model", None]
    raise TypeError(f"{value!r}: a detector that holds it cannot be saved.")


def _decoded(value: Any, arrays: dict[str, np.ndarray], directory: Path) -> Any:
    def inner(item: Any) -> Any:
        return _decoded(item, arrays, directory)

    if isinstance(value, dict):
        return {name: inner(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    kind, held = value
    if kind == "array":
        return arrays[held] if arrays[held].ndim else arrays[held].item()  # version 3 has numbers as arrays
    if kind == "objects":
        found = np.empty(len(held), object)
        found[:] = [inner(item) for item in held]
        return found
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](inner(item) for item in held)
    if kind == "table":
        return pd.DataFrame({name: inner(column) for name, column in held})
    if kind == "RandomState":
        random = np.random.RandomState()
        random.set_state(inner(held))
        return random
    if kind == "model":
        return load_model(directory / MODEL)
    # of version 2
    if kind == "dict":
        return {inner(name): inner(item) for name, item in held}
    if kind == "TableEncoding":
        return inner(held)
    if kind == "object" and held[0] in _CLASSES_2:
        return inner(held[1])
    raise TypeError(f"{kind} {held!r}"[:99])


def upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a detector as of today, of those in a file of version 2, where objects are their attributes, or
    in a pickle of its time; `scorer_` is the state of its scorer."""
    state = {"training_scores_" if name == "_training_scores" else name: value for name, value in state.items()}
    names = state.get("feature_names_in_")
    state.setdefault("_column_names", None if names is None else list(names))
    state.setdefault("_around_threshold", (-math.inf, math.inf))
    encoding, model = state.pop("_encoding", None), state.pop("model_", state["model"])
    if "_densities" not in state:
        return {**state, "scorer_": {"model": model}}
    latent = {"rounding": FLOAT64, "noise": 0.0, **_attributes(state.pop("_latent"))}
    average = {name: _attributes(density) for name, density in state.pop("_densities").items()}
    if mixture := average.get("mixture"):
        names = "weights_", "means_", "precisions_cholesky_"
        mixture["mixtures"] = [tuple(map(_attributes(of).get, names)) for of in mixture["mixtures"]]
        mixture["fitted"] = np.stack(mixture["fitted"])
    average["log_normalizer"] = state.pop("_log_normalizer")
    return {**state, "scorer_": {"encoding": encoding, "latent": latent, "average": average}}


def _upgraded_3(state: dict[str, Any]) -> dict[str, Any]:
    """The same of version 3, which joins the arrays of components and columns."""
    state["scorer_"], state["training_scores_"] = state.pop("_scorer"), state.pop("_training_scores")
    for name, part in state["scorer_"].get("average", {}).items():
        if name in _JOINED_3:
            ends = np.cumsum(part.pop("sizes"))[:-1]
            split = [np.split(part.pop(array), ends) for array in _JOINED_3[name][1:]]
            part[_JOINED_3[name][0]] = list(zip(*split, *([part.pop("bandwidths")] if name == "columns" else [])))
    return state


def _attributes(value: Any) -> dict[str, Any]:
    return dict(value if isinstance(value, Mapping) else vars(value))


_READ: dict[int, Callable] = {2: upgraded, 3: _upgraded_3, VERSION: dict}
