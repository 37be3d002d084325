"""What each part of `AnomalyDetector` is worth: its densities one by one and averaged, the scale of its latent, and the
same latent trained as a RaDOGAGA of as many dimensions as columns. Beside AUROC and average precision stands the mean
log density of the normal test rows, of which training has seen none: what one may choose by without labels."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import sources
import tensorflow as tf
from arguments import positive
from records import digest, failures, mean_or_value, scored
from scipy.stats import spearmanr
from sklearn.preprocessing import QuantileTransformer

import tf_radogaga
from tf_radogaga import AnomalyDetector, DenseNetwork, FactorizedPrior, RaDOGAGA
from tf_radogaga.datasets import tabular
from tf_radogaga.detector.densities import (
    IsometricLatent,
    averaged,
    fit_densities,
    log_normalizer,
    log_probs,
    normalizing_rows,
    worth_averaging,
)

keras = tf.keras
Score = Callable[[], np.ndarray]

HELP = "what each part of the detector is worth"
DETECTOR = "radogaga"
DENSITIES = (
    "kernel",
    "mixture",
    "columns",
    "kernel+mixture",
    "kernel+columns",
    "mixture+columns",
    "kernel+mixture+columns",
)
SCALES = {"scale-deviation": "deviation", "scale-range": "range", "scale-ranks": "ranks"}
TRAINED = ("trained-prior", "trained-residual", "trained-mixture", "trained-average", "trained-seeds")
TRAINED_ALONE = ("trained-no-gauge", "trained-early")
ONCE = "rows-once"
VARIANTS = (DETECTOR, *DENSITIES, *SCALES, ONCE, *TRAINED, *TRAINED_ALONE)
KEY = ("dataset", "variant", "seed", "settings")
COLUMNS = {"log_likelihood": 2, "auroc": 4, "average_precision": 4, "f1": 4}
MEANING = """\
- `radogaga` is `AnomalyDetector().fit` of the raw training rows.
- `kernel`, `mixture`, `columns`: its densities alone; `kernel+mixture` and so on: averaged in log density as it does,
  columns counting a half, whether they are the likeliest or not.
- `scale-deviation`, `scale-range`, `scale-ranks`: its recipe, but each column is divided by its standard deviation, or
  by its range, in place of their geometric mean; or its ranks are turned to normal quantiles.
- `rows-once`: its recipe, but rows that repeat count once in the columns too.
- `trained-prior`: log density of a RaDOGAGA(log(d)) with N = M on the rows in the detector's scale, by its factorized
  prior; `trained-residual` adds a Gaussian of what its decoder does not give back; `trained-mixture` and
  `trained-average` are the detector's mixture and its whole recipe on that latent; `trained-seeds` is the mean log
  density of {models} trainings; `trained-no-gauge` is `trained-prior` in the papers' form, without a gauge;
  `trained-early` is trained on three quarters of the rows, until those of the last are no longer likelier. Their
  likelihoods trust the isometric volume.

A latent of fewer active dimensions than the table has columns, one without a gauge, whose volume is another, and
ranks, which repeat, give no density of rows to compare; their likelihood is left out."""
NETWORK = {"units": (64,), "filters": (3, 3, 3), "lambda1": 100, "lambda2": 600, "learning_rate": 1e-3}
BATCH = 256
LOOKS = 10
"""How often trained-early may look at the rows that are held out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    sources.add_arguments(parser)
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="rows of the table (default: all)")
    add("--seeds", type=positive(int), default=5, help="splits of each table (default: %(default)s)")
    add("--models", type=positive(int), default=4, help="trainings that trained-seeds averages (default: %(default)s)")
    add("--steps", type=positive(int), default=3000, help="training steps of each (default: %(default)s)")


def jobs(args: argparse.Namespace) -> list[tuple]:
    """Arguments of `run` for every row of the table."""
    return [
        (source, variant, seed, args.models, args.steps)
        for source in sources.sources(args)
        for seed in range(args.seeds)
        for variant in args.variants
    ]


def key(source: str, variant: str, seed: int, models: int, steps: int) -> tuple:
    trained = variant in (*TRAINED, *TRAINED_ALONE)
    settings = (NETWORK, BATCH, models, steps) if trained else AnomalyDetector().get_params()
    return Path(source).stem, variant, seed, digest(settings)


