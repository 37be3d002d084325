"""Rows of a CSV file as data frames, to train on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .lines import Row, damage
from .numbers import MISSING, looks_like_based, looks_like_date, looks_like_number, unit_of
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
            first line, a cell that is no number in a numeric column, or a column of text that looks like numbers,
            dates or months, naming column and row.
    """
    with opened(path, options, text=text_columns) as file:
        reader, numeric, seen = file.reader, None, 0
        for block in iter(lambda: list(itertools.islice(file.rows, block_rows)), []):
            for row in block:
                if row.fault:
                    raise _broken(path, file, row)
            cells = dict(zip(file.names, zip(*(row.cells for row in block))))
            tried = [c for c in file.names if c not in text_columns] if numeric is None else numeric
            values = {column: reader.numbers(cells[column], column) for column in tried}
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
                        f" unlike most of the column (line {block[bad[0]].line}; header:"
                        f" {'yes' if reader.header else 'no'}, decimal {reader.decimal!r}); mend the cell, name the"
                        " column in categorical, or say --header or --decimal (header=, decimal=)."
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
        " that holds the separator without quotes may be why, or another separator (--separator, separator=)",
    )


def _check_text(path: str | Path, column: str, cells: Sequence[str], lines: list[int], reader: Reader) -> None:
    """Refuses a column of text that looks like numbers or dates: one-hot, it would lose what they mean."""
    filled = [place for place, cell in enumerate(cells) if cell.strip().lower() not in MISSING]
    numbers, dates, based = (
        [place for place in filled if looks(cells[place])]
        for looks in (looks_like_number, looks_like_date, looks_like_based)
    )
    if 2 * len(dates) > len(filled):
        place, what = dates[0], "is a date; convert it to a number, for example to seconds, leave the column out"
    elif 2 * len(based) > len(filled):
        place, what = based[0], "is a number, but not a decimal one; write it as a plain number, such as int(cell, 0)"
    elif 2 * len(numbers) > len(filled):
        unread = reader.numbers([cells[place] for place in numbers], column).isna()
        place = numbers[int(unread.argmax())]
        what = (
            f"looks like a number but is none with the separator {reader.separator!r}, the decimal mark"
            f" {reader.decimal!r} and the thousands mark {reader.thousands!r}; say how by --separator,"
            " --decimal or --thousands (separator=, ...), write it as a plain number"
            if unread.any()
            else "is a number, as most of the column but its missing cells; fill these, or leave out their rows"
        )
    elif unit := unit_of([cells[place] for place in filled]):
        place = next(place for place in filled if cells[place].strip().endswith(unit))
        what = f"is a number with the unit {unit!r}; write it as a plain number"
    else:
        return
    raise ValueError(
        f"{path}, column {column!r}, row {place}: {cells[place]!r} (line {lines[place]}) {what}, or name the column in"
        " categorical."
    )
