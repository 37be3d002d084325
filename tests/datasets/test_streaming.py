import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.models import encoded, small_model

from tf_radogaga.datasets.streaming import StreamedTable
from tf_radogaga.datasets.tabular import read_table


@pytest.fixture
def streamed(frame, tmp_path):
    labels = (np.arange(300) % 10 == 0).astype(int)
    frame.assign(fraud=labels, row=np.arange(300)).to_csv(tmp_path / "own.csv", index=False)
    return StreamedTable(tmp_path / "own.csv", "fraud", categorical=("code",), seed=3, block_rows=70)


def test_halves_cover_the_normal_rows_to_train_and_all_rows_to_test(streamed):
    training, test, labels = zip(*streamed.halves())
    training, test, labels = pd.concat(training)["row"], pd.concat(test)["row"], np.concatenate(labels)
    assert [len(block) for block, _ in streamed.blocks()] == [70, 70, 70, 70, 20]
    assert not set(training) & set(test) and (training % 10 > 0).all()
    assert len(test) == 150 and set(range(300)) - set(training) - set(test) <= set(range(0, 300, 10))
    np.testing.assert_array_equal(labels, test % 10 == 0)
    assert streamed.training_rows() == len(training)
    assert pd.concat(t for t, _, _ in streamed.halves())["row"].tolist() == training.tolist()


def test_preprocessing_is_that_of_the_whole_table(streamed, frame):
    table = read_table(streamed.path, "fraud", categorical="code")
    assert table.categorical == ("code",)
    assert streamed._replace(categorical="code").preprocessing().columns == streamed.preprocessing().columns
    rows = table.rows
    assert streamed.preprocessing().get_config() == table.preprocessing().get_config()
    assert streamed.preprocessing().reader == table.preprocessing().reader == table.reader
    np.testing.assert_array_equal(
        streamed.preprocessing()(encoded(rows).check(rows)), encoded(rows)(encoded(rows).check(rows))
    )


def test_batches_are_rows_of_the_table_in_a_new_order_each_pass(streamed):
    batches = streamed.training_batches(streamed.preprocessing(), 16)
    first, second = ([b["row"].numpy().astype(int) for b in batches] for _ in range(2))
    training = set(pd.concat(t for t, _, _ in streamed.halves())["row"])
    assert all(len(batch) == 16 for batch in first)
    seen = np.concatenate(first)
    assert len(set(seen)) == len(seen) and set(seen) <= training
    assert not np.array_equal(seen, np.concatenate(second))


@pytest.mark.thorough
def test_a_model_trains_from_the_stream(streamed):
    preprocess = streamed.preprocessing()
    model = small_model(preprocess=preprocess)
    model.compile(tf.keras.optimizers.Adam(1e-3))
    model.fit(streamed.training_batches(preprocess, 16), steps_per_epoch=20, verbose=0)
    for _, test, _ in streamed.halves():
        assert np.isfinite(model.energy(test)).all()
