"""Prints and draws what choosing.md says about lambda1, lambda2 and h.

    python docs/choosing.py line                             # one dimension: closed form beside trained models
    python docs/choosing.py line --figure docs/choosing.png  # and the figure
    python docs/choosing.py toy                              # one choice after another on the toy data
    python docs/choosing.py thyroid                          # what lambda1 leaves of a table

In one dimension x ~ N(0, s^2), z = a x, x_hat = b z, u = a b. With a Gaussian prior that is fitted exactly, D the
squared error and noise of variance 1, the loss is, up to a constant,

    h = identity    log a + lambda1 s^2 (1 - u)^2 + lambda2 b^2
    h = log         log a + 2 lambda1 log |1 - u| + lambda2 b^2

Source: Kato et al., arXiv v1, appendix D, whose denominator sigma^2 in the solution of a stands for sigma_x^2.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import tf_radogaga as tr
from tf_radogaga import presets
from tf_radogaga.datasets import tabular, toy

WEIGHTS = (1.5, 2.1, 3.0, 6.0, 20.0, 100.0)
"""lambda1 s^2 of the models of a line that are trained; the first has no optimum."""

LAMBDA2 = 50.0

SETTINGS = (
    *({"lambda1": lambda1} for lambda1 in (3, 30, 300, 3000, 30_000)),
    *({"lambda2": lambda2} for lambda2 in (10, 100_000)),
    *({"h": "identity", "lambda1": lambda1} for lambda1 in (1000, 10_000, 100_000)),
    {"gauge": None},
    {"units": 6},
)
"""What is changed of `BASE` on the toy data."""

BASE = {"lambda1": 1000, "lambda2": 1000, "h": "log", "gauge": "learned", "units": 3}

THYROID = (("mean", 100, 10_000), ("sum", 100, 10_000), ("sum", 1000, 10_000), ("sum", 1000, 1000))
"""The form of D, lambda1 and lambda2 of RaDOGAGA(d); the first two are what the paper's lambdas may mean."""


def optimum(weight: float | np.ndarray) -> np.ndarray:
    """u where the loss with h = identity has its minimum near 1; NaN where it has none, and z collapses.

    Args:
        weight: lambda1 s^2.
    """
    root = 1 - 2 / np.asarray(weight, np.float64)
    return (1 + np.sqrt(np.where(root < 0, np.nan, root))) / 2


def barrier(lambda1: float) -> float:
    """u where the loss with h = log has its maximum: above it training leads to 1, below to 0."""
    return 1 / (1 + 2 * lambda1)


def loss(u: np.ndarray, lambda1: float, h: str, variance: float = 1.0) -> np.ndarray:
    """The loss over u at the b that minimizes it, up to a constant, in nats."""
    if h == "log":
        return np.log(u) + 2 * lambda1 * np.log(np.abs(1 - u))
    return np.log(u) + lambda1 * variance * (1 - u) ** 2


def slope(lambda2: float) -> float:
    """b, by which the decoder moves x for a step of 1 in z: the noise of variance 1 becomes this error in x."""
    return 1 / math.sqrt(2 * lambda2)


def train_lines(weights: Iterable[float], steps: int = 3000) -> list[tuple[float, float]]:
    """u and b of trained models, one for each lambda1 s^2; started at u = 1."""
    rows = np.random.default_rng(0).normal(size=(20_000, 1))
    rows = ((rows - rows.mean()) / rows.std()).astype(np.float32)
    models = []
    for weight in weights:
        networks = tr.DenseNetwork(1, (), 1), tr.DenseNetwork(1, (), 1)
        for network in networks:
            network.dense[0].kernel.assign([[1.0]])
        form = {"h": "identity", "noise": "gaussian", "sigma2": 1.0}
        models.append(tr.RaDOGAGA(*networks, tr.MixturePrior(1, 1), lambda1=weight, lambda2=LAMBDA2, **form))
        models[-1].compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.02, steps)))
    tr.fit_together(models, [rows] * len(models), batch_size=512, steps_per_epoch=steps, verbose=0)
    points = tf.constant([[0.0], [1.0]])
    slopes = [(np.diff(m.encode(points), axis=0).item(), np.diff(m.decode(points), axis=0).item()) for m in models]
    return [(a * b, b) for a, b in slopes]


