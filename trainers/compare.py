"""Compare two exported models on the rows of a CSV file, before one takes the place of the other.

    python trainers/compare.py saved_models/thyroid/1 saved_models/thyroid/2 --input rows.csv

Prints the share of rows that each model flags and of those whose flag changes, how scores differ, how alike the order
of the rows is, and the rows that move most in this order. Rows that are not valid in one of the models are left out.
The file is read as by trainers/score.py, for each model as its card tells.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tf_radogaga_trainers.shared import csv_rows
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.exports import CARD, newest_version, read_card

QUANTILES = (0.01, 0.5, 0.99)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a SavedModel, or a folder of numbered versions")
    parser.add_argument("new", type=Path, metavar="NEW", help="another one")
    parser.add_argument("--input", type=Path, required=True, help="CSV file, also .csv.gz, .bz2, .xz or .zip")
    parser.add_argument("--most", type=positive(int), default=10, help="rows to print (default: %(default)s)")
    csv_rows.add_arguments(parser, rows=16384)
    return parser.parse_args(arguments)


def scored(model: Path, args: argparse.Namespace) -> pd.DataFrame:
    """Scores of the rows of the file by one model, by the line where each row begins."""
    version = newest_version(model)
    loaded = tf.saved_model.load(version)  # kept: the signature dies with it
    signature = loaded.signatures["serving_default"]
    inputs, tables = signature.structured_input_signature[1], []
    options, card = csv_rows.options_of(args), read_card(f"{version}/{CARD}")
    try:
        for block in tqdm(csv_rows.blocks(args.input, inputs, args.batch_size, card=card, options=options), version):
            feed = {name: tf.constant(values) for name, values in csv_rows.feed(block, inputs).items()}
            outputs = {name: value.numpy() for name, value in signature(**feed).items()}
            tables.append(csv_rows.scores_table(block, outputs).set_axis(block["lines"]))
    except ValueError as error:
        sys.exit(str(error))
    return pd.concat(tables)


def report(old: pd.DataFrame, new: pd.DataFrame, most: int) -> str:
    """What changes between the scores of the same rows, as text.

    Args:
        old, new: (B,) `energy`, `anomaly` and `valid`, perhaps `log_density`, by line.
        most: rows to name.
    """
    valid = old["valid"] & new["valid"]
    lines = [f"rows         {len(valid)}, {int(valid.sum())} of them valid in both"]
    old, new = old[valid], new[valid]
    if not len(old):
        return lines[0]
    appeared, gone = (new["anomaly"] & ~old["anomaly"]).mean(), (old["anomaly"] & ~new["anomaly"]).mean()
    score = "log_density" if "log_density" in old and "log_density" in new else "energy"
    difference = (new[score] - old[score]).astype(float)
    ranks = pd.DataFrame({"old": old["energy"].rank(pct=True), "new": new["energy"].rank(pct=True)})
    spread = ", ".join(f"{q:.0%} {value:.4g}" for q, value in difference.quantile(QUANTILES).items())
    lines += [
        f"flags        {old['anomaly'].mean():.4%} old, {new['anomaly'].mean():.4%} new",
        f"changed      {appeared + gone:.4%} of the rows: {appeared:.4%} flagged anew, {gone:.4%} no longer",
        f"{score:<12} new - old in nats: mean {difference.mean():.4g}, sd {difference.std(ddof=0):.4g}, {spread}",
        f"order        rank correlation of the energies {ranks['old'].corr(ranks['new']):.4f}",
        "most moved   line: energy, share of the rows with a lower one",
    ]
    moved = (ranks["new"] - ranks["old"]).abs()
    for line in moved.sort_values(ascending=False, kind="stable").index[:most]:
        told = [
            f"{scores.at[line, 'energy']:.6g}, {ranks.at[line, name]:.1%}"
            for name, scores in (("old", old), ("new", new))
        ]
        lines.append(f"  {line}: {' -> '.join(told)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    if not args.input.is_file():
        sys.exit(f"--input: {args.input} is not a file.")
    print(report(scored(args.old, args), scored(args.new, args), args.most))


if __name__ == "__main__":
    main()
