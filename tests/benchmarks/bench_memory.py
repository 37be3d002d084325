"""Memory of many small models that one process keeps, beside plain Keras autoencoders of the same layers.

    python tests/benchmarks/bench_memory.py
    python tests/benchmarks/bench_memory.py --models 100

MB a model, resident: after building and compiling, after `fit`, and after `tf.keras.backend.clear_session()`, which
gives back the kernels that TensorFlow keeps of every function that ran; one that runs again makes them again. Most of
the memory is that of the graph of the training step. Each side has a process of its own, whose first model is not
counted.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tf_radogaga as tr

keras = tf.keras

STAGES = ("compiled", "fit", "clear_session")
COLUMNS, HIDDEN, LATENT = 16, 32, 3


def plain_keras(rows: np.ndarray) -> tuple[keras.Model, Callable[[], object]]:
    dense = [keras.layers.Dense(HIDDEN, "tanh"), keras.layers.Dense(LATENT)]
    dense += [keras.layers.Dense(HIDDEN, "tanh"), keras.layers.Dense(COLUMNS)]
    model = keras.Sequential([keras.Input(COLUMNS), *dense])
    model.compile("adam", "mse", steps_per_execution=50)
    return model, lambda: model.fit(rows, rows, batch_size=64, verbose=0)


def radogaga(rows: np.ndarray) -> tuple[keras.Model, Callable[[], object]]:
    networks = tr.DenseNetwork(COLUMNS, (HIDDEN,), LATENT), tr.DenseNetwork(LATENT, (HIDDEN,), COLUMNS)
    model = tr.RaDOGAGA(*networks, tr.MixturePrior(LATENT, components=3), lambda1=1000, lambda2=1000)
    model.compile("adam")
    return model, lambda: model.fit(rows, batch_size=64, verbose=0)


SIDES = {"plain Keras": plain_keras, "RaDOGAGA": radogaga}


def resident() -> float:
    """MB of this process, without what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measured(side: str, models: int) -> dict[str, float]:
    """MB a model at each stage, of this process."""
    rows = np.random.default_rng(0).normal(size=(200, COLUMNS)).astype(np.float32)

    def stages() -> Iterator[float]:
        SIDES[side](rows)[1]()
        keras.backend.clear_session()
        before = resident()
        kept = [SIDES[side](rows) for _ in range(models)]
        yield (resident() - before) / models
        for _, fit in kept:
            fit()
        yield (resident() - before) / models
        keras.backend.clear_session()
        yield (resident() - before) / models

    return dict(zip(STAGES, stages()))


def measured_alone(side: str, models: int) -> dict[str, float]:
    """Of a new process."""
    command = [sys.executable, __file__, "--models", str(models), "--side", side]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def table(records: dict[str, dict[str, float]]) -> str:
    """In Markdown, a line a side."""
    lines = [f"| MB a model | {' | '.join(STAGES)} |", "| --- " * (1 + len(STAGES)) + "|"]
    lines += [
        f"| {side} | {' | '.join(f'{found[stage]:.1f}' for stage in STAGES)} |" for side, found in records.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20, help="kept at once (default: %(default)s)")
    parser.add_argument("--side", choices=list(SIDES), help="measure one in this process, print its JSON")
    args = parser.parse_args()
    if args.models < 1:
        parser.error(f"--models: {args.models} must be at least 1")
    if args.side:
        print(json.dumps(measured(args.side, args.models)))
        return
    print(table({side: measured_alone(side, args.models) for side in SIDES}))


if __name__ == "__main__":
    main()
