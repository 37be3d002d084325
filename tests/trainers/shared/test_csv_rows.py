"""What the scripts that score CSV files share, run on a file with every kind of bad row."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.served_models import csv_with_bad_rows

from tf_radogaga_trainers.shared import csv_rows

COLUMNS = {"dose": tf.float32, "kind": tf.string, "blood_pressure": tf.float32}
INPUTS = {name: tf.TensorSpec((None,), dtype, name) for name, dtype in COLUMNS.items()}
MATRIX = {"features": tf.TensorSpec((None, 3), tf.float32, "features")}


def test_every_row_has_its_line_and_every_bad_one_its_reason(tmp_path):
    bad = csv_with_bad_rows(tmp_path / "rows.csv")
    lines, reasons = [], {}
    for block in csv_rows.blocks(tmp_path / "rows.csv", INPUTS, size=7):
        lines += block["lines"]
        feed = csv_rows.feed(block, INPUTS)
        finite = np.isfinite(feed["dose"]) & np.isfinite(feed["blood_pressure"])
        for index, line in enumerate(block["lines"]):
            if index in block["broken"] or not finite[index]:
                reasons[line] = csv_rows.reason(block, index, INPUTS)
    assert reasons == bad and len(lines) == 50
    content = (tmp_path / "rows.csv").read_text().split("\n")
    assert not any(content[line - 1].startswith("lines") or not content[line - 1] for line in lines)


def test_blocks_are_the_rows_in_their_order(tmp_path):
    values = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    pd.DataFrame(values).to_csv(tmp_path / "rows.csv.gz", header=False, index=False)
    blocks = list(csv_rows.blocks(tmp_path / "rows.csv.gz", MATRIX, size=5))
    assert [len(block["rows"]) for block in blocks] == [5, 5]
    np.testing.assert_array_equal(np.concatenate([csv_rows.feed(b, MATRIX)["features"] for b in blocks]), values)


def test_broken_rows_are_blanked_though_the_model_scores_them():
    block = csv_rows.Block(path="f", lines=[1, 2, 3], rows=[["a"], ["b"], [""]], broken={2: "short"})
    energy = np.float32([1, np.finfo(np.float32).max, 1])  # as of rows that are not valid
    outputs = {"valid": np.array([True, False, True]), "energy": energy, "anomaly": np.array([True] * 3)}
    table = csv_rows.scores_table(block, outputs)
    assert table.columns.tolist() == ["anomaly", "energy", "valid"]
    assert table["valid"].tolist() == table["anomaly"].tolist() == [True, False, False]
    np.testing.assert_array_equal(table["energy"], [1, np.nan, np.nan])
    assert table.dtypes.tolist() == [bool, np.float32, bool]


def test_a_reason_of_a_matrix_counts_columns():
    block = csv_rows.Block(path="f", lines=[1, 2], rows=[["1", "2", ""], ["1", "2", "3"]], broken={})
    assert csv_rows.reason(block, 0, MATRIX) == "column 3: '' is not a finite float32 number"
    assert csv_rows.reason(block, 1, MATRIX) == "the model marks it as not valid"


def test_a_column_may_be_called_features(tmp_path):
    inputs = {"dose": INPUTS["dose"], "features": INPUTS["kind"]}
    (tmp_path / "rows.csv").write_text("features,dose\na,1\nb,oops\n")
    (block,) = csv_rows.blocks(tmp_path / "rows.csv", inputs, size=5)
    feed = csv_rows.feed(block, inputs)
    np.testing.assert_array_equal(feed["dose"], np.float32([1, np.nan]))
    assert feed["features"].tolist() == ["a", "b"]
    assert csv_rows.reason(block, 1, inputs) == "dose: 'oops' is not a finite float32 number"
    block["rows"][1] = ["1", " "]
    assert csv_rows.reason(block, 1, inputs) == "features: a blank cell"
    both = {name: tf.TensorSpec((None,), tf.string) for name in ("city", "kind")}
    assert csv_rows.reason({**block, "rows": [["", " "]]}, 0, both) == "city or kind: a blank cell"


@pytest.mark.parametrize("name", ["scores.csv", "scores.csv.gz"])
def test_scores_are_written_as_the_name_says(name, tmp_path):
    values = np.arange(21, dtype=np.float32).reshape(7, 3)
    pd.DataFrame(values).to_csv(tmp_path / "rows.csv", header=False, index=False)

    def score(feed):
        return {"energy": feed["features"][:, 0], "valid": np.ones(len(feed["features"]), bool)}

    csv_rows.score_file(tmp_path / "rows.csv", tmp_path / name, MATRIX, score, batch_size=3, header="auto")
    np.testing.assert_array_equal(pd.read_csv(tmp_path / name)["energy"], values[:, 0])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["rows.csv", name])


def places(tmp_path, first, inputs, below="9", **options):
    """Of the inputs in a file that begins with these cells."""
    path = tmp_path / "f.csv"
    path.write_text(",".join(first) + "\n" + ",".join([below] * len(first)) + "\n")
    (block,) = csv_rows.blocks(path, inputs, 5, **options)
    first = first if block["lines"][0] == 1 else None
    return block["rows"][0] if first else [int(cell) for cell in block["rows"][0]]


@pytest.mark.parametrize("label_position", [0, 2])
def test_columns_of_files_without_a_header_are_found(label_position, tmp_path):
    positions = [i for i in range(4) if i != label_position]
    inputs = {f"column_{i}": INPUTS["dose"] for i in positions}
    cells = ["0.5", "1.5", "2.5", "3.5"]
    assert places(tmp_path, cells, inputs) == [cells[i] for i in positions]
    assert places(tmp_path, cells[:3], inputs) == cells[:3]
    with pytest.raises(ValueError, match=r"--input: \S+f.csv has 2 columns, the model takes 3"):
        places(tmp_path, cells[:2], inputs)


def test_names_are_found_as_the_model_spells_them(tmp_path):
    inputs = dict.fromkeys(["a_b", "column_1", "x_1"], INPUTS["dose"])
    (tmp_path / "f.csv").write_text("1,x,a b,x\n0,1,2,3\n")
    (block,) = csv_rows.blocks(tmp_path / "f.csv", inputs, 5)
    assert block["rows"] == [["2", "0", "3"]]
    (tmp_path / "f.csv").write_text("1,x,a b\n0,1,2\n")
    with pytest.raises(ValueError, match=r"--input: \S+f.csv has no columns \['x_1'\] in its first line"):
        next(csv_rows.blocks(tmp_path / "f.csv", inputs, 5, "yes"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"1,2,3\n1,\xff,3\n", "line 2: .*CSV in UTF-8.*--encoding latin-1"),
        (b'1,2,3\n1,"2,3\n4,5,6\n', "EOF inside string that starts in the row of line 2"),
        ("1,2,3\n".encode("utf-16-le"), "line 1: a NUL byte.*--encoding utf-16-le"),
    ],
)
def test_what_is_no_csv_file_is_named(content, message, tmp_path):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"--input: \S+rows.csv.*{message}"):
        list(csv_rows.blocks(tmp_path / "rows.csv", MATRIX, size=5))


NAMED = {"columns": {"features": ["height", "weight", "Grösse"]}}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_the_columns_of_a_matrix_are_found_by_their_names(order, tmp_path):
    rows = pd.DataFrame([[170.0, 70, 1], [180, 80, 2]], columns=NAMED["columns"]["features"])
    rows.iloc[:, order].assign(note="x").to_csv(tmp_path / "rows.csv", index=False)
    (block,) = csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5, card=NAMED)
    np.testing.assert_array_equal(csv_rows.feed(block, MATRIX)["features"], rows)
    rows.to_csv(tmp_path / "rows.csv", index=False, header=False)
    (block,) = csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5, card=NAMED)
    np.testing.assert_array_equal(csv_rows.feed(block, MATRIX)["features"], rows)


def test_a_matrix_with_names_refuses_others_and_one_without_takes_any(tmp_path):
    (tmp_path / "rows.csv").write_text("height,mass,Grösse\n1,2,3\n")
    with pytest.raises(
        ValueError, match=r"has no columns \['weight'\] in its first line \['height', 'mass', 'Grösse'\]"
    ):
        next(csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5, card=NAMED))
    assert next(csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5))["rows"] == [["1", "2", "3"]]
    (tmp_path / "rows.csv").write_text("height,mass\n1,2\n")
    with pytest.raises(ValueError, match="has 2 columns, the model takes 3"):
        next(csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5))


def test_names_that_are_numbers_are_names(tmp_path):
    names = {"columns": {"features": ["0", "1", "2"]}}
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    pd.DataFrame(rows)[[2, 0, 1]].to_csv(tmp_path / "rows.csv", index=False)
    # 2,0,1 does not count the columns, but these are the model's names
    (block,) = csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 9, card=names)
    np.testing.assert_array_equal(csv_rows.feed(block, MATRIX)["features"], rows)


@pytest.mark.parametrize("columns", [{"features": ["a", "b"]}, {"a": "a", "b": "b"}])
def test_the_card_of_another_model_is_refused(columns, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(ValueError, match=r"card: its columns .*are not the inputs of the model, \['features'\]"):
        next(csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5, card={"columns": columns}))


PRICE = {"column___": tf.TensorSpec((None,), tf.float32), "column__": tf.TensorSpec((None,), tf.string)}
PRICE_CARD = {"columns": {"column___": "价格", "column__": "国"}}


def test_original_names_decide_where_inputs_are_spelled_alike(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("标签,价格,国\n0,10.5,a\n1,11.5,b\n", encoding="utf-8")
    (block,) = csv_rows.blocks(path, PRICE, 5, card=PRICE_CARD)
    assert block["rows"] == [["10.5", "a"], ["11.5", "b"]]
    with pytest.raises(ValueError, match=r"\['标签', '价格'\] all fit the model's 'column___'; rename"):
        next(csv_rows.blocks(path, PRICE, 5))
    path.write_text("标签,国\n0,a\n", encoding="utf-8")  # one fits by its spelling, and is another column
    with pytest.raises(ValueError, match=r"no columns \['column___'\] \(named \['价格'\]\)"):
        next(csv_rows.blocks(path, PRICE, 5, card=PRICE_CARD))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("temp °F,temp °C", "20"),
        (" temp °C ,temp °F", "68"),
        ("temp__C,temp °F", "68"),  # the input's name
        ("temp °C,temp__C", None),
        ("temp °C,temp °C", None),
    ],
)
def test_a_column_is_found_by_its_name_or_by_the_inputs(header, found, tmp_path):
    (tmp_path / "rows.csv").write_text(header + "\n68,20\n", encoding="utf-8")
    inputs = {"temp__C": tf.TensorSpec((None,), tf.float32)}
    read = csv_rows.blocks(tmp_path / "rows.csv", inputs, 5, card={"columns": {"temp__C": "temp °C"}})
    if found:
        assert next(read)["rows"] == [[found]]
    else:
        with pytest.raises(ValueError, match="all fit the model's 'temp__C'"):
            next(read)


def test_repeated_names_are_told_apart_where_the_model_has_them_all(tmp_path):
    (tmp_path / "rows.csv").write_text("y,x,x\n1,2,3\n")
    inputs = {name: tf.TensorSpec((None,), tf.float32) for name in ("x_1", "x")}
    for card in ({}, {"columns": {"x_1": "x.1", "x": "x"}}):
        assert next(csv_rows.blocks(tmp_path / "rows.csv", inputs, 5, card=card))["rows"] == [["3", "2"]]
    with pytest.raises(ValueError, match=r"\['x', 'x'\] all fit the model's 'x'"):
        next(csv_rows.blocks(tmp_path / "rows.csv", {"x": inputs["x"]}, 5))


def test_a_file_without_a_header_is_not_taken_for_one_with_the_models_names(tmp_path):
    inputs = {f"column_{i}": tf.TensorSpec((None,), tf.float32) for i in range(2)}
    (tmp_path / "rows.csv").write_text("1,0\n0,1\n0,1\n")
    for header in ("auto", "no"):
        (block,) = csv_rows.blocks(tmp_path / "rows.csv", inputs, 5, header)
        assert block["rows"] == [["1", "0"], ["0", "1"], ["0", "1"]] and block["lines"] == [1, 2, 3]
    (tmp_path / "rows.csv").write_text("column_1,column_0\n1,0\n")
    for reader in (None, {"header": False}):
        (block,) = csv_rows.blocks(tmp_path / "rows.csv", inputs, 5, card={"reader": reader})
        assert block["rows"] == [["0", "1"]] and block["lines"] == [2]


def test_a_matrix_of_float64_is_fed_as_such(tmp_path):
    (tmp_path / "rows.csv").write_text("1700000000.25,1\n")
    inputs = {"features": tf.TensorSpec((None, 2), tf.float64, "features")}
    feed = csv_rows.feed(next(csv_rows.blocks(tmp_path / "rows.csv", inputs, 5)), inputs)
    assert feed["features"].tolist() == [[1700000000.25, 1]] and feed["features"].dtype == np.float64


@pytest.mark.parametrize(
    "bad", ['"0,5",2,3', "1,2,3,4", "1,2", "1,\x002,3", "1 000,2,3", ",2,3", "12%,2,3", "1e99,2,3"]
)
def test_a_bad_row_leaves_its_neighbours_alone(bad, tmp_path):
    (tmp_path / "rows.csv").write_text(f"1,2,3\n{bad}\n4.5,5,6\n")
    (block,) = csv_rows.blocks(tmp_path / "rows.csv", MATRIX, 5)
    values = csv_rows.feed(block, MATRIX)["features"]
    np.testing.assert_array_equal(values[[0, 2]], [[1, 2, 3], [4.5, 5, 6]])
    assert 1 in block["broken"] or not np.isfinite(values[1]).all()
    assert len(block["lines"]) == 3 and csv_rows.reason(block, 1, MATRIX)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "rows.csv").write_text("dose,kind,blood pressure\n1,a,2\n", encoding="utf-8-sig")
    (block,) = csv_rows.blocks(tmp_path / "rows.csv", INPUTS, size=5)
    assert block["rows"] == [["1", "a", "2"]] and block["lines"] == [2]
