"""What nobody would write by hand: random tables and rows. Few examples here, many more of them under slow."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.examples import SEVERAL, fuzzed
from helpers.models import clusters, fitted, scaled, small_model
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tf_radogaga
from tf_radogaga import DenseNetwork, MinMaxScaling, MixturePrior, PassThrough, RaDOGAGA, TableEncoding

DTYPES = ("float16", "float32", "float64", ">f8", "int8", "int64", "uint64", "bool")


@st.composite
def matrices(draw, finite=False):
    """(n, M) of 1 to 12 rows and 1 to 4 columns, of any dtype, on any scale, with equal rows and equal columns."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 4)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    options = {"allow_nan": not finite, "allow_infinity": not finite} if dtype.kind == "f" else {}
    if finite and dtype.itemsize > 4 and dtype.kind == "f":
        options.update(min_value=-1e38, max_value=1e38)
    rows = draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **options)))
    kind = draw(st.sampled_from(["any", "equal rows", "equal columns", "scaled"]))
    if kind == "equal rows":
        rows[:] = rows[0]
    if kind == "equal columns":
        rows[:] = rows[:, :1]
    if kind == "scaled" and dtype.kind == "f":
        scale = draw(st.sampled_from([1e-45, 1e-38, 1e-20, 1e20, 1e37]))
        rows = np.random.default_rng(0).normal(size=shape) * scale
    return rows


def _tiny(rows, preprocess):
    """A model for these rows, fitted for a step."""
    tf.keras.utils.set_random_seed(0)
    width = rows.shape[1]
    prior = MixturePrior(1, 1, units=(2,), em_iterations=1, covariance_floor=1e-3)
    model = RaDOGAGA(DenseNetwork(width, (2,), 1), DenseNetwork(1, (2,), width), prior, 1, 1, preprocess=preprocess)
    model.compile("sgd", run_eagerly=True)
    model.fit(rows, batch_size=4, steps_per_epoch=1, verbose=0)
    return model


def _fits_float32(rows):
    with np.errstate(over="ignore"):
        return np.isfinite(rows.astype(np.float32))


@pytest.mark.thorough
@SEVERAL
def test_a_matrix_is_fitted_and_scored_or_its_bad_cell_named(examples):
    def test(rows):
        fits = _fits_float32(rows)
        scaling = MinMaxScaling(rows.shape[1])
        try:
            scaling.adapt(rows)
        except ValueError as error:
            if fits.all():
                assert "spread over more than float32 holds" in str(error)
            else:
                column = np.flatnonzero(~fits.all(axis=0))[0]
                assert f"column '{column}', row {np.flatnonzero(~fits[:, column])[0]}:" in str(error)
            return
        assert fits.all()
        x = scaling(scaling.check(rows)).numpy()
        assert np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1.01
        assert np.isfinite(_tiny(rows, scaling).energy(rows)).all()

    fuzzed(examples // 2, matrices(), test)


@SEVERAL
def test_rows_that_a_model_has_not_seen_are_scored_or_their_cell_named(examples):
    model = _tiny(clusters(20), scaled(clusters(20)))

    def test(rows):
        rows = np.repeat(rows, 4, axis=1)[:, :4]
        fits = _fits_float32(rows).all(axis=1)
        if fits.all():
            assert not np.isnan(model.energy(rows)).any()
        else:
            with pytest.raises(ValueError, match=f"row {np.flatnonzero(~fits)[0]}: .* not a finite float32 number"):
                model.energy(rows)
        scores = model.scores(tf.constant(rows.astype(np.float64), tf.float32))
        np.testing.assert_array_equal(scores["valid"], fits)
        np.testing.assert_array_equal(np.isnan(scores["energy"]), ~fits)

    fuzzed(examples, matrices(), test)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.just(pd.NA),
    st.dates(),
    st.fractions(max_denominator=3),
    st.complex_numbers(),
    st.just([1, 2]),
)
MESSAGES = ("column", "rows: ", "columns: ")


