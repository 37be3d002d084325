"""The folder of a run: its settings, what it takes to go on after an interruption, its metrics."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_radogaga import serving
from tf_radogaga._core import directories
from tf_radogaga.datasets.streaming import StreamedTable
from tf_radogaga.models import Autoencoder
from tf_radogaga.presets import Preset
from tf_radogaga.serving.card import model_card
from tf_radogaga_trainers.shared import backups

keras = tf.keras

BACKUP = "backup"
"""Folder in OUT of what an interrupted run goes on from."""

WARMUP_ROWS = 8
"""In the warm-up requests of an export."""


@contextlib.contextmanager
def prepared_out(args: argparse.Namespace) -> Iterator[None]:
    """OUT, ready for a new run or for the rest of the same one, and for no other process's while this one runs."""
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        with directories.lock(args.out):
            _prepare(args)
            yield
    except BlockingIOError:
        sys.exit(f"--out: another training is writing to {args.out}; wait for its end, or choose another folder.")
    except (OSError, tf.errors.OpError) as error:
        if directories.full(error):
            remedy = "free some space and give the same command again: it goes on from the last backup"
        elif getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM):
            remedy = "choose folders that can"
        else:
            raise
        sys.exit(f"--out, --export: cannot be written to; {remedy} ({error}).")


def _prepare(args: argparse.Namespace) -> None:
    record = args.out / "run.json"
    if args.overwrite:
        there = [path for path in args.out.iterdir() if path.name != "lock"]
        if there and not record.exists():
            sys.exit(f"--overwrite: {args.out} holds files but no run.json, so it is no run; choose another folder.")
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    settings = {k: str(v) for k, v in sorted(vars(args).items()) if k not in ("out", "export", "overwrite")}
    if (args.out / "metrics.json").exists():
        sys.exit(f"--out: {args.out} holds a finished run; choose another folder or give --overwrite.")
    if record.exists():
        try:
            before = dict(json.loads(record.read_text()))
        except ValueError as error:
            sys.exit(f"--out: {record} is damaged ({error}); give --overwrite to begin anew.")
        # runs of before lack the settings that came later, none of which were given
        changed = {k: (before.get(k), v) for k, v in settings.items() if before.get(k, str(None)) != v}
        if changed:
            sys.exit(f"--out: {args.out} holds an interrupted run with other settings {changed}; give --overwrite.")
        try:
            damaged = backups.keep_sound(args.out / BACKUP)
        except ValueError as error:
            sys.exit(f"--out: {error}; give --overwrite to begin anew.")
        print(f"going on with the interrupted run in {args.out}")
        if damaged:
            print(f"its backups {damaged} are damaged and removed; it goes on from the one before")
    directories.atomic_json(record, settings)


def callbacks(out: Path) -> tuple[keras.callbacks.Callback, ...]:
    """Backups to go on from, and TensorBoard."""
    return (
        backups.Backups(out / BACKUP),
        keras.callbacks.TensorBoard(str(out / "logs"), write_graph=False),
    )


def verbosity() -> int:
    """A progress bar for a terminal, a line an epoch for a file."""
    return 1 if sys.stdout.isatty() else 2


def changed(preset: Preset, **changes: Any) -> Preset:
    """The preset with these values, of which its source says that they are the run's."""
    names = ", ".join(name for name, value in changes.items() if value != getattr(preset, name))
    return dataclasses.replace(preset, **changes, source=preset.source + (names and f"; {names}: of this run"))


def export(
    args: argparse.Namespace, dataset: str, preset: Preset, train: Any, model: Autoencoder, metrics: dict
) -> None:
    """A SavedModel version in --export, with a card, and with warm-up requests of training rows."""
    if isinstance(train, StreamedTable):
        blocks = (rows for rows, *_ in train.halves() if len(rows))
        some = next(blocks)
        sha256 = serving.data_hash([serving.data_hash(rows) for rows in (some, *blocks)])
    else:
        some, sha256 = train, serving.data_hash(train)
    card = {
        "data": {"name": dataset, "training_rows_sha256": sha256},
        "preset": dataclasses.asdict(preset),
        "seed": args.seed,
        "metrics": metrics,
    }
    reader = getattr(model.preprocess, "reader", None)
    if reader and "reader" not in json.loads(model_card(model, None)):
        card["reader"] = dict(reader)
    version = serving.export_saved_model(model, args.export, card=card, warmup_rows=some[:WARMUP_ROWS])
    print(f"SavedModel: {version}")


def finish(out: Path, metrics: dict) -> None:
    """Prints and writes metrics.json, whose presence marks a finished run."""
    print(json.dumps(metrics, indent=1))
    directories.atomic_json(out / "metrics.json", metrics)
    shutil.rmtree(out / BACKUP, ignore_errors=True)
    print(f"figures and metrics.json in {out}, model in {out / 'model'}")
