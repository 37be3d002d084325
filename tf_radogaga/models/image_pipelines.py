"""Steps of a user's own `tf.data` pipelines of images, which are methods of models that take images."""

from __future__ import annotations

import math
from typing import Any

from sklearn.utils.metaestimators import available_if

from tf_radogaga._core.stack import tf
from tf_radogaga.models.density import Scored
from tf_radogaga.preprocessing.images import ImageScaling
from tf_radogaga.training.end_of_fit import require_adapted
from tf_radogaga.training.rows import require_memory

for_images = available_if(lambda model: isinstance(model.preprocess, ImageScaling))
"""Makes a function a method of models that take images, and none of others."""


def score_images(model: Scored, images: tf.Tensor, *others: Any) -> Any:
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
    require_memory(images, "images")
    single = images.shape.rank == 3
    with tf.init_scope():
        require_adapted(model)
    scores = model.scores(model.preprocess.check_kind(images[None] if single else images))
    if single:
        scores = {name: score[0] for name, score in scores.items()}
    return (scores, *others) if others else scores


def keep_normal_images(model: Scored, images: tf.Tensor, *others: Any) -> Any:
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
    require_memory(images, "images")
    if images.shape.rank == 3:
        raise ValueError(f"images: {images.shape} is one image; batch the dataset first, or use dataset.filter.")
    scores = score_images(model, images)
    with tf.init_scope():
        if math.isinf(model.threshold.numpy()):
            raise RuntimeError("threshold: not set, so no image would be dropped; call set_threshold first.")
    kept = scores["valid"] & ~scores["anomaly"]
    parts = tf.nest.map_structure(lambda part: tf.boolean_mask(part, kept), (images, *others))
    return parts if others else parts[0]
