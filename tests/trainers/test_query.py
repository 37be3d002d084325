"""The gRPC client against a servicer of an exported model that fails when told to."""

import json
import sys
import threading
from concurrent import futures

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.models import TOLERANCE
from helpers.served_models import csv_with_bad_rows, served_table
from tensorflow.core.protobuf import saved_model_pb2

from tf_radogaga_trainers import score
from tf_radogaga_trainers.shared import exports

pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tf_radogaga_trainers import query

CODES = grpc.StatusCode


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves a model called "table". The next calls of Predict fail with `failures`, one each; None stalls."""

    def __init__(self, version):
        self.model = tf.saved_model.load(version)
        saved = saved_model_pb2.SavedModel.FromString(tf.io.gfile.GFile(f"{version}/saved_model.pb", "rb").read())
        self.signatures = saved.meta_graphs[0].signature_def
        self.failures, self.requests, self.stall = [], [], threading.Event()

    def check_name(self, request, context):
        if request.model_spec.name != "table":
            context.abort(CODES.NOT_FOUND, f"Servable not found for request: Latest({request.model_spec.name})")

    def GetModelMetadata(self, request, context):
        self.check_name(request, context)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap(signature_def=self.signatures))
        return answer

    def Predict(self, request, context):
        self.check_name(request, context)
        self.requests.append(request)
        if self.failures:
            code = self.failures.pop(0)
            if code is None:
                self.stall.wait(60)
            else:
                context.abort(code, f"injected {code.name}")
        feed = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = self.model.signatures[request.model_spec.signature_name](**feed)
        return predict_pb2.PredictResponse(
            outputs={name: tf.make_tensor_proto(value.numpy()) for name, value in outputs.items()}
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return served_table(tmp_path_factory.mktemp("models") / "table")


@pytest.fixture(scope="module")
def serving(model):
    """The servicer and its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    servicer = Servicer(exports.newest_version(model))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer, address
    servicer.stall.set()
    server.stop(None)


@pytest.fixture
def servicer(serving):
    serving[0].failures, serving[0].requests = [], []
    return serving[0]


@pytest.fixture
def delays(monkeypatch):
    """Seconds that the client would have slept."""
    slept = []
    monkeypatch.setattr(query.time, "sleep", slept.append)
    return slept


@pytest.fixture
def ask(serving, tmp_path):
    """Queries the servicer with a file of 50 rows, 4 of them bad; returns the scores."""
    csv_with_bad_rows(tmp_path / "rows.csv")

    def ask(*options, server=serving[1], model="table"):
        command = ["--server", server, "--model", model, "--input", tmp_path / "rows.csv"]
        query.main([*map(str, command), "--output", str(tmp_path / "scores.csv"), *options])
        return pd.read_csv(tmp_path / "scores.csv")

    return ask


@pytest.fixture
def expected(model, tmp_path, ask, monkeypatch):
    """What score.py writes for that file."""
    command = ["--model", model, "--input", tmp_path / "rows.csv", "--output", tmp_path / "expected.csv"]
    monkeypatch.setattr(sys, "argv", ["score.py", *map(str, command)])
    score.main()
    return pd.read_csv(tmp_path / "expected.csv")


