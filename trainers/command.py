"""The scripts as commands of the installed package.

    tf_radogaga train-tabular --dataset thyroid --out outputs/thyroid

is `python trainers/train_tabular.py --dataset thyroid --out outputs/thyroid`, and so is `python -m tf_radogaga ...`.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from pathlib import Path

TRAIN = ("train_tabular", "train_images", "train_toy")
SCORE = ("score", "score_images", "score_beam", "query")
SCRIPTS = ("demo", *TRAIN, *SCORE, "tables", "keel")
HERE = Path(__file__).resolve().parent


def summary(script: str) -> str:
    """First line of its docstring; the script is not imported, as that takes seconds."""
    tree = ast.parse((HERE / f"{script}.py").read_text(encoding="utf-8"))
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
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))  # scripts import one another by name
    try:
        module = importlib.import_module(script)
    except ModuleNotFoundError as error:
        extra = "beam" if script == "score_beam" else "trainers"
        sys.exit(f"{command} needs {error.name}: pip install 'tf_radogaga[{extra}]'")
    sys.argv = [f"tf_radogaga {command}", *given[1:]]
    module.main()
