"""The pages of docs/: their code runs and prints what they say, and the API reference has every public name."""

import doctest
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

import tf_radogaga

pytest.importorskip("pdoc", reason="pdoc is not installed: pip install '.[docs]'")
pytest.importorskip("sybil", reason="sybil is not installed: pip install '.[docs]'")

import choosing
import reference
from sybil import Document
from sybil.evaluators.doctest import NUMBER
from sybil.parsers.markdown import PythonCodeBlockParser

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("page", [pytest.param("tutorial.md", marks=pytest.mark.slow), "certificate.md"])
def test_a_page_prints_what_it_says(page, tmp_path, monkeypatch):
    """NUMBER compares floats up to the last digit that the page shows; later ones vary between machines."""
    monkeypatch.chdir(tmp_path)
    parser = PythonCodeBlockParser(doctest_optionflags=NUMBER | doctest.NORMALIZE_WHITESPACE)
    document = Document.parse(str(DOCS / page), parser)
    examples = list(document.examples())
    assert sum(">>>" in (DOCS / page).read_text()[e.region.start : e.region.end] for e in examples) > 5
    for example in examples:
        example.evaluate()


def test_the_reference_shows_every_public_name_with_its_docstring(tmp_path):
    """Whose warnings, such as one of an annotation that does not resolve, are errors."""
    reference.build(tmp_path)
    pages = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    assert pages == {"index.html", *(f"{module.replace('.', '/')}.html" for module in reference.MODULES)}
    sections = dict(
        re.findall(r'<section id="(\w+)">(.*?)</section>', (tmp_path / "tf_radogaga.html").read_text(), re.S)
    )
    for name in tf_radogaga.__all__:
        docstring = vars(tf_radogaga)[name].__doc__
        assert docstring and docstring.strip(), name
        assert '<div class="docstring">' in sections[name], name
    assert "<pre>" in sections["RaDOGAGA"] and "<strong>lambda1:</strong>" in sections["RaDOGAGA"]


@pytest.mark.parametrize("weight", [2.1, 3.0, 20.0])
def test_the_closed_form_is_the_minimum_of_the_loss_near_one(weight):
    """The loss of appendix D in a and b, minimized without the closed form."""
    lambda2, s = 7.0, 1.5
    lambda1 = weight / s**2

    def loss(slopes):
        a, b = slopes
        return math.log(a) + lambda1 * s**2 * (1 - a * b) ** 2 + lambda2 * b**2

    a, b = optimize.minimize(loss, [1 / choosing.slope(lambda2), choosing.slope(lambda2)], tol=1e-12).x
    assert a * b == pytest.approx(float(choosing.optimum(weight)), abs=1e-4)
    assert b == pytest.approx(choosing.slope(lambda2), rel=1e-4)


def test_nothing_to_settle_at_below_two_and_a_barrier_of_log():
    u = np.linspace(0.001, 1, 5000)[:-1]
    assert np.isnan(choosing.optimum(1.9)) and (np.diff(choosing.loss(u, 1.9, "identity")) > 0).all()
    assert choosing.optimum(2.0) == 0.5 and choosing.optimum(1e9) == pytest.approx(1)
    for lambda1 in (0.3, 5.0):
        assert u[np.argmax(choosing.loss(u, lambda1, "log"))] == pytest.approx(choosing.barrier(lambda1), abs=1e-3)


def test_the_line_is_printed_and_drawn_as_given():
    trained = [(0.01 * number, 0.1) for number, _ in enumerate(choosing.WEIGHTS)]
    lines = list(choosing.line_table(trained))
    assert lines[1].split()[1:3] == ["nan", "0.000"] and lines[1].endswith("collapsed")
    right = float(choosing.optimum(choosing.WEIGHTS[2]))
    assert lines[3].split()[1:] == [f"{right:.3f}", "0.020", "0.100", "0.100", f"{-math.log(right):+.3f}", "nats"]
    left, middle, _ = choosing.figure(trained).axes
    np.testing.assert_allclose(left.lines[1].get_ydata(), [u for u, _ in trained])
    np.testing.assert_allclose(middle.lines[0].get_ydata(), -np.log(left.lines[0].get_ydata()))


@pytest.mark.slow
def test_the_tables_of_choosing_are_those_of_trained_models():
    for weight, (u, b) in zip(choosing.WEIGHTS, choosing.train_lines(choosing.WEIGHTS)):
        collapsed = weight < 2
        assert u == pytest.approx(0 if collapsed else float(choosing.optimum(weight)), abs=0.01)
        assert collapsed or b == pytest.approx(choosing.slope(choosing.LAMBDA2), rel=0.02)
    lost, kept = list(choosing.toy_table([{"lambda1": 30}, {"lambda1": 300}]))[3:]
    assert lost.split()[6] == "2" and kept.split()[6] == "3" and float(kept.split()[-1]) < 0.1
    kept = [int(line.split()[3]) for line in list(choosing.thyroid_table(choosing.THYROID, seeds=1, steps=20))[2:]]
    assert kept == [0, 1, 4, 4]
    none, four = list(choosing.thyroid_table([choosing.THYROID[0], choosing.THYROID[-1]], seeds=1))[2:]
    assert float(none.split()[5]) < 0.05 and float(four.split()[5]) > 0.95
