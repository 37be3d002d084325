"""Builds the API reference from the docstrings into one HTML page a module.

    python docs/reference.py --out outputs/docs

`make docs` does the same. Every warning of pdoc, such as an annotation that does not resolve, is an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pdoc

import tf_radogaga

MODULES = (
    "tf_radogaga",
    *(f"tf_radogaga.{name}" for name in ("models.autoencoder", "training.loop", "serving", "presets")),
    *(f"tf_radogaga.isometry.{name}" for name in ("measures", "inversion", "report")),
    *(f"tf_radogaga.{name}" for name in ("presets.images", "plots", "plots.ablation")),
    *(f"tf_radogaga.datasets.{name}" for name in ("tabular", "streaming", "toy", "vae_toy")),
    *(f"tf_radogaga.datasets.{name}" for name in ("images", "image_folders", "idx")),
)
"""What users meet: the package, whose page has all of `tf_radogaga.__all__`, what its models inherit, and the rest."""


def build(out: Path) -> None:
    """Writes `index.html`, the pages of `MODULES`, and the index of their search into a folder."""
    pdoc.render.configure(
        docformat="google",
        include_undocumented=False,
        show_source=False,
        footer_text=f"tf_radogaga {tf_radogaga.__version__}",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the constructor that NamedTuple makes does not see the names that its module imports
        warnings.filterwarnings("ignore", r"Error parsing type annotation ForwardRef.* for .*\.__init__\.")
        if sys.version_info < (3, 10):  # cannot evaluate X | None, which the page then shows as it is written
            warnings.filterwarnings("ignore", "Error parsing type annotation .*unsupported operand")
        pdoc.pdoc(*MODULES, output_directory=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/docs"), help="folder of the pages (outputs/docs)")
    out = parser.parse_args().out
    build(out)
    print(f"{len(MODULES)} modules: {out / 'index.html'}")


if __name__ == "__main__":
    main()
