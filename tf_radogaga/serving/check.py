"""Is this export what a server needs? Signatures, ops, card, warm-up requests, and scores equal to those at export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf_radogaga._core.stack import tf
from tf_radogaga.serving import card, warmup
from tf_radogaga.serving.signatures import TABLE

TOLERANCE = 1e-4
"""Between scores now and at export, of max(1, |score|): other processors round otherwise, and narrow priors magnify
that."""

_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_COMPILED = "_XlaMustCompile"


def check_export(directory: str | Path) -> str:
    """Loads one version of a model and verifies all of it.

    Args:
        directory: `<base_dir>/<version>/`.

    Returns:
        A report of a few lines.

    Raises:
        ValueError: what a server would refuse, or answer otherwise than at export, named.
        ImportError: there are warm-up requests and tensorflow-serving-api is not installed.
    """
    directory = Path(directory)
    if not (directory / "saved_model.pb").exists():
        raise ValueError(f"{directory}: holds no saved_model.pb, so it is no version of a model.")
    ops = check_ops(directory)
    described = card.read_card(directory) or {}
    try:
        loaded = tf.saved_model.load(str(directory))
    except (OSError, ValueError, LookupError, tf.errors.OpError) as error:  # IndexError: variables that are cut off
        raise ValueError(f"{directory}: does not load ({error}).") from error
    for name, (*_, outputs, offered) in TABLE.items():
        found = set(loaded.signatures[name].structured_outputs) if name in loaded.signatures else None
        if outputs - (found or set()) and (found is not None or offered is None):
            raise ValueError(f"{directory}: signature {name} with outputs {sorted(outputs)} is needed, found {found}.")
    replayed = warmup.replay(directory, loaded)
    difference = compare(replayed, directory)
    if described.get("threshold") is not None:
        threshold_on = described.get("threshold_on", described.get("judged_by", "energy"))  # the older name
        _check_threshold(replayed, described["threshold"], threshold_on, directory)
    told = ", ".join(f"{name} {described[name]}" for name in ("model", "data", "threshold") if name in described)
    return "\n".join(
        (
            f"{directory}",
            f"  signatures  {', '.join(sorted(loaded.signatures))}",
            f"  ops         {len(ops)} kinds, all of core TensorFlow, none compiled by XLA",
            f"  card        {told or 'none'}",
            f"  warm-up     {len(replayed)} requests replayed" if replayed else "  warm-up     none, nothing to replay",
            f"  scores      those at export, greatest difference {difference:.1e}"
            if replayed
            else "  scores      not compared: export with warmup_rows to keep some",
        )
    )


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


def compare(replayed: list[warmup.Replayed], directory: str | Path) -> float:
    """The greatest difference between outputs now and as recorded, relative to max(1, |output|).

    Raises:
        ValueError: it exceeds `TOLERANCE`, or the names, shapes or valid rows differ.
    """
    greatest = 0.0
    for signature, found, recorded in replayed:
        shapes = [{name: values.shape for name, values in outputs.items()} for outputs in (found, recorded)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{directory}: {signature} gives {shapes[0]} where it gave {shapes[1]} at export.")
        for name in found.keys() - {"anomaly"}:  # the threshold may be moved, see `_check_threshold`
            difference = _difference(found[name].astype(np.float64), recorded[name].astype(np.float64))
            if not difference <= TOLERANCE:
                raise ValueError(
                    f"{directory}: {signature} gives another {name} than at export, by {difference:.1e} of it; the"
                    " files are damaged or of another model: export it again."
                )
            greatest = max(greatest, difference)
    return greatest


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Greatest of |found - expected| / max(1, |expected|); NaN where one alone is NaN."""
    differences = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return float(np.max(np.where(equal, 0, differences), initial=0))


def _check_threshold(replayed: list[warmup.Replayed], threshold: float, threshold_on: str, directory: Path) -> None:
    for signature, found, _ in replayed:
        if "anomaly" in found:
            of_density = threshold_on in ("log_density", "ambient")
            compared = -found["log_density"] if of_density else found[threshold_on]
            near = np.abs(compared - threshold) <= TOLERANCE * max(1, abs(threshold))
            right = found["anomaly"] == (found["valid"] & (compared > threshold))
            if not (right | near).all():
                raise ValueError(f"{directory}: {signature} does not flag by the threshold {threshold} of its card.")
