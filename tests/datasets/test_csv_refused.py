"""CSV files that cannot be read as they are meant, and text that can."""

import pandas as pd
import pytest
from helpers.csv_files import written

from tf_radogaga.datasets.streaming import StreamedTable
from tf_radogaga.datasets.tabular import read_table

REFUSED = {
    "a cell more": ("a,b\n1,2\n3,4,5\n", "expected 2 cells, as in line 1, but in line 3, saw 3"),
    "a cell more in every line": ("y,a\n0,1,2\n1,3,4\n", "expected 2 cells, as in line 1, but in line 2, saw 3"),
    "a cell less": ("a,b\n1,2\n3\n", "expected 2 cells, as in line 1, but in line 3, saw 1"),
    "a separator at the ends of rows": ("a,b\n1,2,\n3,4,\n", "expected 2 cells, as in line 1, but in line 2, saw 3"),
    "a title": ("Pump 7\n1,2,3\n4,5,6\n", "expected 1 cells, as in line 1, but in line 2, saw 3.*A title"),
    "a title and names": ("Pump 7\na;b\n1;2\n4;5\n", "expected 1 cells, as in line 1, but in line 2, saw 2"),
    "a comment": ("# pump\na,b\n1,2\n", "expected 1 cells, as in line 1, but in line 2, saw 2"),
    "one of two decimal marks": ('a,b\n"0,5",0.25\n1,2\n', "decimal: column 'a': '0,5' but column 'b': '0.25'"),
    "a number of two readings": (
        'a,b\n"1,234",2\n7,4\n',
        "'1,234' may have a decimal or a thousands mark; give --decimal",
    ),
    "thousands points beside semicolons": ("a;b\n1.000;2\n1.037;4\n", "'1.000' may have a decimal or a thousands mark"),
    "units": (
        "a,b\n" + "".join(f"{i}.5 kg,{i}\n" for i in range(12)),
        r"'0\.5 kg' \(line 2\) is a number with the unit",
    ),
    "exponents of Fortran": ("a,b\n1.5D+00,2\n2D-3,4\n", r"'1\.5D\+00' \(line 2\) looks like a number"),
    "numbers in single quotes": ("a,b\n'1.5',2\n'2',4\n", r"\"'1\.5'\" \(line 2\) looks like a number"),
    "numbers and missing marks": ("a,b\n.,1\n--,2\n#DIV/0!,3\n3,4\n", r"row 3: '3' \(line 5\) is a number.*missing"),
    "currencies": ("a,b\n$12,2\n$13,4\n", r"column 'a', row 0: '\$12' \(line 2\) looks like a number.*categorical"),
    "currencies with decimal commas": ("a;b\n12,50 €;2\nEUR 13,00;4\n", r"'12,50 €' \(line 2\) looks like a number"),
    "accounting": ("a,b\n(12.5),2\n(13),4\n", r"'\(12\.5\)' \(line 2\) looks like a number"),
    "numbers with spaces": ("a;b\n1 234;2\n5;4\n2 000;4\n", r"'1 234' \(line 2\) looks like a number.*--thousands"),
    "percentages and numbers": ("a,b\n12%,2\n13%,4\n14,4\n", r"'12%' \(line 2\) looks like a number"),
    "another separator": ("a b\n0.1 0.2\n1 2\n", r"'0\.1 0\.2' \(line 2\) looks like a number.*--separator"),
    "numbers and missing words": ("a,b\nNA,1\nnull,2\n3,4\n", r"row 2: '3' \(line 4\) is a number.*missing cells"),
    "a missing word in the first line": ("NA,tcp\n1,udp\n2,x\n", "column 'column_0', row 0: 'NA' is no number.*line 1"),
    "a broken exponent": ("a,b\n1,1\n1e 5,2\n3,4\n", r"column 'a', row 1: '1e 5' is no number"),
    "a missing word": ("a,b\n1,1\nNA,2\n3,4\n", r"column 'a', row 1: 'NA' is no number.*line 3"),
    "dates": ("t,b\n2024-01-31,2\n2024-02-01,4\n", r"column 't', row 0: '2024-01-31' \(line 2\) is a date; convert it"),
    "times": ("t,b\n2024-01-31T10:00:00Z,2\n2024-02-01 11:30,4\n", "is a date; convert it to a number"),
    "dates of other countries": ("t;b\n31.01.2024;2\n1/2/2024;4\n", "is a date; convert it to a number"),
    "dates with names": ('t,b\n05-Jan-2024,2\n"Feb 3, 2024",4\n', "is a date; convert it to a number"),
    "dates with weekdays": ('t,b\n"Fri, 05 Jan 2024 10:00:00",2\n20240131T101500Z,4\n', "is a date; convert it"),
    "months": (
        "t,b\n2024-01,2\n2024/02,4\n12/2023,4\n",
        r"column 't', row 0: '2024-01' \(line 2\) is a date; convert it",
    ),
    "months with names": (
        "t,b\nJan 2024,2\nFebruary 2024,4\nMay-24,1\n2024 Sept,3\n",
        "'Jan 2024' .*is a date; convert it",
    ),
    "quarters": ("t,b\n2024-Q1,2\nQ2 2024,4\n2024Q3,4\n", "'2024-Q1' .*is a date; convert it.*categorical"),
    "weeks": ("t,b\n2024-W01,2\n2024W52,4\n", "'2024-W01' .*is a date; convert it"),
    "months without a header": ("2024-01,2.5\n2024-02,4.5\n", r"'2024-01' \(line 1\) is a date; convert it"),
    "hexadecimal": (
        "a,b\n0x4d,2\n0XFF,4\n",
        r"column 'a', row 0: '0x4d' \(line 2\) is a number, but .*plain number.*categorical",
    ),
    "other bases": ("a,b\nx,2\n0b101,4\n0o17,1\n", r"row 1: '0b101' \(line 3\) is a number, but not a decimal one"),
    "spans": ("t,b\n0 days 00:01:00,2\n1 days,4\n", "is a date; convert it"),
    "Latin-1": ("größe,b\n1,2\n".encode("latin-1"), r"line 1: b'gr\\xf6.*not UTF-8.*--encoding latin-1"),
    "Latin-1 below": ("a,b\n1,2\nß,2\n".encode("latin-1"), ", line 3: .*not UTF-8"),
    "UTF-16 without mark": ("größe,b\n1,2\n".encode("utf-16-le"), "--encoding utf-16-le"),
    "a NUL": ("a,b\n1,2\n1,\x003\n", "a NUL byte in line 3"),
    "an open quote": ('a,b\n1,2\n"1,3\n4,5\n', "EOF inside string that starts in the row of line 3"),
    "two separators": ("a;b,c\nx;y,z\n", "comma and semicolon separate its cells equally well; .*--separator"),
}


