"""Score image files through an exported SavedModel alone.

    python trainers/score_images.py --model saved_models/mnist --input photos/ --output scores.csv

Needs TensorFlow, pandas and tqdm. tf_radogaga need not be installed: only two of its files are loaded. The input is one
file, or a folder, which is searched for JPEG and PNG files; hidden files are left out, and links are followed. The
output has a line for each file, in the order of their names. A file that cannot be read or decoded gets valid = False
and no scores. This script decodes files first, as training does. The graph of an older export would misread some files
or fail at them (16 bits, transparency, CMYK, an EXIF orientation, damage). The script sends these as new PNG files, and
damaged ones as empty strings.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.exports import newest_version, of_valid_rows


def of_package(path: str) -> ModuleType:
    """A file of tf_radogaga, without the package."""
    place = Path(__file__).resolve().parents[1] / "tf_radogaga" / path
    spec = importlib.util.spec_from_file_location(place.stem, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


encoded_images, found_images = of_package("preprocessing/encoded_images.py"), of_package("datasets/found_images.py")

JPEG_END, PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel, or a folder of numbered versions")
    parser.add_argument("--input", type=Path, required=True, help="folder of JPEG and PNG files, or one file")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write, a line for each image")
    parser.add_argument(
        "--batch-size", type=positive(int), default=64, help="images in one call (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def find(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if found_images.has_image_suffix(str(path)) else []
    names, left_out = found_images.images_within(str(path))
    if left_out:
        print(f"left out: {left_out}", file=sys.stderr)
    return [path / name for name in names]


def readable(path: Path, channels: int) -> tuple[bytes, str]:
    """What to send of a file, nothing where it does not decode; and what its owner should know."""
    try:
        content = path.read_bytes()
        encoded = tf.constant(content)
        image = encoded_images.decode(encoded, channels)
        remark = encoded_images.remark(encoded).numpy().decode()
        if not encoded_images.is_plain(encoded):
            return tf.io.encode_png(image).numpy(), remark
    except (OSError, ValueError, MemoryError, tf.errors.OpError):
        return b"", ""
    end = PNG_END if content.startswith(encoded_images.PNG) else JPEG_END
    return content[: content.rfind(end) + len(end)], remark  # phones append more


def scores_of(contents: list[bytes], score) -> dict[str, np.ndarray]:
    """Named scores (B,). Where the graph fails at one image, the others are scored without it."""
    try:
        return {name: values.numpy() for name, values in score(image_bytes=tf.constant(contents)).items()}
    except tf.errors.OpError:
        if contents == [b""]:
            raise
        single = (
            [scores_of([content], score) for content in contents] if len(contents) > 1 else [scores_of([b""], score)]
        )
        return {name: np.concatenate([scores[name] for scores in single]) for name in single[0]}


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    files = find(args.input)
    if not files:
        sys.exit(f"--input: {args.input} holds no file that ends in {', '.join(found_images.SUFFIXES)}.")
    loaded = tf.saved_model.load(newest_version(args.model))  # kept: the signature dies with it
    if "serving_bytes" not in loaded.signatures:
        sys.exit(f"--model: {args.model} takes no images, it has no signature serving_bytes; see score.py for tables.")
    score, blocks, remarks = loaded.signatures["serving_bytes"], [], []
    channels = loaded.signatures["serving_default"].structured_input_signature[1]["images"].shape[-1]
    for start in tqdm(range(0, len(files), args.batch_size), unit="batch"):
        some = files[start : start + args.batch_size]
        contents, said = zip(*(readable(file, channels) for file in some))
        remarks += [f"{file} {remark}" for file, remark in zip(some, said) if remark]
        names = pd.Series([str(file) for file in some], dtype=object)  # text of pandas' own would have to be Unicode
        blocks.append(pd.DataFrame({"file": names, **scores_of(list(contents), score)}))
    if remarks:
        print(f"{len(remarks)} images are perhaps not what you think: {', '.join(remarks[:10])}", file=sys.stderr)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    partial = args.output.with_name(args.output.name + ".partial")
    scores = of_valid_rows(pd.concat(blocks, ignore_index=True))
    scores.to_csv(partial, index=False, float_format="%.9g", errors="surrogateescape")
    partial.replace(args.output)
    print(f"{len(scores)} images, {int((~scores['valid']).sum())} not valid; scores: {args.output}")


if __name__ == "__main__":
    main()
