"""What the first lines of a CSV file tell: its separator, and whether the first of them is a header."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .lines import split
from .numbers import MISSING, is_cell, is_number, looks_like_based, looks_like_date, looks_like_number

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

YEARS = range(1900, 2101)
"""Whole numbers that name columns now and then."""


def sample_rows(lines: Sequence[str], whole: bool, separator: str, spaced: bool = False) -> list[list[str]]:
    """Rows of the first lines; the last is left out where the lines may end within it."""
    found = []
    try:
        for _, _, cells in split(lines, separator, spaced):
            found.append(cells)
    except csv.Error:
        return found
    return found if whole or len(found) < 2 else found[:-1]


def separator_of(path: object, lines: Sequence[str], whole: bool) -> str:
    """The separator that cuts all lines into the same number of cells, else the one that so cuts most of them.

    Of several it is the one whose cells hold no other, unless as the mark of a number, then the one of more numbers.

    Raises:
        ValueError: two do so equally well.
    """
    scores = {}
    for separator in SEPARATORS:
        rows = sample_rows(lines[:2000], whole and len(lines) <= 2000, separator)
        (width, count), *_ = Counter(map(len, rows)).most_common(1) or [(0, 0)]
        if width > 1:
            cells = [cell for row in rows[1:] or rows for cell in row]
            others = set(SEPARATORS) - {separator}
            numbers = [is_cell(cell) for cell in cells]
            whole_cells = [number or others.isdisjoint(cell) for cell, number in zip(cells, numbers)]
            shares = (sum(found) / max(len(cells), 1) for found in (whole_cells, numbers))
            scores[separator] = count == len(rows), count / len(rows) > 0.5, *shares
    if not scores:
        return ","
    best = [separator for separator, score in scores.items() if score == max(scores.values())]
    if len(best) > 1:
        names = [SEPARATORS[separator] for separator in best]
        raise ValueError(
            f"{path}: {' and '.join(names)} separate its cells equally well; say which by --separator (separator=)."
        )
    return best[0]


class Header(NamedTuple):
    """is_there: the first line holds names. reason: why. sure: no other reading is likely."""

    is_there: bool
    reason: str
    sure: bool


def header_of(rows: Sequence[Sequence[str]]) -> Header:
    """Whether the first row holds names: they differ in kind from the cells below, or number the columns.

    A line without a number is a header, unless its texts occur again below it; a line with numbers is none, unless
    these count the columns from 0, as pandas names those of a matrix, or are years.
    """
    first, *below = rows
    present = [cell.strip().lower() not in MISSING for cell in first]
    columns = [
        [row[place] for row in below[:1000] if place < len(row) and row[place].strip().lower() not in MISSING]
        for place in range(len(first))
    ]
    numeric = {place for place, cells in enumerate(columns) if cells and all(map(is_number, cells))}
    mostly = {place for place, cells in enumerate(columns) if 2 * sum(map(is_number, cells)) > len(cells)}
    digits = [
        place
        for place, cell in enumerate(first)
        if present[place]
        and (looks_like_number(cell) or ((looks_like_date(cell) or looks_like_based(cell)) and place not in mostly))
    ]
    texts = [place for place in range(len(first)) if present[place] and place not in digits]
    again = any(first[place] in columns[place] for place in texts)
    if not texts and not digits:
        return Header(False, "the first line is empty", True)
    if not digits:
        if any(place in mostly for place in texts):
            return Header(True, "names over numbers", True)
        if again:
            return Header(False, "the texts of the first line occur again below it", False)
        if not all(present[place] or not cell.strip() for place, cell in enumerate(first)):
            return Header(False, "the first line lacks values", False)
        return Header(True, "the first line holds no number", False)
    values = [first[place].strip() for place in digits]
    body = [cell for place in digits for cell in columns[place]]
    decimals = bool(body) and not any(cell.strip().lstrip("+-").isdecimal() for cell in body)
    over_numbers = any(place in numeric for place in texts)
    if not again and all(value.isdecimal() for value in values):
        if values == [str(number) for number in range(len(values))] and set(digits) <= mostly:
            if len(digits) == 1:
                return Header(decimals or over_numbers, "the first line counts the columns from 0", decimals)
            if list(first) in map(list, below):
                return Header(False, "the first line counts from 0, and occurs again below", False)
            return Header(True, "the first line counts the columns from 0", decimals or len(digits) > 4)
        years = len(set(values)) == len(values) and all(int(value) in YEARS for value in values)
        if years and not any(cell.strip().isdecimal() and int(cell) in YEARS for cell in body):
            if decimals or over_numbers:
                return Header(True, "the first line holds years, unlike those below", decimals and over_numbers)
            return Header(False, "the first line holds numbers", False)
        if _in_steps(values) and decimals:
            return Header(True, "the first line counts in equal steps, with decimals below", False)
    sure = (again or not texts) and not _in_steps(values)
    return Header(False, "the first line holds numbers as the lines below do", sure)


def _in_steps(values: Sequence[str]) -> bool:
    """Of three numbers and more: each is greater than the one before by the same."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return False
    steps = [after - before for before, after in zip(numbers, numbers[1:])]
    return len(steps) > 1 and steps[0] > 0 and all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)
