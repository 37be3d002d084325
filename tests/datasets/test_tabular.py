import gzip
import hashlib

import numpy as np
import pytest

from tf_radogaga.datasets import tabular
from tf_radogaga.datasets.tabular import Table, protocol_metrics, read_table, stratified_halves


@pytest.mark.parametrize(
    ("name", "shape", "anomalies", "test_rows", "test_anomalies"),
    [("thyroid", (3772, 6), 93, 1886, 46), ("arrhythmia", (452, 274), 66, 226, 33)],
)
def test_shipped_sets_have_the_papers_sizes(name, shape, anomalies, test_rows, test_anomalies):
    table = tabular.load_table(name)
    assert table.rows.shape == shape and table.labels.sum() == anomalies
    for seed in range(3):
        split = stratified_halves(table, seed)
        assert len(split.test) == test_rows and split.test_labels.sum() == test_anomalies


@pytest.mark.slow
def test_kdd_has_the_papers_sizes(shared_data):
    table = tabular.load_table("kddcup99", shared_data)
    assert len(table.rows) == 494021 and (table.labels == 1).sum() == 97278
    encoding = table.preprocessing()
    assert encoding.width == 121 and len(encoding.numeric) == 34
    x = encoding(encoding.check(table.rows[:5000])).numpy()
    assert x.shape == (5000, 121) and x.min() >= 0 and x.max() <= 1
    reverse = tabular.load_table("kddcup-rev", shared_data, seed=1)
    assert len(reverse.rows) == 121597 and reverse.labels.mean() == pytest.approx(0.2, abs=1e-4)
    assert (reverse.labels == 0).sum() == 97278


def test_kdd_is_downloaded_once_and_checked(tmp_path, monkeypatch):
    row = ["0", "tcp", "http", "SF", *["0"] * 37]
    content = gzip.compress("\n".join(",".join([*row, label]) for label in ("normal.", "smurf.", "smurf.")).encode())
    (tmp_path / "source.gz").write_bytes(content)
    monkeypatch.setattr(tabular, "KDD_URL", (tmp_path / "source.gz").as_uri())
    monkeypatch.setattr(tabular, "KDD_SHA256", hashlib.sha256(content).hexdigest())
    table = tabular.load_table("kddcup99", tmp_path / "cache")
    assert table.labels.tolist() == [1, 0, 0]
    (tmp_path / "source.gz").unlink()
    assert len(tabular.load_table("kddcup99", tmp_path / "cache").rows) == 3
    (tmp_path / "cache" / tabular.KDD_FILE).write_bytes(b"tampered")
    with pytest.raises(ValueError, match="sha256"):
        tabular.load_table("kddcup99", tmp_path / "cache")
    with pytest.raises(OSError, match="put the file there"):
        tabular.load_table("kddcup99", tmp_path / "elsewhere")


def test_halves_share_no_row_and_train_on_normal_rows():
    labels = np.repeat([0, 1], [81, 20])
    rows = np.arange(101.0)[:, None]
    split = stratified_halves(Table("t", rows, labels, 0.2), seed=3)
    train, test = split.train.ravel().astype(int), split.test.ravel().astype(int)
    assert not set(train) & set(test) and (labels[train] == 0).all()
    assert (len(train), len(test), split.test_labels.sum()) == (40, 51, 10)
    np.testing.assert_array_equal(split.test_labels, labels[test])
    again = stratified_halves(Table("t", rows, labels, 0.2), seed=3)
    np.testing.assert_array_equal(again.train, split.train)
    assert not np.array_equal(stratified_halves(Table("t", rows, labels, 0.2), seed=4).train, split.train)


def test_halves_without_labels_and_with_one_class():
    rows = np.arange(11.0)[:, None]
    split = stratified_halves(Table("t", rows, None, 0.1), seed=0)
    assert sorted(np.concatenate([split.train, split.test]).ravel()) == list(range(11)) and split.test_labels is None
    for anomalies in (0, 1, 10, 11):
        with pytest.raises(ValueError, match=f"{11 - anomalies} normal rows and {anomalies} anomalies"):
            stratified_halves(Table("t", rows, np.repeat([1, 0], [anomalies, 11 - anomalies]), 0.1), seed=0)
    with pytest.raises(ValueError, match="3 rows cannot be split"):
        stratified_halves(Table("t", rows[:3], None, 0.1), seed=0)


