"""Speed and memory of tf_radogaga beside alibi-detect, pyod, plain Keras and bare matrix products.

    make bench

All sides get the same rows, KDDCup99's number of them with 121 inputs, networks of the same sizes (the preset of
KDDCup99), the same batch size and number of threads. Each is a process of its own, peers in their own environment. They
take turns: one trains for an epoch or scores all rows while the others wait. Ratios are times of a side over those of
tf_radogaga in the same round, so they stand where the machine's speed changes; medians over the rounds are shown.

epoch: inside of `fit`; a whole fit of one epoch also fixes what scores (tf_radogaga), scores the rows again (pyod), or
passes all of them through the network at once (alibi-detect). Scores of this package are those of its SavedModel; every
side scores once before it is timed. Peak memory is that of the process, libraries included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REFERENCE = "tf_radogaga"
SCRIPTS = {
    "own_sides.py": (REFERENCE, "tf_radogaga DAGMM", "tf_radogaga VAE", "matrix products"),
    "keras_side.py": ("Keras fit",),
    "alibi_sides.py": ("alibi-detect OutlierAEGMM", "alibi-detect OutlierVAE"),
    "pyod_sides.py": ("pyod AutoEncoder", "pyod VAE"),
}
PEERS = ("alibi_sides.py", "pyod_sides.py")
REQUESTS = ("train", "score")
QUICK_BATCHES = 8
COLUMNS = (
    ("epoch [s]", "epoch", ".3f"),
    ("steps/s", "steps_per_second", ",.0f"),
    ("time / {}", "epoch_ratio", ".2f"),
    ("fit of one epoch [s]", "fit", ".3f"),
    ("scored rows/s", "rows_per_second", ",.0f"),
    ("time / {}", "score_ratio", ".2f"),
    ("peak memory [MB]", "peak_memory", ",.0f"),
)


class Worker:
    """A process that answers requests by lines of JSON.

    Args:
        side: its name, for messages.
        command: starts it.
        environment: variables beside those of this process.
    """

    def __init__(self, side: str, command: list[str], environment: Mapping[str, str] | None = None):
        self.side = side
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, **pipes)

    def started(self) -> dict[str, str]:
        """Waits for its first line: versions by package.

        Raises:
            RuntimeError: the process ended instead.
        """
        return self._answer("start")

    def ask(self, request: str) -> dict[str, float]:
        """Sends the request and waits for its answer.

        Raises:
            RuntimeError: the process ended instead.
        """
        with suppress(BrokenPipeError):  # told of below
            self.process.stdin.write(f"{request}\n")
            self.process.stdin.flush()
        return self._answer(request)

    def _answer(self, request: str) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"{self.side}: ended with code {code} when told to {request}; its message is above.")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def measure(workers: Mapping[str, Any], rounds: int) -> list[dict]:
    """Asks all sides in turn, round after round; the first, in which graphs are traced, is left out.

    Returns:
        One dictionary a round: {side: {request: answer}}.
    """
    measured = []
    for number in range(rounds + 1):
        measured.append({side: {} for side in workers})
        for request in REQUESTS:
            for side, worker in workers.items():
                print(f"\rround {number} of {rounds}: {request}, {side:<40}", end="", file=sys.stderr, flush=True)
                measured[-1][side][request] = worker.ask(request)
    print(file=sys.stderr)
    return measured[1:]


def summary(measured: list[dict], steps: int, rows: int, reference: str = REFERENCE) -> dict[str, dict[str, float]]:
    """Medians over the rounds by side, ratios taken within each round.

    Args:
        measured: as `measure` returns it.
        steps: in an epoch.
        rows: that are scored.
        reference: the side that ratios are over.
    """

    def median(side, request, key, over=None):
        values = [one[side][request][key] / (one[over][request][key] if over else 1) for one in measured]
        return statistics.median(values)

    return {
        side: {
            "epoch": median(side, "train", "epoch"),
            "steps_per_second": steps / median(side, "train", "epoch"),
            "epoch_ratio": median(side, "train", "epoch", reference),
            "fit": median(side, "train", "seconds"),
            "rows_per_second": rows / median(side, "score", "seconds"),
            "score_ratio": median(side, "score", "seconds", reference),
            "peak_memory": measured[-1][side]["score"]["peak_memory"],
        }
        for side in measured[0]
    }


def table(sides: Mapping[str, Mapping[str, float]], reference: str = REFERENCE) -> str:
    """The summary in Markdown, a line a side; `reference` is the side that ratios are over."""
    lines = [["", *(title.format(reference) for title, _, _ in COLUMNS)], ["---"] * (len(COLUMNS) + 1)]
    for side, numbers in sides.items():
        lines.append([side, *(format(numbers[key], form) for _, key, form in COLUMNS)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} must be at least 1")
    return number


def arguments(description: str | None, out: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=positive, default=5, help="of which medians are taken (default: %(default)s)")
    add("--threads", type=positive, default=os.cpu_count(), help="of every side (default: all cores, %(default)s)")
    add("--data-dir", type=Path, help="folder of kddcup99_10pct.csv.gz; rows at random without it")
    add("--quick", action="store_true", help="few rows and one round, to see that it runs; no figures to keep")
    add("--out", type=Path, default=ROOT / "outputs" / out, help="JSON file to write (default: %(default)s)")
    return parser


def run(args: argparse.Namespace, commands: Mapping[str, list], reference: str = REFERENCE) -> None:
    """Starts the sides, measures them in turn, prints the table and writes `args.out`.

    Args:
        args: as parsed by `arguments`.
        commands: {side: command}; the folder of the task is added to each.
        reference: the side that ratios are over.
    """
    rounds, threads = 1 if args.quick else args.rounds, str(args.threads)
    environment = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        options = ["--data-dir", args.data_dir] if args.data_dir else []
        options += ["--batches", str(QUICK_BATCHES)] if args.quick else []
        subprocess.run([sys.executable, HERE / "task.py", "--out", folder, *options], check=True)
        task = json.loads((Path(folder) / "task.json").read_text())
        workers, versions = {}, {}
        for side, command in commands.items():
            workers[side] = stack.enter_context(Worker(side, [*command, folder], environment))
            versions[side] = workers[side].started()
        measured = measure(workers, rounds)
    steps = task["rows"]["train"] // task["network"]["batch_size"]
    sides = summary(measured, steps, task["rows"]["test"], reference)
    print(table(sides, reference))
    setting = {"data": "KDDCup99" if args.data_dir else "random", "threads": args.threads, **task, "versions": versions}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"setting": setting, "sides": sides, "rounds": measured}, indent=1) + "\n")


def main() -> None:
    parser = arguments(__doc__, "bench.json")
    parser.add_argument("--peers-python", type=Path, default=ROOT / ".venv-peers/bin/python", help="has peers.txt")
    args = parser.parse_args()
    if not args.peers_python.exists():
        parser.error(f"--peers-python: {args.peers_python} is not there; make bench builds it")
    python = {script: args.peers_python if script in PEERS else sys.executable for script in SCRIPTS}
    run(args, {side: [python[script], HERE / script, side] for script, names in SCRIPTS.items() for side in names})


if __name__ == "__main__":
    main()
