"""Score the rows of many CSV files through an exported SavedModel, with Apache Beam.

    python trainers/score_beam.py --model saved_models/thyroid --input 'rows-*.csv' --output scores

Needs Apache Beam (pip install '.[beam]', Python 3.10 or later). Writes OUTPUT-00000-of-....csv: a line for each row,
with its file and line, and the scores as trainers/score.py gives them, in no certain order. Rows that cannot be scored
are in OUTPUT-bad-....csv instead, with file, line and reason. All other options go to Beam: --runner, and the options
of that runner. By default the pipeline runs here, in this process.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import apache_beam as beam
import numpy as np
import pandas as pd
import tensorflow as tf
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.io.filesystems import CompressionTypes, FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.ml.inference.base import PredictionResult, RunInference
from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from tf_radogaga_trainers.shared import csv_columns, csv_rows, exports
from tf_radogaga_trainers.shared.csv_columns import Inputs
from tf_radogaga_trainers.shared.csv_rows import Block, add_arguments, blocks, feed, reason, scores_table
from tf_radogaga_trainers.shared.exports import CARD, newest_version, read_card

SIGNATURE = "serving_default"
SENT = (csv_rows, csv_columns, exports, csv_rows.csv_files)
"""Modules that workers elsewhere do not have."""


def parse_arguments(arguments: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a SavedModel, or a folder of numbered versions")
    parser.add_argument(
        "--input", required=True, help="CSV files, also .csv.gz and the like: a pattern such as 'rows-*.csv'"
    )
    parser.add_argument("--output", required=True, help="first part of the names of the files to write")
    add_arguments(parser, rows=4096)
    return parser.parse_known_args(arguments)


def open_anywhere(path: str) -> IO[bytes]:
    """The bytes of a file of any file system of Beam's; its own reader of compressed files is no Python file."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


class SavedModelHandler(TFModelHandlerNumpy):
    """Beam's handler, of blocks of rows by a signature in place of stacked arrays by a Keras model."""

    def load_model(self) -> Any:
        loaded = tf.saved_model.load(self._model_uri)
        gc.freeze()  # as in csv_rows.score_file
        return loaded

    def get_num_bytes(self, batch: Sequence[Block]) -> int:
        return sum(len(cell) for block in batch for row in block["rows"] for cell in row)


def score_blocks(
    model: Any, batch: Sequence[Block], inference_args: dict[str, Any], model_id: str | None
) -> Iterable[PredictionResult]:
    score = model.signatures[SIGNATURE]
    inputs = score.structured_input_signature[1]
    for block in batch:
        tensors = {name: tf.constant(values) for name, values in feed(block, inputs).items()}
        outputs = {name: value.numpy() for name, value in score(**tensors).items()}
        yield PredictionResult(block, scores_table(block, outputs), model_id)


class Split(beam.DoFn):
    """Text of the rows that were scored, and of those that were not, with the reason."""

    def __init__(self, inputs: Inputs):
        self.inputs = inputs
        self.good, self.bad = Metrics.counter("rows", "scored"), Metrics.counter("rows", "bad")

    def process(self, result: PredictionResult) -> Iterator[Any]:
        block, scores = result.example, result.inference
        places = pd.DataFrame({"file": block["path"], "line": block["lines"]})
        good = scores["valid"].to_numpy(bool)
        self.good.inc(int(good.sum()))
        self.bad.inc(int((~good).sum()))
        if good.any():
            yield as_text(places.join(scores)[good])
        if not good.all():
            reasons = [reason(block, index, self.inputs) for index in np.flatnonzero(~good)]
            yield beam.pvalue.TaggedOutput("bad", as_text(places[~good].assign(reason=reasons)))


def as_text(table: pd.DataFrame) -> str:
    return table.to_csv(header=False, index=False, float_format="%.9g", lineterminator="\n").rstrip("\n")


def main(arguments: list[str] | None = None) -> None:
    args, rest = parse_arguments(arguments)
    options = csv_rows.options_of(args)
    for module in SENT:
        cloudpickle.register_pickle_by_value(module)
    pattern = args.input if os.path.dirname(args.input) else f"./{args.input}"  # Beam finds nothing in a folder ""
    files = [file.path for file in FileSystems.match([pattern])[0].metadata_list]
    if not files:
        sys.exit(f"--input: {args.input} matches no file.")
    model = newest_version(args.model)
    loaded = tf.saved_model.load(model)
    signature = loaded.signatures[SIGNATURE]
    inputs = signature.structured_input_signature[1]
    card = read_card(f"{model}/{CARD}")
    try:
        first = next(blocks(files[0], inputs, 1, "auto", open_anywhere, card, options))
    except ValueError as error:  # said here, and not from a worker's depths
        sys.exit(str(error))
    print(f"{files[0]}: {csv_rows.Reader.of(first['reader'])}")
    handler = SavedModelHandler(model, inference_fn=score_blocks, max_batch_size=1)  # a block is a batch already
    # Beam's default runner would download a binary first
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *rest]))
    scored = (
        pipeline
        | "files" >> beam.Create(files)
        | "spread files" >> beam.Reshuffle()
        | "read" >> beam.FlatMap(blocks, inputs, args.batch_size, "auto", open_anywhere, card, options)
        | "spread blocks" >> beam.Reshuffle()
        | "score" >> RunInference(handler)
        | "split" >> beam.ParDo(Split(inputs)).with_outputs("bad", main="good")
    )
    header = ",".join(["file", "line", *sorted(signature.structured_outputs)])
    scored.good | "write" >> beam.io.WriteToText(args.output, ".csv", header=header)
    scored.bad | "write bad" >> beam.io.WriteToText(f"{args.output}-bad", ".csv", header="file,line,reason")
    result = pipeline.run()
    result.wait_until_finish()
    Shared().acquire(argparse.Namespace)  # in place of the model, which Beam would keep until TensorFlow is gone
    counters = result.metrics().query(MetricsFilter().with_namespace("rows"))["counters"]
    counts = {counter.key.metric.name: counter.result for counter in counters}
    print(f"{counts.get('scored', 0)} rows scored: {args.output}-?????-of-?????.csv")
    print(f"{counts.get('bad', 0)} bad rows: {args.output}-bad-*.csv")


if __name__ == "__main__":
    main()
