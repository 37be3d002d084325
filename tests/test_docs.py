"""README and the pages of docs/: their code runs and prints what they say; links, paths, numbers and sizes hold."""

import doctest
import re
from pathlib import Path

import pytest

pytest.importorskip("sybil", reason="sybil is not installed: pip install '.[docs]'")

from helpers.marks import after
from sybil import Document
from sybil.evaluators.doctest import NUMBER
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).resolve().parents[1]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]}
"""Texts by their places in the repository."""

BESIDE = {
    str(path.relative_to(ROOT)): path.read_text() for path in [*ROOT.glob("*.md"), *ROOT.glob("saved_models/**/*.md")]
}
CODE = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("tf_radogaga", "trainers")
    for path in ROOT.glob(f"{folder}/**/*.py")
}
WORDS = 1100
"""Of a page without its code: what one reads in five minutes."""

LONG = (
    *(f"docs/start/{page}.md" for page in ("table", "curved", "distortion", "images", "serving")),
    *(f"docs/guides/{page}.md" for page in ("images", "many-models", "unfolding")),
)
"""Pages whose code takes more than some seconds."""


def prose(text):
    """A page without blocks of code, comments, and the targets of links."""
    text = re.sub(r"^```.*?^```|<!---.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\]\([^)]*\)|^ {4}.*$", "", text, flags=re.MULTILINE)


def runnable():
    names = [name for name, text in sorted(PAGES.items()) if "```python" in text]
    return after(1, [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in names])


@pytest.mark.parametrize("name", runnable())
def test_a_page_prints_what_it_says(name, tmp_path, monkeypatch):
    """NUMBER compares floats up to the last digit that the page shows; later ones vary between machines."""
    monkeypatch.chdir(tmp_path)
    parser = PythonCodeBlockParser(doctest_optionflags=NUMBER | doctest.NORMALIZE_WHITESPACE)
    document = Document.parse(str(ROOT / name), parser)
    examples = list(document.examples())
    assert len(examples) >= PAGES[name].count("```python")
    for example in examples:
        example.evaluate()


def test_every_page_that_teaches_has_code_that_runs():
    told = {name for name in PAGES if name.startswith(("docs/start/", "docs/guides/"))}
    without = {name for name in told if "```python" not in PAGES[name]}
    assert without == {
        "docs/start/install.md",
        *(f"docs/guides/{page}.md" for page in ("choosing", "choosing-measured", "troubleshooting")),
    }


@pytest.mark.parametrize("name", sorted({*PAGES, *BESIDE, *CODE} - {"CHANGELOG.md"}))
def test_words_are_those_of_the_field(name):
    """None that needs a glossary of this project: the words that it once had of its own."""
    own = r"settled?|settles|judged?( by)?|judges|worth averaging|strang(e|er|ers|est)|honest(ly)?|written whole"
    assert not re.search(rf"\b({own}|informative|meaningful)\b", {**PAGES, **BESIDE, **CODE}[name])


@pytest.mark.parametrize("name", sorted({*PAGES, *BESIDE}))
def test_no_block_of_code_is_the_subject_of_a_sentence(name):
    assert not re.findall(r"(?:^```|^ {4}.*)\n\n([a-z].*)", {**PAGES, **BESIDE}[name], re.MULTILINE)


def test_readme_is_short():
    assert len(PAGES["README.md"].encode()) <= 10_000
    assert PAGES["README.md"].count("\n") <= 160


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_read_in_five_minutes(name):
    assert len(prose(PAGES[name]).split()) <= WORDS


@pytest.mark.parametrize("name", sorted({**PAGES, **BESIDE}))
def test_links_lead_to_files_of_the_repository(name):
    text = re.sub(r"```.*?```", "", {**PAGES, **BESIDE}[name], flags=re.DOTALL)
    for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        assert (ROOT / name).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("name", sorted(PAGES))
def test_paths_and_commands_exist(name):
    """Of files of the package, of scripts, and of targets of the Makefile; at the start of a command, or as code."""
    text, makefile = PAGES[name], (ROOT / "Makefile").read_text()
    for path in re.findall(r"`((?:tf_radogaga|tests|trainers|docs)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    for script in re.findall(r"(?:\.venv/bin/|\b)python ((?:trainers|tests|docs)/[\w/]+\.py)", text):
        assert (ROOT / script).is_file(), script
    for target in re.findall(r"(?:^ {4}|`)make (?:\w+=\S+ )?([a-z]+)\b", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


NUMBER_OF_A_TABLE = re.compile(r"(-?\d+\.\d+)(?: (\(\d+\.\d+\)))?")


def numbers(text, decimals=1):
    """Numbers of tables, without zeros at their end, each with its deviation where one stands behind it."""
    found = NUMBER_OF_A_TABLE.findall("\n".join(line for line in text.splitlines() if line.startswith("|")))
    return {(number.rstrip("0"), sd) for number, sd in found if len(number.partition(".")[2]) >= decimals}


def test_numbers_of_tables_are_those_of_committed_results():
    """Each number of three and more decimals in a table of README and of the pages of results."""
    known = numbers("\n".join(path.read_text() for path in ROOT.glob("trainers/reproduce/results/*.md")))
    known |= {(number, "") for number, _ in known}
    pages = {name for name in PAGES if name == "README.md" or name.startswith("docs/results/")}
    for name in pages - {"docs/results/speed.md"}:
        assert not numbers(PAGES[name], decimals=3) - known, name
    assert len(numbers("\n".join(PAGES[name] for name in pages), decimals=3)) > 150
