"""Scores inside graphs: in a user's own `tf.data` pipeline, and in an exported SavedModel."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tf_radogaga.training.rows import require_memory


def blank(valid: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`values` (B, ...) with NaN in the rows that are not valid (B,)."""
    return tf.where(tf.reshape(valid, (-1, *[1] * (values.shape.rank - 1))), values, math.nan)


def without_nan(values: tf.Tensor, infinity: float) -> tf.Tensor:
    """`values`, with `infinity` where something on the way to them was more than float32 holds; they can be ranked."""
    return tf.where(tf.math.is_nan(values), infinity, values)


class ScoredInGraphs:
    """What an `Autoencoder` offers to graphs. A bad row gets valid = false and NaN scores, and changes nothing for its
    neighbours."""

    threshold_on = "energy"
    """What the threshold is of: the energy, or, in an `AnomalyDetector` of a density, -log_density."""

    def scores(self, rows: Any) -> dict[str, tf.Tensor]:
        """Scores of raw rows as tensors, (B,) each, unchecked: what a SavedModel's `serving_default` returns.

        Args:
            rows: as `preprocess` takes them.

        Returns:
            energy, in nats; anomaly, whether it, or what `threshold_on` names, exceeds the threshold; valid, whether
            the row could be scored; and log_density, in nats, where the model defines it.
        """
        require_memory(rows, "rows")
        valid = self.preprocess.valid(rows)
        return self.marked_scores(self.preprocess(self.preprocess.fill(rows, valid)), valid)

    def marked_scores(self, x: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
        """`scores` of preprocessed x, of which some are known not to be valid."""
        energy = self._energy(x)
        outputs = {"energy": blank(valid, energy), "valid": valid}
        if self.has_log_density:
            outputs["log_density"] = blank(valid, self._log_density(x))
        judged = -outputs["log_density"] if self.threshold_on == "log_density" else energy
        return {**outputs, "anomaly": valid & ~(judged <= self.threshold)}

    def score_images(self, images: tf.Tensor, *others: Any) -> Any:
        """A step of a `tf.data` pipeline of images: `dataset.map(model.score_images)`.

        Args:
            images: (B, h, w, C), or one of them (h, w, C), of any size, uint8 or floats of 0 to 1.
            *others: what the dataset holds beside the images, such as labels.

        Returns:
            `scores` of the images; with others (scores, *others).

        Raises:
            RuntimeError: the prior has not been adapted.
            TypeError: a dtype that is neither uint8 nor float.
            ValueError: images of another rank, or another number of channels.
        """
        self._require_scorable()
        require_memory(images, "images")
        single = images.shape.rank == 3
        batch = images[None] if single else images
        scores = self.scores(self.preprocess.check_kind(batch))
        if single:
            scores = {name: score[0] for name, score in scores.items()}
        return (scores, *others) if others else scores

    def keep_normal_images(self, images: tf.Tensor, *others: Any) -> Any:
        """A step of a `tf.data` pipeline of batches of images, which drops anomalies and images that are not valid:
        `dataset.map(model.keep_normal_images)`.

        Args:
            images: (B, h, w, C), as `score_images`.
            *others: tensors (B, ...) such as labels, of which the same are kept.

        Returns:
            The images that are kept, (B', h, w, C); with others (images, *others). B' is 0 where none is.

        Raises:
            RuntimeError: no threshold is set, or as `score_images`.
            TypeError, ValueError: as `score_images`.
        """
        self._require_scorable()
        require_memory(images, "images")
        if images.shape.rank == 3:
            raise ValueError(f"images: {images.shape} is one image; batch the dataset first, or use dataset.filter.")
        with tf.init_scope():
            if math.isinf(self.threshold.numpy()):
                raise RuntimeError("threshold: not set, so no image would be dropped; call set_threshold first.")
        scores = self.scores(self.preprocess.check_kind(images))
        kept = scores["valid"] & ~scores["anomaly"]
        parts = tf.nest.map_structure(lambda part: tf.boolean_mask(part, kept), (images, *others))
        return parts if others else parts[0]

    def _require_scorable(self) -> None:
        with tf.init_scope():
            self._require_adapted()
