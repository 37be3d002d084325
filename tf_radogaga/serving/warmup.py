"""Warm-up requests, `assets.extra/tf_serving_warmup_requests`: a server makes them before it serves a version.

Each record, a `PredictionLog`, holds a request and the response at the time of the export; servers ignore the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_radogaga._core.stack import tf

PATH = Path("assets.extra", "tf_serving_warmup_requests")


class Replayed(NamedTuple):
    """A request that was made again: its signature, and the outputs by name, now and when it was recorded."""

    signature: str
    found: dict[str, np.ndarray]
    recorded: dict[str, np.ndarray]


def require_api() -> Any:
    """The module of `PredictionLog`.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "tensorflow-serving-api: not installed, and warm-up requests need it; pip install 'tf_radogaga[serving]'."
        ) from error
    return prediction_log_pb2


def record(directory: Path, loaded: Any, requests: Mapping[str, Mapping[str, tf.Tensor]], name: str) -> None:
    """Makes the requests and writes them into an export with their responses.

    Args:
        directory: of the export.
        loaded: the same export, loaded.
        requests: inputs by signature.
        name: of the model, as the server has it.
    """
    path = directory / PATH
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            log = require_api().PredictionLog()
            request, response = log.predict_log.request, log.predict_log.response
            outputs = loaded.signatures[signature](**inputs)
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for proto, tensors in ((request.inputs, inputs), (response.outputs, outputs)):
                for key, tensor in tensors.items():
                    proto[key].CopyFrom(tf.make_tensor_proto(tensor))
            writer.write(log.SerializeToString())


def replay(directory: str | Path, loaded: Any) -> list[Replayed]:
    """Makes the recorded requests of an export; none where it has no records.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
        ValueError: the file is damaged, or a request fails, so that a server would refuse the version.
    """
    path = Path(directory) / PATH
    if not path.exists():
        return []
    prediction_log_pb2, replayed = require_api(), []
    try:
        for number, content in enumerate(tf.data.TFRecordDataset(str(path))):
            log = prediction_log_pb2.PredictionLog.FromString(content.numpy()).predict_log
            replayed.append(_replay(log, loaded, f"{path}, record {number}"))
    except tf.errors.DataLossError as error:
        raise ValueError(f"{path}: damaged ({error.message}).") from error
    return replayed


def _replay(log: Any, loaded: Any, where: str) -> Replayed:
    name = log.request.model_spec.signature_name
    if name not in loaded.signatures:
        raise ValueError(f"{where}: signature {name!r}, of {sorted(loaded.signatures)}; a server refuses the version.")
    signature = loaded.signatures[name]
    inputs = {key: tf.constant(tf.make_ndarray(proto)) for key, proto in log.request.inputs.items()}
    specs = signature.structured_input_signature[1]
    found = {key: f"{value.dtype.name} {value.shape}" for key, value in inputs.items()}
    if found.keys() != specs.keys() or not all(specs[key].is_compatible_with(value) for key, value in inputs.items()):
        wanted = {key: f"{spec.dtype.name} {spec.shape}" for key, spec in specs.items()}
        raise ValueError(f"{where}: {name} takes {wanted}, not {found}; a server refuses the version.")
    try:
        outputs = signature(**inputs)
    except tf.errors.OpError as error:
        raise ValueError(f"{where}: {name} fails ({error.message}); a server refuses the version.") from error
    recorded = {key: tf.make_ndarray(proto) for key, proto in log.response.outputs.items()}
    return Replayed(name, {key: value.numpy() for key, value in outputs.items()}, recorded)
