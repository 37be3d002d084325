"""Which cells are numbers: decimal and thousands marks, percent signs, and what looks like a number or a date."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

MISSING = frozenset(
    ["", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "null", "none", "?", "-", "--", ".", "#div/0!", "#value!", "#num!"]
)
"""Cells, in lower case, that say that there is no value; as a line's they are neither names nor numbers."""

_GROUPED = r"[0-9]{1,3}(?:(?P<thousands>[,.'\u2019\u00a0\u202f])[0-9]{3})(?:(?P=thousands)[0-9]{3})*"
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_LONG_EXPONENT = re.compile(r"[eE][+-]?[0-9]{4}").search
_CELL = re.compile(
    rf"[+-]?(?=[.,]?[0-9])(?P<whole>{_GROUPED}|[0-9]*)(?:(?P<decimal>[.,])[0-9]*)?{_EXPONENT}\s*(?P<percent>%?)",
    re.ASCII,
)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)

_LOOSE = r"(?:\d{1,3}(?:[.'\u2019_]\d{3})+(?:[.,]\d+)?|\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?|\d+[.,]?\d*|[.,]\d+)"
_LOOSE += r"(?:[eEdD][+-]?\d+)?"
_LONGEST = 50
"""Characters of a cell that formats are looked for in; on long ones the patterns take seconds."""
_SIGNED = re.compile(rf"[+\-\u2212]?{_LOOSE}")
_UNIT = re.compile(rf"[+\-\u2212]?{_LOOSE}\s*([^\W\d_][\w/]*|[°µ\"'].*)")
_CURRENCY = r"(?:[$€£¥₹₽₩]|USD|EUR|GBP|JPY|CHF)"
_LOOKS = re.compile(rf"\(?[+\-\u2212]?\s*{_CURRENCY}?\s*[+\-\u2212]?{_LOOSE}\s*(?:[%‰-]|{_CURRENCY})?\s*\)?")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[ap]m)?\s*(?:z|utc|[+-]\d{2}:?\d{2})?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_DAY = (
    rf"{_WEEKDAY}(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}[- ]{_MONTH}[- ,]*\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
)
_SPAN = rf"-?\d+ days?(?: [+-]?{_TIME})?"
_NAMED = "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
_NAMED += r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
_YEAR, _PART = "(?:19|20)[0-9]{2}", "(?:0?[1-9]|1[0-2])"
# of a year without a century, only what spreadsheets write: Jan-24
_PERIOD = rf"(?:{_YEAR}[-/]{_PART}|{_PART}[-/]{_YEAR}|{_NAMED}[- ,/]*{_YEAR}|{_NAMED}-[0-9]{{2}}|{_YEAR}[- ,/]*{_NAMED}"
_PERIOD += rf"|{_YEAR}[- /]?Q[1-4]|Q[1-4][- /]?{_YEAR}|{_YEAR}-?W[0-5][0-9](?:-?[1-7])?)"
_DATE = re.compile(rf"(?:{_DAY}(?:[t ,]\s*{_TIME})?|{_TIME}|{_SPAN}|{_PERIOD}|\d{{8}}t\d{{4,6}}z?)", re.IGNORECASE)
_BASED = re.compile(r"[+-]?0(?:x[0-9a-f]{1,16}|b[01]{1,64}|o[0-7]{1,22})", re.IGNORECASE)
"""Whole numbers of 64 bits; longer ones are digests and addresses."""


def is_number(cell: str) -> bool:
    """In any of the usual formats."""
    return is_cell(cell) or bool(_INFINITE.fullmatch(cell.strip()))


def is_cell(cell: str) -> bool:
    return _match(cell) is not None


def _match(cell: str) -> re.Match | None:
    found = _CELL.fullmatch(cell.strip())
    return found if found and found["thousands"] != (found["decimal"] or "") else None


def looks_like_number(cell: str) -> bool:
    """A number of some format, also one that is not read here: $12, 1 234, (5), '7', two numbers in a cell."""
    cell = cell.strip().strip("'\"")
    if len(cell) > _LONGEST:
        return is_number(cell)
    parts = cell.split()
    several = bool(parts) and all(map(_SIGNED.fullmatch, parts))
    return several or bool(_LOOKS.fullmatch(cell.strip())) or is_number(cell)


def unit_of(cells: Sequence[str]) -> str | None:
    """What stands behind the number in most of these cells, such as kg, where their numbers are more than a few."""
    found = [match for match in (_UNIT.fullmatch(cell.strip()) for cell in cells if len(cell) < _LONGEST) if match]
    (unit, count), *_ = Counter(match[1] for match in found).most_common(1) or [("", 0)]
    several = len({match[0] for match in found if match[1] == unit}) > 10
    return unit if several and 2 * count > len(cells) else None


def looks_like_date(cell: str) -> bool:
    """A date, a time of day, both, a month, quarter or week of a year, or a span of days."""
    return bool(_DATE.fullmatch(cell.strip()))