@pytest.mark.thorough
@pytest.mark.parametrize("batch_size", [pytest.param("1", marks=pytest.mark.slow), "7", "1024"])
def test_scores_are_those_of_the_model_in_process(batch_size, ask, servicer, expected):
    scores = ask("--batch-size", batch_size)
    pd.testing.assert_frame_equal(scores, expected, **TOLERANCE)
    assert (~scores["valid"]).sum() == 4 and scores["energy"].isna().sum() == 4
    assert len(servicer.requests) == -(-50 // int(batch_size))


@pytest.mark.thorough
def test_without_output_the_scores_are_printed(serving, servicer, ask, tmp_path, capsys):
    scores = ask()
    capsys.readouterr()
    query.main(["--server", serving[1], "--model", "table", "--input", str(tmp_path / "rows.csv")])
    assert capsys.readouterr().out == (tmp_path / "scores.csv").read_text() and len(scores) == 50


def test_a_file_without_rows_asks_nothing(servicer, ask, tmp_path, expected):
    header = (tmp_path / "rows.csv").read_text().split("\n")[0]
    (tmp_path / "rows.csv").write_text(header + "\n")
    assert ask().columns.tolist() == expected.columns.tolist() and not servicer.requests


def test_a_label_names_the_version(servicer, ask):
    ask("--label", "canary")
    (request,) = servicer.requests
    assert request.model_spec.version_label == "canary"
    ask()
    assert not servicer.requests[1].model_spec.HasField("version_label")


def test_passing_failures_are_asked_again_after_doubled_delays(servicer, ask, expected, delays):
    failures = [CODES.UNAVAILABLE, CODES.RESOURCE_EXHAUSTED, CODES.INVALID_ARGUMENT, CODES.FAILED_PRECONDITION]
    servicer.failures = list(failures)
    pd.testing.assert_frame_equal(ask("--batch-size", "25"), expected, **TOLERANCE)
    assert len(servicer.requests) == 2 + len(failures) and len(delays) == len(failures)
    for attempt, delay in enumerate(delays):
        assert 0.5 <= delay / (query.FIRST_DELAY * 2**attempt) <= 1


@pytest.mark.thorough
def test_a_request_that_stalls_is_given_up_at_its_deadline_and_sent_again(servicer, ask, expected, delays):
    ask()  # the model's first call takes longer
    servicer.failures = [None]
    pd.testing.assert_frame_equal(ask("--timeout", "2"), expected, **TOLERANCE)
    assert len(servicer.requests) == 3 and len(delays) == 1


@pytest.mark.parametrize(
    ("code", "tries", "message"),
    [
        (CODES.UNAVAILABLE, 3, r"--server: nobody answers at 127\.0\.0\.1:\d+; .*8500.* UNAVAILABLE: injected"),
        (CODES.DEADLINE_EXCEEDED, 3, r"--timeout: no answer from \S+ within 10 seconds.* DEADLINE_EXCEEDED"),
        (CODES.RESOURCE_EXHAUSTED, 3, "--batch-size: .* 1024 rows are too many.* RESOURCE_EXHAUSTED"),
        (CODES.INVALID_ARGUMENT, 3, "refuses the request of 'table'.* INVALID_ARGUMENT: injected INVALID_ARGUMENT"),
        (CODES.NOT_FOUND, 1, "--model: .* does not serve 'table'"),
        (CODES.FAILED_PRECONDITION, 3, "cannot serve 'table' as asked.* FAILED_PRECONDITION"),
        (CODES.UNIMPLEMENTED, 1, "is no TensorFlow Serving.* UNIMPLEMENTED"),
        (CODES.PERMISSION_DENIED, 1, "does not let you in.* PERMISSION_DENIED"),
        (CODES.UNAUTHENTICATED, 1, "does not let you in.* UNAUTHENTICATED"),
        (CODES.INTERNAL, 1, "its log says more.* INTERNAL"),
        (CODES.ABORTED, 1, r"127\.0\.0\.1:\d+ gave the request up; try again\. It says ABORTED: injected"),
    ],
)
def test_every_failure_has_its_words_and_leaves_no_output(code, tries, message, servicer, ask, delays, tmp_path):
    servicer.failures = [code] * 10
    with pytest.raises(SystemExit, match=message):
        ask("--tries", "3")
    assert len(servicer.requests) == tries and len(delays) == tries - 1
    assert not (tmp_path / "scores.csv").exists()


def test_a_model_that_is_not_served_is_named(servicer, ask):
    with pytest.raises(SystemExit, match=r"does not serve 'other'.*Latest\(other\)"):
        ask(model="other")


def test_a_server_that_is_not_there_is_named(ask, delays):
    with pytest.raises(SystemExit, match=r"nobody answers at 127\.0\.0\.1:1;.*UNAVAILABLE"):
        ask("--tries", "2", server="127.0.0.1:1")
    assert len(delays) == 1


def test_columns_are_checked_before_anything_is_sent(servicer, ask, tmp_path):
    pd.DataFrame(np.zeros((2, 2)), columns=["dose", "kind"]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(SystemExit, match=r"no columns \['blood_pressure', 'code'\]"):
        ask()
    assert not servicer.requests


def test_the_card_tells_what_the_server_does_not(servicer, ask, expected, tmp_path):
    rows = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(rows.replace('"note, unused"', "blood-pressure"))
    with pytest.raises(
        SystemExit, match=r"\['blood-pressure', 'blood pressure'\] all fit the model's 'blood_pressure'"
    ):
        ask()
    assert not servicer.requests
    names = {"blood_pressure": "blood pressure", "kind": "kind", "code": "code", "dose": "dose"}
    (tmp_path / "card.json").write_text(json.dumps({"columns": names}))
    pd.testing.assert_frame_equal(ask("--card", str(tmp_path / "card.json")), expected, **TOLERANCE)
    for content, message in ((None, "is not a file"), ("{", "is damaged"), ("[]", r"damaged \(a list")):
        (tmp_path / "card.json").unlink(missing_ok=True)
        if content:
            (tmp_path / "card.json").write_text(content)
        with pytest.raises(SystemExit, match=f"card: .*card.json.*{message}"):
            ask("--card", str(tmp_path / "card.json"))


@pytest.mark.parametrize("option", ["--batch-size", "--timeout", "--tries"])
def test_nothing_is_not_asked_for(option, ask, capsys):
    with pytest.raises(SystemExit):
        ask(option, "0")
    assert f"argument {option}: 0 is not above 0" in capsys.readouterr().err


def test_every_status_that_is_no_answer_has_words():
    assert set(query.MESSAGES) == set(CODES) - {CODES.OK}
    for message in query.MESSAGES.values():
        assert message.format(server="s:1", model="m", timeout=1.0, batch_size=2)
