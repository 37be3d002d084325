"""The scripts as commands of the installed package.

    tf_radogaga train-tabular --dataset thyroid --out outputs/thyroid

is `python trainers/train_tabular.py --dataset thyroid --out outputs/thyroid`, and so is `python -m tf_radogaga ...`.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from pathlib import Path

TRAIN = ("train_tabular", "train_images", "train_toy")
SCORE = ("score", "score_images", "score_beam", "query", "compare")
REPRODUCE = ("tables", "keel")
SCRIPTS = ("demo", *TRAIN, *SCORE, *REPRODUCE)


def module(script: str) -> str:
    """Its full name."""
    folder = ".reproduce" if script in REPRODUCE else ""
    return f"tf_radogaga_trainers{folder}.{script}"


def summary(script: str) -> str:
    """First line of its docstring; the script is not imported, as that takes seconds."""
    tree = ast.parse(Path(importlib.util.find_spec(module(script)).origin).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def main(arguments: list[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="tf_radogaga",
        description="Trains, scores and measures.",
        epilog="tf_radogaga COMMAND --help lists its options.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for script in SCRIPTS:
        commands.add_parser(script.replace("_", "-"), help=summary(script))
    command = parser.parse_args(given[:1]).command
    script = command.replace("-", "_")
    try:
        found = importlib.import_module(module(script))
    except ModuleNotFoundError as error:
        extra = "beam" if script == "score_beam" else "trainers"
        sys.exit(f"{command} needs {error.name}: pip install 'tf_radogaga[{extra}]'")
    sys.argv = [f"tf_radogaga {command}", *given[1:]]
    found.main()
