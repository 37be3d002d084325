"""The pages of docs/: their code runs and prints what they say, and the API reference has every public name."""

import doctest
import re
from pathlib import Path

import pytest

import tf_radogaga

pytest.importorskip("pdoc", reason="pdoc is not installed: pip install '.[docs]'")
pytest.importorskip("sybil", reason="sybil is not installed: pip install '.[docs]'")

import reference
from sybil import Document
from sybil.evaluators.doctest import NUMBER
from sybil.parsers.markdown import PythonCodeBlockParser

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("page", ["tutorial.md", "certificate.md"])
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
