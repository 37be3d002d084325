"""Where the time of a training step goes, for each family of models.

    python tests/benchmarks/bench_steps.py
    python tests/benchmarks/bench_steps.py --trace
    python tests/benchmarks/bench_steps.py --against REVISION

The parts are found by taking them away: steps that stop after the loss, after its gradients, after the update, in a
loop in one graph; a step inside of Keras' `fit` beside them also draws its batch. Steps on 8 rows show what does not
depend on the rows: the dispatch of ops, and the optimizer. D alone is a distortion of the batch with its gradient, as
a step has two of. The last columns are times of epochs in which one thing is done in another way, over those of `fit`.
All take turns, and medians of several rounds are shown.

With --trace, the ops of a step of RaDOGAGA with a mixture are told apart by TensorFlow's profiler instead, beside the
bare matrix products that the step needs: what each kind of op takes in each part of the loss.

With --against, epochs of the working tree and of another commit of it take turns, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import families
import op_trace
import tensorflow as tf
from bench import ROOT, Worker
from families import FAMILIES
from turns import medians, repeated

FEW_ROWS = 8
PARTS = ("forward", "gradients", "update", "few rows", "distortion")
TITLES = ("batch", "step of fit [ms]", "forward", "gradients", "update", "input", f"{FEW_ROWS} rows", "D alone")
WAYS = ("XLA", "one step a call", "rows shuffled one by one", "two decoder calls", "bfloat16")


def loop(model, x: tf.Tensor, batch_size: int, steps: int, part: str) -> Callable[[], tf.Tensor]:
    """So many steps in one graph, each up to a part, one after another."""

    def step(rows):
        if part == "forward":
            return tf.add_n([tf.reduce_mean(term) for term in model.loss_terms(rows, training=True).values()])
        if part == "distortion":
            with tf.GradientTape() as tape:
                tape.watch(other := 0.9 * rows)
                found = model.distortion.excess(rows, other)
            return tf.reduce_sum(tape.gradient(found, other)[0])
        terms, monitors, gradients = model.steps.terms_and_gradients(rows)
        if part == "gradients":
            return tf.add_n([tf.reshape(gradient, [-1])[0] for gradient in gradients])
        return model.steps.update(terms, monitors, gradients)["loss"]

    @tf.function
    def run():
        used = tf.constant(0.0)
        for number in tf.range(steps):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            used += step(x[number * batch_size : (number + 1) * batch_size])
        return used

    return run


def profile(family: str, steps: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of each part of a step, and of one done in each way."""
    batch_size, data = FAMILIES[family].batch_size, families.rows(family, steps)
    model = families.model(family)
    x = model.preprocess(model.preprocess.check(data))
    model.make_train_function()  # and the variables of optimizer and metrics
    calls = {
        part: loop(model, x, FEW_ROWS if part == "few rows" else batch_size, steps, part).get_concrete_function()
        for part in PARTS
    }
    sides = {part: repeated(lambda call=call: call().numpy(), 1) for part, call in calls.items()}
    times = medians({**sides, **families.forms(family, data)}, rounds)
    return {side: 1000 * time / steps for side, time in times.items()}


def table(profiles: dict[str, dict[str, float]]) -> str:
    """In Markdown; the parts are shares of the step of `fit`, other ways ratios of their time to it."""
    lines = [["", *TITLES, *WAYS]]
    lines.append(["---"] * len(lines[0]))
    for family, times in profiles.items():
        spent = [times["forward"], times["gradients"] - times["forward"], times["update"] - times["gradients"]]
        spent += [times["fit"] - times["update"], times["few rows"], times["distortion"]]
        shares = [f"{part / times['fit']:.0%}" for part in spent]
        ratios = [f"{times[way] / times['fit']:.2f}" if way in times else "" for way in WAYS]
        lines.append([family, str(FAMILIES[family].batch_size), f"{times['fit']:.2f}", *shares, *ratios])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def compare(family: str, steps: int, rounds: int, revision: str) -> float:
    """Median of the time of an epoch at a revision over that of the working tree in the same round."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", folder, revision], check=True)
        stack.callback(subprocess.run, [*git, "remove", "--force", folder], check=True)
        command = [sys.executable, families.__file__, family, str(steps)]
        workers = [
            stack.enter_context(Worker(str(tree), command, {"PYTHONPATH": str(tree)})) for tree in (folder, ROOT)
        ]
        for one in workers:
            one.started()
        times = [[one.ask("train")["epoch"] for one in workers] for _ in range(rounds + 1)]
    return statistics.median(before / after for before, after in times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="default: all")
    add("--rounds", type=int, default=7, help="of which medians are taken (default: %(default)s)")
    instead = parser.add_mutually_exclusive_group().add_argument
    instead("--trace", action="store_true", help=f"the ops of a step of {op_trace.FAMILY} instead")
    instead("--against", metavar="REVISION", help="compare epochs with this commit instead")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds: {args.rounds} must be at least 1")
    if args.trace:
        print(op_trace.table(op_trace.trace(steps=100, rounds=args.rounds)))
        return
    steps = {family: 10 if FAMILIES[family].filters else 100 for family in args.families}
    if not args.against:
        print(table({family: profile(family, steps[family], args.rounds) for family in args.families}))
        return
    print(f"| | epoch at {args.against} / epoch now |\n| --- | --- |")
    for family in args.families:
        print(f"| {family} | {compare(family, steps[family], args.rounds, args.against):.2f} |", flush=True)


if __name__ == "__main__":
    main()
