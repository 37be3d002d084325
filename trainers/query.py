"""Score the rows of a CSV file by a model that TensorFlow Serving serves, over gRPC.

    python trainers/query.py --server localhost:8500 --model thyroid --input rows.csv --output scores.csv

Needs tensorflow-serving-api and tqdm (pip install '.[trainers]'). The server tells the model's inputs. The file is read
and the scores are written as by trainers/score.py. A server does not know the original names of the columns, nor how
the training file was read: give --card for that. If the server cannot answer now, or not within --timeout, or another
client's bad request spoils its batch, the request is sent again after a quarter of a second, then half a second, and so
on, up to --tries times in all.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tf_radogaga_trainers.shared import csv_rows
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.exports import read_card

SIGNATURE = "serving_default"
FIRST_DELAY = 0.25  # seconds
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
# another client's malformed request, in the same batch of the server, fails this one too
OF_OTHERS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}
MESSAGES = {
    grpc.StatusCode.UNAVAILABLE: "--server: nobody answers at {server}; is it the port of gRPC (8500), not of REST"
    " (8501)?",
    grpc.StatusCode.DEADLINE_EXCEEDED: "--timeout: no answer from {server} within {timeout:g} seconds; give more, or a"
    " smaller --batch-size.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "--batch-size: {server} is overloaded, or {batch_size} rows are too many for"
    " one request; give a smaller one, or try later.",
    grpc.StatusCode.NOT_FOUND: "--model: {server} does not serve {model!r}, or has not loaded it yet; its"
    " models.config has the names.",
    grpc.StatusCode.INVALID_ARGUMENT: "{server} refuses the request of {model!r}.",
    grpc.StatusCode.FAILED_PRECONDITION: "{server} cannot serve {model!r} as asked.",
    grpc.StatusCode.UNIMPLEMENTED: "--server: {server} speaks gRPC and is no TensorFlow Serving.",
    grpc.StatusCode.PERMISSION_DENIED: "--server: {server} does not let you in.",
    grpc.StatusCode.UNAUTHENTICATED: "--server: {server} does not let you in.",
    grpc.StatusCode.INTERNAL: "{server} failed while scoring; its log says more.",
    grpc.StatusCode.UNKNOWN: "{server} failed in a way that it does not name; its log may say more.",
    grpc.StatusCode.DATA_LOSS: "{server} has damaged data of {model!r}; export the model again.",
    grpc.StatusCode.CANCELLED: "{server}, or a proxy before it, dropped the request; try again.",
    grpc.StatusCode.ABORTED: "{server} gave the request up; try again.",
    grpc.StatusCode.OUT_OF_RANGE: "{server} finds the request of {model!r} out of its range.",
    grpc.StatusCode.ALREADY_EXISTS: "{server} answers as no TensorFlow Serving would; is it one?",
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="its gRPC address")
    parser.add_argument("--model", required=True, help="name of the model on the server")
    parser.add_argument("--label", help="version label, such as canary (default: the newest version)")
    parser.add_argument("--input", type=Path, required=True, help="CSV file, also .csv.gz, .bz2, .xz or .zip")
    parser.add_argument("--card", type=Path, help="assets/card.json of the model's export, which knows its columns")
    parser.add_argument("--output", type=Path, help="CSV file to write, a line for each row (default: print them)")
    parser.add_argument(
        "--timeout", type=positive(float), default=10, help="seconds for one request (default: %(default)s)"
    )
    parser.add_argument(
        "--tries", type=positive(int), default=7, help="how often a request is sent at most (default: %(default)s)"
    )
    csv_rows.add_arguments(parser, rows=1024)
    return parser.parse_args(arguments)


def call(
    method: Callable[..., Message],
    request: Message,
    timeout: float,
    tries: int,
    passing: Collection[grpc.StatusCode] = PASSING,
) -> Message:
    """The server's answer, asked for again with doubled delays while its failures are passing ones.

    Raises:
        grpc.RpcError: another failure, or the last of `tries`.
    """
    for attempt in range(tries):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() not in passing or attempt == tries - 1:
                raise
            time.sleep(FIRST_DELAY * 2**attempt * random.uniform(0.5, 1))  # clients of one failure come back apart


def signature(stub: prediction_service_pb2_grpc.PredictionServiceStub, args: argparse.Namespace):
    """The SignatureDef that the server states for the model."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    address(request, args)
    answer = call(stub.GetModelMetadata, request, args.timeout, args.tries)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    if SIGNATURE not in signatures.signature_def:
        sys.exit(f"--model: {args.model!r} has no signature {SIGNATURE}, only {sorted(signatures.signature_def)}.")
    return signatures.signature_def[SIGNATURE]


def address(request: Message, args: argparse.Namespace) -> None:
    request.model_spec.name = args.model
    if args.label:
        request.model_spec.version_label = args.label


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    options, card = csv_rows.options_of(args), {}
    if args.card:
        if not args.card.is_file():
            sys.exit(f"--card: {args.card} is not a file; name the card.json in the assets of the export.")
        card = read_card(args.card)
    with grpc.insecure_channel(args.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def score(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            if not len(next(iter(feed.values()))):  # no rows: nothing to ask
                return {name: np.empty(0) for name in served.outputs}
            request = predict_pb2.PredictRequest()
            address(request, args)
            request.model_spec.signature_name = SIGNATURE
            for name, values in feed.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            answer = call(stub.Predict, request, args.timeout, args.tries, PASSING | OF_OTHERS)
            return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

        try:
            served = signature(stub, args)
            inputs = {
                name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype), name)
                for name, info in served.inputs.items()
            }
            csv_rows.score_file(args.input, args.output, inputs, score, args.batch_size, card=card, options=options)
        except grpc.RpcError as error:
            code = error.code()
            message = MESSAGES[code].format(**vars(args))
            sys.exit(f"{message} It says {code.name}: {error.details()}")


if __name__ == "__main__":
    main()
