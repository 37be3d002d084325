"""What it takes to go on after an interruption: backups of a training, of which the last two are kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

keras = tf.keras

KEPT = 2
"""Backups; where the newest is damaged the training goes on from the one before."""


class Backups(keras.callbacks.BackupAndRestore):
    """Keras' own, after each report, but the last `KEPT` of them; none of the report that stops a training early, which
    would go on past its end."""

    def __init__(self, directory: Path):
        super().__init__(str(directory), delete_checkpoint=False)

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        state = self._training_state
        manager = tf.train.CheckpointManager(
            state.write_checkpoint_manager.checkpoint, state.write_checkpoint_manager.directory, max_to_keep=KEPT
        )
        state.read_checkpoint_manager = state.write_checkpoint_manager = manager

    def _backup(self, epoch: int, batch: int = 0) -> None:
        if not self.model.stop_training:
            super()._backup(epoch, batch)


def keep_sound(directory: Path) -> list[str]:
    """Removes damaged backups, so that a training goes on from the newest that can be read whole.

    Returns:
        The names of those removed.

    Raises:
        ValueError: all are damaged.
    """
    folder = directory / "chief"
    found = sorted((path.with_suffix("") for path in folder.glob("ckpt-*.index")), key=_number)
    sound = [prefix for prefix in found if _is_sound(prefix)]
    if found and not sound:
        raise ValueError(f"{directory}: every backup in it is damaged, {[prefix.name for prefix in found]}")
    damaged = [prefix for prefix in found if prefix not in sound]
    for prefix in damaged:
        for path in folder.glob(f"{prefix.name}.*"):
            path.unlink()
    if sound:  # the list of backups may be damaged too, and Keras would begin anew without a word
        tf.compat.v1.train.update_checkpoint_state(str(folder), str(sound[-1]), list(map(str, sound)))
    return [prefix.name for prefix in damaged]


def _number(prefix: Path) -> int:
    digits = re.search(r"\d+$", prefix.name)
    return int(digits.group()) if digits else -1


def _is_sound(prefix: Path) -> bool:
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)  # its checksum is compared
    except Exception:  # whatever a damaged file makes of TensorFlow
        return False
    return True


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' own, whose memory is part of the model's backups. It stands before `Backups` among the callbacks."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        self.progress = tf.Variable([self.best, self.wait, self.best_epoch], dtype=tf.float64, trainable=False)
        self.kept = [tf.Variable(weight) for weight in self.model.get_weights()]
        # not as variables of its own: those would be weights, and trained
        self.model.early_stopping = tf.train.Checkpoint(progress=self.progress, kept=self.kept)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._recall()

    def _recall(self) -> None:
        """After a backup has been restored, which is later than `on_train_begin`."""
        best, wait, best_epoch = self.progress.numpy()
        if np.isfinite(best):
            self.best, self.wait, self.best_epoch = best, int(wait), int(best_epoch)
            self.best_weights = [weight.numpy() for weight in self.kept]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.progress.assign([self.best, self.wait, self.best_epoch])
        for variable, weight in zip(self.kept, self.best_weights or ()):
            variable.assign(weight)

    def on_train_end(self, logs: dict | None = None) -> None:
        if not self.stopped_epoch:
            self._recall()  # the last backup may have been of the end
        super().on_train_end(logs)
        del self.model.early_stopping
