"""Models, detectors and exports of one environment in another, with another TensorFlow or Python.

TF_RADOGAGA_PYTHONS names their interpreters:

    TF_RADOGAGA_PYTHONS=.venv/bin/python:.venv-2.17/bin/python .venv/bin/python -m pytest -m slow tests/test_travel.py
"""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "helpers" / "travel.py"
PYTHONS = list(filter(None, os.environ.get("TF_RADOGAGA_PYTHONS", "").split(os.pathsep)))
SAVED = Path(__file__).parents[1] / "saved_models"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(len(PYTHONS) < 2, reason="TF_RADOGAGA_PYTHONS names no two interpreters, separated by a colon"),
]


def run(python, *arguments):
    done = subprocess.run([python, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folders = {python: tmp_path_factory.mktemp("written") for python in PYTHONS}
    for python, folder in folders.items():
        run(python, SCRIPT, "write", folder)
    return folders


@pytest.mark.parametrize("reader", PYTHONS)
@pytest.mark.parametrize("writer", PYTHONS)
def test_what_one_writes_another_reads_with_equal_scores(writer, reader, written):
    run(reader, SCRIPT, "read", written[writer])


@pytest.mark.parametrize("python", PYTHONS)
def test_the_models_that_ship_load_without_the_package(python):
    code = (
        "import sys, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "scored = loaded.signatures['serving_default']\n"
        "((name, spec),) = scored.structured_input_signature[1].items()\n"
        "shape = [3, *(28 if size is None else size for size in spec.shape[1:])]\n"
        "scores = scored(**{name: tf.cast(tf.fill(shape, 0.5), spec.dtype)})\n"
        "assert scores['energy'].shape == 3 and tf.reduce_all(scores['valid'])\n"
        "assert not {name.partition('.')[0] for name in sys.modules} & {'tf_radogaga', 'tensorflow_compression'}\n"
    )
    for version in sorted(SAVED.glob("*/1")):
        run(python, "-c", code, version)
