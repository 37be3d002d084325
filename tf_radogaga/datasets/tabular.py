"""Tables: the papers' four data sets with their protocol, and the user's own CSV and NumPy files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
import pandas as pd
import scipy.io
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from tf_radogaga._core.frames import listed
from tf_radogaga.datasets.csv_files import Options, read_csv
from tf_radogaga.datasets.csv_files.lines import damage
from tf_radogaga.datasets.csv_files.numbers import to_numeric
from tf_radogaga.datasets.idx import fetched
from tf_radogaga.preprocessing import MinMaxScaling, Preprocessing, TableEncoding

Rows = Union[np.ndarray, pd.DataFrame]

ANOMALY_SHARE = {"thyroid": 0.025, "arrhythmia": 0.15, "kddcup99": 0.20, "kddcup-rev": 0.20}
"""Share of test rows flagged, as the papers round it (Kato et al., ICML 2020, section 5.3)."""

KDD_FILE = "kddcup99_10pct.csv.gz"
KDD_URL = "https://ndownloader.figshare.com/files/5976042"
KDD_SHA256 = "8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561"
KDD_CATEGORICAL = ("protocol_type", "service", "flag", "land", "logged_in", "is_host_login", "is_guest_login")
KDD_COLUMNS = tuple(
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins"
    " logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells num_access_files"
    " num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate"
    " srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count"
    " dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate"
    " dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate".split()
)


class Table(NamedTuple):
    """Rows with optional labels.

    `rows`: (n, M) float array, or a DataFrame of named columns. `labels`: (n,) int, 1 = anomaly, or None.
    `anomaly_share`: share of test rows to flag. `categorical`: columns that are categorical though they hold numbers.
    `reader`: how the CSV file was read (`csv_files.Reader`), which the preprocessing keeps; None of other rows.
    """

    name: str
    rows: Rows
    labels: np.ndarray | None
    anomaly_share: float
    categorical: tuple[str, ...] = ()
    reader: dict[str, Any] | None = None

    def preprocessing(self) -> Preprocessing:
        """Min-max scaling and one-hot encoding, adapted on all rows of the table, as the papers do."""
        if isinstance(self.rows, pd.DataFrame):
            encoding = TableEncoding.for_table(self.rows, self.categorical)
            encoding.reader = self.reader
            return encoding
        scaling = MinMaxScaling(self.rows.shape[1])
        scaling.adapt(self.rows)
        return scaling


class Split(NamedTuple):
    """Half of a table to train on, of which the normal rows are used, and the other half to test on."""

    train: Rows
    test: Rows
    test_labels: np.ndarray | None


def load_table(name: str, data_dir: str | Path | None = None, seed: int = 0, **csv_options: Any) -> Table:
    """One of the papers' sets by name, or a table from a file by path.

    Args:
        name: a key of `ANOMALY_SHARE`, or a path for `read_table`.
        data_dir: folder of the KDD file, which is downloaded there when absent.
        seed: draws the attacks of kddcup-rev.
        **csv_options: of `read_table`.

    Raises:
        FileNotFoundError: neither a known name nor a file.
        OSError: the KDD file is absent and cannot be downloaded.
        ValueError: a KDD file with the wrong sha256.
    """
    if name in ("thyroid", "arrhythmia"):
        path = Path(__file__).parent / "data" / f"{name}.mat"
        with _damage_named(path):
            data = scipy.io.loadmat(path)
        return Table(name, data["X"].astype(np.float64), data["y"].ravel().astype(int), ANOMALY_SHARE[name])
    if name in ("kddcup99", "kddcup-rev"):
        return _load_kdd(name, data_dir, seed)
    if not Path(name).is_file():
        raise FileNotFoundError(f"dataset: {name!r} is neither one of {list(ANOMALY_SHARE)} nor a file.")
    return read_table(name, **csv_options)


def _load_kdd(name: str, data_dir: str | Path | None, seed: int) -> Table:
    path = Path(data_dir or Path.home() / ".cache" / "tf_radogaga") / KDD_FILE
    if not path.exists():
        fetched(path, KDD_URL, KDD_SHA256)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != KDD_SHA256:
        raise ValueError(f"{path}: sha256 {digest}, expected {KDD_SHA256}; delete the file and let it download anew.")
    frame = pd.read_csv(
        path, header=None, names=[*KDD_COLUMNS, "label"], index_col=False, dtype=dict.fromkeys(KDD_CATEGORICAL, str)
    )
    attack = (frame.pop("label") != "normal.").to_numpy()
    if name == "kddcup99":  # the attacks are the majority and count as normal
        return Table(name, frame, (~attack).astype(int), ANOMALY_SHARE[name], KDD_CATEGORICAL)
    normal = np.flatnonzero(~attack)
    kept = np.random.default_rng(seed).choice(np.flatnonzero(attack), len(normal) // 4, replace=False)
    index = np.sort(np.concatenate([normal, kept]))
    return Table(name, frame.iloc[index], attack[index].astype(int), ANOMALY_SHARE[name], KDD_CATEGORICAL)


def read_table(
    path: str | Path,
    label_column: str | None = None,
    normal_label: str | None = None,
    header: str = "auto",
    categorical: tuple[str, ...] = (),
    anomaly_share: float | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
) -> Table:
    """A table from a CSV file (also .gz, .bz2, .xz, .zip), .npy (a matrix) or .npz (`X`, and `y` or not, 1 = anomaly).

    How a CSV file is read is decided by its first lines, kept in the table's `reader`, and refused where it is not
    certain: the separator (comma, semicolon, tab or pipe), the marks of decimals and thousands, percentages (12% is
    0.12), the encoding by a byte order mark, else UTF-8.

    Args:
        path: the file.
        label_column: CSV column that marks anomalies; not a feature. Without it, all rows count as normal.
        normal_label: its value for normal rows; without it, 0 is normal and 1 an anomaly.
        header: "yes", "no" or "auto": the first line is a header when its cells differ in kind from those below, or
            number the columns from 0.
        categorical: columns to treat as categorical although they hold numbers.
        anomaly_share: share of test rows to flag; default: the labels' own share, or 0.01 without labels.
        separator: of cells, one character.
        decimal: mark, "." or ",".
        thousands: mark between groups of digits.
        encoding: of the text.

    Raises:
        ValueError: a damaged file, an empty table, an unknown label column or label value; a row of more or fewer
            cells than the first line, a stray text in a numeric column, or a column of numbers or dates that cannot be
            read as numbers, naming column and row.
    """
    path, categorical = Path(path), listed(categorical)
    labels = reader = None
    if path.suffix == ".npy":
        with _damage_named(path):
            rows = np.load(path, allow_pickle=False)
    elif path.suffix == ".npz":
        with _damage_named(path), np.load(path, allow_pickle=False) as archive:
            data = dict(archive)
        if "X" not in data:
            raise ValueError(f"{path}: holds {list(data)} but no array 'X' of rows.")
        rows, labels = data["X"], _as_labels(data["y"].ravel()) if "y" in data else None
    else:
        text = (*categorical, *([label_column] if label_column else []))
        blocks, readers = zip(*read_csv(path, Options(header, separator, decimal, thousands, encoding), text))
        rows, labels = split_labels(pd.concat(blocks), label_column, normal_label)
        reader = readers[0]
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"{path}: shape {rows.shape}, so the table is empty or no table of rows and columns.")
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"{path}: {len(labels)} labels 'y' for {len(rows)} rows 'X'.")
    if normal_label is not None and labels is not None and labels.all():
        raise ValueError(f"normal_label: {normal_label!r} never occurs in column {label_column!r}.")
    return Table(str(path), rows, labels, anomaly_share or share_of(labels), categorical, reader)


@contextlib.contextmanager
def _damage_named(path: str | Path) -> Iterator[None]:
    """Names the file, whatever its reader makes of damage."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise damage(path, error) from error