def line_table(trained: Iterable[tuple[float, float]]) -> Iterator[str]:
    """A line for each of `WEIGHTS`."""
    yield f"{'lambda1 s^2':>11} {'u':>7} {'trained':>8} {'b':>7} {'trained':>8}  error of log p(x)"
    for weight, (u, b) in zip(WEIGHTS, trained):
        right = float(optimum(weight))
        off = "collapsed" if math.isnan(right) else f"{-math.log(right):+.3f} nats"
        yield f"{weight:11g} {right:7.3f} {u:8.3f} {slope(LAMBDA2):7.3f} {b:8.3f}  {off}"


def figure(trained: Iterable[tuple[float, float]]) -> Figure:
    """u over lambda1 s^2, the error of log p that it makes, and the loss over u with either h."""
    drawn = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = drawn.subplots(1, 3)
    weights = np.geomspace(2, 200, 400)
    left.plot(weights, optimum(weights), label="h = identity, closed form")
    left.plot(WEIGHTS, [u for u, _ in trained], "o", label="trained")
    left.axhline(1, color="black", linewidth=1, linestyle="--", label="h = log")
    left.set(xlabel=r"$\lambda_1 s^2$", ylabel="u = a b", title="(a) what the decoder gives back")
    middle.plot(weights, -np.log(optimum(weights)))
    middle.set(xlabel=r"$\lambda_1 s^2$", ylabel="nats", yscale="log", title="(b) error of log p(x), a dimension")
    for axes in (left, middle):
        axes.set_xscale("log")
        axes.axvspan(1, 2, color="tab:red", alpha=0.15, label="collapse")
    left.legend()
    u = np.linspace(0.005, 1.2, 600)
    for number, (lambda1, h) in enumerate(
        ((1.5, "identity"), (3, "identity"), (10, "identity"), (0.5, "log"), (2, "log"))
    ):
        values = loss(u, lambda1, h)
        style = "-" if h == "identity" else "--"
        right.plot(u, values, style, color=f"C{number}", label=rf"h = {h}, $\lambda_1$ = {lambda1}")
    right.set(xlabel="u = a b", ylabel="loss [nats], s = 1", ylim=(-12, 6), title="(c) loss: u = 0 is collapse")
    right.legend(fontsize="small")
    return drawn


def toy_table(settings: Iterable[dict], epochs: int = 80, rows: int = 4000) -> Iterator[str]:
    """A line for each choice: what the progress bar, the certificate and the true density say of it."""
    data = toy.generate_toy(rows, seed=1).scaled()
    x = data.rows.astype(np.float32)
    variances = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[:3] ** 2
    yield "shares of the variance: " + ", ".join(f"{share:.3f}" for share in variances / variances.sum())
    yield "standard deviations: " + ", ".join(f"{deviation:.3f}" for deviation in np.sqrt(variances / rows))
    names = ("h", "lambda1", "lambda2", "gauge", "units", "isometry", "n", "r", "slope", "variance", "error [nats]")
    yield " ".join(f"{name:>10}" for name in names)
    for setting in settings:
        choice = {**BASE, **setting}
        tf.keras.utils.set_random_seed(0)
        units = choice.pop("units")
        networks = tr.DenseNetwork(16, (32,), units), tr.DenseNetwork(units, (32,), 16)
        model = tr.RaDOGAGA(*networks, tr.MixturePrior(units, 3), **choice)
        model.compile(tf.keras.optimizers.Adam(3e-3))
        try:
            isometry = model.fit(x, batch_size=128, epochs=epochs, verbose=0).history["isometry"][-1]
            found = [f"{isometry:.2f}", *_measured(model, x, data.log_density)]
        except FloatingPointError:
            found = ["NaN"]
        lambdas = f"{choice['lambda1']:g}", f"{choice['lambda2']:g}"
        shown = (choice["h"], *lambdas, choice["gauge"] or "none", str(units), *found)
        yield " ".join(f"{value:>10}" for value in shown)


