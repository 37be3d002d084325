"""Score the rows of a CSV file through an exported SavedModel alone.

    python trainers/score.py --model saved_models/thyroid --input rows.csv --output scores.csv

Needs TensorFlow, pandas and tqdm. tf_radogaga need not be installed: only its folder datasets/csv_files is loaded, and
reads files as in training. The file is streamed, so it may be larger than memory. A model of named columns finds them
by the header, in any order, and ignores others. A model without names, or of a file without a header, takes columns by
position. Separator, decimal mark, header and encoding are those of the training file if the export's card has them;
otherwise the file decides, and the decision is printed. A row with a missing or non-numeric value where a number
belongs, with a blank category, or with more or fewer cells than the first line, gets valid = False and no scores; other
rows keep theirs. The output appears only when it is complete.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tf_radogaga_trainers.shared import csv_rows
from tf_radogaga_trainers.shared.exports import CARD, newest_version, read_card


def parse_arguments() -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel, or a folder of numbered versions")
    parser.add_argument("--input", type=Path, required=True, help="CSV file, also .csv.gz, .bz2, .xz or .zip")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write, a line for each row")
    csv_rows.add_arguments(parser, rows=16384)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    options, version = csv_rows.options_of(args), newest_version(args.model)
    loaded = tf.saved_model.load(version)  # kept: the signature dies with it
    signature = loaded.signatures["serving_default"]

    def score(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        scores = signature(**{name: tf.constant(values) for name, values in feed.items()})
        return {name: value.numpy() for name, value in scores.items()}

    inputs = signature.structured_input_signature[1]
    card = read_card(f"{version}/{CARD}")
    csv_rows.score_file(args.input, args.output, inputs, score, args.batch_size, card=card, options=options)


if __name__ == "__main__":
    main()
