"""The toy experiment of ICML 2020, section 5.2, over seeds: proportionality, isometry, absolute density."""

from __future__ import annotations

import argparse
import time

import numpy as np
import tensorflow as tf

from tf_radogaga_trainers import train_toy
from tf_radogaga_trainers.reproduce.records import digest, mean_sd
from tf_radogaga_trainers.shared.arguments import positive

HELP = "density and isometry on toy data (ICML 2020, section 5.2)"
KEY = ("variant", "seed", "settings")
VARIANTS = {
    "RaDOGAGA(d)": {"model": "radogaga-d"},
    "RaDOGAGA(log(d))": {"model": "radogaga-log"},
    "RaDOGAGA(log(d)), MSE": {"model": "radogaga-log", "distortion": "mean"},
    "RaDOGAGA(log(d)), a(x) SSE": {"model": "radogaga-log", "distortion": "downward-convex"},
    "RaDOGAGA(d), no gauge": {"model": "radogaga-d", "gauge": "none"},
    "RaDOGAGA(log(d)), no gauge": {"model": "radogaga-log", "gauge": "none"},
    "DAGMM": {"model": "dagmm"},
}
PAPER_R = {"RaDOGAGA(d)": 0.997, "RaDOGAGA(log(d))": 0.998, "DAGMM": 0.882}
PAPER_RESIDUAL = {"RaDOGAGA(d)": 0.0100, "RaDOGAGA(log(d))": 0.0027}  # arXiv v1, section 4.1.2
COLUMNS = {  # heading: (metric, digits)
    "r": ("pearson_r", 5),
    "r, network's mixture": ("pearson_r_network", 4),
    "regression residual": ("regression_residual", 5),
    "abs error, isometric [nats]": ("abs_log_density_error_median", 3),
    "abs error, Jacobian [nats]": ("abs_log_density_error_median_jacobian", 3),
    "Gram diagonal": ("gram_diagonal_mean", 3),
    "its sd": ("gram_diagonal_sd", 3),
    "cosine off it": ("gram_offdiagonal_mean", 3),
    "largest": ("gram_offdiagonal_max", 3),
    "tangent r": ("tangent_r", 4),
    "tangent slope": ("tangent_slope", 3),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="rows (default: all)")
    add("--seeds", type=positive(int), default=5, help="trainings of each variant (default: %(default)s)")
    add("--steps", type=positive(int), help="training steps (default: the preset's)")


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    return [(variant, seed, args.steps) for seed in range(args.seeds) for variant in args.variants]


def key(variant: str, seed: int, steps: int | None) -> tuple:
    """What makes a record the same as another, in the order of `KEY`."""
    return variant, seed, digest(train_toy.choose_preset(**VARIANTS[variant], steps=steps))


def run(variant: str, seed: int, steps: int | None) -> dict:
    """One record: a variant trained on the authors' rows. A training that fails becomes a record with an error."""
    data = train_toy.load(train_toy.AUTHORS, seed)
    record = dict(zip(KEY, key(variant, seed, steps)))
    started = time.time()
    try:
        model = train_toy.fit(train_toy.choose_preset(**VARIANTS[variant], steps=steps), data, seed)
        record.update(train_toy.measure(model, data)[0])
    except FloatingPointError as error:
        record["error"] = str(error)
    tf.keras.backend.clear_session()
    return {**record, "wall_seconds": time.time() - started}


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table as Markdown; `origin` tells the command and the versions that made it."""
    lines = [
        "# Density and isometry on toy data",
        "",
        origin,
        "",
        "The authors' 10,000 rows; mean (sd) over the seeds. `r`: Pearson correlation of the true density with P(z),",
        "the mixture refined by EM; beside it with the estimation network's own. `abs error`: median over rows of",
        "|log p_model(x) - log p_true(x)| by either volume. Gram matrix and tangents in units of the theory: a",
        "diagonal of 1, cosines of 0, r and slope of 1 are right; DAGMM has no theoretical scale, its own is fitted.",
        "No gauge: the papers' form. Paper: Kato et al., ICML 2020, section 5.2; residual: arXiv v1, section 4.1.2.",
        "",
        f"| variant | paper r, residual | lowest r | {' | '.join(COLUMNS)} | seeds | s/run |",
        "|---" * (len(COLUMNS) + 5) + "|",
    ]
    for variant in args.variants:
        wanted = {key(variant, seed, args.steps) for seed in range(args.seeds)}
        chosen = [record for record in records if tuple(record[name] for name in KEY) in wanted]
        good = [record for record in chosen if "error" not in record]
        cells = [_cell([record[metric] for record in good], digits) for metric, digits in COLUMNS.values()]
        lowest = f"{min(record['pearson_r'] for record in good):.5f}" if good else "failed"
        failed = f" ({len(chosen) - len(good)} failed)" if len(good) < len(chosen) else ""
        seconds = np.mean([record["wall_seconds"] for record in chosen])
        paper = f"{PAPER_R.get(variant, '-')}, {PAPER_RESIDUAL.get(variant, '-')}"
        lines.append(
            f"| {variant} | {paper} | {lowest} | {' | '.join(cells)} | {len(chosen)}{failed} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _cell(values: list[float | None], digits: int) -> str:
    return "undefined" if None in values else mean_sd(values, digits)