def family(variant: str) -> str:
    """Variants of one family share what is fitted."""
    return "trained" if variant in TRAINED else "densities" if variant in DENSITIES else variant


def groups(jobs: list[tuple]) -> list[list[tuple]]:
    """The jobs in groups that `run_together` takes: the variants of a family on one split."""
    found: dict[tuple, list[tuple]] = {}
    for job in jobs:
        source, variant, seed, *_ = job
        found.setdefault((source, seed, family(variant)), []).append(job)
    return list(found.values())


def run(*job) -> dict:
    """One record: a variant on one split of a table."""
    return run_together([job])[0]


def run_together(jobs: list[tuple]) -> list[dict]:
    """The records of jobs that differ in the variant alone, which is of one family."""
    started = time.time()
    source, first, seed, models, steps = jobs[0]
    table = sources.load(source)
    split = tabular.stratified_halves(table, seed)
    normal = split.test_labels == 0
    try:
        scores, without = family_scores(first, split.train, split.test, seed, models, steps)
    except FloatingPointError as error:
        scores, without = dict.fromkeys(VARIANTS, _raising(error)), VARIANTS
    records = []
    for job in jobs:
        likelihood: list[float] = []

        def energies(log_p=scores[job[1]], likelihood=likelihood):
            found = log_p()
            likelihood.append(float(found[normal].mean()))
            return -found

        record = scored(dict(zip(KEY, key(*job))), split.test_labels, energies, table.anomaly_share)
        known = likelihood and job[1] not in without
        records.append({**record, "log_likelihood": likelihood[0] if known else None})
    keras.backend.clear_session()
    return [{**record, "wall_seconds": (time.time() - started) / len(jobs)} for record in records]


def _raising(error: Exception) -> Score:
    def score():
        raise error

    return score


def family_scores(
    variant: str, train: np.ndarray, test: np.ndarray, seed: int, models: int, steps: int
) -> tuple[dict[str, Score], Collection[str]]:
    """log p of the test rows by every variant of a family, and the variants that are no density of all columns."""
    if variant == DETECTOR:
        return {DETECTOR: lambda: AnomalyDetector(random_state=seed).fit(train).score_samples(test)}, ()
    rng = np.random.default_rng(np.random.RandomState(seed).randint(2**31 - 1))  # as the detector draws
    z, test_z, base = in_latent(train, test, SCALES.get(variant, "geometric"), seed)
    if family(variant) == "trained":
        scores, without = trained_scores(z, test_z, [seed + 1000 * n for n in range(models)], steps, rng)
    elif variant in TRAINED_ALONE:
        early = variant == "trained-early"
        model = trained_early(z, seed, steps, rng) if early else trained_models(z, [seed], steps, gauge=None)[0]
        scores, without = {variant: _log_density(model, test_z)}, _partial({variant: [model]}) if early else {variant}
    elif variant == ONCE:
        scores, without = {ONCE: Averages(np.unique(z, axis=0), test_z, rng).chosen}, ()
    else:
        averages = Averages(z, test_z, rng)
        scores, without = {name: averages.named(name) for name in DENSITIES}, ("scale-ranks",)
        scores[variant] = averages.chosen if variant in SCALES else scores[variant]
    return {name: _shifted(log_p, base) for name, log_p in scores.items()}, without


def _shifted(log_p: Score, base: np.ndarray) -> Score:
    return lambda: log_p() + base


