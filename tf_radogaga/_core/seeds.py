"""Random numbers that a checkpoint carries, so that a resumed training continues the unbroken run.

One seed governs all of a training: `tf.keras.utils.set_random_seed(seed)` before the model is built, `--seed` of the
trainers. Initial weights, the order of batches, the noise and dropout follow from it; EM draws nothing that changes.
On CPUs two runs with the same seed, versions and number of threads give the same weights to the bit. Batches that a
user's own `tf.data` pipeline shuffles are as repeatable as that pipeline.

Keras does not keep the state of its own layers' draws, such as dropout, in checkpoints: a resumed training draws them
anew. Checkpoints do hold a `tf.random.Generator` that a layer has as an attribute.

On GPUs this was not tried. TensorFlow sums there in an order that varies from run to run, in gradients of convolutions
and biases and in scatters, so weights are expected to drift apart by rounding;
`tf.config.experimental.enable_op_determinism()` is TensorFlow's own remedy, at a cost in speed.
"""

from __future__ import annotations

from tf_radogaga._core.stack import tf


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
