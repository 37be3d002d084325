"""Random numbers that a checkpoint carries, so that a resumed training continues the unbroken run."""

from __future__ import annotations

import tensorflow as tf


def draw_seed() -> int:
    """A seed that follows `tf.keras.utils.set_random_seed`."""
    seed = tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32)
    return int(tf.Variable(seed, trainable=False).numpy())  # of several workers all get a variable of the first


def next_seed(generator: tf.random.Generator) -> tf.Tensor:
    """A seed of stateless ops, (2,) int64, as `generator.make_seeds(1)` gives it to one device, to every replica."""
    state = generator.skip(1)  # (3,): Philox' counter and key; make_seeds mixes the number of the replica into the key
    counter, key = tf.bitcast(state[:2], tf.uint64), tf.bitcast(state[2:], tf.uint64)
    seed = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[1], key=key, counter=counter, alg=generator.algorithm, dtype=tf.int64
    )
    return tf.concat([seed, [0]], axis=0)


def generator() -> tf.random.Generator:
    """A generator whose state is a tracked variable, seeded by `draw_seed`."""
    return tf.random.Generator.from_seed(draw_seed())
