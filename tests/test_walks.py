"""The walks of a row that docs/develop/layout.md tells: a row does meet the files that stand there."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_radogaga as tr
from tf_radogaga.serving.signatures import signatures

ROOT = Path(tr.__file__).resolve().parents[1]


def told(title):
    """Files named below a heading of the page."""
    section = (ROOT / "docs" / "develop" / "layout.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return set(re.findall(r"`(tf_radogaga/[\w/]+\.py)`", section))


@pytest.fixture
def met():
    """-> the files of the package whose functions were called since the test began."""
    files = set()

    def look(frame, event, _):
        if event == "call":
            files.add(frame.f_code.co_filename)

    before = sys.gettrace()
    sys.settrace(look)  # of calls alone
    yield lambda: {str(Path(file).relative_to(ROOT)) for file in list(files) if file.startswith(f"{ROOT}/tf_radogaga/")}
    sys.settrace(before)


@pytest.mark.thorough
def test_a_row_walks_through_training_and_an_export_as_told(tmp_path, met):
    rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    networks = tr.DenseNetwork(4, (4,), 2), tr.DenseNetwork(2, (4,), 4)
    model = tr.RaDOGAGA(*networks, tr.MixturePrior(2, 2), lambda1=100, lambda2=100)
    model.compile("adam", run_eagerly=True)
    built = met()
    model.fit(rows, batch_size=32, epochs=1, verbose=0)
    trained = met()
    training = told("The walk of a row through training")
    assert len(training) > 8 and training <= trained and not training <= built
    tr.export_saved_model(model, tmp_path, warmup_rows=rows[:2])
    served = signatures(model)["serving_default"]  # called here as well: graphs are made of rewritten functions
    assert served.function(model, model.density.scores, served.example(model, rows[:2]))["valid"].numpy().all()
    export = told("The walk of a row through an export")
    assert len(export) > 8 and export <= met() and not export <= trained