def in_latent(train: np.ndarray, test: np.ndarray, scale: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z of raw rows, of training (n, N) and of test (B, N), each column divided by a scale; and what log p(x) of the
    test rows adds to log P(z), (B,).

    Args:
        scale: "deviation", "range", "geometric", their geometric mean, or "ranks", to normal quantiles.
        seed: of the ranks.
    """
    if scale == "ranks":
        ranks = QuantileTransformer(
            n_quantiles=min(1000, len(train)), output_distribution="normal", random_state=seed
        ).fit(train)
        train, test = ranks.transform(train), ranks.transform(test)
    own = {"deviation": train.std(axis=0), "range": np.ptp(train, axis=0), "ranks": np.ones(train.shape[1])}
    latent = IsometricLatent(train, own.get(scale))
    return latent(train), latent(test), -latent.log_scale - latent.surprise(test)


class Averages:
    """Averages of the detector's densities, fitted to rows z (n, N), at rows `test` (B, N)."""

    def __init__(self, z: np.ndarray, test: np.ndarray, rng: np.random.Generator):
        densities = fit_densities(z, rng)
        self.worth = worth_averaging(densities)
        self._drawn = log_probs(densities, normalizing_rows(densities, rng))
        self._at = log_probs(densities, test)

    def named(self, names: str) -> Score:
        """Of log p at the test rows, normalised; names joined by +."""

        def log_p():
            chosen = names.split("+")
            if missing := [name for name in chosen if name not in self._at]:
                raise ValueError(f"{missing[0]}: too few rows for so many columns.")
            at, drawn = (averaged({name: logs[name] for name in chosen}) for logs in (self._at, self._drawn))
            return at - log_normalizer(drawn, self._drawn["kernel"])

        return log_p

    def chosen(self) -> np.ndarray:
        """As the detector chooses."""
        return self.named("+".join(self.worth))()


@keras.utils.register_keras_serializable(package="tf_radogaga_trainers")
class ResidualNetwork(DenseNetwork):
    """x + a dense network that starts at 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dense[-1].kernel.assign(tf.zeros_like(self.dense[-1].kernel))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + super().call(x)


def untrained(width: int, seed: int, steps: int, gauge: str | None = "learned") -> RaDOGAGA:
    """RaDOGAGA(log(d)) with N = M, compiled."""
    keras.utils.set_random_seed(seed)
    model = RaDOGAGA(
        *(ResidualNetwork(width, NETWORK["units"], width) for _ in range(2)),
        FactorizedPrior(width, NETWORK["filters"], init_scale=30.0),
        NETWORK["lambda1"],
        NETWORK["lambda2"],
        gauge=gauge,
    )
    decay = keras.optimizers.schedules.CosineDecay(NETWORK["learning_rate"], steps)
    model.compile(keras.optimizers.Adam(decay))
    return model


def trained_models(z: np.ndarray, seeds: list[int], steps: int, gauge: str | None = "learned") -> list[RaDOGAGA]:
    """Trained at once on rows z (n, M), one a seed; those that diverge are left out.

    Raises:
        FloatingPointError: all diverge.
    """
    models = [untrained(z.shape[1], seed, steps, gauge) for seed in seeds]
    options = {"batch_size": min(BATCH, len(z)), "steps_per_epoch": steps, "verbose": 0}
    errors = tf_radogaga.fit_together(models, [z] * len(models), **options)
    if len(errors) == len(models):
        raise FloatingPointError(str(errors[0]))
    return [model for number, model in enumerate(models) if number not in errors]


def trained_early(z: np.ndarray, seed: int, steps: int, rng: np.random.Generator) -> RaDOGAGA:
    """Trained on three quarters of rows z (n, M) and stopped where the log density of the last is highest.

    Raises:
        FloatingPointError: it diverges.
    """
    held_out, fitted = np.split(z[rng.permutation(len(z))], [len(z) // 4])
    model, highest = untrained(z.shape[1], seed, steps), -np.inf
    passes = max(round(steps / LOOKS / math.ceil(len(fitted) / BATCH)), 1)
    for _ in range(LOOKS):
        model.fit(fitted, batch_size=BATCH, epochs=passes, verbose=0)
        likelihood = model.log_density(held_out).numpy().mean()
        if likelihood <= highest:
            break
        highest, weights = likelihood, model.get_weights()
    model.set_weights(weights)
    return model


def _log_density(model: RaDOGAGA, rows: np.ndarray) -> Score:
    return lambda: model.log_density(rows).numpy().astype(np.float64)


def _partial(used: dict[str, list[RaDOGAGA]]) -> set[str]:
    """Names of those among whose models one has a density of fewer than all dimensions."""
    return {name for name, models in used.items() if any(m.active_dimensions < m.latent_units for m in models)}


def trained_scores(
    z: np.ndarray, test: np.ndarray, seeds: list[int], steps: int, rng: np.random.Generator
) -> tuple[dict[str, Score], set[str]]:
    """log p at rows `test` (B, M) by name, and the names of those that are no density of all M dimensions."""
    models = trained_models(z, seeds, steps)
    model = models[0]
    unit = math.sqrt(model.metric_scale)  # of the latent, in that of z
    averages = Averages(*(model.encode(rows).numpy().astype(np.float64) / unit for rows in (z, test)), rng)

    log_density = _log_density(model, test)

    def with_residual():
        spare = z.shape[1] - model.active_dimensions
        squares = [np.square(rows - model.decode(model.encode(rows)).numpy()).sum(axis=1) for rows in (z, test)]
        variance = squares[0].mean() / max(spare, 1)
        return log_density() - squares[1] / (2 * variance) - spare / 2 * math.log(2 * math.pi * variance)

    scores = {
        "trained-prior": log_density,
        "trained-residual": with_residual,
        "trained-mixture": averages.named("mixture"),
        "trained-average": averages.chosen,
        "trained-seeds": lambda: tf_radogaga.mean_log_density(models, test).numpy().astype(np.float64),
    }
    return scores, _partial({"trained-prior": models[:1], "trained-seeds": models})


def markdown(args: argparse.Namespace, records: list[dict], origin: str) -> str:
    """The table as Markdown: of every data set the variants, and how well likelihood chooses among them."""
    wanted = {key(*job) for job in jobs(args)}
    records = [record for record in records if tuple(record[name] for name in KEY) in wanted]
    names = list(dict.fromkeys(record["dataset"] for record in records))
    cells = {
        (name, variant, column): [
            record[column]
            for record in records
            if (record["dataset"], record["variant"]) == (name, variant) and record[column] is not None
        ]
        for name in names
        for variant in args.variants
        for column in COLUMNS
    }
    means = {cell: np.mean(values) for cell, values in cells.items() if values}
    lines = ["# What each part of the detector is worth", "", origin, ""]
    lines += [f"Stratified halves; training on the normal rows of one, {args.seeds} splits, mean (sd).", ""]
    lines += MEANING.format(models=args.models).splitlines()
    lines += ["", "## All tables", ""]
    lines += ["Means over the tables on which a variant can be measured.", ""]
    lines += ["| variant | AUROC | average precision | F1 | tables | s/run |", "|---" * 6 + "|"]
    for variant in args.variants:
        known = [name for name in names if (name, variant, "auroc") in means]
        shown = [
            f"{np.mean([means[name, variant, column] for name in known]):.4f}" if known else "-"
            for column in list(COLUMNS)[1:]
        ]
        seconds = np.mean([record["wall_seconds"] for record in records if record["variant"] == variant])
        lines.append(f"| {variant} | {' | '.join(shown)} | {len(known)} | {seconds:.1f} |")
    lines += ["", "## Does likelihood choose well?", ""]
    lines += ["Spearman's r over the variants that have a likelihood; the likeliest of them, and the best.", ""]
    lines += ["| table | r with AUROC | r with average precision | likeliest | its AUROC | best | its AUROC |"]
    lines += ["|---" * 7 + "|"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(_choice(means, name, args.variants))} |")
    for name in names:
        lines += ["", f"## {name}", "", "| variant | held-out log likelihood [nats] | AUROC | average precision | F1 |"]
        lines += ["|---" * 5 + "|"]
        for variant in args.variants:
            shown = [mean_or_value(cells[name, variant, column], digits) or "-" for column, digits in COLUMNS.items()]
            lines.append(f"| {variant} | {' | '.join(shown)} |")
    return "\n".join([*lines, *failures(records)]) + "\n"


def _choice(means: dict[tuple, float], name: str, variants: list[str]) -> list[str]:
    likely = {
        variant: means[name, variant, "log_likelihood"]
        for variant in variants
        if (name, variant, "log_likelihood") in means
    }
    if not likely:
        return ["-"] * 6
    metrics = {m: {v: means[name, v, m] for v in likely} for m in ("auroc", "average_precision")}
    correlations = [
        spearmanr([*likely.values()], [*metric.values()])[0] if len(set(metric.values())) > 1 else np.nan
        for metric in metrics.values()
    ]
    aurocs = metrics["auroc"]
    picked = (max(likely, key=likely.get), max(aurocs, key=aurocs.get))
    return ["-" if np.isnan(r) else f"{r:.2f}" for r in correlations] + [
        text for v in picked for text in (v, f"{aurocs[v]:.4f}")
    ]