def test_protocol_metrics_are_the_papers_rule():
    labels = np.array([0] * 8 + [1] * 2)
    energies = np.array([0.0, 1, 2, 3, 4, 5, 6, 9, 7, 8])  # the two highest: one normal row, one anomaly
    metrics = protocol_metrics(labels, energies, 0.2)
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.5, 0.5, 0.5)
    assert metrics["auroc"] == 14 / 16
    with pytest.raises(ValueError, match="not finite"):
        protocol_metrics(labels, np.where(energies > 8, np.nan, energies), 0.2)
    with pytest.raises(ValueError, match="one class"):
        protocol_metrics(np.zeros(10), energies, 0.2)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("header", [True, False])
def test_own_csv(header, suffix, frame, tmp_path):
    path = tmp_path / f"own{suffix}"
    frame.assign(fraud=np.arange(300) % 10 == 0).to_csv(path, index=False, header=header)
    label = "fraud" if header else "column_4"
    table = read_table(path, label_column=label, normal_label="False", categorical=("code" if header else "column_2",))
    assert table.labels.sum() == 30 and table.anomaly_share == 0.1
    assert list(table.rows.columns) == (list(frame.columns) if header else [f"column_{i}" for i in range(4)])
    assert table.preprocessing().width == 2 + 3 + 3
    unlabelled = read_table(path)
    assert unlabelled.labels is None and unlabelled.anomaly_share == 0.01


def test_own_numpy_files(rows, tmp_path):
    np.save(tmp_path / "own.npy", rows)
    np.testing.assert_array_equal(read_table(tmp_path / "own.npy").rows, rows)
    labels = np.arange(300) % 3 == 0
    np.savez(tmp_path / "own.npz", X=rows, y=labels)
    np.testing.assert_array_equal(read_table(tmp_path / "own.npz").labels, labels)


def test_words_that_look_missing_are_levels(tmp_path):
    (tmp_path / "own.csv").write_text("country,value\nNA,1\nDE,2\nnull,3\n")
    assert read_table(tmp_path / "own.csv").rows["country"].tolist() == ["NA", "DE", "null"]


def test_text_is_kept_to_the_letter_and_strays_are_named(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("flag,code,value\ntrue,01,1\nFALSE,02,2.5\ntrue,01,x\n")
    with pytest.raises(ValueError, match="column 'value', row 2: 'x' is no number"):
        read_table(path, categorical=("code",))
    path.write_text("flag,code,value\ntrue,01,1\nFALSE,02,2.5\ntrue,01,3\n")
    rows = read_table(path, categorical=("code",)).rows
    assert rows["flag"].tolist() == ["true", "FALSE", "true"] and rows["code"].tolist() == ["01", "02", "01"]
    assert rows["value"].tolist() == [1, 2.5, 3]


def test_labels_that_are_missing_or_mistyped_are_named(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("value,state\n1,0\n2,\n3,1\n")
    with pytest.raises(ValueError, match="'state' is empty in row 1"):
        read_table(path, label_column="state", normal_label="0")
    path.write_text("value,state\n1,ok\n2,bad\n3,ok\n")
    assert read_table(path, label_column="state", normal_label="ok").labels.tolist() == [0, 1, 0]
    path.write_text("value,state\n1,ok \n2,bad\n3, ok\n")
    assert read_table(path, label_column="state", normal_label="ok").labels.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="normal_label: 'okay' never occurs"):
        read_table(path, label_column="state", normal_label="okay")


def test_numpy_files_of_another_shape_are_named(rows, tmp_path):
    np.save(tmp_path / "own.npy", rows[:, 0])
    with pytest.raises(ValueError, match=r"shape \(300,\)"):
        read_table(tmp_path / "own.npy")
    np.savez(tmp_path / "own.npz", Y=rows)
    with pytest.raises(ValueError, match="no array 'X'"):
        read_table(tmp_path / "own.npz")
    np.savez(tmp_path / "own.npz", X=rows, y=np.zeros(8))
    with pytest.raises(ValueError, match="8 labels 'y' for 300 rows"):
        read_table(tmp_path / "own.npz")


def test_bad_files_are_named(frame, tmp_path):
    path = tmp_path / "own.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(ValueError, match="label_column: 'fraud' is not one of the columns"):
        read_table(path, label_column="fraud")
    with pytest.raises(ValueError, match=r"row \d+ is neither 0 nor 1"):
        read_table(path, label_column="dose")
    with pytest.raises(ValueError, match="header: 'maybe'"):
        read_table(path, header="maybe")
    for content in ("", "a,b\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match="empty"):
            read_table(path)
    with pytest.raises(FileNotFoundError, match="'nothing' is neither one of"):
        tabular.load_table("nothing")
