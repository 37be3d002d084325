"""What the graph of an export may hold: ops that a stock server has and may run."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_COMPILED = "_XlaMustCompile"


def check_ops(directory: str | Path) -> set[str]:
    """The names of all ops in a SavedModel's graph and function library.

    Raises:
        ValueError: one of them is no core TensorFlow op, or calls Python, so a stock server could not run it; or is to
            be compiled by XLA (`jit_compile=True`), which a stock server refuses on CPUs; or the file is damaged.
    """
    path = Path(directory) / "saved_model.pb"
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path}: damaged ({error}); export it again.") from error
    ops, compiled = set(), set()
    for meta in saved.meta_graphs:
        library = meta.graph_def.library.function
        functions = {function.signature.name for function in library}
        nodes = [*meta.graph_def.node, *(node for function in library for node in function.node_def)]
        ops |= {node.op for node in nodes} - functions
        compiled |= {node.op for node in nodes if node.attr[_COMPILED].b}
        compiled |= {function.signature.name for function in library if function.attr[_COMPILED].b}
    foreign = sorted(op for op in ops if op in _PYTHON_OPS or not hasattr(tf.raw_ops, op))
    if foreign:
        raise ValueError(
            f"{directory}: ops {foreign} are not core TensorFlow ops; a stock server cannot run them. Make what brings"
            " them, such as a distortion or a layer of your own, of TensorFlow's own ops."
        )
    if compiled:
        raise ValueError(
            f"{directory}: ops {sorted(compiled)} are to be compiled by XLA, which a stock server refuses on CPUs; make"
            " their tf.function without jit_compile=True."
        )
    return ops
