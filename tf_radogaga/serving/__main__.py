"""python -m tf_radogaga.serving check DIR"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tf_radogaga.serving.check import check_export


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tf_radogaga.serving", description="Looks after exported models.")
    command = parser.add_subparsers(required=True).add_parser(
        "check", help="verify an export: signatures, ops, card, warm-up requests, scores"
    )
    command.add_argument("dir", type=Path, help="a version of a model, or a folder of versions, each of them checked")
    directory = parser.parse_args(arguments).dir
    versions = [directory]
    if not (directory / "saved_model.pb").exists():
        found = directory.iterdir() if directory.is_dir() else ()
        versions = sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))
    if not versions:
        sys.exit(f"DIR: {directory} is no version of a model and holds none.")
    for version in versions:
        try:
            print(check_export(version))
        except (ValueError, ImportError) as error:
            sys.exit(f"refused: {error}")
        print("  good")


if __name__ == "__main__":
    main()
