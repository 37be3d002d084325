"""The beta-VAE on toy data of known density (ICML 2021, section 5.1 and appendix D): unit norms, variances, densities
over data sets, losses and beta. Figures 3, 10 and 13 to 25 of the paper are drawn beside the table."""

from __future__ import annotations

import argparse
import time

import numpy as np
import tensorflow as tf

from tf_radogaga.datasets import vae_toy
from tf_radogaga_trainers import train_toy
from tf_radogaga_trainers.reproduce import figures_vae_toy
from tf_radogaga_trainers.reproduce.records import digest, mean_sd
from tf_radogaga_trainers.reproduce.vae_toy_models import ERROR, ESTIMATES, measure, normal_optimum, preset
from tf_radogaga_trainers.shared.arguments import positive

HELP = "beta-VAE on toy data of known density (ICML 2021, section 5.1 and appendix D)"
KEY = ("dataset", "loss", "lambda", "latent_units", "seed", "settings")
LOSSES = {"sum": "square error", "downward-convex": "downward-convex loss", "upward-convex": "upward-convex loss"}
LAMBDAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
QUICK_LAMBDAS, QUICK_STEPS = (20.0, 100.0), 3000
SHOWN_SET, SHOWN_LAMBDA = "mix", 100.0
"""Of Tables 1, 2 and 4 and of the scatter plots, for which records of the first seed keep some rows' densities."""
SHOWN_ROWS = 400
FIGURES = dict(zip(((name, loss) for name in vae_toy.SETS for loss in LOSSES), range(13, 22)))
"""(set, loss) -> the paper's figure."""
Model = tuple[str, str, float, int]
"""(set, loss, lambda, N)."""

