"""Folders of exported models: the newest version, and its card; and scores of rows that are not valid."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow as tf

CARD = "assets/card.json"
"""In the folder of an export."""


def newest_version(model: str | Path) -> str:
    """Folder of the SavedModel, on any file system of TensorFlow's."""
    if tf.io.gfile.exists(f"{model}/saved_model.pb"):
        return str(model)
    folders = [os.path.dirname(path) for path in tf.io.gfile.glob(f"{model}/*/saved_model.pb")]
    versions = [folder for folder in folders if os.path.basename(folder).isdigit()]
    if not versions:
        sys.exit(f"--model: {model} is no SavedModel and holds no numbered versions of one.")
    return max(versions, key=lambda folder: int(os.path.basename(folder)))


def read_card(path: str | Path) -> dict[str, Any]:
    """The card of an export, on any file system of TensorFlow's; empty where there is none.

    Raises:
        SystemExit: it is damaged.
    """
    if not tf.io.gfile.exists(str(path)):
        return {}
    try:
        with tf.io.gfile.GFile(str(path)) as handle:
            card = json.loads(handle.read())
    except (ValueError, tf.errors.OpError) as error:
        sys.exit(f"card: {path} is damaged ({error}); export the model again.")
    if not isinstance(card, dict):
        sys.exit(f"card: {path} is damaged (a {type(card).__name__} where names and values belong).")
    return card


def of_valid_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """A column an output, by name, with NaN and False for rows that are not valid, whatever the export says there."""
    columns = {}
    for name, values in scores.items():
        other = float("nan") if values.dtype.kind == "f" else False
        columns[name] = values.where(scores["valid"], other) if values.dtype.kind in "fb" else values
    return pd.DataFrame(columns)