@SEVERAL
def test_any_cells_in_columns_of_numbers_are_taken_or_named(examples):
    numbers = PassThrough(1)
    encoding = TableEncoding({"a": None, "kind": ["x", "y"]})

    def test(cells):
        column = np.empty(len(cells), object)
        for row, cell in enumerate(cells):
            column[row] = cell
        for layer, rows in (
            (numbers, column[:, None]),
            (encoding, pd.DataFrame({"a": column, "kind": "x"})),
            (encoding, {"a": cells, "kind": ["x"] * len(cells)}),
        ):
            try:
                x = layer(layer.check(rows))
            except (TypeError, ValueError) as error:
                assert str(error).startswith(MESSAGES), error
            else:
                assert x.shape == (len(cells), layer.width) and np.isfinite(x).all()

    fuzzed(5 * examples, st.lists(CELLS, min_size=1, max_size=4), test)


@SEVERAL
def test_any_table_gets_an_encoding_or_is_told_why_not(examples):
    def test(frame):
        try:
            encoding = TableEncoding.for_table(frame)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(MESSAGES), error
            return
        x = encoding(encoding.check(frame)).numpy()
        assert x.shape == (len(frame), encoding.width) and np.isfinite(x).all()
        categorical = x[:, len(encoding.numeric) :]
        assert set(np.unique(categorical)) <= {0.0, 1.0}
        np.testing.assert_array_equal(categorical.sum(axis=1), len(encoding.lookups))

    kinds = st.sampled_from([st.integers(-(2**62), 2**62), st.floats(width=32), st.text(max_size=3), CELLS])

    @st.composite
    def frames(draw):
        rows = draw(st.integers(1, 5))
        names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=3, unique=True))
        columns = {n: draw(st.lists(draw(kinds), min_size=rows, max_size=rows)) for n in names}
        return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})

    fuzzed(3 * examples, frames(), test)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.zeros((3, 2)), r"column 'a': shape \(3, 2\) where one number for each row"),
        (3.0, r"column 'a': shape \(\)"),
        (np.array([], str), "the table is empty"),
        ([[1], [2, 3]], "column 'a': lists where one number"),
        ([1, 10**400], "column 'a', row 1: inf is not a finite float32 number"),
        (["1", 2], "column 'a', row 0: '1'"),
    ],
)
def test_columns_that_fuzzing_found(column, message):
    layer = TableEncoding({"a": None})
    with pytest.raises((TypeError, ValueError), match=message):
        layer.check({"a": column})


def test_too_few_rows_for_the_prior_are_counted():
    model = RaDOGAGA(DenseNetwork(2, (2,), 1), DenseNetwork(1, (2,), 2), MixturePrior(1, 3), 1, 1)
    model.compile(run_eagerly=True)
    with pytest.raises(ValueError, match="x: 1 rows, but the prior needs at least 3"):
        model.fit(np.zeros((1, 2)), verbose=0)


# Served rows


@pytest.mark.thorough
def test_100_000_random_rows_through_an_export(tmp_path):
    rows, model = clusters(), small_model(preprocess=scaled(clusters()))
    fitted(model, rows, epochs=1)
    model.set_threshold(model.energy(rows).numpy(), 0.1)
    serve = tf.saved_model.load(str(tf_radogaga.export_saved_model(model, tmp_path))).signatures["serving_default"]
    rng, n = np.random.default_rng(0), 100_000
    kinds = [
        rng.normal(size=(n, 4)),
        rng.normal(size=(n, 4)) * 10 ** rng.uniform(-38, 38, (n, 4)),
        rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], (n, 4)),
        rng.choice([1e-45, -1e-45, 1e-39, 1.17549435e-38], (n, 4)),
        rng.choice([3.4028235e38, -3.4028235e38, 1.0], (n, 4)),
        rng.integers(0, 2**32, (n, 4), np.uint32).view(np.float32),  # any bits
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        chosen = np.choose(rng.integers(0, len(kinds), (n, 1)), kinds).astype(np.float32)
    finite = np.isfinite(chosen).all(axis=1)
    assert 0.2 < finite.mean() < 0.9
    scores = [serve(features=tf.constant(part)) for part in np.array_split(chosen, [1, 7, 5000, 60_000])]
    found = {name: np.concatenate([score[name] for score in scores]) for name in scores[0]}
    np.testing.assert_array_equal(found["valid"], finite)
    for name, sign in (("energy", 1), ("log_density", -1)):
        assert np.isfinite(found[name]).all() and (found[name][~finite] == sign * np.finfo(np.float32).max).all()
    threshold = model.threshold.numpy()
    np.testing.assert_array_equal(found["anomaly"], finite & (found["energy"] > threshold))