QUANTITIES = {
    "unit_norm_mean": "2/beta sigma_j^2 D'_j, mean",
    "unit_norm_sd": "2/beta sigma_j^2 D'_j, sd",
    "response_mean": "D'_j, mean",
    "response_sd": "D'_j, sd",
    "inverse_variance": "sigma_j^-2, mean",
}
PAPER = {  # Nakagawa et al., ICML 2021: table -> (loss, N, its figures, transform / coding)
    1: (
        "sum",
        3,
        {
            "unit_norm_mean": (0.965, 0.925, 0.972),
            "unit_norm_sd": (0.054, 0.164, 0.098),
            "response_mean": (0.162, 0.726, 2.922),
            "response_sd": (0.040, 0.466, 1.738),
            "inverse_variance": (33.3, 146, 589),
        },
        0.023,
    ),
    2: (
        "downward-convex",
        3,
        {
            "unit_norm_mean": (0.964, 0.928, 0.978),
            "unit_norm_sd": (0.060, 0.160, 0.088),
            "response_mean": (0.161, 0.696, 2.695),
            "response_sd": (0.063, 0.483, 1.573),
            "inverse_variance": (33.0, 140, 543),
        },
        0.024,
    ),
    4: (
        "sum",
        5,
        {
            "unit_norm_mean": (0.963, 0.918, 0.964, 0, 0),
            "unit_norm_sd": (0.053, 0.169, 0.103, 0, 0),
            "inverse_variance": (33.4, 146, 588, 1, 1),
        },
        None,
    ),
}
PAPER_R = {  # Fig. 3 and section 5.1
    "sum": {"r_loss": 0.904},
    "downward-convex": {"r_prior": 0.434, "r_loss": 0.771, "r_prior_scaled": 0.91, "r_loss_scaled": 0.91},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--sets", nargs="+", choices=list(vae_toy.SETS), default=list(vae_toy.SETS), help="data (default: all)")
    add("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES), help="metrics D (default: all)")
    add("--lambdas", nargs="+", type=positive(float), help="1 / beta (default: 1 to 1000, ten of them)")
    add("--seeds", type=positive(int), default=1, help="data and trainings of each model (default: %(default)s)")
    add("--steps", type=positive(int), help="training steps (default: 10000, and 30000 for lambda above 100)")
    add("--quick", action="store_true", help=f"lambda 20 and 100, {QUICK_STEPS} steps, where these are not given")


def _steps(args: argparse.Namespace) -> int | None:
    return args.steps or (QUICK_STEPS if args.quick else None)


def _lambdas(args: argparse.Namespace) -> list[float]:
    return sorted(set(args.lambdas or (QUICK_LAMBDAS if args.quick else LAMBDAS)))


def _models(args: argparse.Namespace) -> list[Model]:
    """Every set with every loss and lambda, and the five latent dimensions of Table 4."""
    models = [(name, loss, lam, 3) for name in args.sets for loss in args.losses for lam in _lambdas(args)]
    shown = (SHOWN_SET, "sum", SHOWN_LAMBDA)
    return [*models, (*shown, 5)] if (*shown, 3) in models else models


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the tables."""
    return [(*model, seed, _steps(args)) for seed in range(args.seeds) for model in _models(args)]


def key(dataset: str, loss: str, lam: float, latent_units: int, seed: int, steps: int | None) -> tuple:
    """What makes a record the same as another, in the order of `KEY`."""
    shapes = vae_toy.SETS[dataset]
    return dataset, loss, lam, latent_units, seed, digest((digest(preset(loss, lam, latent_units, steps)), shapes))


def run(dataset: str, loss: str, lam: float, latent_units: int, seed: int, steps: int | None) -> dict:
    """One record: a VAE trained on 50,000 rows. A training that fails becomes a record with an error."""
    data = vae_toy.generate_vae_toy(dataset, seed=seed)
    record = dict(zip(KEY, key(dataset, loss, lam, latent_units, seed, steps)))
    started = time.time()
    settings = preset(loss, lam, latent_units, steps)
    scattered = (dataset, lam, seed) == (SHOWN_SET, SHOWN_LAMBDA, 0)
    try:
        model = train_toy.fit(settings, data, seed)
        record.update(measure(model, data, keep_rows=SHOWN_ROWS if scattered else 0))
    except FloatingPointError as error:
        record["error"] = str(error)
    tf.keras.backend.clear_session()
    return {**record, "steps": settings.steps, "wall_seconds": time.time() - started}


def _good(args: argparse.Namespace, records: list[dict]) -> dict[Model, list[dict]]:
    """Model -> its records over the seeds, where there are any without error."""
    found = {tuple(record[name] for name in KEY): record for record in records if "error" not in record}
    wanted = {model: [key(*model, seed, _steps(args)) for seed in range(args.seeds)] for model in _models(args)}
    good = {model: [found[k] for k in keys if k in found] for model, keys in wanted.items()}
    return {model: chosen for model, chosen in good.items() if chosen}


def _over_lambda(good: dict[Model, list[dict]], name: str, loss: str) -> dict[float, list[dict]]:
    return {lam: chosen for (*other, lam, units), chosen in good.items() if (*other, units) == (name, loss, 3)}


def _means(runs: dict[float, list[dict]], metric: str) -> np.ndarray:
    """(lambdas, ...), over the seeds; NaN where one has none."""
    return np.array([np.mean(np.array([r[metric] for r in chosen], np.float64), axis=0) for chosen in runs.values()])


def _cell(values: list[float | None], digits: int) -> str:
    if None in values:
        return "undefined"
    return mean_sd(values, digits) if len(values) > 1 else f"{values[0]:.{digits}f}"


def _ratios(chosen: list[dict]) -> np.ndarray:
    """E[sigma_j^-2] over that of z_1, (seeds, N)."""
    inverse = np.array([record["inverse_variance"] for record in chosen])
    return inverse / inverse[:, :1]


def _labels(loss: str) -> dict[str, str]:
    """Metric -> label of the estimates that differ; for square errors a_x is 1."""
    scaled = loss != "sum"
    return {metric: label for metric, (_, label) in ESTIMATES.items() if scaled or not metric.endswith("_scaled")}


def figures(args: argparse.Namespace, records: list[dict]) -> dict[str, figures_vae_toy.Figure]:
    """File name -> figure, by the paper's numbers; those without records are left out."""
    good, found = _good(args, records), {}
    for (name, loss), number in FIGURES.items():
        runs = _over_lambda(good, name, loss)
        if runs:
            norms = _means(runs, "unit_norm_mean"), _means(runs, "unit_norm_sd"), _means(runs, "inverse_variance")
            r = {label: _means(runs, metric) for metric, label in _labels(loss).items()}
            figure = figures_vae_toy.ablation(list(runs), *norms, r)
            figure.suptitle(f"{name}, {LOSSES[loss]}")
            found[f"figure{number}_{name}_{loss}.png"] = figure
    ratios = {
        name: {
            label: _ratios(good[name, loss, SHOWN_LAMBDA, 3]).mean(axis=0)[1:]
            for loss, label in LOSSES.items()
            if (name, loss, SHOWN_LAMBDA, 3) in good
        }
        for name in args.sets
    }
    if any(ratios.values()):
        found["figure22_variance_ratios.png"] = figures_vae_toy.variance_ratios(ratios)
    found.update(_loss_figures({name: runs for name in args.sets if (runs := _over_lambda(good, name, "sum"))}))
    for number, loss, units in ((3, "downward-convex", 3), (10, "sum", 3), (25, "sum", 5)):
        first = good.get((SHOWN_SET, loss, SHOWN_LAMBDA, units), [{}])[0]
        if "log_densities" in first:
            found[f"figure{number}_{SHOWN_SET}_{loss}.png"] = _scatter(first)
    return found


def _loss_figures(by_set: dict[str, dict[float, list[dict]]]) -> dict[str, figures_vae_toy.Figure]:
    """Figures 23 and 24."""
    if not by_set:
        return {}
    betas = {name: 1 / np.array(list(runs)) for name, runs in by_set.items()}
    coding = {name: _means(runs, "coding_loss") for name, runs in by_set.items()}
    transform = {name: _means(runs, "transform_loss") for name, runs in by_set.items()}
    line = np.geomspace(min(map(min, betas.values())), max(map(max, betas.values())), 200)
    exact_transform, exact_coding = normal_optimum(line)
    exact = "normal s, exact KL"
    return {
        "figure23_coding_loss.png": figures_vae_toy.over_beta(
            {name: (beta, coding[name]) for name, beta in betas.items()},
            {r"$3\beta/2$": (line, 1.5 * line), exact: (line, exact_coding)},
            "coding loss",
        ),
        "figure24_loss_ratio.png": figures_vae_toy.over_beta(
            {name: (beta, transform[name] / coding[name]) for name, beta in betas.items()},
            {r"$21\beta/16$": (line, 21 / 16 * line), exact: (line, exact_transform / exact_coding)},
            "transform loss / coding loss",
        ),
    }


def _scatter(record: dict) -> figures_vae_toy.Figure:
    """Figures 3, 10 and 25."""
    logs = {name: np.array(values) for name, values in record["log_densities"].items()}
    shown = {label: metric for metric, label in _labels(record["loss"]).items() if record[metric] is not None}
    estimates = {label: np.exp(logs[metric] - logs[metric].max()) for label, metric in shown.items()}
    correlations = {label: record[metric] for label, metric in shown.items()}
    return figures_vae_toy.density_estimates(np.exp(logs["true"]), estimates, correlations)


INTRODUCTION = """\
50,000 rows on a 3-dimensional plane in 16 dimensions, raw; Var(s) = 1/6, 2/3, 8/3, so 1 : 4 : 16. The paper shows the
shapes of its sets in figures only; these are this package's own, `tf_radogaga/datasets/vae_toy.py`. z_1 to z_3: latent
dimensions by E[sigma_j^-2], ascending, as s_1 to s_3; z_4 and z_5 idle. Measured on the rows that were trained on. More
than one seed: mean (sd). Paper: Nakagawa et al., ICML 2021, Tables 1, 2 and 4, section 5.1 and Fig. 3."""

CORRELATIONS = """\
Pearson r with p(x); the paper's in brackets. `r_prior`: of p(mu); `r_posterior`: p(mu) prod_j sigma_j; `r_loss`:
exp(-L/beta); `_scaled`: of the last two with the factor a_x^(n/2)."""

OVER_LAMBDA = """\
Var(z_j) is E[sigma_j^-2]. For square errors its ratios tend to those in brackets, since (ds_j/dz_j)^2 has a mean above
Var(s_j) where s_j is not normal. `coding`: coding loss / (3 beta/2), beside it that of normal s by the exact KL.
`transform`: transform loss / coding loss, beside it 21 beta/16, which is for square errors. `error`: median over rows
of |log p_model(x) - log p_true(x)| in nats, with no constant fitted."""


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The tables as Markdown; `origin` tells the command and the versions that made it."""
    good = _good(args, records)
    lines = ["# The beta-VAE on toy data of known density", "", origin, "", INTRODUCTION]
    for number, (loss, units, paper, ratio) in PAPER.items():
        chosen = good.get((SHOWN_SET, loss, SHOWN_LAMBDA, units))
        if chosen:
            lines += ["", f"## Table {number}: {SHOWN_SET}, {LOSSES[loss]}, lambda {SHOWN_LAMBDA:g}, N = {units}", ""]
            lines += _paper_table(chosen, paper)
            measured = _cell([record["transform_loss"] / record["coding_loss"] for record in chosen], 4)
            lines += ["", f"Transform loss / coding loss: {measured}, paper {ratio or '-'}."]
    lines += ["", f"## Densities: {SHOWN_SET}, lambda {SHOWN_LAMBDA:g}, N = 3 (figures 3 and 10)", "", CORRELATIONS, ""]
    lines += _row("loss", *ESTIMATES, "error [nats]", head=True)
    for loss in args.losses:
        chosen = good.get((SHOWN_SET, loss, SHOWN_LAMBDA, 3))
        if chosen:
            values = {metric: _cell([record[metric] for record in chosen], 3) for metric in (*ESTIMATES, ERROR)}
            paper = {metric: f" [{value}]" for metric, value in PAPER_R.get(loss, {}).items()}
            lines += _row(LOSSES[loss], *(cell + paper.get(metric, "") for metric, cell in values.items()))
    lines += ["", "## Over lambda", "", OVER_LAMBDA]
    for (name, loss), number in FIGURES.items():
        if name in args.sets and loss in args.losses:
            lines += ["", f"### {name}, {LOSSES[loss]} (figure {number})", ""]
            lines += _lambda_table(_over_lambda(good, name, loss), _lambdas(args), name, loss)
    return "\n".join(lines) + "\n"


def _row(*cells: str, head: bool = False) -> list[str]:
    return [f"| {' | '.join(cells)} |", *(["|---" * len(cells) + "|"] if head else [])]


def _paper_table(chosen: list[dict], paper: dict[str, tuple[float, ...]]) -> list[str]:
    names = [f"z_{j + 1}" for j in range(len(paper["inverse_variance"]))]
    lines = _row("", *names, *(f"paper {name}" for name in names), head=True)
    rows = {label: ([record[metric] for record in chosen], paper.get(metric)) for metric, label in QUANTITIES.items()}
    printed = np.array(paper["inverse_variance"])
    rows["its ratio to z_1"] = (_ratios(chosen).tolist(), printed / printed[0])
    for label, (values, theirs) in rows.items():
        cells = [_cell(list(of_seeds), 3) for of_seeds in zip(*values)]
        lines += _row(label, *cells, *(["-"] * len(names) if theirs is None else [f"{value:.4g}" for value in theirs]))
    return lines


def _lambda_table(runs: dict[float, list[dict]], lambdas: list[float], name: str, loss: str) -> list[str]:
    limits = vae_toy.estimated_variances(name)
    limits = [f" [{value:.2f}]" if loss == "sum" else "" for value in limits / limits[0]]
    heads = ["lambda", "norm z_1", "z_2", "z_3", *(f"Var(z_{j + 1}) / Var(z_1){limits[j]}" for j in (1, 2)), *ESTIMATES]
    heads += ["coding", "normal's", "transform", "21 beta/16", "error", "steps", "s/run"]
    lines = _row(*heads, head=True)
    for lam in lambdas:
        if lam not in runs:
            lines += _row(f"{lam:g}", "failed", *[""] * (len(heads) - 2))
            continue
        chosen, unit = runs[lam], 1.5 / lam
        ratios = [record["transform_loss"] / record["coding_loss"] for record in chosen]
        lines += _row(
            f"{lam:g}",
            *(_cell([record["unit_norm_mean"][j] for record in chosen], 3) for j in range(3)),
            *(_cell(list(_ratios(chosen)[:, j]), 2) for j in (1, 2)),
            *(_cell([record[metric] for record in chosen], 3) for metric in ESTIMATES),
            _cell([record["coding_loss"] / unit for record in chosen], 3),
            f"{normal_optimum([1 / lam])[1][0] / unit:.3f}",
            _cell(ratios, 4),
            f"{21 / 16 / lam:.4f}",
            _cell([record[ERROR] for record in chosen], 3),
            str(chosen[0]["steps"]),
            f"{np.mean([record['wall_seconds'] for record in chosen]):.0f}",
        )
    return lines
