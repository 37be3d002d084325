"""How CSV files are read: what each file must give, in training as in scoring."""

import bz2
import csv
import gzip
import io
import lzma
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.csv_files import written

from tf_radogaga import TableEncoding
from tf_radogaga.datasets import csv_files
from tf_radogaga.datasets.streaming import StreamedTable
from tf_radogaga.datasets.tabular import read_table
from tf_radogaga_trainers.shared import csv_rows

NUMBERS = {
    "semicolons": ("a;b\n1.5;2\n-3;4\n", {}, [[1.5, 2], [-3, 4]]),
    "tabs": ("a\tb\n1\t2\n3\t4\n", {}, [[1, 2], [3, 4]]),
    "pipes": ("a|b\n1|2\n3|4\n", {}, [[1, 2], [3, 4]]),
    "spaces, as given": ("a b\n1  2\n3 4\n", {"separator": " "}, [[1, 2], [3, 4]]),
    "spaces behind commas": ('a, b\n1, "2"\n3, 4\n', {}, [[1, 2], [3, 4]]),
    "long exponents": ("a,b\n1e1520214917428,2\n-1e99999,1e-99999\n", {}, [[np.inf, 2], [-np.inf, 0]]),
    "one column": ("a\n1.5\n2\n", {}, [[1.5], [2]]),
    "one row": ("a,b\n1,2\n", {}, [[1, 2]]),
    "decimal commas": ("a;b\n1,5;2\n0,125;4\n", {}, [[1.5, 2], [0.125, 4]]),
    "decimal commas in quotes": ('a,b\n"1,5",2\n"0,125",4\n', {}, [[1.5, 2], [0.125, 4]]),
    "decimal commas after integers": ("a;b\n" + 50 * "1;2\n" + "1,5;2\n", {}, 50 * [[1, 2]] + [[1.5, 2]]),
    "one column of decimal commas": ("a\n1,5\n2,5\n", {"separator": ";"}, [[1.5], [2.5]]),
    "decimal points beside semicolons": ("a;b\n1.234;2\n0.5;4\n", {}, [[1.234, 2], [0.5, 4]]),
    "three decimals, as given": ("a;b\n1,234;2\n", {"decimal": ","}, [[1.234, 2]]),
    "thousands": ('a,b\n"1,234",0.5\n"12,345,678",1\n', {}, [[1234, 0.5], [12345678, 1]]),
    "thousands, as given": ('a,b\n"1,234",5\n12,1\n', {"thousands": ","}, [[1234, 5], [12, 1]]),
    "thousands points": ("a;b\n1.234,5;2\n2.000;4\n", {}, [[1234.5, 2], [2000, 4]]),
    "thousands apostrophes": ("a,b\n1'234.5,2\n2'000,4\n", {}, [[1234.5, 2], [2000, 4]]),
    "thousands spaces that do not break": ("a;b\n1\u00a0234,5;2\n7;4\n", {}, [[1234.5, 2], [7, 4]]),
    "percentages": ("a,b\n12%,2\n-0.5 %,4\n", {}, [[0.12, 2], [-0.005, 4]]),
    "exponents": ("a;b\n1,5e3;2\n2E-3;4\n", {}, [[1500, 2], [0.002, 4]]),
    "three decimal points": ("a,b\n1.234,2\n5.678,4\n", {}, [[1.234, 2], [5.678, 4]]),
    "returns": ("a,b\r1,2\r3,4\r", {}, [[1, 2], [3, 4]]),
    "blank lines": ("a,b\r\n\r\n1,2\r\n   \r\n3,4\r\n\r\n", {}, [[1, 2], [3, 4]]),
    "byte order mark": ("\ufeffa,b\n1,2\n", {}, [[1, 2]]),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), {}, [[1, 2]]),
    "UTF-16 without mark": ("a,b\n1,2\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, [[1, 2]]),
    "separators at all ends": ("a,b,\n1,2,\n3,4,\n", {}, [[1, 2], [3, 4]]),
    "large integers": ("a,b\n9007199254740993,2\n3,4\n", {}, [[9007199254740993, 2], [3, 4]]),
    "digits behind zeros": ("a,b\n0.0064169569026443045,2\n", {}, [[0.0064169569026443045, 2]]),
    "beyond int64": ("a,b\n12345678901234567890,2\n-5,4\n", {}, [[12345678901234567890.0, 2], [-5, 4]]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_are_read_alike_in_training_streaming_and_scoring(case, tmp_path):
    content, options, expected = NUMBERS[case]
    path = written(tmp_path, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read_table(path, **options)
    assert list(table.rows) == list("ab")[: len(expected[0])]
    np.testing.assert_array_equal(table.rows, expected)
    streamed = StreamedTable(path, block_rows=1, **options)
    np.testing.assert_array_equal(pd.concat(rows for rows, _ in streamed.blocks()), expected)
    inputs = {name: tf.TensorSpec((None,), tf.float64) for name in table.rows}
    for card in ({"reader": table.reader, "columns": {name: name for name in inputs}}, {"reader": table.reader}):
        feed = csv_rows.feed(next(csv_rows.blocks(path, inputs, 99, card=card)), inputs)
        np.testing.assert_array_equal(np.stack([*feed.values()], axis=1), np.float64(expected))


def test_the_reader_is_json_told_and_what_training_kept_comes_first(tmp_path):
    reader = read_table(written(tmp_path, "a;p\n1,5;3%\n2;4%\n")).reader
    assert (reader["separator"], reader["decimal"], reader["header"], reader["percent"]) == (";", ",", True, ["p"])
    told = str(csv_files.Reader.of(reader))
    assert "separator ';', decimal ',', no thousands mark, header: yes (names over numbers), encoding utf-8" in told
    # by itself this file has the separator ",", and numbers of a point
    path = written(tmp_path, "p;a\n3%;7\n4%;1,234\n5%;0.5\n")
    inputs = {name: tf.TensorSpec((None,), tf.float32) for name in "ap"}
    block = next(csv_rows.blocks(path, inputs, 9, card={"reader": reader, "columns": {"a": "a", "p": "p"}}))
    feed = csv_rows.feed(block, inputs)
    np.testing.assert_array_equal(feed["a"], np.float32([7, 1.234, np.nan]))
    np.testing.assert_allclose(feed["p"], [0.03, 0.04, 0.05])
    assert csv_rows.reason(block, 2, inputs) == "a: '0.5' is not a finite float32 number with the decimal mark ','"
    path = written(tmp_path, "a;p\n0.5;3%\n1.5;4%\n0.75;5%\n")
    with pytest.raises(ValueError, match=r"such as '0\.5' have not the decimal mark ',' of the file.*give --decimal"):
        next(csv_rows.blocks(path, inputs, 9, card={"reader": reader}))
    options = csv_rows.Options(decimal=".")
    block = next(csv_rows.blocks(path, inputs, 9, card={"reader": reader}, options=options))
    np.testing.assert_array_equal(csv_rows.feed(block, inputs)["a"], [0.5, 1.5, 0.75])


TEXTS = ["tcp", "u;dp", "a, b", "é|x", 'say "hi"', "two\nlines", " pad", "10.0.0.1"]
NAMES = ["größe", "a b", "weight (kg)", "z%", "c,d", "e;f", "价格", 'y"q', "Ünï"]


def draw(rng, rows):
    """A frame of two to five columns, and how to write it."""
    kinds = {
        "decimals": lambda: rng.normal(size=rows),
        "far decimals": lambda: rng.normal(size=rows) * 10.0 ** rng.integers(-20, 20),
        "integers": lambda: rng.integers(-50, 50, rows),
        "texts": lambda: rng.choice(TEXTS, rows),
    }
    names = rng.permutation(NAMES)[: rng.integers(1, 5)]
    columns = {str(name): kinds[rng.choice([*kinds])]() for name in names}
    frame = pd.DataFrame({**columns, "last": rng.normal(size=rows)})
    header = bool(rng.integers(0, 4))
    frame = frame if header else frame.set_axis([f"column_{i}" for i in range(frame.shape[1])], axis=1)
    how = {
        "sep": rng.choice([",", ";", "\t", "|"]),
        "decimal": rng.choice([".", ","]),
        "encoding": rng.choice(["utf-8", "utf-8-sig", "utf-16"]),
        "quoting": int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        "lineterminator": rng.choice(["\n", "\r\n"]),
    }
    return frame, {**how, "header": header}


@pytest.mark.filterwarnings("ignore:header")
@pytest.mark.parametrize("seed", range(20))
def test_what_pandas_writes_is_read_back(seed, tmp_path):
    frame, how = draw(np.random.default_rng(seed), rows=12)
    frame.to_csv(tmp_path / "own.csv.gz", index=False, **how)
    table = read_table(tmp_path / "own.csv.gz")
    for read in (table.rows, pd.concat(r for r, _ in StreamedTable(tmp_path / "own.csv.gz", block_rows=5).blocks())):
        pd.testing.assert_frame_equal(read, frame, check_exact=True)
    assert table.reader["separator"] == how["sep"] and table.reader["header"] == how["header"]
    types = {name: tf.string if pd.api.types.is_string_dtype(frame[name]) else tf.float64 for name in frame}
    inputs = {f"input_{i}": tf.TensorSpec((None,), dtype) for i, dtype in enumerate(types.values())}
    card = {"reader": table.reader, "columns": dict(zip(inputs, frame))}
    feed = csv_rows.feed(next(csv_rows.blocks(tmp_path / "own.csv.gz", inputs, 99, card=card)), inputs)
    assert [list(values) for values in feed.values()] == [list(frame[name]) for name in frame]


def frame_text(values, **options):
    return pd.DataFrame(values).to_csv(index=False, **options)


RANDOM = np.random.default_rng(0)
HEADERS = {
    "names": ("a,b\n1,2\n3,4\n", True, "names over numbers"),
    "names that begin with digits": ("1st,2nd\n1,2\n3,4\n", True, "names over numbers"),
    "a matrix by pandas": (frame_text(RANDOM.normal(size=(30, 10))), True, "counts the columns from 0"),
    "a matrix of integers by pandas": (frame_text(RANDOM.integers(0, 9, (30, 10))), True, "counts the columns from 0"),
    "one column by pandas": (frame_text(RANDOM.normal(size=(30, 1))), True, "counts the columns from 0"),
    "a matrix with its index": (
        pd.DataFrame(RANDOM.normal(size=(30, 3))).to_csv(index_label="row"),
        True,
        "counts the columns from 0",
    ),
    "a matrix and a label": (
        pd.DataFrame(RANDOM.normal(size=(30, 3))).assign(y="no").to_csv(index=False),
        True,
        "counts the columns from 0",
    ),
    "years": ("id,2019,2020\n1,1.5,2.5\n2,3.5,4.5\n", True, "holds years"),
    "days": ("id,2024-01-01,2024-01-02\n1,1.5,2.5\n2,3.5,4.5\n", True, "names over numbers"),
    "months": ("id,2024-01,Feb 2024\n1,1.5,2.5\n2,3.5,4.5\n", True, "names over numbers"),
    "registers": ("id,0x10,0x11\n1,1.5,2.5\n2,3.5,4.5\n", True, "names over numbers"),
    "numbers": (frame_text(RANDOM.normal(size=(30, 3)), header=False), False, "numbers as the lines below"),
    "integers": ("3,1,2\n4,5,6\n", False, "numbers as the lines below"),
    "integers that swap": ("1,0\n0,1\n0,1\n", False, "numbers as the lines below"),
    "numbers and text": ("tcp,1.5\nudp,2.5\ntcp,7\n", False, "numbers as the lines below"),
    "zero and a text that comes again": ("0,1,tcp\n1,1,tcp\n", False, "numbers as the lines below"),
}
UNSURE = {
    "text alone": ("proto,flag\ntcp,SF\nudp,SF\n", True, "the first line holds no number"),
    "text that comes again": ("tcp,SF\nudp,SF\ntcp,REJ\n", False, "occur again below"),
    "a count that comes again": ("0,1\n1,0\n0,1\n", False, "occurs again below"),
    "a short count over integers": ("0,1\n1,0\n1,1\n", True, "counts the columns from 0"),
    "a count from 1": ("1,2,3\n0.5,1.5,7.5\n3.5,2.5,0.5\n", True, "counts in equal steps"),
    "equal steps of decimals": ("0.5,1.0,1.5\n0.5,1.5,7.5\n", False, "numbers as the lines below"),
    "a text that comes once": ("sample,400.5,401\nA,0.5,0.25\nB,0.5,0.25\n", False, "numbers as the lines below"),
    "a count alone": ("0,1,2\n", False, "numbers as the lines below"),
    "zero over integers": ("0\n1\n2\n", False, "counts the columns from 0"),
}


@pytest.mark.parametrize("case", [*HEADERS, *UNSURE])
def test_a_header_is_found_in_training_and_kept_for_scoring(case, tmp_path, recwarn):
    content, there, why = {**HEADERS, **UNSURE}[case]
    path = written(tmp_path, content)
    table = read_table(path)
    lines = content.count("\n")
    assert table.reader["header"] == there and why in table.reader["header_reason"]
    assert len(table.rows) == lines - there
    assert any("say --header yes or no" in str(warning.message) for warning in recwarn) == (case in UNSURE)
    for header in ("yes", "no"):
        try:
            assert len(read_table(path, header=header).rows) == lines - (header == "yes")
        except ValueError as error:
            assert "row 0" in str(error) or "empty" in str(error)  # names as values, or the only row as names
    encoding = TableEncoding.for_table(table.rows)
    inputs = encoding.input_signature()
    columns = {served: column for column, served in encoding.serving_names.items()}
    for card in ({"reader": table.reader, "columns": columns}, {"reader": table.reader}):
        block = next(csv_rows.blocks(path, inputs, 99, card=card))
        assert len(block["rows"]) == lines - there
        feed = csv_rows.feed(block, inputs)
        for column, served in encoding.serving_names.items():
            expected = table.rows[column]
            expected = expected if inputs[served].dtype == tf.string else expected.to_numpy(np.float32)
            assert list(feed[served]) == list(expected)


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, "": bytes}


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,2\n")
    return content.getvalue()


@pytest.mark.parametrize("suffix", [*PACKED, ".zip"])
def test_compressed_files_are_read_by_all(suffix, tmp_path):
    content = zipped("x.csv") if suffix == ".zip" else PACKED[suffix](b"a,b\n1,2\n")
    path = written(tmp_path, content, f"own.csv{suffix}")
    table = read_table(path)
    assert table.rows.to_numpy().tolist() == [[1, 2]]
    assert table.reader["compression"] == {"": None, ".gz": "gzip"}.get(suffix, suffix[1:])
    inputs = {name: tf.TensorSpec((None,), tf.float32) for name in "ba"}
    assert next(csv_rows.blocks(path, inputs, 9))["rows"] == [["2", "1"]]
    assert csv_rows.count_lines(path) == 2
    if suffix:
        written(tmp_path, content[:-5] if suffix != ".zip" else content[:20], path.name)
        with pytest.raises(ValueError, match=rf"own\.csv\{suffix}: damaged, cut off"):
            read_table(path)
        with pytest.raises(ValueError, match=rf"--input: \S+own\.csv\{suffix}: damaged, cut off"):
            list(csv_rows.blocks(path, inputs, 9))


def test_archives_of_more_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds \['x.csv', 'y.csv'\] where one CSV file is expected"):
        read_table(written(tmp_path, zipped("x.csv", "y.csv"), "own.zip"))
    with pytest.raises(ValueError, match=r"own\.csv\.zst: \.zst is not read; unpack it"):
        read_table(written(tmp_path, b"", "own.csv.zst"))


def test_options_that_cannot_be_are_named(tmp_path):
    path = written(tmp_path, "a,b\n1,2\n")
    for options, message in (
        ({"separator": ";;"}, "separator: ';;' is not one character"),
        ({"decimal": ";"}, r"decimal: ';' is not '\.' or ','"),
        ({"thousands": "12"}, "thousands: '12' is not one mark"),
        ({"thousands": ",", "decimal": ","}, "thousands: ',' is the decimal mark too"),
        ({"encoding": "latin-99"}, "encoding: 'latin-99' is not one that Python knows"),
        ({"header": "maybe"}, "header: 'maybe' is not one of"),
    ):
        with pytest.raises(ValueError, match=message):
            read_table(path, **options)
    with pytest.raises(ValueError, match=r"label_column: 'FRAUD' is not one of .*Do you mean 'fraud'\?"):
        read_table(written(tmp_path, "a, fraud\n1, 0\n2, 1\n"), label_column="FRAUD")


def test_utf_8_is_not_read_as_the_encoding_that_was_kept(tmp_path):
    path = written(tmp_path, "größe,b\n1,2\n".encode("latin-1"))
    reader = read_table(path, encoding="latin-1").reader
    inputs = {"gr__e": tf.TensorSpec((None,), tf.float32)}
    card = {"reader": reader, "columns": {"gr__e": "größe"}}
    assert next(csv_rows.blocks(path, inputs, 9, card=card))["rows"] == [["1"]]
    path = written(tmp_path, "größe,b\n1,2\n")
    with pytest.raises(ValueError, match=r"is UTF-8.*--encoding utf-8 or --encoding iso8859-1"):
        next(csv_rows.blocks(path, inputs, 9, card=card))
    options = csv_rows.Options(encoding="utf-8")
    assert next(csv_rows.blocks(path, inputs, 9, card=card, options=options))["rows"] == [["1"]]


def test_a_line_may_be_longer_than_the_part_that_tells_how_a_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files.lines, "SAMPLE", 100)
    values = np.random.default_rng(0).normal(size=(3, 50)).round(4)
    frame = pd.DataFrame(values, columns=[f"column of number {i}" for i in range(50)])
    frame.to_csv(tmp_path / "own.csv", index=False, sep=";", decimal=",")
    with csv_files.opened(tmp_path / "own.csv", csv_files.Options()) as file:
        reader, names, rows = file.reader, file.names, list(file.rows)
    assert (reader.separator, reader.decimal, reader.header_reason) == (";", ",", "names over numbers")
    assert names == list(frame) and reader.numbers(rows[2].cells, "").tolist() == values[2].tolist()


class Endless(io.RawIOBase):
    """Rows 1,0.5 without end below a header."""

    begun = False

    def readable(self):
        return True

    def readinto(self, buffer):
        text = (b"" if self.begun else b"a,b\n") + b"1,0.5\n" * (len(buffer) // 6)
        self.begun, size = True, min(len(text), len(buffer) // 6 * 6 - 2)
        buffer[:size] = text[:size]
        return size


def test_no_more_of_a_file_is_read_than_is_asked_for():
    with csv_files.opened("endless.csv", csv_files.Options(), open_file=lambda _: Endless()) as file:
        rows = [next(file.rows) for _ in range(100)]
    assert rows[0] == (2, ["1", "0.5"], None) and rows[-1].line == 101
