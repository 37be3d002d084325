"""CSV files as the inputs of an exported model, in blocks of rows, and its scores as CSV files.

A model of named columns finds them by the header, in any order, and ignores others; a model of one matrix, or of a
file without a header, takes columns by position. Cells become numbers where the model takes numbers, NaN where there
is none, which the model answers by valid = False. A row of another number of cells than the file's first is broken:
its scores are blanked here, as no model may know.
"""

from __future__ import annotations

import argparse
import csv
import gc
import gzip
import io
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypedDict

import numpy as np
import pandas as pd
import tensorflow as tf
from arguments import positive
from tqdm import tqdm

Inputs = Mapping[str, tf.TensorSpec]
"""A signature's inputs by name: one matrix `features` (B, M) float32, or a (B,) float32 or string for each column."""


def matrix_of(inputs: Inputs) -> tf.TensorSpec | None:
    """The one matrix of a model, (B, M); None where a model has columns, of which one may be called `features` too."""
    spec = inputs.get("features")
    return spec if spec is not None and spec.shape.rank == 2 else None


class Block(TypedDict):
    """Rows of a file that are scored in one call.

    path: the file. lines: where each row begins, the first line of the file being 1. rows: cells of each, in the
    order of the model's columns. broken: what is wrong with rows of too few or too many cells, by index.
    """

    path: str
    lines: list[int]
    rows: list[list[str]]
    broken: dict[int, str]


def open_bytes(path: str | Path) -> IO[bytes]:
    return gzip.open(path, "rb") if Path(path).suffix == ".gz" else Path(path).open("rb")


def count_lines(path: str | Path) -> int:
    with open_bytes(path) as handle:
        return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def layout(path: str | Path, first: list[str], inputs: Inputs, header: str) -> tuple[bool, list[int]]:
    """Whether the file has a header, and the position of each of the model's columns in it.

    Args:
        path: for messages.
        first: cells of the file's first line.
        inputs: of the model's signature.
        header: "yes", "no" or "auto", by which a line with a number in it is none.

    Raises:
        ValueError: the model's columns are not in the file, naming those that are missing, or their number differs.
    """
    has_header = header == "yes" or (header == "auto" and not any(is_number(cell) for cell in first))
    if matrix := matrix_of(inputs):
        width = matrix.shape[1]
        if len(first) != width:
            raise ValueError(f"--input: {path} has {len(first)} columns, the model takes {width}.")
        return has_header, list(range(width))
    line = io.StringIO()
    csv.writer(line).writerow(first)
    names = pd.read_csv(io.StringIO(line.getvalue()), nrows=0).columns  # repeated names numbered, as in training
    # input names keep the ASCII letters, digits and underscores of column names, and start with a letter
    plain = [re.sub(r"\W", "_", name, flags=re.ASCII) for name in names]
    known = [name if name[:1].isalpha() else f"column_{name}" for name in plain]
    missing = sorted(set(inputs) - set(known))
    if header != "no" and not missing:
        return True, [known.index(name) for name in inputs]
    unnamed = [re.fullmatch(r"column_(\d+)", name) for name in inputs]  # how files without a header are trained on
    if has_header or not all(unnamed):
        raise ValueError(f"--input: {path} has no columns {missing} in its first line {first}.")
    numbers = [int(match[1]) for match in unnamed]
    if len(first) == len(inputs):  # the label column is not there
        return False, [sorted(numbers).index(number) for number in numbers]
    if len(first) <= max(numbers):
        raise ValueError(f"--input: {path} has {len(first)} columns, the model takes {len(inputs)}.")
    return False, numbers


