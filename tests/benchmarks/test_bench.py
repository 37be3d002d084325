"""The arithmetic of the benchmark, and the pipes between its processes; nothing is timed."""

import io
import json
import os
import subprocess
import sys

import bench
import pytest
import worker

OTHER = "pyod VAE"


class Scripted:
    """A worker that gives prepared answers, and writes down that it was asked."""

    def __init__(self, side, log, epochs, scores):
        self.side, self.log = side, log
        self.answers = {
            "train": [{"epoch": epoch, "seconds": epoch + 1, "peak_memory": 100.0} for epoch in epochs],
            "score": [{"seconds": score, "peak_memory": 100.0 + n} for n, score in enumerate(scores)],
        }

    def ask(self, request):
        self.log.append((request, self.side))
        return self.answers[request].pop(0)


@pytest.fixture
def measured():
    """Three rounds after one that is left out; the machine is ten times slower in the second of them."""
    log = []
    workers = {
        bench.REFERENCE: Scripted(bench.REFERENCE, log, [99, 1, 10, 2], [99, 4, 40, 5]),
        OTHER: Scripted(OTHER, log, [1, 3, 20, 12], [1, 8, 40, 25]),
    }
    return bench.measure(workers, rounds=3), log


def test_sides_take_turns_and_the_first_round_is_left_out(measured):
    rounds, log = measured
    turn = [(request, side) for request in ("train", "score") for side in (bench.REFERENCE, OTHER)]
    assert log == 4 * turn
    assert [one[OTHER]["train"]["epoch"] for one in rounds] == [3, 20, 12]


def test_ratios_are_medians_of_those_within_a_round(measured):
    sides = bench.summary(measured[0], steps=6, rows=100)
    assert sides[OTHER] == {
        "epoch": 12,
        "steps_per_second": 0.5,
        "epoch_ratio": 3,  # of 3 / 1, 20 / 10 and 12 / 2; that of the medians would be 6
        "fit": 13,
        "rows_per_second": 4,
        "score_ratio": 2,  # of 8 / 4, 40 / 40 and 25 / 5; that of the medians would be 5
        "peak_memory": 103,
    }
    assert sides[bench.REFERENCE]["epoch_ratio"] == sides[bench.REFERENCE]["score_ratio"] == 1


def test_the_table_has_a_line_a_side(measured):
    lines = bench.table(bench.summary(measured[0], steps=6000, rows=100_000)).splitlines()
    assert lines[0].startswith("|  | epoch [s] | steps/s | time / tf_radogaga | fit of one epoch [s] | scored rows/s |")
    assert lines[2:] == [
        "| tf_radogaga | 2.000 | 3,000 | 1.00 | 3.000 | 20,000 | 1.00 | 103 |",
        "| pyod VAE | 12.000 | 500 | 3.00 | 13.000 | 4,000 | 2.00 | 103 |",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_a_worker_answers_with_seconds_of_epoch_and_call_and_its_peak_memory():
    answers = io.StringIO()
    side = worker.Side(train=lambda: 0.25, score=lambda: "scores of rows")
    worker.answer(side, ["train\n", "score\n"], answers)
    trained, scored = map(json.loads, answers.getvalue().splitlines())
    assert trained["epoch"] == 0.25 and trained["seconds"] >= 0
    assert set(scored) == {"seconds", "peak_memory"}
    assert scored["peak_memory"] >= trained["peak_memory"] > 10


def test_the_peak_of_memory_is_that_of_the_process_alone():
    script = "import worker\nprint(worker.peak_memory())\nx = b'x' * 200_000_000\ndel x\nprint(worker.peak_memory())"
    environment = {**os.environ, "PYTHONPATH": str(bench.HERE)}
    printed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
    before, after = map(float, printed.split())
    assert before < 150, "that of the parent, which holds TensorFlow, is more"
    assert after - before == pytest.approx(200, abs=20)


ECHO = """
import os
print(os.environ["ANSWER"], flush=True)
input()
print('{"seconds": 2}', flush=True)
raise SystemExit(3)
"""


def test_processes_are_asked_through_pipes_and_their_end_is_told():
    with bench.Worker(OTHER, [sys.executable, "-c", ECHO], {"ANSWER": '{"torch": "2.13"}'}) as process:
        assert process.started() == {"torch": "2.13"}
        assert process.ask("train") == {"seconds": 2}
        for _ in range(2):
            with pytest.raises(RuntimeError, match="pyod VAE: ended with code 3 when told to score"):
                process.ask("score")


def test_a_process_that_does_not_start_is_told():
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    message = "pyod VAE: ended with code 1 when told to start"
    with bench.Worker(OTHER, command) as process, pytest.raises(RuntimeError, match=message):
        process.started()
