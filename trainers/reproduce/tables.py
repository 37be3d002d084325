"""The papers' tables, measured again.

    python trainers/reproduce/tables.py tabular --datasets thyroid arrhythmia --seeds 20 --jobs 2
    python trainers/reproduce/tables.py more --data-dir DIR --jobs 2
    python trainers/reproduce/tables.py ablation --data-dir DIR
    python trainers/reproduce/tables.py contamination --data-dir DIR
    python trainers/reproduce/tables.py toy --seeds 5
    python trainers/reproduce/tables.py vae-toy --quick --jobs 2
    python trainers/reproduce/tables.py faces --data-dir img_align_celeba
    python trainers/reproduce/tables.py outliers --jobs 2
    python trainers/reproduce/tables.py one-class --jobs 2
    python trainers/reproduce/tables.py laws --jobs 2
    python trainers/reproduce/tables.py curved --quick --jobs 2

Every method meets the same splits. FILE.md holds mean (sd) over the seeds beside the papers' figures; FILE.json one
record for each run; contamination, vae-toy and curved also draw figures beside them. Records already in FILE.json are
kept, so an interrupted table goes on and a longer one adds to it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import date
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tf_radogaga_trainers.reproduce import (
    table_ablation,
    table_contamination,
    table_curved,
    table_faces,
    table_laws,
    table_more,
    table_one_class,
    table_outliers,
    table_tabular,
    table_toy,
    table_vae_toy,
)
from tf_radogaga_trainers.reproduce.records import measure

TABLES = {
    "tabular": table_tabular,
    "more": table_more,
    "ablation": table_ablation,
    "contamination": table_contamination,
    "toy": table_toy,
    "vae-toy": table_vae_toy,
    "faces": table_faces,
    "outliers": table_outliers,
    "one-class": table_one_class,
    "laws": table_laws,
    "curved": table_curved,
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    summary, _, description = __doc__.partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=description, formatter_class=formatter)
    tables = parser.add_subparsers(dest="table", required=True, metavar="TABLE")
    for name, module in TABLES.items():
        table = tables.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(table)
        table.add_argument("--out", type=Path, help=f"FILE.md, and FILE.json beside it (default: outputs/{name}.md)")
        table.add_argument("--jobs", type=int, default=1, help="runs at the same time (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse_arguments(arguments)
    table = TABLES[args.table]
    args.out = (args.out or Path("outputs") / args.table).with_suffix(".md")
    records = measure(table, table.jobs(args), args.out.with_suffix(".json"), args.jobs)
    command = f"python trainers/reproduce/tables.py {' '.join(arguments or sys.argv[1:])}"
    versions = f"tensorflow {tf.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    text = table.markdown(args, records, f"`{command}`; {versions}; {date.today()}.")
    args.out.write_text(text)
    if hasattr(table, "figures"):
        for name, figure in table.figures(args, records).items():
            figure.savefig(args.out.with_name(name), dpi=100)
    print(text)


if __name__ == "__main__":
    main()
