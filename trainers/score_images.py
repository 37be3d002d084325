"""Score image files through an exported SavedModel alone.

    python trainers/score_images.py --model saved_models/mnist --input photos/ --output scores.csv

Needs TensorFlow, pandas and tqdm, nothing of tf_radogaga. The input is a folder, searched for JPEG and PNG files, or
one file. The output has a line for each file, in the order of their names. A file that does not decode comes out with
valid = False and no scores: some damage, which a server's graph cannot catch, would make it refuse the whole batch, so
files are decoded here first and what fails is sent as an empty string.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
import tensorflow as tf
from score import newest_version
from tqdm import tqdm

SUFFIXES = (".jpg", ".jpeg", ".png")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel, or a folder of numbered versions")
    parser.add_argument("--input", type=Path, required=True, help="folder of JPEG and PNG files, or one file")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write, a line for each image")
    parser.add_argument("--batch-size", type=int, default=64, help="images in one call (default: %(default)s)")
    return parser.parse_args(arguments)


def readable(path: Path) -> bytes:
    """The file's bytes up to the image's end, as phones append more; none where they do not decode."""
    content = path.read_bytes()
    try:
        tf.io.decode_image(content, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        return b""
    ends = [content.rfind(end) + len(end) for end in (b"\xff\xd9", b"IEND\xaeB`\x82") if end in content]
    return content[: max(ends, default=0)]


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    files = [args.input] if args.input.is_file() else sorted(args.input.rglob("*"))
    files = [file for file in files if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not files:
        sys.exit(f"--input: {args.input} holds no file that ends in {', '.join(SUFFIXES)}.")
    loaded = tf.saved_model.load(newest_version(args.model))  # kept: the signature dies with it
    if "serving_bytes" not in loaded.signatures:
        sys.exit(f"--model: {args.model} takes no images, it has no signature serving_bytes; see score.py for tables.")
    score, blocks = loaded.signatures["serving_bytes"], []
    for start in tqdm(range(0, len(files), args.batch_size), unit="batch"):
        some = files[start : start + args.batch_size]
        scores = score(image_bytes=tf.constant([readable(file) for file in some]))
        blocks.append(pd.DataFrame({"file": map(str, some), **{name: value.numpy() for name, value in scores.items()}}))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    partial = args.output.with_name(args.output.name + ".partial")
    scores = pd.concat(blocks)
    scores.to_csv(partial, index=False, float_format="%.9g")
    partial.replace(args.output)
    print(f"{len(scores)} images, {int((~scores['valid']).sum())} not valid; scores: {args.output}")


if __name__ == "__main__":
    main()
