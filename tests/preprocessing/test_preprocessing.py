import keyword
import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.examples import SEVERAL, fuzzed
from helpers.models import encoded, scaled
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

from tf_radogaga import MinMaxScaling, PassThrough, TableEncoding

RESERVED = [*keyword.kwlist, "self"]


def test_scaling_is_scikit_learns(rows):
    rows[:, 2] = 4.0
    layer, expected = scaled(rows), MinMaxScaler().fit(rows)
    np.testing.assert_allclose(layer(layer.check(rows)), expected.transform(rows), atol=1e-6)
    later = rows + np.array([0, 1, 3, 0])
    np.testing.assert_allclose(layer(layer.check(later)), expected.transform(later), atol=1e-6)


def test_constant_column_is_shifted_and_a_change_shows(rows):
    rows[:, 1] = 7.0
    layer = scaled(rows)
    np.testing.assert_array_equal(layer(layer.check(rows))[:, 1], 0)
    rows[5, 1] = 9.0
    assert layer(layer.check(rows))[5, 1] == 2.0


def test_adapting_block_by_block_equals_the_whole(rows, frame):
    whole, streamed = scaled(rows), MinMaxScaling(4)
    streamed.adapt(iter([rows[:100], rows[100:]]))
    np.testing.assert_array_equal(whole(whole.check(rows)), streamed(streamed.check(rows)))
    whole = encoded(frame)
    streamed = TableEncoding.for_table(iter([frame[:120], frame[120:]]), ["code"])
    assert streamed.get_config() == whole.get_config()
    np.testing.assert_array_equal(whole(whole.check(frame)), streamed(streamed.check(frame)))


def test_one_hot_is_scikit_learns_with_unseen_levels_zero(frame):
    layer = encoded(frame[:200])
    later = frame[200:].copy()
    later.loc[later.index[3], "kind"] = "never seen"
    text = {"kind": later["kind"], "code": later["code"].astype(str)}
    fit_on = pd.DataFrame({"kind": frame["kind"][:200], "code": frame["code"][:200].astype(str)})
    expected = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(fit_on).transform(pd.DataFrame(text))
    x = layer(layer.check(later)).numpy()
    assert x.shape == (100, layer.width) and layer.width == 2 + 3 + 3
    np.testing.assert_array_equal(x[:, 2:], expected)
    assert x[3, 2:5].sum() == 0


