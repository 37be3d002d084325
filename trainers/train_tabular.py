"""Train one model on one table by a preset of the papers, report, and export.

    python trainers/train_tabular.py --dataset thyroid --model radogaga-log --out outputs/thyroid
    python trainers/train_tabular.py --dataset rows.csv --label-column fraud --out outputs/rows --export outputs/served

The table is split in stratified halves; the model sees the normal rows of the first half, and the second half is
scored by -log P(z), or by the loss of a VAE. OUT then holds metrics.json, figures, TensorBoard logs and model/, which
tf_radogaga.load_model reads. An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import tf_radogaga
from tf_radogaga import isometry, plots, presets
from tf_radogaga.datasets import csv_files, tabular
from tf_radogaga.datasets.streaming import StreamedTable
from tf_radogaga.models import Autoencoder, BetaVAE
from tf_radogaga_trainers.shared.arguments import positive
from tf_radogaga_trainers.shared.fitting import Data, in_memory, train
from tf_radogaga_trainers.shared.runs import callbacks, changed, export, finish, prepared_out, verbosity


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, help="thyroid, arrhythmia, kddcup99, kddcup-rev, or a CSV, .npy or .npz file")
    add("--model", choices=presets.MODELS, default="radogaga-log", help="loss equation (default: %(default)s)")
    add("--preset", choices=("paper", "small"), default="paper", help="network sizes: arXiv v1 Table 2 or Table 3")
    add("--seed", type=int, default=0, help="seed of the split, weights, batches and noise (default: 0)")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--export", type=Path, help="also write a SavedModel version to this folder, for example saved_models/NAME")
    add("--epochs", type=positive(int), help="passes over the training rows (default: the preset's number of steps)")
    add("--batch-size", type=positive(int), help="default: the preset's")
    add("--learning-rate", type=positive(float), help="of Adam (default: the preset's)")
    add(
        "--patience",
        type=positive(int),
        help="hold out a tenth of the rows and stop after so many reports without a lower loss (default: the preset's)",
    )
    add("--data-dir", type=Path, help="folder of kddcup99_10pct.csv.gz, else downloaded to ~/.cache/tf_radogaga")
    add("--overwrite", action="store_true", help="discard what OUT holds")
    own = parser.add_argument_group("your own CSV file")
    own.add_argument("--label-column", help="column with 1 for anomalies; without it all rows count as normal")
    own.add_argument("--normal-label", help="its value for normal rows, where it is not 0")
    own.add_argument("--categorical", nargs="*", default=(), help="columns of numbers to encode as one-hot")
    csv_files.add_arguments(own)
    own.add_argument(
        "--stream-above",
        type=float,
        default=2.0,
        help="gigabytes above which a file is read in blocks (default: %(default)s)",
    )
    own.add_argument(
        "--anomaly-share", type=positive(float), help="share of rows to flag (default: the labels', else 0.01)"
    )
    args = parser.parse_args(arguments)
    if args.anomaly_share is not None and args.anomaly_share >= 1:
        parser.error(f"argument --anomaly-share: {args.anomaly_share} is not below 1")
    if (args.model, args.preset) == ("vae", "small"):
        parser.error("argument --preset: no paper prints a small vae; leave it at paper")
    if args.dataset in tabular.ANOMALY_SHARE and (args.label_column or args.categorical or args.anomaly_share):
        parser.error(f"--label-column, --categorical and --anomaly-share are for your own file, not for {args.dataset}")
    return args


def load(args: argparse.Namespace) -> Data:
    """The table in memory, or as a stream where its file is larger than --stream-above."""
    if args.dataset in tabular.ANOMALY_SHARE:
        options = {}
    else:
        options = {name: getattr(args, name) for name in ("label_column", "normal_label", *csv_files.Options._fields)}
        options["categorical"] = tuple(args.categorical)
        path = Path(args.dataset)
        if path.suffix not in (".npy", ".npz") and path.is_file() and path.stat().st_size > args.stream_above * 1e9:
            stream = StreamedTable(path, **options, seed=args.seed)
            test = ((rows, labels) for _, rows, labels in stream.halves())
            return Data(stream, stream.training_rows(), test, stream.preprocessing(), args.anomaly_share)
        options["anomaly_share"] = args.anomaly_share
    return in_memory(tabular.load_table(args.dataset, args.data_dir, args.seed, **options), args.seed)


def choose_preset(args: argparse.Namespace, data: Data) -> presets.Preset:
    dataset = args.dataset if args.dataset in presets.DATASETS else presets.DEFAULT
    preset = presets.preset(dataset, args.model, args.preset)
    changes = {"batch_size": args.batch_size, "learning_rate": args.learning_rate, "patience": args.patience}
    if isinstance(data.train, StreamedTable):
        if args.patience:
            sys.exit("--patience: needs a table in memory; raise --stream-above or leave --patience out.")
        if preset.patience:
            print("a streamed table is trained for the preset's number of steps, without early stopping")
            preset = changed(preset, patience=None)
    if args.epochs is not None:
        batch_size = min(args.batch_size or preset.batch_size, data.training_rows)
        changes["steps"] = args.epochs * max(data.training_rows // batch_size, 1)
    return changed(preset, **{name: value for name, value in changes.items() if value is not None})


def report(args: argparse.Namespace, data: Data, model: Autoencoder) -> dict:
    """Scores the test half, sets the threshold, and writes the figures; returns the metrics."""
    scored, implicit = [], None
    for rows, labels in data.test:
        scored.append((model.energy(rows).numpy(), labels))
        if isinstance(model, BetaVAE) and implicit is None:
            normal = rows if labels is None else rows.take(np.flatnonzero(labels == 0), axis=0)
            implicit = isometry.implicit_report(model, normal)
    energies = np.concatenate([energy for energy, _ in scored])
    labels = None if scored[0][1] is None else np.concatenate([labels for _, labels in scored])
    share = data.anomaly_share or tabular.share_of(labels)
    threshold = model.set_threshold(energies, share)
    figures = {"scores.png": plots.score_histogram(energies, labels, threshold)}
    metrics = dict.fromkeys(("precision", "recall", "f1", "auroc", "average_precision"))
    if labels is not None:
        metrics = tabular.protocol_metrics(labels, energies, share)
        figures["roc_pr.png"] = plots.roc_pr_curves(labels, {args.model: energies})
    if implicit:
        print(implicit)
        (args.out / "certificate.txt").write_text(f"{implicit}\n")
        figures["implicit_spectrum.png"] = plots.implicit_spectrum(implicit)
    for name, figure in figures.items():
        figure.savefig(args.out / name, dpi=120)
    return metrics


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    started = time.time()
    data = load(args)
    preset = choose_preset(args, data)
    with prepared_out(args):
        if reader := getattr(data.preprocess, "reader", None):
            print(f"{args.dataset}: {csv_files.Reader.of(reader)}")
        print(f"{args.dataset}: {data.training_rows} rows to train on; {preset}")
        model = train(preset, data, args.seed, callbacks(args.out), verbosity())
        if preset.em_iterations:
            print("mixture after training, mean -log likelihood in nats:", dict(model.prior.adaptation))
        metrics = report(args, data, model)
        tf_radogaga.save_model(model, args.out / "model")
        if args.export:
            export(args, Path(args.dataset).name, preset, data.train, model, metrics)
        identity = {"dataset": args.dataset, "model": args.model, "seed": args.seed}
        finish(args.out, {**identity, **metrics, "wall_seconds": time.time() - started})


if __name__ == "__main__":
    main()
