"""Peak memory and seconds of training and scoring a stream, against its rows and its columns.

    make scale

Rows come from a generator and are never held together. Every number is of a process of its own, libraries and tracing
included; "train" is one pass of `fit` and all that it does after it: the mixture, refined by two iterations of EM from
two starts, and the active dimensions, each of which reads the stream again. "score" is
`dataset.map(model.scores)`; "predict" is Keras', which returns arrays of all rows and so cannot be flat.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from worker import peak_memory

import tf_radogaga
from tf_radogaga import plots, presets

RESULTS = Path(__file__).resolve().parent / "results"
ROWS = (100_000, 1_000_000, 10_000_000)
COLUMNS = (8, 32, 128, 512)
USUAL_ROWS, USUAL_COLUMNS = 1_000_000, 16
FLAT = (1_000_000, 10_000_000)
"""Between these numbers of rows the peak memory of what is flat grows by less than `TOLERANCE`."""
TOLERANCE = 0.05
BATCH = 1024


def stream(rows: int, columns: int) -> tf.data.Dataset:
    """Batches of BATCH rows, (B, columns) float32, drawn from three clusters; the same at each pass."""

    def batches() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        centres = rng.normal(0, 2, (3, columns)).astype(np.float32)
        for first in range(0, rows, BATCH):
            size = min(BATCH, rows - first)
            noise = rng.standard_normal((size, columns), np.float32)
            yield centres[rng.integers(0, 3, size)] + 0.3 * noise

    data = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((None, columns)))
    return data.apply(tf.data.experimental.assert_cardinality(-(-rows // BATCH)))  # several steps at once need it


def model(columns: int) -> tf_radogaga.RaDOGAGA:
    """The preset of the toy data, which a mixture of three fits, for as many columns."""
    tf.keras.utils.set_random_seed(0)
    preset = dataclasses.replace(presets.preset("toy", "radogaga-log"), em_iterations=2)
    return presets.build(preset, tf_radogaga.PassThrough(columns))


def train(rows: int, columns: int) -> Callable[[], object]:
    built, data = model(columns), stream(rows, columns)
    return lambda: built.fit(data, verbose=0)


def _adapted(columns: int) -> tf_radogaga.RaDOGAGA:
    built = model(columns)
    built.adapt_prior(stream(BATCH, columns))
    return built


def score(rows: int, columns: int) -> Callable[[], object]:
    built, data = _adapted(columns), stream(rows, columns)

    def run():
        return max(float(tf.reduce_max(scores["energy"])) for scores in data.map(built.scores))

    return run


def predict(rows: int, columns: int) -> Callable[[], object]:
    built, data = _adapted(columns), stream(rows, columns)
    return lambda: built.predict(data, verbose=0)


ACTIVITIES = {"train": train, "score": score, "predict": predict}
FLAT_ACTIVITIES = ("train", "score")


def measured(activity: str, rows: int, columns: int) -> dict:
    """Of this process."""
    run = ACTIVITIES[activity](rows, columns)
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    return {"activity": activity, "rows": rows, "columns": columns, "seconds": seconds, "peak_memory": peak_memory()}


def measured_alone(*case: object) -> dict:
    """Of a new process."""
    print("measuring", *case, file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--case", *map(str, case)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def growth(records: list[dict], activity: str) -> float:
    """Peak memory at the more of `FLAT` rows over that at the fewer, less 1."""
    peaks = {r["rows"]: r["peak_memory"] for r in records if (r["activity"], r["columns"]) == (activity, USUAL_COLUMNS)}
    fewer, more = (peaks[rows] for rows in FLAT)
    return more / fewer - 1


def table(records: list[dict]) -> str:
    """A line a measurement."""
    lines = ["| | rows | columns | seconds | rows/s | peak memory [MB] |", "|---|---|---|---|---|---|"]
    for r in records:
        speed = r["rows"] / r["seconds"]
        numbers = f"{r['rows']:,} | {r['columns']} | {r['seconds']:.1f} | {speed:,.0f} | {r['peak_memory']:,.0f}"
        lines.append(f"| {r['activity']} | {numbers} |")
    return "\n".join(lines)


def figure(records: list[dict]):
    """Seconds and peak memory against rows, seconds against columns."""

    def series(x: str, y: str, fixed: str, value: int) -> dict:
        ordered = sorted((r for r in records if r[fixed] == value), key=lambda r: r[x])
        chosen = {name: [r for r in ordered if r["activity"] == name] for name in ACTIVITIES}
        return {name: ([r[x] for r in found], [r[y] for r in found]) for name, found in chosen.items()}

    return plots.cost_curves(
        [
            ("rows", "seconds", "log", series("rows", "seconds", "columns", USUAL_COLUMNS)),
            ("rows", "peak memory [MB]", "linear", series("rows", "peak_memory", "columns", USUAL_COLUMNS)),
            ("columns", "seconds", "log", series("columns", "seconds", "rows", USUAL_ROWS)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, to see that it runs; no figures to keep")
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json", help="FILE.json, and FILE.png beside it")
    parser.add_argument("--case", nargs=3, metavar=("ACTIVITY", "ROWS", "COLUMNS"), help="measure one, print its JSON")
    args = parser.parse_args()
    if args.case:
        activity, rows, columns = args.case
        print(json.dumps(measured(activity, int(rows), int(columns))))
        return
    cases = [(name, rows, USUAL_COLUMNS) for rows in ROWS for name in ACTIVITIES]
    cases += [(name, USUAL_ROWS, columns) for columns in COLUMNS for name in FLAT_ACTIVITIES]
    if args.quick:
        cases = [(name, rows, USUAL_COLUMNS) for rows in (BATCH, 10 * BATCH) for name in ACTIVITIES]
    records = [measured_alone(*case) for case in cases]
    print(table(records))
    if args.quick:
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    setting = {"batch": BATCH, "cores": os.cpu_count(), "tensorflow": tf.__version__, "numpy": np.__version__}
    grown = {name: growth(records, name) for name in FLAT_ACTIVITIES}
    args.out.write_text(json.dumps({"setting": setting, "growth": grown, "records": records}, indent=1) + "\n")
    figure(records).savefig(args.out.with_suffix(".png"), dpi=100)
    for name, share in grown.items():
        verdict = "flat" if share <= TOLERANCE else "NOT flat"
        print(f"{name}: peak memory {share:+.1%} from {FLAT[0]:,} to {FLAT[1]:,} rows, {verdict}")
    sys.exit(any(share > TOLERANCE for share in grown.values()))


if __name__ == "__main__":
    main()
