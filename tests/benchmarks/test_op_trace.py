"""How the trace of a training step is summed, and that the profiler's events are read; nothing is timed."""

from collections import Counter

import op_trace
import pytest
import tensorflow as tf
from op_trace import DISPATCH, ELEMENTWISE, Event

PRODUCTS = "matrix products with bias and activation"
STEP = "while/body/_1/while/"


def test_a_kind_has_the_own_time_of_its_ops_on_all_threads_and_whatever_is_no_op_none():
    seconds = op_trace.summed(
        {
            "tf_Compute/1": [
                Event(f"{STEP}gradient_tape/dense_network_1/dense/MatMul:_MklMatMul", 10, 40),
                Event("ExecutorState::Process", 0, 100),
                Event(f"{STEP}gradient_tape/distortions_1/mul:Mul", 50, 20),
                Event(f"{STEP}IteratorGetNext:IteratorGetNext", 200, 1),
            ],
            "tf_Compute/2": [Event(f"{STEP}prior/Sum:Sum", 0, 5), Event(f"{STEP}prior/Sum:Sum", 20, 6)],
            "tf_data_iterator": [Event("GatherV2:GatherV2", 0, 7), Event("Iterator::Root", 10, 50)],
            "python": [Event("EagerLocalExecute: MapDataset", 0, 1000), Event("KernelAndDeviceFunc::Run", 0, 9)],
        }
    )
    assert {key: round(value * 1e12) for key, value in seconds.items()} == {
        (PRODUCTS, "encoder, decoder"): 40,
        (ELEMENTWISE, "distortions"): 20,
        (DISPATCH, "other"): 40,
        ("reductions", "prior"): 11,
        ("copies", "input"): 7,
        ("the next batch", "input"): 1,
    }


def test_the_table_is_in_units_of_the_bare_products():
    ops = Counter({(PRODUCTS, "prior"): 3e-3, (PRODUCTS, "features"): 1e-3, (ELEMENTWISE, "prior"): 1e-3})
    head, _, _, columns, _, *lines = op_trace.table(op_trace.Trace(6e-3, 2e-3, ops, 2e-3)).splitlines()
    assert head == "A step of fit 6.00 ms, its bare matrix products 2.00 ms: 3.00 times."
    cells = {line.split(" | ")[0]: dict(zip(columns.split(" | "), line.split(" | "))) for line in lines}
    assert cells[f"| {PRODUCTS}"] | {"prior": "1.50", "features": "0.50", "all |": "2.00 |"} == cells[f"| {PRODUCTS}"]
    assert cells["| all"] | {"prior": "2.00", "input": "", "all |": "2.50 |"} == cells["| all"]


@pytest.mark.parametrize("op_type", ["Mul", "ConcatV2", "Cholesky", "MatMul", "Sum"])
def test_the_profilers_events_have_the_names_that_are_summed(op_type):
    @tf.function
    def graph(x):
        with tf.name_scope("prior"):
            return tf.concat([tf.linalg.cholesky(x @ x * x[0]), [tf.reduce_sum(x, axis=0)]], axis=0)

    call = graph.get_concrete_function(tf.TensorSpec((200, 200)))
    x = 2 * tf.eye(200) + 1e-3
    call(x)
    seconds = op_trace.summed(op_trace.recorded(lambda: call(x)))
    assert seconds[op_trace.kind_of(op_type), "prior"] > 0
