"""Data frames of any library, read through narwhals, as frames of pandas; and the names of their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import narwhals as nw
import pandas as pd

from tf_radogaga._core.stack import tf


@tf.autograph.experimental.do_not_convert  # it cannot read narwhals, and graphs call this
def to_pandas(value: Any) -> Any:
    """A pandas DataFrame of any data frame or table in memory (polars, pyarrow and others); anything else unchanged.

    Numbers and bools keep their type, columns of categories are categorical; other cells are Python's own values, and a
    cell without a value is None. Names keep their type.

    Raises:
        TypeError: a lazy frame, a list of dicts, or a table of a kind that narwhals does not know.
        ValueError: two columns have one name.
    """
    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        raise TypeError("rows: a list of dicts; give pd.DataFrame(rows).")
    try:
        frame = nw.from_native(value, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        told = " ".join(str(error).split())
        raise ValueError(f"columns: two have one name ({told}); rename one of them.") from error
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"rows: a lazy {type(value).__name__}, not read yet; call .collect() or .compute() first.")
    if isinstance(frame, nw.DataFrame):
        return pd.DataFrame({column.name: _pandas_column(column) for column in frame.iter_columns()})
    if hasattr(value, "__dataframe__"):
        raise TypeError(f"rows: a {type(value).__name__}; give a frame of pandas or polars, or a pyarrow Table.")
    return value


def _pandas_column(column: nw.Series) -> Any:
    if isinstance(column.dtype, (nw.Categorical, nw.Enum)):
        return pd.Categorical(column.to_list())
    wide = isinstance(column.dtype, (nw.Int128, nw.UInt128))  # NumPy has none
    plain = column.dtype.is_integer() or column.dtype.is_float() or column.dtype == nw.Boolean
    if plain and not wide and not column.null_count():
        return column.to_numpy()
    return pd.Series(column.to_list(), dtype=object)


def column_names(frame: pd.DataFrame) -> list[str] | None:
    """The names of a frame's columns as text, None where they are the numbers 0, 1, ... that pandas gives.

    Raises:
        ValueError: two names have one text.
    """
    names = list(frame.columns)
    if names == list(range(len(names))):
        return None
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts):
        raise ValueError(f"columns: names must differ, also as text, and are {names}; rename some of them.")
    return texts


def listed(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """The columns that an argument such as `categorical` names: one by its name alone, or an iterable of them.

    Raises:
        TypeError: neither.
    """
    if isinstance(names, str):
        return (names,)
    if isinstance(names, bytes) or not isinstance(names, (Iterable, type(None))):
        raise TypeError(f"categorical: {names!r} where names of columns are expected; give a list of them.")
    return () if names is None else tuple(names)


def check_names(frame: pd.DataFrame, known: Sequence[str] | None, argument: str = "rows") -> None:
    """Refuses a frame whose columns are not the `known` ones in their order; without these, one whose columns have
    numbers for names, 0 to M - 1, in another order.

    Raises:
        ValueError: the names, and those that belong there.
    """
    names = [str(name) for name in frame.columns]
    if known is None:
        known = [str(place) for place in range(len(names))]
        if set(names) != set(known):
            return
    if names != list(known):
        raise ValueError(
            f"{argument}: columns {names} where those of fit belong, {list(known)}; give these, in this order."
        )
