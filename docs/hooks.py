"""Hooks of the site's build: formulas become MathML, and files of the repository that pages link to become pages.

A page links to a file outside of `docs/` as it does in the repository, by a relative path. `REPOSITORY` says which
files the site holds, below `repository/`; a link to any other file fails `mkdocs build --strict`.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
REPOSITORY = (
    *("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CITATION.cff"),
    *("saved_models/README.md", "saved_models/*/README.md", "saved_models/*/1/assets/card.json"),
    "tf_radogaga/datasets/data/README.md",
    *("trainers/reproduce/results/*.md", "trainers/reproduce/results/*.png"),
    *("tests/benchmarks/results/*", "tests/benchmarks/peers.txt"),
)
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(?=[)#])")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files, config):
    for path in sorted(path for pattern in REPOSITORY for path in ROOT.glob(pattern)):
        files.append(File.generated(config, f"repository/{path.relative_to(ROOT)}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites relative links, which hold in the repository, to those of the site."""
    uri = page.file.src_uri
    place = posixpath.dirname(uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}")

    def rewrite(match):
        target = posixpath.normpath(posixpath.join(place, match[1]))
        target = "docs/index.md" if target == "README.md" else target
        inside = target.removeprefix("docs/") if target.startswith("docs/") else f"repository/{target}"
        if files.get_file_from_path(inside) is None:
            return match[1]  # which strict builds report
        return posixpath.relpath(inside, posixpath.dirname(uri) or ".")

    return LINK.sub(rewrite, markdown)


def on_page_content(content, page, config, files):
    def typeset(match):
        return convert(html.unescape(match[3]).strip(), display="inline" if match[2] == "(" else "block")

    return FORMULA.sub(typeset, content)
