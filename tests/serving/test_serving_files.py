"""The files that configure TF Serving, parsed by its protos, and the commands that READMEs tell.

Neither a server nor docker runs here: what is tested is that the files are well formed and agree with each other.
"""

import inspect
import json
import re
import shlex
import sys
from base64 import b64decode
from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow.python.tools import saved_model_cli

pytest.importorskip("yaml", reason="pyyaml is not installed")
pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
import yaml
from tensorflow_serving.config import model_server_config_pb2

from tf_radogaga.serving import export_saved_model
from tf_radogaga.serving.signatures import TABLE
from tf_radogaga_trainers import query

ROOT = Path(__file__).parents[2]
FILES = ROOT / "saved_models"
ZOO = {"thyroid", "toy", "mnist"}
INT64 = (descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, ".google.protobuf.Int64Value")
PROTOS = {  # of session_bundle_config.proto and monitoring_config.proto, which tensorflow-serving-api leaves out
    "BatchingParameters": {
        "max_batch_size": INT64,
        "batch_timeout_micros": INT64,
        "max_enqueued_batches": INT64,
        "num_batch_threads": INT64,
    },
    "PrometheusConfig": {
        "enable": (descriptor_pb2.FieldDescriptorProto.TYPE_BOOL, None),
        "path": (descriptor_pb2.FieldDescriptorProto.TYPE_STRING, None),
    },
    "MonitoringConfig": {
        "prometheus_config": (descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, ".tensorflow.serving.PrometheusConfig")
    },
}


def message(name):
    """An empty message of TF Serving's."""
    file = descriptor_pb2.FileDescriptorProto(name="left_out.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for proto, fields in PROTOS.items():
        described = file.message_type.add(name=proto)
        for number, (field, (kind, kind_name)) in enumerate(fields.items(), 1):
            described.field.add(name=field, number=number, type=kind, type_name=kind_name, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))()


def models(file):
    config = text_format.Parse((FILES / file).read_text(), model_server_config_pb2.ModelServerConfig())
    return config.model_config_list.config


def commands(program):
    """The lines of all READMEs that begin with a program, without the folder of the environment."""
    text = "\n".join((ROOT / file).read_text() for file in ("README.md", "saved_models/README.md"))
    return re.findall(rf"^ *(?:\.venv/bin/)?({re.escape(program)} .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("file", ["models.config", "models.canary.config"])
def test_every_model_of_the_zoo_is_served_from_its_folder(file):
    assert {model.name for model in models(file)} == ZOO and len(models(file)) == len(ZOO)
    for model in models(file):
        assert model.base_path == f"/models/{model.name}" and model.model_platform == "tensorflow"


def test_the_newest_version_is_served_and_a_canary_is_pinned_beside_the_stable_one():
    assert all(model.model_version_policy.latest.num_versions == 1 for model in models("models.config"))
    labels = {}
    for model in models("models.canary.config"):
        assert model.model_version_policy.WhichOneof("policy_choice") == "specific"
        assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)
        labels.update(model.version_labels)
    assert set(labels) == {"stable", "canary"} and labels["stable"] != labels["canary"]


def test_a_batch_holds_a_request_of_the_client():
    batching = text_format.Parse((FILES / "batching_parameters.txt").read_text(), message("BatchingParameters"))
    default = query.parse_arguments(["--server", "s", "--model", "m", "--input", "i"]).batch_size
    assert batching.max_batch_size.value >= default
    for field in PROTOS["BatchingParameters"]:
        assert getattr(batching, field).value > 0
    with pytest.raises(text_format.ParseError, match="batch_size"):
        text_format.Parse("batch_size { value: 1 }", message("BatchingParameters"))


def test_monitoring_is_where_the_readme_asks():
    monitoring = text_format.Parse((FILES / "monitoring.config").read_text(), message("MonitoringConfig"))
    assert monitoring.prometheus_config.enable
    assert f"curl http://localhost:8501{monitoring.prometheus_config.path}" in commands("curl")


def check_options(options):
    """Every file that the server is given stands in the folder that it sees as /models."""
    given = dict(option[2:].split("=") for option in options)
    paths = [Path(value) for name, value in given.items() if name.endswith("_file")]
    assert all(path.parent == Path("/models") and (FILES / path.name).is_file() for path in paths)
    batched = given.get("enable_batching") == "true"
    assert len(paths) == 2 + batched  # the server refuses batching_parameters_file alone
    return batched


def test_compose_starts_the_stock_server_with_these_files():
    service = yaml.safe_load((FILES / "compose.yaml").read_text())["services"]["serving"]
    assert service["image"] == "tensorflow/serving:2.14.1" and service["volumes"] == [".:/models:ro"]
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    for config in ("models.config", "models.canary.config"):
        assert not check_options(with_config(service["command"], config))
    assert "--allow_version_labels_for_unavailable_models=true" in service["command"]
    more = yaml.safe_load((FILES / "compose.batching.yaml").read_text())["services"]["serving"]["command"]
    assert check_options(with_config(more, "models.config")) and set(service["command"]) < set(more)


def with_config(options, name):
    return [option.replace("${MODELS_CONFIG:-models.config}", name) for option in options]


def test_docker_run_starts_the_same():
    (line,) = commands("docker run")
    words = shlex.split(line)
    image = words.index("tensorflow/serving:2.14.1")
    assert "$PWD/saved_models:/models:ro" in words[:image]
    assert not check_options(words[image + 1 :])


@pytest.mark.parametrize("line", commands("saved_model_cli"))
def test_saved_model_cli_lines_of_the_readme_run(line, monkeypatch, capsys):
    """In this process, by the function that the program calls."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        saved_model_cli.main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "energy" in printed and "valid" in printed


def test_the_readme_has_lines_of_saved_model_cli():
    assert {line.split()[1] for line in commands("saved_model_cli")} == {"show", "run"}


def test_documents_tell_of_every_signature():
    assert set(TABLE) <= set(re.findall(r"^\| `(\w+)` \|", (FILES / "README.md").read_text(), re.MULTILINE))
    described = inspect.getdoc(export_saved_model)
    assert all(f"    {name}: " in described for name in TABLE)


@pytest.mark.thorough
@pytest.mark.parametrize("line", [line for line in commands("curl") if ":predict" in line])
def test_bodies_of_the_rest_requests_are_what_the_models_take(line):
    words = shlex.split(line)
    body, name = json.loads(words[words.index("-d") + 1]), words[-1].split("/")[-1].removesuffix(":predict")
    assert name in ZOO
    if not (FILES / name / "1").is_dir():
        pytest.skip(f"{name} is not exported here")
    loaded = tf.saved_model.load(str(FILES / name / "1"))
    score = loaded.signatures[body.get("signature_name", "serving_default")]
    inputs = score.structured_input_signature[1]
    rows = [row if isinstance(row, dict) else {next(iter(inputs)): row} for row in body["instances"]]
    feed = {key: tf.constant([plain(row[key]) for row in rows], spec.dtype) for key, spec in inputs.items()}
    assert score(**feed)["valid"].numpy().all()


def plain(value):
    return b64decode(value["b64"]) if isinstance(value, dict) else value
