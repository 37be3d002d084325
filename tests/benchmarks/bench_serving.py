"""Rows per second of an exported model beside the bare matrix products that its scores need.

    python tests/benchmarks/bench_serving.py

The model is the preset of KDDCup99 on 121 inputs, untrained, as `serving_default` serves it. Both are called in turn in
one process, and medians of many rounds are compared, so the ratio stands where the machine's speed changes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tf_radogaga
from tf_radogaga import presets

INPUTS = 121
BATCHES = (1, 1024, 16384)


def exported(rows: np.ndarray, folder: str):
    """The model and the same one exported and loaded."""
    tf.keras.utils.set_random_seed(0)
    model = presets.build(presets.preset("kddcup99", "radogaga-log"), tf_radogaga.PassThrough(INPUTS))
    model.adapt_prior(rows)
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    return model, tf.saved_model.load(str(tf_radogaga.export_saved_model(model, folder)))


def matrix_products(model: tf_radogaga.RaDOGAGA) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """Products of x by the weights of encoder and decoder and, in float64, by those that whiten the mixture's input."""
    layers = [tf.constant(layer.kernel.numpy()) for layer in (*model.encoder.dense, *model.decoder.dense)]
    components, units = model.prior.stored.mean.shape
    whitening = tf.ones((units, components * units), tf.float64)

    @tf.function(input_signature=[tf.TensorSpec((None, INPUTS))])
    def products(x):
        seen = tf.ones((tf.shape(x)[0], units), tf.float64)
        for kernel in layers:
            x = x @ kernel
        return [x, seen @ whitening]

    return products


def seconds(call: Callable, rows: tf.Tensor, rounds: int) -> float:
    started = time.perf_counter()
    for _ in range(rounds):
        call(rows)
    return (time.perf_counter() - started) / rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of which medians are taken (default: %(default)s)")
    rounds = parser.parse_args().rounds
    data = np.random.default_rng(0).uniform(size=(max(BATCHES), INPUTS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model, loaded = exported(data, folder)
        score = loaded.signatures["serving_default"]
        products = matrix_products(model)
        print("| rows in a batch | serving_default [rows/s] | matrix products [rows/s] | ratio of times |")
        print("| --- | --- | --- | --- |")
        for batch in BATCHES:
            rows, calls = tf.constant(data[:batch]), max(2000 // batch, 4)
            served, bare = [], []
            for _ in range(rounds + 1):  # the first traces and is left out
                served.append(seconds(lambda rows: score(features=rows), rows, calls))
                bare.append(seconds(products, rows, calls))
            served, bare = statistics.median(served[1:]), statistics.median(bare[1:])
            print(f"| {batch} | {batch / served:,.0f} | {batch / bare:,.0f} | {served / bare:.2f} |")


if __name__ == "__main__":
    main()
