"""Densities and distances on curved surfaces of known density, beside flows, PCA, Isomap and UMAP."""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from tf_radogaga.datasets.manifolds import MANIFOLDS, Manifold, ManifoldData
from tf_radogaga.models import gauge_fitting, gauges
from tf_radogaga.priors import stacking
from tf_radogaga.unfolding import charts, recipe
from tf_radogaga_trainers.reproduce import curved_methods, figures_curved, peers_curved
from tf_radogaga_trainers.reproduce.baselines import add_peers_argument
from tf_radogaga_trainers.reproduce.curved_methods import Found, Task
from tf_radogaga_trainers.reproduce.records import digest, mean_or_value
from tf_radogaga_trainers.shared.arguments import positive

HELP = "densities and distances on curved surfaces, beside flows, PCA, Isomap and UMAP"
KEY = ("surface", "method", "seed", "settings")
COLUMNS, ROWS, HELD_OUT = 16, 10_000, 4000
NOISE = 0.1
"""Length of the noise of the noisy sphere, whose radius is 1."""
NOISY = "sphere in 64 columns, noise"
SURFACES: dict[str, Manifold] = {
    **{name: m if m.columns else m.embedded(max(COLUMNS, m.chart.columns)) for name, m in MANIFOLDS.items()},
    NOISY: MANIFOLDS["sphere in 64 columns"].embedded(64, noise=NOISE / 64**0.5),
}
QUERIES, NEIGHBOURS, PAIRS = 1000, 10, 10_000
"""Held-out rows whose neighbours are compared, how many of them, and pairs of rows whose distances are ranked."""

FIT = "fit_isometric"
GAUGES = {"no gauge": None, "learned gauge": "learned", "flow gauge": "flow"}
METHODS = {
    FIT: curved_methods.fit_isometric,
    **{
        f"RaDOGAGA({label}), {name}": functools.partial(curved_methods.radogaga, h=h, gauge=gauge)
        for label, h in (("log(d)", "log"), ("d", "identity"))
        for name, gauge in GAUGES.items()
    },
    "beta-VAE in y": curved_methods.beta_vae,
    "autoencoder + mixture": curved_methods.autoencoder,
    "PCA + mixture": curved_methods.pca,
    "autoregressive flow": curved_methods.autoregressive_flow,
    "Isomap": curved_methods.isomap,
}
PEERS = {"spline flow": curved_methods.spline_flow, "UMAP": curved_methods.umap}
SHOWN = ("swiss roll", FIT, 0)
"""Of the figure, for which its record keeps what is drawn."""
DEPENDS = (recipe, charts, gauges, gauge_fitting, stacking)
"""Whose constants `fit_isometric` depends on."""
FLOWS = ("spline flow", "autoregressive flow")
QUICK_SURFACES, QUICK_METHODS = ("swiss roll", "half sphere"), (FIT, "PCA + mixture")

