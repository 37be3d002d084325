"""Score the rows of a CSV file through an exported SavedModel alone.

    python trainers/score.py --model saved_models/thyroid --input rows.csv --output scores.csv

Needs TensorFlow and pandas, nothing of tf_radogaga. The file is streamed, so it may be larger than memory. A model
of named columns finds them by the header, in any order, and ignores others; a model of one matrix, or of a file
without a header, takes columns by position. A row with a missing or non-numeric value where a number belongs comes
out with valid = False and no scores; its neighbours are untouched. The output appears only when it is complete.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm


def parse_arguments() -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel, or a folder of numbered versions")
    parser.add_argument("--input", type=Path, required=True, help="CSV file, also .csv.gz")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write, a line for each row")
    parser.add_argument(
        "--header", choices=("auto", "yes", "no"), default="auto", help="does the first line hold names?"
    )
    parser.add_argument("--batch-size", type=int, default=16384, help="rows in one call (default: %(default)s)")
    return parser.parse_args()


def newest_version(model: Path) -> Path:
    if (model / "saved_model.pb").exists():
        return model
    versions = [p for p in model.glob("*") if p.name.isdigit() and (p / "saved_model.pb").exists()]
    if not versions:
        sys.exit(f"--model: {model} is no SavedModel and holds no numbered versions of one.")
    return max(versions, key=lambda path: int(path.name))


def open_bytes(path: Path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def count_lines(path: Path) -> int:
    with open_bytes(path) as handle:
        return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def layout(path: Path, inputs: dict[str, tf.TensorSpec], header: str) -> tuple[bool, list[int]]:
    """Whether the file has a header, and the position of each of the model's columns in it."""
    try:
        first = pd.read_csv(path, nrows=0, dtype=str).columns.tolist()  # repeated names numbered, as in training
    except pd.errors.EmptyDataError:
        sys.exit(f"--input: {path} is empty.")
    has_header = header == "yes" or (header == "auto" and not any(is_number(cell) for cell in first))
    if "features" in inputs:
        width = inputs["features"].shape[1]
        if len(first) != width:
            sys.exit(f"--input: {path} has {len(first)} columns, the model takes {width}.")
        return has_header, list(range(width))
    # input names keep the ASCII letters, digits and underscores of column names, and start with a letter
    plain = [re.sub(r"\W", "_", cell, flags=re.ASCII) for cell in first]
    known = [name if name[:1].isalpha() else f"column_{name}" for name in plain]
    missing = sorted(set(inputs) - set(known))
    if header != "no" and not missing:
        return True, [known.index(name) for name in inputs]
    unnamed = [re.fullmatch(r"column_(\d+)", name) for name in inputs]  # how files without a header are trained on
    if has_header or not all(unnamed):
        sys.exit(f"--input: {path} has no columns {missing} in its first line {first}.")
    numbers = [int(match[1]) for match in unnamed]
    if len(first) == len(inputs):  # the label column is not there
        return False, [sorted(numbers).index(number) for number in numbers]
    if len(first) <= max(numbers):
        sys.exit(f"--input: {path} has {len(first)} columns, the model takes {len(inputs)}.")
    return False, numbers


def to_number(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float32)


def main() -> None:
    args = parse_arguments()
    if not args.input.is_file():
        sys.exit(f"--input: {args.input} is not a file.")
    loaded = tf.saved_model.load(str(newest_version(args.model)))  # kept: the signature dies with it
    score = loaded.signatures["serving_default"]
    inputs = score.structured_input_signature[1]
    header, positions = layout(args.input, inputs, args.header)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    partial = args.output.with_name(args.output.name + ".partial")
    blocks = pd.read_csv(
        args.input, header=0 if header else None, dtype=str, keep_default_na=False, chunksize=args.batch_size
    )
    with blocks, tqdm(total=count_lines(args.input) - header, unit="rows", unit_scale=True) as bar:
        for index, block in enumerate(blocks):
            columns = [block.iloc[:, position] for position in positions]
            if "features" in inputs:
                feed = {"features": tf.constant(np.stack([to_number(c) for c in columns], axis=1))}
            else:
                feed = {
                    name: tf.constant(to_number(c) if spec.dtype == tf.float32 else c.to_numpy(object))
                    for (name, spec), c in zip(inputs.items(), columns)
                }
            scores = pd.DataFrame({name: value.numpy() for name, value in score(**feed).items()})
            scores.to_csv(partial, mode="w" if index == 0 else "a", header=index == 0, index=False, float_format="%.9g")
            bar.update(len(block))
    partial.replace(args.output)
    print(f"scores: {args.output}")


if __name__ == "__main__":
    main()
