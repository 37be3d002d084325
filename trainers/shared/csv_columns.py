"""Which columns of a CSV file are the inputs of an exported model."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

Inputs = Mapping[str, tf.TensorSpec]
"""A signature's inputs by name: one matrix `features` (B, M) float32, or a (B,) float32 or string for each column."""


def matrix_of(inputs: Inputs) -> tf.TensorSpec | None:
    """The one matrix of a model, (B, M); None where a model has columns, of which one may be called `features` too."""
    spec = inputs.get("features")
    return spec if spec is not None and spec.shape.rank == 2 else None


def originals(inputs: Inputs, card: Mapping[str, Any]) -> dict[str, str] | list[str] | None:
    """Original names of columns that a card tells: of each input, or of a matrix's columns; None where it has none.

    Raises:
        ValueError: the card is of another model.
    """
    columns = card.get("columns")
    if not columns:
        return None
    matrix = matrix_of(inputs)
    if set(columns) != set(inputs) or (matrix and len(columns["features"]) != matrix.shape[1]):
        raise ValueError(
            f"card: its columns {columns} are not the inputs of the model, {sorted(inputs)}; is it the card of another"
            " model?"
        )
    return list(map(str, columns["features"])) if matrix else {name: str(columns[name]) for name in inputs}


def served_name(column: str) -> str:
    """Of an input: the ASCII letters, digits and underscores of a column's name; it starts with a letter, and no
    keyword of Python or "self" is one."""
    plain = re.sub(r"\W", "_", column, flags=re.ASCII)
    taken = keyword.iskeyword(plain) or plain == "self"
    return plain if plain[:1].isalpha() and not taken else f"column_{plain}"


def _place(path: str | Path, wanted: str, fits: list[int], names: Sequence[str]) -> int:
    """The one column that fits.

    Raises:
        ValueError: there are more.
    """
    if len(fits) > 1:
        raise ValueError(
            f"--input: {path}: its columns {[names[place] for place in fits]} all fit the model's {wanted!r}; rename or"
            " leave out all but one, or tell the original names by the card of the model's export."
        )
    return fits[0]


def layout(path: str | Path, file: Any, inputs: Inputs, card: Mapping[str, Any]) -> list[int]:
    """The position of each of the model's columns in the file.

    Args:
        path: for messages.
        file: an open `csv_files.CsvFile`.
        inputs: of the model's signature.
        card: of the model's export; may be empty.

    Raises:
        ValueError: the model's columns are not in the file, naming those that are missing, or fit more than one of its,
            or their number differs.
    """
    first, has_header, known = file.first, file.reader.header, originals(inputs, card)
    matrix, how = matrix_of(inputs), f"It is read with {file.reader}."
    if matrix and not (has_header and known):
        width = matrix.shape[1]
        if len(first) != width:
            raise ValueError(f"--input: {path} has {len(first)} columns, the model takes {width}. {how}")
        return list(range(width))
    if not has_header:
        return _unnamed_layout(path, first, known or dict(zip(inputs, inputs)), how)
    raw = [cell.strip() for cell in first]
    spellings = [{name, cell} for name, cell in zip(file.names, raw)]
    if known:
        pairs = known.items() if isinstance(known, dict) else zip(known, known)
        wanted = [(served, {original, original.strip(), served}) for served, original in pairs]
    else:  # exports of before: only the inputs' names are known
        wanted = [(served, {served}) for served in inputs]
        spellings = [{served_name(name), served_name(cell)} for name, cell in zip(file.names, first)]
    taken = set().union(*(names for _, names in wanted))
    numbered = file.names if known else [served_name(name) for name in file.names]
    fits = {}
    for served, names in wanted:
        # of a repeated name, a column may be another of the model's by its number
        fits[served] = [
            place
            for place, spelling in enumerate(spellings)
            if spelling & names and (numbered[place] in names or numbered[place] not in taken)
        ]
    missing = sorted(served for served, places in fits.items() if not places)
    if missing:
        named = [known[name] for name in missing if known[name] != name] if isinstance(known, dict) else []
        spoken = f" (named {named})" if named else ""
        raise ValueError(f"--input: {path} has no columns {missing}{spoken} in its first line {first}. {how}")
    return [_place(path, served, fits[served], first) for served, _ in wanted]


def _unnamed_layout(path: str | Path, first: list[str], known: Mapping[str, str], how: str) -> list[int]:
    """Positions in a file without a header, of a model that was trained on one."""
    unnamed = [re.fullmatch(r"column_(\d+)", name) for name in known.values()]
    if not all(unnamed):
        raise ValueError(f"--input: {path} has no columns {list(known)} in its first line {first}. {how}")
    numbers = [int(match[1]) for match in unnamed]
    if len(first) == len(known):  # the label column is not there
        return [sorted(numbers).index(number) for number in numbers]
    if len(first) <= max(numbers):
        raise ValueError(f"--input: {path} has {len(first)} columns, the model takes {len(known)}. {how}")
    return numbers
