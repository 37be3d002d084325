"""How one CSV file is read: what is given by the user, else kept with the model, else decided by the file."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import io
import itertools
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from . import numbers
from .decisions import SEPARATORS, Header, header_of, sample_rows, separator_of
from .lines import COMPRESSIONS, DAMAGE, Lines, OpenFile, Row, damage, decompressed, plain_file, rows


class Options(NamedTuple):
    """What the user says of a file; None, and "auto" for the header, where the file decides.

    separator: of cells, one character. decimal: mark, "." or ",". thousands: mark between groups of digits. encoding:
    of the text.
    """

    header: str = "auto"
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None

    def checked(self) -> Options:
        """With the separator's name read.

        Raises:
            ValueError: a value that cannot be, naming it.
        """
        if self.header not in ("auto", "yes", "no"):
            raise ValueError(f"header: {self.header!r} is not one of ('auto', 'yes', 'no').")
        names: dict[str | None, str | None] = {name: mark for mark, name in SEPARATORS.items()}
        separator = {**names, "\\t": "\t", "space": " "}.get(self.separator, self.separator)
        if separator is not None and (len(separator) != 1 or separator in '"\r\n\0'):
            raise ValueError(f"separator: {self.separator!r} is not one character; give for example ';' or 'tab'.")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal: {self.decimal!r} is not '.' or ','.")
        if self.thousands is not None and (len(self.thousands) != 1 or self.thousands.isalnum()):
            raise ValueError(f"thousands: {self.thousands!r} is not one mark, such as ',' or '.'.")
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"thousands: {self.thousands!r} is the decimal mark too; give another.")
        return self._replace(separator=separator)


@dataclasses.dataclass(frozen=True)
class Reader:
    """How a CSV file is read, as JSON holds it.

    separator, decimal, thousands, encoding: as in `Options`. header: the first line holds names, for the reason in
    `header_reason`. spaced: a space stands behind each separator and belongs to no cell. percent: columns whose cells
    end in %, which are read as hundredths. compression: of the file, by the end of its name.
    """

    separator: str = ","
    decimal: str = "."
    thousands: str | None = None
    header: bool = True
    header_reason: str = ""
    encoding: str = "utf-8"
    compression: str | None = None
    spaced: bool = False
    percent: tuple[str, ...] = ()

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> Reader | None:
        """The reader that a model's card holds; None where it holds none."""
        if not kept:
            return None
        known = {field.name for field in dataclasses.fields(cls)}
        reader = cls(**{name: value for name, value in kept.items() if name in known})
        return dataclasses.replace(reader, percent=tuple(reader.percent))

    def as_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "percent": list(self.percent)}

    def numbers(self, cells: Collection[str], column: str) -> pd.Series:
        """Cells of a column as numbers, NaN where one is none."""
        return numbers.numbers(cells, self.decimal, self.thousands, column in self.percent)

    def __str__(self) -> str:
        said = [
            f"separator {self.separator!r}",
            f"decimal {self.decimal!r}",
            f"thousands {self.thousands!r}" if self.thousands else "no thousands mark",
            f"header: {'yes' if self.header else 'no'} ({self.header_reason})",
            f"encoding {self.encoding}",
            self.compression or "not compressed",
        ]
        return ", ".join([*said, f"percentages {list(self.percent)}"] if self.percent else said)


class CsvFile(NamedTuple):
    """An open file. first: cells of its first line, of number `line`. names: of the columns. rows: those below."""

    reader: Reader
    line: int
    first: list[str]
    names: list[str]
    rows: Iterator[Row]


@contextlib.contextmanager
def opened(
    path: str | Path,
    options: Options,
    kept: Reader | None = None,
    text: Collection[str] = (),
    expected: Callable[[str], bool] | None = None,
    width: int | None = None,
    open_file: OpenFile = plain_file,
) -> Iterator[CsvFile]:
    """A CSV file whose reader is decided: by the options, else as kept, else by its first lines.

    Args:
        path: the file.
        options: of the user.
        kept: with the model that is to score the file; None in training.
        text: columns that hold no numbers, whatever they look like.
        expected: whether a name is one of the model's, where the file is to be scored; None in training, where what is
            ambiguous is refused.
        width: number of columns that the model takes.
        open_file: opens the bytes of a path, still compressed.

    Raises:
        ValueError: an empty or damaged file, or one that can be read in two ways, naming what decides.
    """
    options = options.checked()
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open_file(str(path)))
        try:
            handle = stack.enter_context(decompressed(path, handle))
        except DAMAGE as error:
            raise damage(path, error) from error
        lines = Lines(path, handle, options.encoding, kept.encoding if kept else None)
        separator = options.separator or (kept.separator if kept else separator_of(path, lines.sample, lines.whole))
        raw = sample_rows(lines.sample, lines.whole, separator)
        if not raw:
            if lines.sample and any(map(str.strip, lines.sample)):
                next(rows(lines, separator, False, False))  # says what is wrong
            raise ValueError(f"{path}: the table is empty, as the file is empty.")
        spaces = all(len(row) > 1 and all(cell.startswith(" ") for cell in row[1:]) for row in raw)
        spaced = separator == " " or (spaces and (expected is None or kept is not None))
        sample = sample_rows(lines.sample, lines.whole, separator, spaced)
        header = _header(sample, options, kept, expected, width)
        fits = not header.is_there and len(sample[0]) == width
        trailing = len(sample[0]) > 1 and all(not row[-1].strip() for row in sample) and not fits
        every = rows(lines, separator, spaced, trailing)
        start = next(every)
        names = names_of(start.cells) if header.is_there else [f"column_{i}" for i in range(len(start.cells))]
        if expected is None and header.is_there:
            _tell_numbered(path, start.cells, names)
        below = sample[1:] if header.is_there else sample
        columns = {
            name: [row[place] for row in below if place < len(row)]
            for place, name in enumerate(names)
            if name not in text
        }
        decimal, thousands, percent = _format(path, columns, options, kept, separator, strict=expected is None)
        yield CsvFile(
            Reader(
                separator=separator,
                decimal=decimal,
                thousands=thousands,
                header=header.is_there,
                header_reason=header.reason,
                encoding=lines.encoding.replace("-sig", ""),
                compression=COMPRESSIONS.get(Path(str(path)).suffix.lower()),
                spaced=spaced,
                percent=percent,
            ),
            start.line,
            start.cells,
            names,
            every if header.is_there else itertools.chain([start], every),
        )


