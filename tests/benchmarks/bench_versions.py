"""Speed and memory of this package with each TensorFlow, beside the first one given.

    make matrix MEMBERS="--keep outputs/matrix"
    .venv/bin/python tests/benchmarks/bench_versions.py outputs/matrix/3.11-2.14 outputs/matrix/3.12-2.17

Each environment is a process of its own, which trains RaDOGAGA(log(d)) with the preset of KDDCup99 and scores all rows
from its SavedModel. They take turns, as in `bench.py`, whose task and table this is.
"""

from __future__ import annotations

from pathlib import Path

from bench import HERE, REFERENCE, arguments, run


def main() -> None:
    parser = arguments(__doc__, "versions.json")
    parser.add_argument("environments", nargs="+", type=Path, help="folders of make matrix; ratios are over the first")
    args = parser.parse_args()
    commands = {}
    for folder in args.environments:
        program = folder / "venv" / "bin" / "python"
        if not program.exists():
            parser.error(f"{program} is not there; make matrix MEMBERS='--keep {folder.parent}' builds it")
        python, _, tensorflow = folder.name.partition("-")
        commands[f"TensorFlow {tensorflow}, Python {python}"] = [program, HERE / "own_sides.py", REFERENCE]
    run(args, commands, next(iter(commands)))


if __name__ == "__main__":
    main()
