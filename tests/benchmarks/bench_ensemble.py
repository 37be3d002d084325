"""Wall time of many seeds trained at once beside that of one, as the tables train them.

    python tests/benchmarks/bench_ensemble.py

Thyroid's preset of RaDOGAGA(log), building, tracing and adapting included. One training alone and all seeds together
are run in turn in one process, and the ratio is that of their medians, so it stands where the machine's speed changes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from tf_radogaga import presets
from tf_radogaga.datasets import tabular
from tf_radogaga_trainers.shared.fitting import in_memory, train, train_together


def seconds(call: Callable) -> float:
    tf.keras.backend.clear_session()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="thyroid", choices=("thyroid", "arrhythmia"))
    parser.add_argument("--model", default="radogaga-log", choices=presets.MIXTURE_MODELS)
    parser.add_argument("--seeds", type=int, default=20, help="trained at once (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are taken (default: %(default)s)")
    args = parser.parse_args()
    preset = presets.preset(args.dataset, args.model)
    table, seeds = tabular.load_table(args.dataset), list(range(args.seeds))
    data = [in_memory(table, seed) for seed in seeds]
    alone, together = [], []
    for _ in range(args.rounds):
        alone.append(seconds(lambda: train(preset, data[0], 0)))
        together.append(seconds(lambda: train_together(preset, data, seeds)))
    one, many = statistics.median(alone), statistics.median(together)
    print("| training | seconds | times one |\n| --- | --- | --- |")
    print(f"| one seed | {one:.1f} | 1 |\n| {args.seeds} seeds at once | {many:.1f} | {many / one:.2f} |")


if __name__ == "__main__":
    main()