HEADS = {  # heading: (metric, digits)
    "isometric: median": ("isometric_median", 3),
    "mean": ("isometric_mean", 3),
    "95 %": ("isometric_p95", 3),
    "Jacobian: median": ("jacobian_median", 3),
    "mean ": ("jacobian_mean", 3),
    "95 % ": ("jacobian_p95", 3),
    "tangent r": ("tangent_r", 4),
    "slope": ("tangent_slope", 3),
    "gap": ("gap_median", 3),
    "rank r": ("rank_correlation", 4),
    "recall": ("recall", 3),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, methods = parser.add_argument, [*METHODS, *PEERS]
    add("--surfaces", nargs="+", choices=list(SURFACES), metavar="NAME", help=f"{', '.join(SURFACES)} (default: all)")
    add("--methods", nargs="+", choices=methods, metavar="NAME", help=f"{', '.join(methods)} (default: all)")
    add("--seeds", type=positive(int), help="rows and fits of each method (default: 5)")
    add("--quick", action="store_true", help="one seed, two surfaces, two methods, where these are not given")
    add_peers_argument(parser)


def _surfaces(args: argparse.Namespace) -> list[str]:
    return args.surfaces or list(QUICK_SURFACES if args.quick else SURFACES)


def _methods(args: argparse.Namespace) -> list[str]:
    return args.methods or list(QUICK_METHODS if args.quick else (*METHODS, *PEERS))


def _seeds(args: argparse.Namespace) -> int:
    return args.seeds or (1 if args.quick else 5)


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the tables; the flow is for rows without noise."""
    missing = [name for name in PEERS if name in _methods(args)]
    if missing and (obstacle := curved_methods.peers_obstacle(args.peers_python)):
        print(f"left out: {', '.join(missing)} need --peers-python, which `make peers` builds: {obstacle}")
    else:
        missing = []
    return [
        (surface, method, seed, str(args.peers_python))
        for seed in range(_seeds(args))
        for surface in _surfaces(args)
        for method in _methods(args)
        if method not in missing and not (surface == NOISY and method in FLOWS)
    ]


def key(surface: str, method: str, seed: int, peers_python: str) -> tuple:
    """What makes a record the same as another, in the order of `KEY`."""
    modules = [curved_methods, *(DEPENDS if method == FIT else [recipe, peers_curved] if method in PEERS else [recipe])]
    constants = [
        {name: value for name, value in vars(module).items() if name.isupper() and type(value) in (float, int, tuple)}
        for module in modules
    ]
    return surface, method, seed, digest((repr(SURFACES[surface]), ROWS, HELD_OUT, *constants))


def drawn(surface: str, seed: int) -> tuple[ManifoldData, ManifoldData, Task]:
    """Rows to train on, rows held out, and both for a method."""
    manifold = SURFACES[surface]
    train, test = manifold.sample(ROWS, seed=2 * seed), manifold.sample(HELD_OUT, seed=2 * seed + 1)
    rows = (data.rows.astype(np.float32) for data in (train, test))
    return train, test, Task(*rows, train.coordinates.shape[1], manifold.chart.columns, seed)


def run(surface: str, method: str, seed: int, peers_python: str) -> dict:
    """One record. A training that fails becomes a record with an error."""
    manifold = SURFACES[surface]
    _, test, task = drawn(surface, seed)
    record = dict(zip(KEY, key(surface, method, seed, peers_python)))
    tf.keras.utils.set_random_seed(seed)
    started = time.time()
    try:
        found = METHODS[method](task) if method in METHODS else PEERS[method](task, Path(peers_python))
        record["wall_seconds"] = time.time() - started
        record.update(measures(manifold, test, found))
        if (surface, method, seed) == SHOWN:
            record["drawn"] = figures_curved.drawing(manifold, found.model, test)
    except (FloatingPointError, NotImplementedError, ValueError) as error:
        record["error"] = str(error)
    tf.keras.backend.clear_session()
    return record


def measures(manifold: Manifold, test: ManifoldData, found: Found) -> dict:
    """Of what a method finds of held-out rows; None where it has no such thing."""
    metrics: dict[str, float | str | None] = {metric: None for metric, _ in HEADS.values()}
    for volume, log_p in found.log_densities.items():
        errors = np.abs(log_p - test.log_density)
        metrics[f"{volume}_median"] = float(np.median(errors))
        metrics[f"{volume}_mean"] = float(errors.mean())
        metrics[f"{volume}_p95"] = float(np.quantile(errors, 0.95))
    if len(found.log_densities) == 2:
        isometric, jacobian = found.log_densities["isometric"], found.log_densities["jacobian"]
        metrics["gap_median"] = float(np.median(np.abs(jacobian - isometric)))
    metrics.update(tangent_r=found.tangent_r, tangent_slope=found.tangent_slope, verdict=found.verdict)
    if found.latent.shape[1]:
        metrics.update(_distances(manifold, test.coordinates, found.latent))
    return metrics


def _distances(manifold: Manifold, u: np.ndarray, latent: np.ndarray) -> dict[str, float]:
    """How well distances in the latent tell geodesic ones, where these are known."""
    try:
        geodesic = manifold.distances(u[:QUERIES], u)
    except NotImplementedError:
        return {}
    between = cdist(latent[:QUERIES], latent)
    queries = np.arange(QUERIES)
    pairs = np.random.default_rng(0).integers((QUERIES, len(u)), size=(PAIRS, 2)).T
    rank = float(spearmanr(geodesic[tuple(pairs)], between[tuple(pairs)])[0])
    nearest = []
    for distances in (geodesic.copy(), between):
        distances[queries, queries] = np.inf
        nearest.append(np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    shared = [len(np.intersect1d(true, seen)) for true, seen in zip(*nearest)]
    return {"rank_correlation": rank, "recall": float(np.mean(shared) / NEIGHBOURS)}


INTRODUCTION = f"""\
{ROWS} rows, {HELD_OUT} held out, in {COLUMNS} columns where the name says no other; new rows for each seed; mean (sd)
over the seeds. Errors are |log p - true log p| in nats, with no constant fitted, by the isometric and by the Jacobian
volume. `gap`: median of |log p by the Jacobian - log p by the isometric volume|. `rank r`: Spearman correlation of
latent distances with geodesic ones, over {PAIRS} pairs. `recall`: share of the {NEIGHBOURS} nearest geodesic neighbours
that are among the {NEIGHBOURS} nearest in the latent. `worst`: the greatest median error of a seed, by the isometric
and by the Jacobian volume, where there are both.

RaDOGAGA, beta-VAE and autoencoder train {curved_methods.STEPS} steps of {recipe.BATCH} rows with networks of the size
of `fit_isometric`; they start anywhere. Flows train as many steps, on rows with noise, and are told which plane holds
the surface; their networks are smaller. Isomap and UMAP see {curved_methods.NEIGHBOUR_ROWS} rows. "sphere in 64
columns, noise" has normal noise whose length is a tenth of the radius; there the true density is of the point before
the noise."""


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The tables as Markdown; `origin` tells the command and the versions that made it."""
    found = {tuple(record[name] for name in KEY): record for record in records}
    heads = ["method", *(name.strip() for name in HEADS), "worst", "seeds", "s/run"]
    lines = ["# Curved surfaces of known density", "", origin, "", INTRODUCTION]
    for surface in _surfaces(args):
        lines += ["", f"## {surface}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for method in _methods(args):
            keys = [key(surface, method, seed, str(args.peers_python)) for seed in range(_seeds(args))]
            chosen = [found[k] for k in keys if k in found]
            if chosen:
                lines.append(f"| {' | '.join([method, *_cells(chosen)])} |")
    return "\n".join(lines) + "\n"


def _cells(chosen: list[dict]) -> list[str]:
    good = [record for record in chosen if "error" not in record]
    cells = [
        mean_or_value([record[metric] for record in good if record[metric] is not None], digits) or "-"
        for metric, digits in HEADS.values()
    ]
    medians = ("isometric_median", "jacobian_median")
    worst = [max(values) for m in medians if (values := [r[m] for r in good if r[m] is not None])]
    failed = f" ({len(chosen) - len(good)} failed)" if len(good) < len(chosen) else ""
    seconds = f"{np.mean([record['wall_seconds'] for record in good]):.0f}" if good else "-"
    return [*cells, " / ".join(f"{value:.3f}" for value in worst) or "-", f"{len(chosen)}{failed}", seconds]


def figures(args: argparse.Namespace, records: list[dict]) -> dict[str, Figure]:
    """File name -> figure."""
    found = {tuple(record[name] for name in KEY): record for record in records}
    shown = found.get(key(*SHOWN, str(args.peers_python)), {})
    return {"curved_roll.png": figures_curved.unrolled(shown["drawn"])} if "drawn" in shown else {}