def looks_like_based(cell: str) -> bool:
    """A hexadecimal, binary or octal number, such as 0x4d."""
    return bool(_BASED.fullmatch(cell.strip()))


class Format(NamedTuple):
    """decimal: mark. thousands: mark between groups of three digits, or None. percent: columns that end in %."""

    decimal: str
    thousands: str | None
    percent: tuple[str, ...]


def decide(
    columns: Mapping[str, Sequence[str]], decimal: str | None, thousands: str | None, strict: bool, separator: str = ","
) -> Format:
    """The marks of numbers that a file's cells prove, besides those that are given.

    Args:
        columns: cells by name, of columns that may hold numbers.
        decimal, thousands: marks, where known.
        strict: refuse what is ambiguous; else it is read with a decimal point.
        separator: of cells; beside semicolons a point may well be a thousands mark.

    Raises:
        ValueError: cells that contradict each other, or that have two readings, naming one of them.
    """
    decimals: dict[str, str] = {}
    groups: dict[str, str] = {}
    either: dict[str, str] = {}  # 1,234 is one number with a thousands mark, another with a decimal mark
    percent = []
    for name, cells in columns.items():
        cells = [cell for cell in cells if cell.strip().lower() not in MISSING]
        found = [match for match in map(_match, cells) if match]
        if 2 * len(found) <= len(cells):
            continue
        if all(match["percent"] for match in found) and len(found) == len(cells):
            percent.append(name)
        for match in found:
            where, mark = f"column {name!r}: {match[0]!r}", match["thousands"]
            if match["decimal"]:
                decimals.setdefault(match["decimal"], where)
            if not mark:
                continue
            if match["decimal"] or mark not in ".," or match["whole"].count(mark) > 1:
                groups.setdefault(mark, where)
                if mark in ".,":
                    decimals.setdefault("." if mark == "," else ",", where)
            elif match["whole"].startswith("0"):
                decimals.setdefault(mark, where)
            else:
                either.setdefault(mark, where)
    remedy = "give --decimal or --thousands (decimal=, thousands=), or name the column in categorical"
    if decimal is None:
        known = {mark: where for mark, where in decimals.items() if mark != thousands}
        if len(known) > 1 and strict:
            raise ValueError(
                f"decimal: {' but '.join(known.values())}; write all numbers with one decimal mark, or name the column"
                " in categorical."
            )
        unclear = either.get(",") or (either.get(".") if separator == ";" else None)
        if not known and thousands is None and unclear and strict:
            raise ValueError(f"decimal: {unclear} may have a decimal or a thousands mark; {remedy}.")
        decimal = next(iter(known)) if len(known) == 1 else "," if thousands == "." else "."
        if not decimals and not strict:
            either.pop(",", None)
    if thousands is None:
        marks = {mark: where for mark, where in {**either, **groups}.items() if mark != decimal}
        if len(marks) > 1 and strict:
            raise ValueError(f"thousands: {' but '.join(marks.values())}; {remedy}.")
        thousands = next(iter(marks)) if len(marks) == 1 else None
    return Format(decimal, thousands, tuple(percent))


def numbers(cells: Iterable[str], decimal: str, thousands: str | None, percent: bool) -> pd.Series:
    """Cells as numbers, NaN where a cell is none in this format; int64 where all of them are whole.

    percent: "12%" is 0.12, and a cell without the sign is none.
    """
    if decimal != "." or thousands or percent:
        mark = re.escape(thousands) if thousands else "(?!)"
        whole = rf"(?:[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}|[0-9]+)"
        form = rf"[+-]?(?:{whole}(?:{re.escape(decimal)}[0-9]*)?|{re.escape(decimal)}[0-9]+){_EXPONENT}"
        fits = re.compile(form + (r"\s*%" if percent else "")).fullmatch
        plain = str.maketrans({**({thousands: None} if thousands else {}), decimal: ".", "%": None})
        cells = [cell.translate(plain) if fits(cell) else "" for cell in map(str.strip, cells)]
    else:
        cells = [cell.strip() for cell in cells]  # spaces that do not break too
    values = to_numeric(pd.Series(cells, dtype=object))
    if values.dtype.kind != "i":  # pandas leaves out digits behind the 17th, zeros before them counted
        exact = [_float(cell) if number else np.nan for cell, number in zip(cells, values.notna())]
        values = pd.Series(exact, dtype="float64")
    return values / 100 if percent else values


def to_numeric(cells: pd.Series) -> pd.Series:
    """Numbers, NaN where a cell is none. pandas 2 ends the process at exponents such as that of 1e1520214917428."""
    if not pd.api.types.is_numeric_dtype(cells):
        cells = cells.map(lambda cell: str(_float(cell)) if isinstance(cell, str) and _LONG_EXPONENT(cell) else cell)
    return pd.to_numeric(cells, errors="coerce")


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:  # such as "1e 5", which pandas takes
        return np.nan