def _measured(model: tr.RaDOGAGA, x: np.ndarray, log_density: np.ndarray) -> list[str]:
    report = tr.isometry_report(model, x)
    kept = model.decode(model.encode(x)).numpy().var(axis=0).sum() / x.var(axis=0).sum()
    error = "none"
    if model.has_log_density:
        error = f"{np.median(np.abs(model.log_density(x) - log_density)):.2f}"
    dimensions = str(model.active_dimensions)
    return [dimensions, f"{report.tangent_r:.3f}", f"{report.tangent_slope:.2f}", f"{kept:.2f}", error]


def thyroid_table(settings: Iterable[tuple[str, float, float]], seeds: int = 5, steps: int = 4000) -> Iterator[str]:
    """A line for each choice: directions that the closed form keeps, what trained models give back, and their F1."""
    table = tabular.load_table("thyroid")
    splits = [tabular.stratified_halves(table, seed) for seed in range(seeds)]
    preprocess = table.preprocessing()
    x = preprocess(preprocess.check(splits[0].train)).numpy()
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    yield "variances s^2 by direction: " + ", ".join(f"{variance:.4f}" for variance in variances)
    names = ("D", "lambda1", "lambda2", "kept", "their share", "comes back", "F1")
    yield " ".join(f"{name:>11}" for name in names)
    for distortion, lambda1, lambda2 in settings:
        changes = {"distortion": distortion, "lambda1": lambda1, "lambda2": lambda2}
        preset = dataclasses.replace(presets.preset("thyroid", "radogaga-d"), **changes)
        kept = ~np.isnan(optimum(variances * lambda1 / (len(variances) if distortion == "mean" else 1)))
        back, f1 = _trained_on_thyroid(preset, splits, preprocess, table.anomaly_share, steps)
        shares = variances[kept].sum() / variances.sum(), np.mean(back)
        figures = (*(f"{share:.2f}" for share in shares), f"{np.mean(f1):.3f} ({np.std(f1, ddof=1):.3f})")
        yield " ".join(f"{value!s:>11}" for value in (distortion, lambda1, lambda2, kept.sum(), *figures))


def _trained_on_thyroid(
    preset: presets.Preset,
    splits: list[tabular.Split],
    preprocess: tr.Preprocessing,
    anomaly_share: float,
    steps: int,
) -> tuple[list[float], list[float]]:
    """Of a model a split: the share of the variance of its training rows that comes back, and F1."""
    models = []
    for seed in range(len(splits)):
        tf.keras.utils.set_random_seed(seed)
        models.append(presets.build(preset, preprocess))
    length = {"batch_size": preset.batch_size, "steps_per_epoch": steps}
    tr.fit_together(models, [split.train for split in splits], **length, verbose=0)
    back, f1 = [], []
    for model, split in zip(models, splits):
        x = preprocess(preprocess.check(split.train)).numpy()
        error = np.square(x - model.decode(model.encode(split.train)).numpy()).sum()
        back.append(1 - error / np.square(x - x.mean(axis=0)).sum())
        energy = model.energy(split.test).numpy()
        f1.append(tabular.protocol_metrics(split.test_labels, energy, anomaly_share)["f1"])
    return back, f1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("line", "toy", "thyroid"), help="the closed form, or data")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the line too, such as docs/choosing.png")
    args = parser.parse_args()
    if args.what != "line":
        for line in toy_table(SETTINGS) if args.what == "toy" else thyroid_table(THYROID):
            print(line, flush=True)
        return
    trained = train_lines(WEIGHTS)
    print("\n".join(line_table(trained)))
    if args.figure:
        figure(trained).savefig(args.figure, dpi=80)


if __name__ == "__main__":
    main()
