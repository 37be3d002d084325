"""CSV files as the inputs of an exported model, in blocks of rows, and its scores as CSV files.

How a file is read - separator, decimals, header, encoding - is said by the options, else by the model's card, else
decided by the file as in training (tf_radogaga/datasets/csv_files, of which this loads the folder alone). A model whose
columns have names finds them by the header, in any order, and ignores others; a model of one matrix without names, or
of a file without a header, takes columns by position. Cells become numbers where the model takes numbers, NaN where
there is none, which the model answers by valid = False. A row of another number of cells than the file's first is
broken: its scores are blanked here, as no model may know.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, TypedDict

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.csv_columns import Inputs, layout, matrix_of, originals, served_name
from tf_radogaga_trainers.shared.exports import of_valid_rows


def _load_reader() -> ModuleType:
    """The package's reader, without the package, which need not be installed."""
    folder = Path(__file__).resolve().parents[2] / "tf_radogaga" / "datasets" / "csv_files"
    spec = importlib.util.spec_from_file_location("csv_files", folder / "__init__.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


csv_files = sys.modules.get("csv_files") or _load_reader()
Options, Reader = csv_files.Options, csv_files.Reader


class Block(TypedDict):
    """Rows of a file that are scored in one call.

    path: the file. lines: where each row begins, the first line of the file being 1. rows: cells of each, in the
    order of the model's columns. columns: their names. broken: what is wrong with rows of too few or too many cells, by
    index. reader: how the file is read.
    """

    path: str
    lines: list[int]
    rows: list[list[str]]
    columns: list[str]
    broken: dict[int, str]
    reader: dict[str, Any]


def blocks(
    path: str | Path,
    inputs: Inputs,
    size: int,
    header: str = "auto",
    open_file: Callable[[str], IO[bytes]] = csv_files.plain_file,
    card: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Iterator[Block]:
    """A file in blocks of `size` rows; one without rows is one block of none, so that its scores have a header.

    Args:
        path: the file.
        inputs: of the model's signature.
        size: rows in a block.
        header: of `options`, where these are not given.
        open_file: opens the bytes of a path, still compressed.
        card: of the model's export, which tells the names of its columns and how its training file was read.
        options: how the file is to be read.

    Raises:
        ValueError: the file is empty or damaged, or `layout` finds the model's columns not in it.
    """
    card = card or {}
    known = originals(inputs, card)
    if known:
        names = {*inputs, *(known if isinstance(known, list) else known.values())}
        expected = names.__contains__
    else:
        expected = _known_by_input(inputs)
    matrix = matrix_of(inputs)
    try:
        with csv_files.opened(
            path,
            options or Options(header),
            Reader.of(card.get("reader")),
            expected=expected,
            width=matrix.shape[1] if matrix else len(inputs),
            open_file=open_file,
        ) as file:
            positions = layout(path, file, inputs, card)
            names = [file.names[place] for place in positions]
            if card.get("reader"):  # its percentages are those of the model's columns
                names = list(known.values() if isinstance(known, dict) else known or (names if matrix else inputs))
            chunk = list(itertools.islice(file.rows, size))
            yield _block(path, chunk, positions, names, file.reader)
            while chunk := list(itertools.islice(file.rows, size)):
                yield _block(path, chunk, positions, names, file.reader)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith("--") else f"--input: {message}") from error


def _known_by_input(inputs: Inputs) -> Callable[[str], bool]:
    # digits may be values as well, of which an input's name, column_7, says nothing
    return lambda name: not name.isdecimal() and served_name(name) in inputs


def _block(path: str | Path, chunk: list[Any], positions: list[int], names: list[str], reader: Any) -> Block:
    return Block(
        path=str(path),
        lines=[row.line for row in chunk],
        rows=[[row.cells[p] if p < len(row.cells) else "" for p in positions] for row in chunk],
        columns=names,
        broken={index: row.fault for index, row in enumerate(chunk) if row.fault},
        reader=reader.as_dict(),
    )


def _reader(block: Block) -> Any:
    return Reader.of(block.get("reader")) or Reader()


def _numbers(block: Block, cells: Sequence[str], place: int, dtype: tf.DType) -> np.ndarray:
    names = block.get("columns")
    values = _reader(block).numbers(cells, names[place] if names else "")
    with np.errstate(over="ignore"):  # what the model's type cannot hold is infinite, and so not valid
        return values.to_numpy(np.float64).astype(dtype.as_numpy_dtype)


def feed(block: Block, inputs: Inputs) -> dict[str, np.ndarray]:
    """The rows as the model's inputs: floats, NaN where a cell is no number, and objects of str."""
    matrix = matrix_of(inputs)
    columns = list(zip(*block["rows"])) or [()] * (matrix.shape[1] if matrix else len(inputs))
    if matrix:
        values = [_numbers(block, column, place, matrix.dtype) for place, column in enumerate(columns)]
        return {"features": np.stack(values, axis=1)}
    return {
        name: np.array(column, object) if spec.dtype == tf.string else _numbers(block, column, place, spec.dtype)
        for place, ((name, spec), column) in enumerate(zip(inputs.items(), columns))
    }


def reason(block: Block, index: int, inputs: Inputs) -> str:
    """Why the model does not score the row of this index."""
    if index in block["broken"]:
        return block["broken"][index]
    matrix = matrix_of(inputs)
    names = [f"column {number}" for number in range(1, len(block["rows"][index]) + 1)] if matrix else inputs
    for place, (name, cell) in enumerate(zip(names, block["rows"][index])):
        dtype = matrix.dtype if matrix else inputs[name].dtype
        if dtype == tf.string:
            continue
        value = _numbers(block, [cell], place, dtype)[0]
        if not np.isfinite(value):
            mark = _reader(block).decimal
            other = f" with the decimal mark {mark!r}" if np.isnan(value) and csv_files.looks_like_number(cell) else ""
            return f"{name}: {cell!r} is not a finite {dtype.name} number{other}"
    blank = [] if matrix else [n for n, cell in zip(names, block["rows"][index]) if not cell.replace("\0", "").strip()]
    return f"{' or '.join(blank)}: a blank cell" if blank else "the model marks it as not valid"


def scores_table(block: Block, outputs: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A column an output (B,), by name; of broken rows, as of those that are not valid, NaN and False."""
    columns = {name: np.array(outputs[name]) for name in sorted(outputs)}
    scores = pd.DataFrame(columns)
    scores["valid"] &= ~np.isin(np.arange(len(scores)), list(block["broken"]))
    return of_valid_rows(scores)


def add_arguments(parser: argparse.ArgumentParser, rows: int) -> None:
    """What reads the rows; `rows` of them in one call by default."""
    csv_files.add_arguments(parser)
    parser.add_argument(
        "--batch-size", type=positive(int), default=rows, help="rows in one call (default: %(default)s)"
    )


def options_of(args: argparse.Namespace) -> Options:
    """The options of `add_arguments`.

    Raises:
        SystemExit: one that cannot be, naming it.
    """
    try:
        return Options(*(getattr(args, name) for name in Options._fields)).checked()
    except ValueError as error:
        sys.exit(f"--{error}")


def count_lines(path: str | Path) -> int | None:
    """For a progress bar; None of a damaged file."""
    try:
        with csv_files.plain_file(path) as raw, csv_files.decompressed(path, raw) as handle:
            return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))
    except csv_files.DAMAGE:
        return None


def score_file(
    path: Path,
    output: Path | None,
    inputs: Inputs,
    score: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]],
    batch_size: int,
    header: str = "auto",
    card: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> None:
    """Scores a file block by block, with a progress bar, and tells on standard error how it is read.

    Args:
        path: CSV file, also compressed; it may be larger than memory.
        output: CSV file to write, also .csv.gz, a line for each row; it appears only when it is complete. None:
            standard output.
        inputs: of the model's signature.
        score: named inputs of B rows -> named outputs (B,).
        batch_size: B, the last block being shorter.
        header, card, options: see `blocks`.

    Raises:
        SystemExit: the file is not there, or not what the model takes.
    """
    if not path.is_file():
        sys.exit(f"--input: {path} is not a file.")
    gc.freeze()  # TensorFlow's objects stay: looking through them again and again took most of the time of reading
    partial, packed = sys.stdout, None
    if output:
        packed = csv_files.COMPRESSIONS.get(output.suffix)
        if packed == "zip":
            sys.exit(f"--output: {output}: a zip file cannot be added to block by block; write .csv or .csv.gz.")
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(output.name + ".partial")
    try:
        with tqdm(total=count_lines(path), unit="lines", unit_scale=True) as bar:
            for index, block in enumerate(blocks(path, inputs, batch_size, header, card=card, options=options)):
                if index == 0:
                    tqdm.write(f"{path}: {_reader(block)}", file=sys.stderr)
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