@pytest.mark.filterwarnings("ignore:header")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_as_it_is_meant_is_refused(case, tmp_path):
    content, message = REFUSED[case]
    path = written(tmp_path, content)
    for read in (read_table, lambda path: StreamedTable(path).training_rows()):
        with pytest.raises(ValueError, match=f"own.csv.*{message}"):
            read(path)


def test_names_that_are_empty_or_repeated_are_told(tmp_path):
    with pytest.warns(UserWarning, match=r"empty or repeated are read as \['Unnamed: 0', 'x\.1'\]; name them"):
        table = read_table(written(tmp_path, ",x,x\n0,1.5,2\n1,3,4\n"))
    assert list(table.rows) == ["Unnamed: 0", "x", "x.1"]


def test_text_stays_text(tmp_path):
    text = 'ip,flag,version,dose,list\n10.0.0.1,true,1.2.3,10mg,"1,2,3"\n192.168.1.20,FALSE,1.2.10,5 mg,"4,5,6"\n'
    rows = read_table(written(tmp_path, text + "10.0.0.2,true,2.0.0,NA,x\n")).rows
    assert rows["dose"].tolist() == ["10mg", "5 mg", "NA"] and not any(map(pd.api.types.is_numeric_dtype, rows.dtypes))
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    table = read_table(written(tmp_path, f"a,b,c\n{address},1/1000,dec-x\n{address},2024/13,mary 2000\n"))
    assert table.rows.iloc[0].tolist() == [address, "1/1000", "dec-x"]
    table = read_table(written(tmp_path, "t,h\n2024-01,0x4d\n2024-02,0x4e\n"), categorical=("t", "h"))
    assert table.rows["t"].tolist() == ["2024-01", "2024-02"] and table.rows["h"].tolist() == ["0x4d", "0x4e"]
    table = read_table(written(tmp_path, "t,b\n2024-01-01,1\n2024-01-02,2\n"), categorical=("t",))
    assert table.rows["t"].tolist() == ["2024-01-01", "2024-01-02"]