def _numbered(path: str | Path, handle: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, and the line on which each begins; a quoted cell may hold more lines."""
    reader, line = csv.reader(io.TextIOWrapper(handle, "utf-8-sig", newline="")), 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"--input: {path}, near line {line}: {error}; it has to be CSV in UTF-8.") from error


def blocks(
    path: str | Path,
    inputs: Inputs,
    size: int,
    header: str = "auto",
    open_file: Callable[[str | Path], IO[bytes]] = open_bytes,
) -> Iterator[Block]:
    """A file in blocks of `size` rows; one without rows is one block of none, so that its scores have a header.

    Raises:
        ValueError: the file is empty or no CSV in UTF-8, or `layout` finds the model's columns not in it.
    """
    with open_file(path) as handle:
        rows = _numbered(path, handle)
        start = next(rows, None)
        if start is None:
            raise ValueError(f"--input: {path} is empty.")
        width = len(start[1])
        has_header, positions = layout(path, start[1], inputs, header)
        if not has_header:
            rows = itertools.chain([start], rows)

        chunk = list(itertools.islice(rows, size))
        yield _block(path, chunk, positions, width)
        while chunk := list(itertools.islice(rows, size)):
            yield _block(path, chunk, positions, width)


def _block(path: str | Path, chunk: list[tuple[int, list[str]]], positions: list[int], width: int) -> Block:
    broken = {
        index: f"{len(row)} cells where the file's first line has {width}"
        for index, (_, row) in enumerate(chunk)
        if len(row) != width
    }
    cells = [[row[p] if p < len(row) else "" for p in positions] for _, row in chunk]
    return Block(path=str(path), lines=[line for line, _ in chunk], rows=cells, broken=broken)


def to_numbers(cells: Sequence[str]) -> np.ndarray:
    return pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float32)


def feed(block: Block, inputs: Inputs) -> dict[str, np.ndarray]:
    """The rows as the model's inputs: float32, NaN where a cell is no number, and objects of str."""
    matrix = matrix_of(inputs)
    columns = list(zip(*block["rows"])) or [()] * (matrix.shape[1] if matrix else len(inputs))
    if matrix:
        return {"features": np.stack([to_numbers(column) for column in columns], axis=1)}
    return {
        name: to_numbers(column) if spec.dtype == tf.float32 else np.array(column, object)
        for (name, spec), column in zip(inputs.items(), columns)
    }


def reason(block: Block, index: int, inputs: Inputs) -> str:
    """Why the model does not score the row of this index."""
    if index in block["broken"]:
        return block["broken"][index]
    matrix = matrix_of(inputs)
    names = [f"column {number}" for number in range(1, len(block["rows"][index]) + 1)] if matrix else inputs
    for name, cell in zip(names, block["rows"][index]):
        if (matrix or inputs[name].dtype == tf.float32) and not np.isfinite(to_numbers([cell])[0]):
            return f"{name}: {cell!r} is not a finite float32 number"
    return "the model marks it as not valid"


def scores_table(block: Block, outputs: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A column an output (B,), by name; of broken rows NaN and False."""
    columns = {name: np.array(outputs[name]) for name in sorted(outputs)}
    for values in columns.values():
        values[list(block["broken"])] = np.nan if values.dtype.kind == "f" else False
    return pd.DataFrame(columns)


def add_arguments(parser: argparse.ArgumentParser, rows: int) -> None:
    """What reads the rows; `rows` of them in one call by default."""
    parser.add_argument(
        "--header", choices=("auto", "yes", "no"), default="auto", help="does the first line hold names?"
    )
    parser.add_argument(
        "--batch-size", type=positive(int), default=rows, help="rows in one call (default: %(default)s)"
    )


def score_file(
    path: Path,
    output: Path | None,
    inputs: Inputs,
    score: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]],
    batch_size: int,
    header: str,
) -> None:
    """Scores a file block by block, with a progress bar.

    Args:
        path: CSV file, also .csv.gz; it may be larger than memory.
        output: CSV file to write, also .csv.gz, a line for each row; it appears only when it is complete. None:
            standard output.
        inputs: of the model's signature.
        score: named inputs of B rows -> named outputs (B,).
        batch_size: B, the last block being shorter.
        header: see `layout`.

    Raises:
        SystemExit: the file is not there, or not what the model takes.
    """
    if not path.is_file():
        sys.exit(f"--input: {path} is not a file.")
    gc.freeze()  # TensorFlow's objects stay: looking through them again and again took most of the time of reading
    partial, packed = sys.stdout, None
    if output:
        packed = "gzip" if output.suffix == ".gz" else None
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(output.name + ".partial")
    try:
        with tqdm(total=count_lines(path), unit="lines", unit_scale=True) as bar:
            for index, block in enumerate(blocks(path, inputs, batch_size, header)):
                table = scores_table(block, score(feed(block, inputs)))
                mode = "w" if index == 0 else "a"
                table.to_csv(
                    partial, mode=mode, header=index == 0, index=False, float_format="%.9g", compression=packed
                )
                bar.update(max(block["lines"], default=bar.n) - bar.n)
    except ValueError as error:
        sys.exit(str(error))
    if output:
        partial.replace(output)
        print(f"scores: {output}")
