"""The cells of a user's columns as numbers or as levels, or an error that names the column and the row; and levels that
are one but for the way they are written: spaces around them, integral numbers, bools and dates."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype, is_scalar

from tf_radogaga._core.stack import tf

TIMES = (datetime.date, datetime.time, datetime.timedelta, pd.Period, np.datetime64, np.timedelta64)

_FORMS = (
    (r"\A[\s\v\pZ]+|[\s\v\pZ\x00]+\z", ""),
    (r"\A([+-]?[0-9]+)\.0*\z", r"\1"),
    (r"\A\+([0-9]+)\z|\A-(0+)\z", r"\1\2"),
    (r"\A([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]00:00:00(?:\.0+)?\z", r"\1"),  # pandas leaves midnights out of files
    (r"\A(?i:true)\z", "1"),
    (r"\A(?i:false)\z", "0"),
)
"""Regular expressions of RE2, and what stands for them."""


def array_of(values: Any, name: str, dtype: Any = None) -> np.ndarray:
    """An array of what a user holds. A masked cell is a missing one: NaN among numbers, None among others.

    Args:
        values: an array or sequence.
        name: what messages call it.
        dtype: of the result, where it matters.

    Raises:
        TypeError: an iterator, a mapping or set, a sparse matrix, or a structured array; with the remedy.
        ValueError: lists of different lengths.
    """
    if scipy.sparse.issparse(values):
        raise TypeError(f"{name}: a sparse {type(values).__name__}; make it dense by .toarray().")
    if isinstance(values, Iterator):
        raise TypeError(f"{name}: a {type(values).__name__}, which can be read only once; give list(...) of it.")
    if isinstance(values, (Mapping, Set)):
        raise TypeError(f"{name}: a {type(values).__name__}, which has no rows in order; give pd.DataFrame(...) of it.")
    if isinstance(values, (list, tuple)) and any(map(np.ma.isMaskedArray, values)):
        values = np.ma.array(values)
    try:
        array = np.asarray(values) if np.ma.isMaskedArray(values) else np.asarray(values, dtype)
    except ValueError as error:
        raise ValueError(f"{name}: lists where one number for each row is expected.") from error
    if array.dtype.names:
        raise TypeError(f"{name}: a structured array of {array.dtype.names}; give pd.DataFrame(...) of it.")
    if np.ma.is_masked(values):
        number = array.dtype.kind in "fiub"
        array = array.astype(np.result_type(array.dtype, np.float16) if number else object)
        array[np.ma.getmaskarray(values)] = np.nan if number else None
    return array if dtype is None else array.astype(dtype, copy=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, Decimal, np.bool_)) and not isinstance(value, np.timedelta64)


def _is_missing(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or value is np.ma.masked or (is_scalar(value) and bool(pd.isna(value)))


def _as_float(value: Any) -> float:
    if _is_missing(value):
        return np.nan
    try:
        return float(value)
    except OverflowError:  # an int beyond float64
        return np.inf


def check_finite(values: np.ndarray, column: str, first_row: int, dtype: Any = np.float32) -> None:
    """Refuses a column of numbers of which `dtype` cannot hold one, or that lacks one.

    Raises:
        ValueError: with column and row.
    """
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(dtype)))
    if bad.size:
        raise ValueError(
            f"column {column!r}, row {first_row + bad[0]}: {values[bad[0]]} is not a finite {np.dtype(dtype)} number"
            f" ({bad.size} such rows in this column); drop or impute these rows first."
        )


def numbers(values: Any, column: str, first_row: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """One column as float64, (B,), each number of which `dtype` can hold.

    Raises:
        TypeError: a cell that is no number, with column and row.
        ValueError: a missing or non-finite number, with column and row; or not one number for each row.
    """
    array = array_of(values, f"column {column!r}")
    if array.ndim != 1:
        raise ValueError(f"column {column!r}: shape {array.shape} where one number for each row is expected.")
    if array.dtype.kind not in "fiub":
        plain = array.dtype.kind in "USc"  # NumPy 2 names the type of a scalar in its repr
        for row, value in enumerate(array.tolist() if plain else array):
            if not (_is_number(value) or _is_missing(value)):
                raise TypeError(
                    f"column {column!r}, row {first_row + row}: {value!r} (dtype {array.dtype}) where a number"
                    f" belongs; {_remedy(value, column)}."
                )
        array = np.array([_as_float(value) for value in array], np.float64)
    array = array.astype(np.float64)
    check_finite(array, column, first_row, dtype)
    return array


def _remedy(value: Any, column: str) -> str:
    if isinstance(value, TIMES):
        times = f"(pd.to_datetime(frame[{column!r}]) - pd.Timestamp('2024-01-01'))"
        if isinstance(value, (datetime.timedelta, np.timedelta64)):
            times = f"frame[{column!r}]"
        return f"make seconds of it, the same way for training and scoring, for example {times}.dt.total_seconds()"
    if isinstance(value, (Iterable, complex)) and not isinstance(value, (str, bytes)):
        return "give each row one real number, for example in columns of their own"
    return "convert the column to numbers, or train with it as a categorical column"


def is_text(values: pd.Series, column: str, first_row: int = 0) -> bool:
    """Whether a column holds levels: text, categories, bools, and what is no number.

    Raises:
        TypeError: dates or times, which are neither numbers nor a few levels, unless they are categories.
    """
    if isinstance(values.dtype, pd.CategoricalDtype) or is_bool_dtype(values):
        return True
    if is_numeric_dtype(values):
        return False
    # of columns of one type one cell tells
    cells = values if is_object_dtype(values) else values.dropna().iloc[:1]
    for row, value in enumerate(cells):
        if isinstance(value, TIMES) and not _is_missing(value):
            raise TypeError(
                f"column {column!r}, row {first_row + row}: {value!r} where a number or a level belongs;"
                f" {_remedy(value, column)}, or name the column in categorical, to make a level of each."
            )
    if not is_object_dtype(values) or all(isinstance(value, (bool, np.bool_)) for value in cells):
        return True
    return not all(_is_number(value) or _is_missing(value) for value in cells)


def level(value: Any) -> str:
    """One level as text, the same whether it came as an int, an integral float or text. NULs at its end are no part of
    it: NumPy's text has none, and so the vocabulary of a lookup."""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if type(value) is str:  # most are
        return value.rstrip("\0")
    whole = isinstance(value, (float, np.floating)) and value.is_integer()
    return str(int(value) if whole else value).rstrip("\0")


