"""The card inside an export, `assets/card.json`: what the model is, made from what, by which versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from tf_radogaga._core.frames import to_pandas
from tf_radogaga._core.keras_configs import plain
from tf_radogaga._core.version import __version__
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.preprocessing import PassThrough
from tf_radogaga.preprocessing.cells import array_of
from tf_radogaga.serving.signatures import signatures

PATH = Path("assets", "card.json")
_PACKAGES = ("tensorflow", "keras", "tensorflow-compression", "tensorflow-probability", "numpy")


def model_card(model: Autoencoder, facts: Mapping[str, Any] | None, space: str = "manifold") -> str:
    """The card as JSON: what the model itself tells, and the facts of the caller; numbers that are not finite are null.

    Raises:
        ValueError: facts of a name that the model's own have, or that JSON cannot hold.
    """
    own = {
        "model": type(model).__name__,
        "prior": type(model.prior).__name__,
        **({} if model.scoring_prior is None else {"scoring_prior": type(model.scoring_prior).__name__}),
        "latent_units": model.latent_units,
        "active_dimensions": model.active_dimensions,
        "threshold": float(model.threshold.numpy()),
        "threshold_on": model.threshold_on,
        "log_density": _units(model, space) if model.has_log_density else None,
        **_inputs(model),
        "signatures": {name: list(found.inputs(model)) for name, found in signatures(model).items()},
        "versions": {
            "python": platform.python_version(),
            "tf_radogaga": __version__,  # also of a checkout that is not installed
            **{name: metadata.version(name) for name in _PACKAGES},
        },
    }
    if not isinstance(facts, (Mapping, type(None))):
        raise ValueError(f"card: {facts!r} is no mapping; give a dict of facts, such as data, preset and metrics.")
    facts = dict(facts or {})
    if taken := sorted(own.keys() & facts.keys()):
        raise ValueError(f"card: {taken} are filled in from the model; choose other names.")
    try:
        return json.dumps(plain({**own, **facts}), indent=1) + "\n"
    except TypeError as error:
        raise ValueError(f"card: JSON cannot hold it ({error}); give text, numbers, and lists and dicts.") from error


def _units(model: Autoencoder, space: str) -> str:
    whole = space == "ambient" or not model.residuals.codimension
    return "nats, in all columns" if whole else "nats, along the manifold"


def _inputs(model: Autoencoder) -> dict[str, Any]:
    """What a client needs to make inputs of a file, as far as it is known: `columns`, the names of the original columns
    by that of the served input, a list of them where it is a matrix; and `reader`, how the training file was read."""
    preprocess = model.preprocess
    found, names = {}, preprocess.column_names
    if names is not None:
        inputs = list(preprocess.input_signature())
        found["columns"] = {inputs[0]: names} if isinstance(preprocess, PassThrough) else dict(zip(inputs, names))
    if preprocess.reader is not None:
        found["reader"] = preprocess.reader
    return found


def read_card(directory: str | Path) -> dict[str, Any] | None:
    """The card of an export; None where there is none.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(directory) / PATH
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}).") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path}: damaged (a {type(card).__name__} where names and values belong).")
    return card


def data_hash(rows: Any) -> str:
    """SHA-256 of training rows, 64 hexadecimal digits, for a card: of names, dtypes, shapes and values.

    Args:
        rows: a matrix, images, or named columns (a frame or mapping), text as well as numbers.

    Raises:
        TypeError: as `check` of a model's `preprocess`, where these are no rows.
    """
    rows = to_pandas(rows)
    digest = hashlib.sha256()
    columns = rows.items() if isinstance(rows, (pd.DataFrame, Mapping)) else [("", rows)]
    for name, values in columns:
        array = array_of(values, f"rows {name}".rstrip())
        text = array.dtype.kind not in "fiub"
        array = array if text else array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(json.dumps([str(name), "text" if text else array.dtype.str, array.shape]).encode())
        # numbers are read where they stand: training images may fill most of the memory
        digest.update(json.dumps([str(v) for v in array.ravel()]).encode() if text else array.ravel().data)
    return digest.hexdigest()
