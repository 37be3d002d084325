"""What the tables share: runs in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import process_table

from tf_radogaga_trainers.reproduce import records

pytestmark = pytest.mark.thorough


def test_every_run_has_a_process_of_its_own_and_measured_ones_do_not_run_again(tmp_path):
    path = tmp_path / "table.json"
    first = records.measure(process_table, [(0, 0.0), (1, 0.0)], path, 2)
    processes = [record["process"] for record in first]
    assert len({os.getpid(), *processes}) == 3
    again = records.measure(process_table, [(0, 0.0), (1, 0.0), (2, 0.0)], path, 1)
    assert [record["process"] for record in again[:2]] == processes
    assert json.loads(path.read_text()) == again and len(again) == 3


def test_a_run_ends_with_a_command_that_is_killed(tmp_path):
    here = Path(process_table.__file__).parents[1]
    search = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
    command = subprocess.Popen(
        [sys.executable, "-m", "helpers.process_table", str(tmp_path / "table.json")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )
    assert command.stdout is not None
    assert int(command.stdout.readline()) != command.pid
    command.kill()
    command.communicate(timeout=60)  # which waits until the run, which writes there too, has ended
