"""Random numbers that a checkpoint carries, so that a resumed training continues the unbroken run."""

from __future__ import annotations

import tensorflow as tf


def draw_seed() -> int:
    """A seed that follows `tf.keras.utils.set_random_seed`."""
    return int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))


def generator() -> tf.random.Generator:
    """A generator whose state is a tracked variable, seeded by `draw_seed`."""
    return tf.random.Generator.from_seed(draw_seed())
