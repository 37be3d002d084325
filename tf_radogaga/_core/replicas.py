"""Replicas of a training step under `tf.distribute`, which do together what one device does with the whole batch.

The batch is the global one: replica r holds some of its rows, and those of replicas 0 to r - 1 come before them. Where
there is one replica, everything here is the plain operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tf_radogaga._core.stack import keras, tf

STRATEGIES = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.OneDeviceStrategy,
)

_Nest = TypeVar("_Nest")
_Layer = TypeVar("_Layer", bound=keras.layers.Layer)


def _several() -> tf.distribute.ReplicaContext | None:
    """The context of this replica, where it is one of several."""
    context = tf.distribute.get_replica_context()
    return context if context and context.num_replicas_in_sync > 1 else None


def total(values: _Nest) -> _Nest:
    """Tensors summed over the replicas; so are their gradients, as every replica's loss depends on the sum."""
    context = _several()
    return context.all_reduce("sum", values) if context else values


def _place(context: tf.distribute.ReplicaContext, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Number of rows of the batch before those of this replica, and of all its rows."""
    number, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    if not tf.executing_eagerly() and tf.get_static_value(shape) is not None:  # only equal parts have a static shape
        return number * shape[0], replicas * shape[0]
    rows = total(shape[0] * tf.one_hot(number, replicas, dtype=tf.int32))
    return tf.reduce_sum(rows[:number]), tf.reduce_sum(rows)


def share_of_mean(values: tf.Tensor) -> tf.Tensor:
    """What this replica adds to the mean over the batch of values (B,); optimizers sum the gradients of such shares."""
    context = _several()
    if not context:
        return tf.reduce_mean(values)
    return tf.reduce_sum(values) / tf.cast(_place(context, tf.shape(values))[1], values.dtype)


def own_rows(draw: Callable[[tf.Tensor], tf.Tensor], shape: tf.Tensor) -> tf.Tensor:
    """`draw(shape)` of the batch, and of it the rows of this replica: noise that one device would give to them.

    Args:
        draw: by a seed that is the same on all replicas.
        shape: (B, ...), of this replica.
    """
    context = _several()
    if not context:
        return draw(shape)
    first, rows = _place(context, shape)
    return draw(tf.concat([[rows], shape[1:]], axis=0))[first : first + shape[0]]


def within_strategy(layer: _Layer) -> _Layer:
    """The layer, or a copy of it whose variables belong to the strategy in whose scope this is called."""
    strategy = tf.distribute.get_strategy()
    if all(map(strategy.extended.variable_created_in_scope, layer.variables)):
        return layer
    copy = type(layer).from_config(layer.get_config())
    copy.set_weights(layer.get_weights())
    return copy


def require_supported(strategy: tf.distribute.Strategy, jit_compile: bool | None) -> None:
    """ValueError where training under this strategy is not known to give the result of one device."""
    several = strategy.num_replicas_in_sync > 1
    asynchronous = isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy)
    if asynchronous or (several and not isinstance(strategy, STRATEGIES)):
        names = ", ".join(known.__name__ for known in STRATEGIES)
        raise ValueError(f"strategy: {type(strategy).__name__} is not supported; build the model under one of {names}.")
    if jit_compile and several:
        raise ValueError(
            f"jit_compile: {jit_compile}, but XLA cannot compile a step whose {strategy.num_replicas_in_sync} replicas"
            " exchange sums; leave it out."
        )