def _format(
    path: str | Path, columns: dict[str, list[str]], options: Options, kept: Reader | None, separator: str, strict: bool
) -> numbers.Format:
    """Of the numbers: as given, else as kept, else as the columns' cells prove."""
    if kept:
        thousands = options.thousands or (None if options.decimal else kept.thousands)
        found = numbers.Format(options.decimal or kept.decimal, thousands, kept.percent)
        if found.decimal == thousands:
            raise ValueError(f"thousands: {thousands!r} is the decimal mark too; give --decimal with it.")
        _fits(path, columns, found.decimal, thousands)
        return found
    try:
        found = numbers.decide(columns, options.decimal, options.thousands, strict, separator)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    # a model that is to score may have been trained on 12 as well as on 0.12
    return found if strict else found._replace(percent=())


def _fits(path: str | Path, columns: Mapping[str, Sequence[str]], decimal: str, thousands: str | None) -> None:
    """Refuses a file whose numbers have other marks than the model's reader knows, but for a few of them."""
    cells = [cell.strip(" %") for column in columns.values() for cell in column if numbers.is_cell(cell)]
    marked = [cell for cell in cells if not cell.lstrip("+-").isdigit()]
    odd = numbers.numbers(marked, decimal, thousands, False).isna().to_numpy()
    if 2 * odd.sum() > len(marked) and 4 * odd.sum() > len(cells):
        raise ValueError(
            f"{path}: numbers such as {marked[int(odd.argmax())]!r} have not the decimal mark {decimal!r} of the file"
            " that the model was trained on; give --decimal and --thousands."
        )


def _header(
    sample: list[list[str]],
    options: Options,
    kept: Reader | None,
    expected: Callable[[str], bool] | None,
    width: int | None,
) -> Header:
    if options.header != "auto":
        return Header(options.header == "yes", "as given", True)
    found = header_of(sample)
    if expected is None:
        if not found.sure:
            warnings.warn(
                f"header: the first line {sample[0]} is read as {'names' if found.is_there else 'values'}"
                f" ({found.reason}); say --header yes or no (header=) where that is wrong.",
                stacklevel=4,
            )
        return found
    here = {name for name in map(str.strip, sample[0]) if expected(name)}
    names = not all(map(numbers.is_number, here)) or found.is_there or (len(here) == width and len(here) > 1)
    if here and (names or (kept and kept.header)):
        return Header(True, "it holds names of the model", True)
    if kept and not found.sure:
        return Header(kept.header, "as the model was trained", True)
    return found


def _tell_numbered(path: str | Path, cells: list[str], names: list[str]) -> None:
    numbered = [name for cell, name in zip(cells, names) if cell.strip() != name]
    if numbered:
        warnings.warn(
            f"{path}: names of columns that are empty or repeated are read as {numbered}; name them, and leave out a"
            " column that only counts the rows.",
            stacklevel=4,
        )


def names_of(cells: list[str]) -> list[str]:
    """Names of columns from a header, without spaces around them; repeated and empty ones are numbered by pandas."""
    line = io.StringIO()
    csv.writer(line).writerow([cell.strip() for cell in cells])
    return list(pd.read_csv(io.StringIO(line.getvalue()), nrows=0).columns)


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """The fields of `Options`, as arguments of a script."""
    add = parser.add_argument
    add("--header", choices=("auto", "yes", "no"), default="auto", help="does the first line hold names?")
    add("--separator", help="of cells: one character, or tab (default: decided by the file, or as trained)")
    add("--decimal", choices=(".", ","), help="mark of decimals (default: decided by the file, or as trained)")
    add("--thousands", help="mark between groups of digits (default: decided by the file, or as trained)")
    add("--encoding", help="of the text, such as latin-1 (default: as trained, else UTF-8, or by its byte order mark)")
