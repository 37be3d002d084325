"""Rows per second of an exported model beside the bare matrix products that its scores need.

    python tests/benchmarks/bench_serving.py            # rows per second and the ratio of times
    python tests/benchmarks/bench_serving.py --parts    # what each part of the graph adds to the products

The model is the preset of KDDCup99 on 121 inputs, trained for a moment, as `serving_default` serves it. All are called
in turn in one process, and medians of many rounds are compared, so the ratio stands where the machine's speed changes.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import turns

import tf_radogaga
from tf_radogaga import presets

INPUTS = 121
BATCHES = (1, 1024, 16384)


def exported(rows: np.ndarray, folder: str):
    """The model and the same one exported and loaded."""
    tf.keras.utils.set_random_seed(0)
    model = presets.build(presets.preset("kddcup99", "radogaga-log"), tf_radogaga.PassThrough(INPUTS))
    model.fit(rows[:4096], epochs=50, verbose=0)  # so that reconstructions are of the size of rows
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


def parts(model: tf_radogaga.RaDOGAGA) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    """Ever more of the graph that is served, by the last part of each."""
    graphs = {
        "biases and tanh": lambda x: model.decode(model.encode_x(x)),
        "reconstruction features": model.density.latents,
        "mixture (products too)": model.density.energy,
    }
    return {name: tf.function(graph, input_signature=[model.density.x_spec]) for name, graph in graphs.items()}


def medians(calls: dict[str, Callable], rows: tf.Tensor, rounds: int) -> dict[str, float]:
    """Seconds of each call, made in turn."""
    repeats = max(2000 // len(rows), 4)
    return turns.medians(
        {name: turns.repeated(functools.partial(call, rows), repeats) for name, call in calls.items()}, rounds
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of which medians are taken (default: %(default)s)")
    parser.add_argument("--parts", action="store_true", help="part by part, and with bad rows")
    arguments = parser.parse_args()
    data = np.random.default_rng(0).uniform(size=(max(BATCHES), INPUTS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model, loaded = exported(data, folder)
        score = loaded.signatures["serving_default"]
        served = {"serving_default": lambda rows: score(features=rows)}
        bare = {"matrix products": matrix_products(model)}
        if arguments.parts:
            print_parts({**bare, **parts(model), **served}, data, arguments.rounds)
            return
        print("| rows in a batch | serving_default [rows/s] | matrix products [rows/s] | ratio of times |")
        print("| --- | --- | --- | --- |")
        for batch in BATCHES:
            times = medians({**served, **bare}, tf.constant(data[:batch]), arguments.rounds)
            ours, least = times["serving_default"], times["matrix products"]
            print(f"| {batch} | {batch / ours:,.0f} | {batch / least:,.0f} | {ours / least:.2f} |")


def print_parts(calls: dict[str, Callable], data: np.ndarray, rounds: int) -> None:
    times = []
    for batch in BATCHES:
        rows, odd = data[:batch], {}
        for name, value in (("far off", 1e6), ("not valid", np.nan)):
            factors = np.where(np.arange(batch) % 10, 1, value)[:, None]
            odd_rows = tf.constant(rows * factors, tf.float32)
            odd[f"a tenth of rows {name}"] = functools.partial(lambda held, _: calls["serving_default"](held), odd_rows)
        times.append(medians({**calls, **odd}, tf.constant(rows), rounds))
    print("| up to and with | " + " | ".join(f"{batch} rows [ms]" for batch in BATCHES) + " |")
    print("| --- |" + " --- |" * len(BATCHES))
    for name in times[0]:
        cells = (f"{1e3 * t[name]:.3f} ({t[name] / t['matrix products']:.2f})" for t in times)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
