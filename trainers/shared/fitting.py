"""A model of a preset, fitted to the rows of a table; one, or many seeds at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_radogaga import ensemble, presets
from tf_radogaga.datasets import tabular
from tf_radogaga.datasets.streaming import StreamedTable
from tf_radogaga.models import Autoencoder
from tf_radogaga.models.residual_laws import LEAST_ROWS
from tf_radogaga.preprocessing import Preprocessing
from tf_radogaga_trainers.shared.backups import EarlyStopping

keras = tf.keras

REPORTS = 20
"""Progress reports of a training, where passes over the table would be more."""

LEAST_IMAGES = 5 * LEAST_ROWS
"""Of fewer, none are held out for a joint prior."""


class Data(NamedTuple):
    """Normal rows to train on, in memory or as a stream, and the test half as blocks of rows and labels."""

    train: tabular.Rows | StreamedTable
    training_rows: int
    test: Iterable[tuple[tabular.Rows, np.ndarray | None]]
    preprocess: Preprocessing
    anomaly_share: float | None


def in_memory(table: tabular.Table, seed: int) -> Data:
    split = tabular.stratified_halves(table, seed)
    test = [(split.test, split.test_labels)]
    return Data(split.train, len(split.train), test, table.preprocessing(), table.anomaly_share)


def train(
    preset: presets.Preset,
    data: Data,
    seed: int,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    verbose: int = 0,
    reports: int | None = None,
) -> Autoencoder:
    """Builds and fits the model of a preset: on nine tenths of the rows or so, where the rest stops it early, or its
    joint prior is fitted to them.

    Args:
        reports: on the training, after each of which a backup is made; default `REPORTS`, each of a pass at least.
    """
    keras.utils.set_random_seed(seed)
    model = presets.build(preset, data.preprocess)
    rows, held_out, validation, callbacks, stop = data.train, None, None, list(callbacks), None
    joint = False
    if isinstance(rows, StreamedTable):
        rows = rows.training_batches(data.preprocess, min(preset.batch_size, data.training_rows))
    elif (joint := model.joint_prior is not None and len(rows) >= LEAST_IMAGES) or (preset.patience and len(rows) > 1):
        order = np.random.default_rng(seed).permutation(len(rows))
        places, rest = np.split(order, [max(len(rows) // 10, LEAST_ROWS if joint else 1)])
        rows, held_out = rows.take(rest, axis=0), rows.take(places, axis=0)
    if preset.patience and held_out is not None:
        validation = held_out
        stop = EarlyStopping(patience=preset.patience, restore_best_weights=True, verbose=1)
        callbacks.insert(0, stop)
    length = _length(preset, data.training_rows, reports)
    model.fit(rows, **length, validation_data=validation, callbacks=callbacks, verbose=verbose)
    if stop and stop.best_weights and not stop.stopped_epoch:  # Keras restores the best where it stopped early only
        model.set_weights(stop.best_weights)
        model.adapt_prior(rows)
    if joint:
        model.adapt_residuals(held_out)
    return model


def train_together(
    preset: presets.Preset, data: list[Data], seeds: list[int], verbose: int = 0
) -> list[Autoencoder | Exception]:
    """What `train` makes of each seed and its rows in memory, all trained at once; of a seed that fails, its error.
    Joint priors are not fitted.

    Raises:
        ValueError: the preset stops early, which each training does by itself.
    """
    if preset.patience:
        raise ValueError(f"preset: patience={preset.patience}, so its models are trained one by one.")
    models = []
    for own, seed in zip(data, seeds):
        keras.utils.set_random_seed(seed)
        models.append(presets.build(preset, own.preprocess))
    length = _length(preset, data[0].training_rows)
    errors = ensemble.fit_together(models, [own.train for own in data], **length, verbose=verbose)
    return [errors.get(number, model) for number, model in enumerate(models)]


def _length(preset: presets.Preset, training_rows: int, reports: int | None = None) -> dict[str, int]:
    """Of a training, as arguments of `fit`."""
    batch_size = min(preset.batch_size, training_rows)
    a_pass = max(training_rows // batch_size, 1)
    reports = reports or max(min(REPORTS, preset.steps // a_pass), 1)
    return {"batch_size": batch_size, "steps_per_epoch": -(-preset.steps // reports), "epochs": reports}