def share_of(labels: np.ndarray | None) -> float:
    """The share of anomalies (1) among labels, or 0.01 where there are none."""
    return float(labels.mean()) if labels is not None and 0 < labels.mean() < 1 else 0.01


def split_labels(
    rows: pd.DataFrame, label_column: str | None, normal_label: str | None, first_row: int = 0
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Features and labels (1 = anomaly) of CSV rows; see `read_table`."""
    if label_column is None:
        return rows, None
    if label_column not in rows.columns:
        alike = [name for name in rows.columns if name.strip().casefold() == label_column.strip().casefold()]
        meant = f" Do you mean {alike[0]!r}?" if alike else ""
        raise ValueError(f"label_column: {label_column!r} is not one of the columns {list(rows.columns)}.{meant}")
    labels = rows[label_column]
    if labels.isna().any():
        row = first_row + int(np.flatnonzero(labels.isna())[0])
        raise ValueError(f"label_column: {label_column!r} is empty in row {row}; label the row or drop it.")
    if normal_label is not None:  # spaces around a cell tell nothing
        labels = labels.astype(str).str.strip() != normal_label.strip()
    return rows.drop(columns=label_column), _as_labels(labels, first_row)


def _as_labels(values: np.ndarray | pd.Series, first_row: int = 0) -> np.ndarray:
    labels = to_numeric(pd.Series(values)).to_numpy()
    bad = np.flatnonzero(~np.isin(labels, (0, 1)))
    if bad.size:
        raise ValueError(
            f"labels: row {first_row + bad[0]} is neither 0 nor 1; name the value of normal rows by normal_label."
        )
    return labels.astype(int)


def stratified_halves(table: Table, seed: int) -> Split:
    """Splits a table in halves at random, each class in halves too, and keeps the normal rows of the first to train on.

    Without labels the split is plain. An odd class leaves its extra anomaly to training and its extra normal row to
    the test half, which gives the papers' counts (Thyroid: 1886 test rows, 46 anomalies).

    Raises:
        ValueError: labels with fewer than two rows of a class, or fewer than 4 rows.
    """
    if len(table.rows) < 4:
        raise ValueError(f"{table.name}: {len(table.rows)} rows cannot be split in halves; give at least 4.")
    rng = np.random.default_rng(seed)
    if table.labels is None:
        order = rng.permutation(len(table.rows))
        half = len(order) // 2
        train, test = np.sort(order[:half]), np.sort(order[half:])
        return Split(table.rows.take(train, axis=0), table.rows.take(test, axis=0), None)
    normal, anomalies = (rng.permutation(np.flatnonzero(table.labels == label)) for label in (0, 1))
    if len(normal) < 2 or len(anomalies) < 2:
        raise ValueError(
            f"{table.name}: {len(normal)} normal rows and {len(anomalies)} anomalies; both halves need one of each to"
            " train and measure. Leave the labels out to train without them."
        )
    train = np.sort(normal[: len(normal) // 2])
    test = np.sort(np.concatenate([normal[len(normal) // 2 :], anomalies[: len(anomalies) // 2]]))
    return Split(table.rows.take(train, axis=0), table.rows.take(test, axis=0), table.labels[test])


def protocol_metrics(labels: np.ndarray, energies: np.ndarray, anomaly_share: float) -> dict[str, float]:
    """The papers' rule: rows above the (1 - anomaly_share) quantile of the test energies are flagged.

    Returns:
        precision, recall, f1 at that threshold; auroc and average_precision over all thresholds.

    Raises:
        ValueError: non-finite energies, or labels of one class only.
    """
    if not np.isfinite(energies).all():
        raise ValueError(f"energies: {int((~np.isfinite(energies)).sum())} of {len(energies)} are not finite.")
    if len(np.unique(labels)) != 2:
        raise ValueError("labels: one class only; AUROC and F1 need normal rows and anomalies.")
    flagged = energies > np.percentile(energies, 100 * (1 - anomaly_share))
    precision, recall, f1, _ = precision_recall_fscore_support(labels, flagged, average="binary", zero_division=0)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "auroc": float(roc_auc_score(labels, energies)),
        "average_precision": float(average_precision_score(labels, energies)),
    }