def test_a_graph_sees_the_same_as_python(frame):
    layer = encoded(frame)
    dataset = tf.data.Dataset.from_tensor_slices(dict(frame)).batch(64).map(lambda r: layer(layer.check(r)))
    np.testing.assert_array_equal(np.concatenate(list(dataset)), layer(layer.check(frame)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_non_finite_value_names_column_and_row(rows, frame, bad):
    rows[17, 2] = bad
    for layer in (PassThrough(4), MinMaxScaling(4)):
        with pytest.raises(ValueError, match=r"column '2', row 17: .*not a finite"):
            layer.check(rows)
    layer = encoded(frame)
    frame.loc[9, "blood pressure"] = bad
    with pytest.raises(ValueError, match=r"column 'blood pressure', row 9"):
        layer.check(frame)
    with pytest.raises(ValueError, match=r"column 'blood pressure', row 9"):
        TableEncoding.for_table([frame[:5], frame[5:]], ["code"])


def test_text_where_a_number_belongs_names_column_and_row(rows, frame):
    mixed = rows.astype(object)
    mixed[3, 1] = "high"
    with pytest.raises(TypeError, match=r"column '1', row 3: 'high'"):
        MinMaxScaling(4).check(mixed)
    layer = encoded(frame)
    frame["dose"] = frame["dose"].astype(object)
    frame.loc[6, "dose"] = "two"
    with pytest.raises(TypeError, match=r"column 'dose', row 6: 'two'"):
        layer.check(frame)


def test_missing_level_names_column_and_row(frame):
    layer = encoded(frame)
    frame.loc[11, "kind"] = None
    with pytest.raises(ValueError, match=r"column 'kind', row 11: no value"):
        layer.check(frame)


@pytest.mark.parametrize("shape", [(5, 3), (5,), (5, 4, 1)])
def test_wrong_width(shape):
    with pytest.raises(ValueError, match=r"\(rows, 4\) is expected"):
        MinMaxScaling(4).check(np.zeros(shape))


def test_empty_tables(frame):
    with pytest.raises(ValueError, match="empty"):
        MinMaxScaling(4).check(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="empty"):
        MinMaxScaling(4).adapt([])
    with pytest.raises(ValueError, match="empty"):
        encoded(frame).check(frame[:0])
    with pytest.raises(ValueError, match="empty"):
        TableEncoding.for_table(frame[:0])


def test_wrong_columns(frame):
    layer = encoded(frame)
    with pytest.raises(ValueError, match=r"missing \['dose'\], unknown \['extra'\]"):
        layer.check(frame.rename(columns={"dose": "extra"}))
    with pytest.raises(TypeError, match="named columns are expected"):
        layer.check(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"categorical: \['nothing'\]"):
        TableEncoding.for_table(frame, ["nothing"])
    with pytest.raises(ValueError, match="different lengths"):
        layer.check({**dict(frame), "dose": frame["dose"][:5]})


def test_column_names_must_be_text_and_differ(frame):
    for names in ([0, 1, 2, 3], ["a", "b", "b", "c"]):
        frame.columns = names
        with pytest.raises(ValueError, match="must be text and differ"):
            TableEncoding.for_table(frame)


def test_identifiers_are_warned_of_and_numbers_in_object_columns_are_numbers():
    frame = pd.DataFrame({"id": [f"user{i}" for i in range(300)], "value": pd.Series(range(300), dtype=object)})
    with pytest.warns(UserWarning, match="column 'id': 300 levels in 300 rows"):
        encoding = TableEncoding.for_table(frame)
    assert encoding.numeric == ["value"]


def test_a_spread_too_small_for_float32_counts_as_constant():
    layer = scaled(np.array([[0.0], [1e-46]]))
    np.testing.assert_array_equal(layer(layer.check([[0.0], [1e-46]])), 0)


def test_large_offsets_are_warned_of():
    times = 1.6e9 + np.arange(50.0)[:, None]
    with pytest.warns(UserWarning, match="subtract a constant"):
        MinMaxScaling(1).adapt(times)


def test_served_rows_are_marked_without_touching_neighbours(rows, frame):
    layer = scaled(rows)
    bad = tf.constant(rows, tf.float32).numpy()
    bad[2, 0] = np.nan
    valid = layer.valid(tf.constant(bad))
    assert np.flatnonzero(~valid.numpy()).tolist() == [2]
    filled = layer(layer.fill(tf.constant(bad), valid)).numpy()
    np.testing.assert_array_equal(np.delete(filled, 2, 0), np.delete(layer(layer.check(rows)), 2, 0))
    layer = encoded(frame)
    tensors = layer.check(frame)
    clean = layer(tensors).numpy()
    tensors["dose"] = tf.tensor_scatter_nd_update(tensors["dose"], [[4]], [np.inf])
    valid = layer.valid(tensors)
    assert np.flatnonzero(~valid.numpy()).tolist() == [4]
    np.testing.assert_array_equal(np.delete(layer(layer.fill(tensors, valid)), 4, 0), np.delete(clean, 4, 0))


def test_input_names_a_server_accepts():
    frame = pd.DataFrame({"blood pressure": [1.0, 2.0], "2nd": [0.0, 1.0], "größe": [1.0, 3.0]})
    layer = TableEncoding.for_table(frame)
    assert list(layer.input_signature()) == ["blood_pressure", "column_2nd", "gr__e"]
    columns = ["a b", "a_b", "A_b", "class", "column_class", "a_b_2"]
    served = ["a_b_3", "a_b", "A_b_4", "column_class_2", "column_class", "a_b_2"]  # one that will do stays
    assert list(TableEncoding(dict.fromkeys(columns)).input_signature()) == served


@SEVERAL
def test_any_names_are_served_by_names_of_their_own(examples):
    def check(names):
        columns = list(dict.fromkeys(["first", *names]))
        served = TableEncoding(dict.fromkeys(columns)).serving_names
        assert list(served) == columns
        assert len({name.lower() for name in served.values()}) == len(served)  # TensorFlow drops capitals
        for name in served.values():
            assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) and name not in RESERVED

    names = st.lists(st.one_of(st.text(max_size=6), st.sampled_from([*RESERVED, "A", "a", "a_2", "a 2"])))
    fuzzed(5 * examples, names, check)


def test_a_blank_cell_is_a_missing_one_unless_a_level_is_blank():
    frame = pd.DataFrame({"kind": ["a", "b"], "open": ["", "c"]})
    layer = TableEncoding.for_table(frame)
    assert layer.check(frame)["open"].numpy().tolist() == [b"", b"c"]
    np.testing.assert_array_equal(tf.function(lambda: layer(layer.check(frame)))(), layer(layer.check(frame)))
    for blank in ("", "  ", "\u00a0\t", "\0 "):
        with pytest.raises(ValueError, match=r"column 'kind', row 8: a blank cell \(1 such rows"):
            layer.check(pd.DataFrame({"kind": ["a", blank], "open": [" ", "d"]}), first_row=7)
        inputs = {"kind": tf.constant([blank, "a", "unknown"]), "open": tf.constant([" ", blank, "d"])}
        assert layer.valid(inputs).numpy().tolist() == [False, True, True]
    np.testing.assert_array_equal(layer({"kind": ["a"], "open": [" "]}), layer({"kind": ["a"], "open": [""]}))


def test_valid_is_every_feature_finite_also_where_sums_of_rows_are_not():
    layer = PassThrough(3)
    good = tf.constant([[1.0, 2, 3], [3e38, 3e38, 3e38]])
    bad = tf.constant([[np.nan, 0, 0], [np.inf, 1, 2], [np.inf, -np.inf, 0]])
    rows = tf.concat([good, bad], axis=0)
    valid = layer.valid(rows)
    assert valid.numpy().tolist() == [True, True, False, False, False]
    np.testing.assert_array_equal(layer.fill(rows, valid), tf.concat([good, tf.zeros((3, 3))], axis=0))
    np.testing.assert_array_equal(layer.fill(good, layer.valid(good)), good)


def test_a_column_too_coarse_for_float32_is_named():
    frame = pd.DataFrame({"kind": ["a", "b"], "dose": [1.0, 2.0], "when": [1.7e9, 1.7e9 + 60]})
    with pytest.warns(UserWarning, match=r"columns \['when'\]: their values are so large"):
        TableEncoding.for_table(frame)