def levels(values: Any, column: str, first_row: int = 0) -> np.ndarray:
    """One column of levels as text, (B,) of str objects.

    Raises:
        TypeError: a cell that holds several values, or whose text would differ in another process; with column and row.
        ValueError: a missing level, with column and row; or not one for each row.
    """
    if tf.is_tensor(values):
        values = values.numpy()
    array = array_of(values, f"column {column!r}", object)
    if array.ndim != 1:
        raise ValueError(f"column {column!r}: shape {array.shape} where one level for each row is expected.")
    missing = [row for row, value in enumerate(array) if not isinstance(value, str) and _is_missing(value)]
    if missing:
        raise ValueError(
            f"column {column!r}, row {first_row + missing[0]}: no value ({len(missing)} such rows in this column); drop"
            " these rows, or name the missing level, for example 'unknown'."
        )
    for row, value in enumerate(array):
        if not isinstance(value, (str, bytes, Real)) and not _has_text(value):
            raise TypeError(
                f"column {column!r}, row {first_row + row}: {value!r} where one level belongs; give text, or one"
                " number, for each row."
            )
    texts = [level(value) for value in array]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(texts) if text.encode(errors="ignore").decode() != text)
        raise ValueError(
            f"column {column!r}, row {first_row + row}: {texts[row]!r} holds bytes that are no text; read the file in"
            " its own encoding."
        ) from None
    return np.array(texts, object)


def _has_text(value: Any) -> bool:
    """Whether the text of an object tells its value: not of collections, nor where it is the address in memory."""
    several = isinstance(value, (Iterable, complex)) and not isinstance(value, (str, bytes))
    return not several and (type(value).__str__, type(value).__repr__) != (object.__str__, object.__repr__)


def same_texts(values: Iterable[Any], texts: Iterable[str], seen: dict[str, Any], column: str) -> None:
    """Refuses two different levels of one text. Text itself is the level that reads so.

    Args:
        values, texts: cells, and their `level`.
        seen: text -> level, of the cells before; filled.

    Raises:
        ValueError: the levels, and the column.
    """
    for value, text in zip(values, texts):
        if not isinstance(value, (str, bytes)) and seen.setdefault(text, value) != value:
            raise ValueError(
                f"column {column!r}: {seen[text]!r} and {value!r} are different levels, but both read {text!r}; give"
                " them texts that differ."
            )


def canonical(texts: tf.Tensor) -> tf.Tensor:
    """One text for all writings of a level: "blue" for "blue ", "1" for "1.0", "+1", "True" and "true", (B,)."""
    for pattern, text in _FORMS:
        texts = tf.strings.regex_replace(texts, pattern, text)
    return texts


def blank(texts: tf.Tensor) -> tf.Tensor:
    """Which texts are empty but for spaces, (B,) bool."""
    return tf.strings.regex_full_match(texts, r"[\s\v\pZ\x00]*")


def blanks(levels: Sequence[str] | np.ndarray) -> np.ndarray:
    """`blank` of levels, (B,) bool, at once."""
    with tf.init_scope():
        return blank(tf.constant(list(levels), tf.string)).numpy()


def spellings(levels: Sequence[str]) -> list[str]:
    """The canonical text of each level; for those of one text, such as "a" and "a ", one that no writing has: they are
    told apart by the letter alone."""
    with tf.init_scope():
        texts = [text.decode() for text in canonical(tf.constant(list(levels), tf.string)).numpy()]
    count = Counter(texts)
    return [text if count[text] == 1 else f"{place} " for place, text in enumerate(texts)]
