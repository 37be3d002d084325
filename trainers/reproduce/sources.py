"""The tables of a table: the papers' two small sets, and every .npz of a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from tf_radogaga.datasets import tabular

SMALL = ("thyroid", "arrhythmia")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--datasets", nargs="*", choices=SMALL, default=list(SMALL), help="of the papers (default: both)")
    add("--data-dir", type=Path, help="folder of NAME.npz files with X and y, which are measured too")


def npz_files(data_dir: Path) -> list[Path]:
    """The .npz files of a folder.

    Raises:
        SystemExit: there are none.
    """
    paths = sorted(data_dir.glob("*.npz"))
    if not paths:
        raise SystemExit(f"--data-dir: {data_dir} holds no .npz file")
    return paths


def sources(args: argparse.Namespace) -> list[str]:
    """Names and paths, as `load` takes them.

    Raises:
        SystemExit: there are none.
    """
    found = [*args.datasets, *(map(str, npz_files(args.data_dir)) if args.data_dir else ())]
    if not found:
        raise SystemExit("--datasets: none, and no --data-dir; name one of the two")
    if len({Path(source).stem for source in found}) < len(found):
        raise SystemExit(f"--data-dir: {args.data_dir} holds a table named as one of --datasets; leave one out")
    return found


@lru_cache(maxsize=1)
def load(source: str) -> tabular.Table:
    return tabular.load_table(source)


def scaled(table: tabular.Table, *parts: np.ndarray) -> Sequence[Any]:
    """Rows as the detectors beside ours see them in all tables: the papers' sets min-max scaled as a whole, others
    standardised by the first of the parts."""
    if table.name in SMALL:
        preprocess = table.preprocessing()
        return [preprocess(preprocess.check(part)).numpy() for part in parts]
    return [*map(StandardScaler().fit(parts[0]).transform, parts)]
