"""The documentation site as `make docs` builds it: pages, names, formulas, and what a browser shows of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import tf_radogaga

pytest.importorskip("mkdocstrings", reason="mkdocs is not installed: pip install '.[docs]'")
pytest.importorskip("latex2mathml", reason="latex2mathml is not installed: pip install '.[docs]'")

from helpers.browser import visit

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path.relative_to(ROOT / "docs") for path in ROOT.glob("docs/**/*.md")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it; a link that leads nowhere, or a missing page or name, is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return out


@pytest.mark.thorough
def test_the_site_has_every_page_and_nothing_from_elsewhere(site):
    for name in PAGES:
        assert (site / name).with_suffix(".html").is_file(), name
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\"\s>]+)", page.read_text())
        loaded += re.findall(r"<link[^>]* rel=\"?(?:stylesheet|icon)\"?[^>]* href=\"?([^\"\s>]+)", page.read_text())
        assert loaded and not [address for address in loaded if re.match(r"(?:\w+:)?//", address)], page


@pytest.mark.thorough
def test_formulas_are_mathml(site):
    text = (site / "concepts" / "isometry.html").read_text()
    assert text.count("<math") > 10 and text.count('display="block"') >= 3
    assert "arithmatex" not in text and "MathJax" not in text


@pytest.mark.thorough
def test_the_api_shows_every_public_name_with_its_docstring(site):
    index = (ROOT / "docs" / "api" / "index.md").read_text()
    pages = {path: path.read_text() for path in (site / "api").glob("*.html")}
    for name in tf_radogaga.__all__:
        assert f"`{name}`" in index, name
        shown = [text for text in pages.values() if re.search(rf'<h2 id="tf_radogaga\.[\w.]*\b{name}"', text)]
        assert len(shown) == 1, name
        section = re.split(rf'<h2 id="tf_radogaga\.[\w.]*\b{name}"', shown[0])[1].split("<h2 ")[0]
        docstring = vars(tf_radogaga)[name].__doc__.strip().split("\n")[0]
        assert re.sub(r"\W", "", docstring)[:20] in re.sub(r"\W", "", re.sub(r"<[^>]+>|&\w+;", "", section)), name


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_shows_every_page_typesets_formulas_follows_links_and_searches(site):
    pages = sorted(str(page.relative_to(site)) for page in site.rglob("*.html"))
    report, address = visit(CHROMIUM, site, pages, "isometry")
    seen = {f"{address}/{page}": found for page, found in report["seen"].items()}
    assert len(seen) == len(pages) > len(PAGES)
    ids = {page: {*found["ids"], ""} for page, found in seen.items()}
    formulas = 0
    for page, found in seen.items():
        assert found["title"] and min(found["heading"]) > 20 and found["words"] > 3, page
        assert not found["errors"], (page, found["errors"])
        assert all(width > 4 and height > 4 for width, height in found["formulas"]), page
        assert not [image for image, width in found["images"] if not width], page
        assert not [file for file in found["loaded"] if not file.startswith(address)], page
        formulas += len(found["formulas"])
        for link in found["links"]:
            target, anchor = urldefrag(link)
            if not target.startswith(address):
                continue
            target = target + "index.html" if target.endswith("/") else target
            assert (site / unquote(target.removeprefix(f"{address}/"))).is_file(), (page, link)
            assert target not in ids or unquote(anchor) in ids[target], (page, link)
    assert formulas > 15
    assert any(found.startswith(f"{address}/concepts/isometry.html") for found in report["found"])
