"""What the ops of a training step take, read from TensorFlow's profiler, beside its bare matrix products."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import families
import tensorflow as tf
from own_sides import training_products
from tensorflow.tsl.profiler.protobuf import xplane_pb2
from turns import medians, repeated

from tf_radogaga.models import radogaga

FAMILY = "RaDOGAGA, mixture"
PARTS = {  # heading -> scope in the names of ops
    "encoder, decoder": "dense_network",
    "distortions": "distortions",
    "features": "features",
    "prior": "prior",
    "optimizer, metrics": "update",
}
INPUT, OTHER = "input", "other"
DISPATCH = "dispatch, ops below the profiler's notice"
KINDS = {
    "matrix products with bias and activation": ("MatMul", "BatchMatMulV2", "_MklMatMul", "_MklNativeFusedMatMul"),
    "reductions": ("Sum", "Mean", "Max", "Prod", "All", "Any", "ArgMax", "BiasAddGrad", "EuclideanNorm"),
    "copies": (
        *("ConcatV2", "Split", "SplitV", "Tile", "BroadcastTo", "StridedSlice", "StridedSliceGrad", "Slice"),
        *("GatherV2", "Cast", "Transpose", "Pack", "Unpack", "Reshape", "Pad", "PadV2", "Fill"),
    ),
    "random numbers": ("StatelessRandomUniformV2", "StatelessRandomNormalV2", "StatelessShuffle"),
    "factorizations and solves": ("Cholesky", "MatrixTriangularSolve", "MatrixBandPart", "MatrixSetDiagV3"),
    "the next batch": ("IteratorGetNext",),
}
ELEMENTWISE = "passes over elements"


class Event(NamedTuple):
    """Of the profiler: the ops of a graph are named name:type."""

    name: str
    start: int
    duration: int


def kind_of(op_type: str) -> str:
    """Whatever op is in no list passes over elements."""
    return next((kind for kind, types in KINDS.items() if op_type in types), ELEMENTWISE)


def part_of(name: str, thread: str) -> str:
    if thread.startswith("tf_data") or name.endswith("/IteratorGetNext"):
        return INPUT
    scopes = {re.sub(r"_\d+$", "", scope) for scope in name.split("/")}  # a name that is taken gets a number
    return next((part for part, scope in PARTS.items() if scope in scopes), OTHER)


def own_times(events: list[Event]) -> Iterator[tuple[Event, int]]:
    """The events of a thread, and of the time of each what those within it leave."""
    open_, own = [], []
    for event in sorted(events, key=lambda event: (event.start, -event.duration)):
        while open_ and open_[-1][0].start + open_[-1][0].duration <= event.start:
            open_.pop()
        if open_:
            open_[-1][1] -= event.duration
        open_.append([event, event.duration])
        own.append(open_[-1])
    return ((event, left) for event, left in own)


def summed(threads: dict[str, list[Event]]) -> Counter[tuple[str, str]]:
    """Seconds by kind and part, over all threads."""
    seconds = Counter()
    for thread, events in threads.items():
        for event, picoseconds in own_times(events):
            name, _, op_type = event.name.rpartition(":")
            if event.name.startswith("ExecutorState::Process"):
                seconds[DISPATCH, part_of("", thread)] += picoseconds / 1e12
            elif re.fullmatch(r"[\w./-]+:\w+", event.name):
                seconds[kind_of(op_type), part_of(name, thread)] += picoseconds / 1e12
    return seconds


def recorded(call: Callable[[], Any]) -> dict[str, list[Event]]:
    """The events of each thread while a call runs."""
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options)
        try:
            call()
        finally:
            tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    (host,) = (plane for plane in space.planes if plane.name == "/host:CPU")
    names = {number: metadata.name for number, metadata in host.event_metadata.items()}
    return {
        line.name: [Event(names[event.metadata_id], event.offset_ps, event.duration_ps) for event in line.events]
        for line in host.lines
    }


def in_scopes(model) -> None:
    """Ops of a model get the name of their part, as those of encoder and decoder have."""

    def name(owner, attribute, scope):
        function = getattr(owner, attribute)

        def within(*args, **kwargs):
            with tf.name_scope(scope):
                return function(*args, **kwargs)

        setattr(owner, attribute, within)

    for owner, attribute, scope in (
        (model.distortion, "excess", "distortions"),
        (radogaga, "prior_input", "features"),
        (model.prior, "rate", "prior"),
        (model.steps, "update", "update"),
    ):
        name(owner, attribute, scope)
    model.compile(model.optimizer)


class Trace(NamedTuple):
    """Of a step, in seconds: wall time of `fit` and of the bare products, and thread time of both in the profiler."""

    fit: float
    products: float
    ops: Counter[tuple[str, str]]
    products_ops: float


def trace(steps: int, rounds: int) -> Trace:
    batch_size, rows = families.FAMILIES[FAMILY].batch_size, families.rows(FAMILY, steps)
    model = families.model(FAMILY)
    in_scopes(model)
    products = training_products(model, batch_size)
    x = tf.constant(rows)
    sides = {"fit": families.epochs(model, rows, batch_size), "products": repeated(lambda: products(x).numpy(), 1)}
    times = medians(sides, rounds)
    ops = [Counter({key: value / steps for key, value in summed(recorded(side)).items()}) for side in sides.values()]
    return Trace(times["fit"] / steps, times["products"] / steps, ops[0], ops[1].total())


def table(found: Trace) -> str:
    """In Markdown: thread time by kind and part, in units of that of the bare products."""
    parts = [*PARTS, INPUT, OTHER]
    kinds = ["matrix products with bias and activation", ELEMENTWISE, *list(KINDS)[1:], DISPATCH]

    def line(title, chosen):
        shares = [sum(found.ops[kind, part] for kind in chosen) / found.products_ops for part in parts]
        return [title, *(f"{share:.2f}" if share >= 0.005 else "" for share in shares), f"{sum(shares):.2f}"]

    lines = [["", *parts, "all"], ["---"] * (len(parts) + 2)]
    lines += [line(kind, [kind]) for kind in kinds] + [line("all", kinds)]
    fit, products = 1e3 * found.fit, 1e3 * found.products
    head = f"A step of fit {fit:.2f} ms, its bare matrix products {products:.2f} ms: {fit / products:.2f} times.\n"
    head += "Thread time of the ops of a step, that of the bare products being 1:\n\n"
    return head + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
