"""What `tf.vectorized_map` lacks to run the step of many models at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tensorflow.python.ops.parallel_for.pfor import _create_op, _pfor_converter_registry, _PforInput, wrap

from tf_radogaga._core.stack import tf


def _once_per_model(pfor_input):
    """Converts an op that has no batched kernel into one op a model; a loop over the models takes several times as
    long."""
    inputs = [pfor_input.input(i) for i in range(pfor_input.num_inputs)]
    (models,) = {int(given.t.shape[0]) for given in inputs if given.is_stacked}
    op, dtypes = pfor_input.op, [output.dtype for output in pfor_input.outputs]
    given = [tf.unstack(given.t, models) if given.is_stacked else [given.t] * models for given in inputs]
    results = [_create_op(op.type, list(own), dtypes, op.node_def.attr).outputs for own in zip(*given)]
    return [wrap(tf.stack(outputs), True) for outputs in zip(*results)]


def _bitcast(pfor_input):
    return wrap(tf.bitcast(pfor_input.stacked_input(0), pfor_input.op.outputs[0].dtype), True)


_expanded_in_the_graph = _PforInput.expanddim_inputs_for_broadcast


def _expanded(pfor_input):
    """As TensorFlow aligns the inputs of element-wise ops, without its ten ops for each input where ranks are known,
    which take a good part of the time to trace the step of many models."""
    inputs = pfor_input.inputs
    if any(given.t.shape.rank is None for given in inputs):
        return _expanded_in_the_graph(pfor_input)
    ranks = [given.t.shape.rank + (not given.is_stacked) for given in inputs]
    for place, (given, rank) in enumerate(zip(inputs, ranks)):
        tensor = given.t
        for _ in range(max(ranks) - rank if given.is_stacked else 0):
            tensor = tf.expand_dims(tensor, 1)
        inputs[place] = wrap(tensor, given.is_stacked)
    return None


_RANDOM = ("GetKeyCounter", "UniformFullIntV2", "UniformV2", "NormalV2")
_CONVERTERS = {"Bitcast": _bitcast, **{f"StatelessRandom{kind}": _once_per_model for kind in _RANDOM}}
_LOCK = threading.RLock()


@contextlib.contextmanager
def converters() -> Iterator[None]:
    """Within, `tf.vectorized_map` batches the random numbers of models; after it TensorFlow is as it was."""
    with _LOCK:
        added = {op: converter for op, converter in _CONVERTERS.items() if op not in _pfor_converter_registry}
        aligned = _PforInput.expanddim_inputs_for_broadcast
        _pfor_converter_registry.update(added)
        _PforInput.expanddim_inputs_for_broadcast = _expanded
        try:
            yield
        finally:
            _PforInput.expanddim_inputs_for_broadcast = aligned
            for op in added:
                del _pfor_converter_registry[op]
