"""Rows of a CSV file as data frames, to train on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .lines import Row, damage
from .numbers import MISSING, looks_like_date, looks_like_number
from .reading import CsvFile, Options, Reader, opened

BLOCK_ROWS = 65536

_TEXT = pd.Series([""]).dtype  # object before pandas 3


def read_csv(
    path: str | Path, options: Options, text_columns: tuple[str, ...], block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
    """A CSV file in blocks of rows, each with how the file is read; see `tabular.read_table`.

    A column is numeric where most of its cells are numbers in the first block, else text, kept to the letter; so are
    `text_columns`. An empty cell is a missing value.

    Raises:
        ValueError: an empty or damaged file, one that can be read in two ways, a row of more or fewer cells than the
            first line, a cell that is no number in a numeric column, or a column of text that looks like numbers or
            dates, naming column and row.
    """
    with opened(path, options, text=text_columns) as file:
        reader, numeric, seen = file.reader, None, 0
        for block in iter(lambda: list(itertools.islice(file.rows, block_rows)), []):
            for row in block:
                if row.fault:
                    raise _broken(path, file, row)
            cells = dict(zip(file.names, zip(*(row.cells for row in block))))
            values = {
                c: reader.numbers(v, c) for c, v in cells.items() if c not in text_columns and c in (numeric or cells)
            }
            if numeric is None:
                filled = {column: len(texts) - texts.count("") for column, texts in cells.items()}
                numeric = [c for c, found in values.items() if 2 * found.notna().sum() > filled[c]]
                for column in (c for c in values if c not in numeric):
                    _check_text(path, column, cells[column], [row.line for row in block], reader)
            for column in numeric:
                bad = [i for i in np.flatnonzero(values[column].isna()) if cells[column][i]]
                if bad:
                    raise ValueError(
                        f"{path}, column {column!r}, row {seen + bad[0]}: {cells[column][bad[0]]!r} is no number,"
                        f" unlike most of the column (line {block[bad[0]].line}; read with {reader}); mend the cell,"
                        " name the column in categorical, or say how the file is to be read."
                    )
            index = range(seen, seen + len(block))
            columns = [
                values[column].set_axis(index)
                if column in numeric
                else pd.Series([text or np.nan for text in texts], index, dtype=_TEXT)
                for column, texts in cells.items()
            ]
            yield pd.concat(columns, axis=1, keys=file.names), reader.as_dict()
            seen += len(block)
    if not seen:
        raise ValueError(f"{path}: the table is empty.")


def _broken(path: str | Path, file: CsvFile, row: Row) -> ValueError:
    seen, width = len(row.cells), len(file.first)
    if seen == width:
        return damage(path, f"line {row.line}: {row.fault}")
    return damage(
        path,
        f"expected {width} cells, as in line {file.line}, but in line {row.line}, saw {seen};"
        f" separator {file.reader.separator!r}. A title above the header, a separator at the end of lines, or a cell"
        " that holds the separator without quotes may be why",
    )


def _check_text(path: str | Path, column: str, cells: Sequence[str], lines: list[int], reader: Reader) -> None:
    """Refuses a column of text that looks like numbers or dates: one-hot, it would lose what they mean."""
    filled = [(cell, line) for cell, line in zip(cells, lines) if cell.strip().lower() not in MISSING]
    for looks, kind, remedy in (
        (
            looks_like_number,
            "a number",
            "say how by --decimal, --thousands or --separator (decimal=, ...), mend the cells",
        ),
        (looks_like_date, "a date", "convert it to a number, for example to seconds, leave the column out"),
    ):
        found = [(cell, line) for cell, line in filled if looks(cell)]
        if 2 * len(found) > len(filled):
            cell, line = next((f for f in found if reader.numbers([f[0]], column).isna()[0]), found[0])
            raise ValueError(
                f"{path}, column {column!r}, line {line}: {cell!r} looks like {kind}, as most of the column, but not"
                f" all are read as numbers with {reader}; {remedy}, or name the column in categorical."
            )
