"""Latents that cut what is whole, and latents with a dimension too many: both show in the neighbours of rows."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga import MixturePrior, PassThrough, RaDOGAGA
from tf_radogaga.datasets.manifolds import DEVELOPABLE, MANIFOLDS, Angle, Circle, Clusters, Line, Manifold, Product
from tf_radogaga.isometry import isometry_report, local_dimension, torn_rows

keras = tf.keras
UNIT = math.sqrt(2 * 1000 / 12)  # of z, for a unit of x


class ByHand(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def by_angle(rows):
    """The exact isometric latent of a cylinder, or a circle, cut open at its angle pi."""

    def encode(x):
        return UNIT * tf.concat([tf.atan2(x[:, 1:2], x[:, :1]), x[:, 2:]], axis=1)

    def decode(z):
        z = z / UNIT
        return tf.concat([tf.cos(z[:, :1]), tf.sin(z[:, :1]), z[:, 1:]], axis=1)

    prior = MixturePrior(rows.shape[1] - 1, 3)
    preprocess = PassThrough(rows.shape[1])
    model = RaDOGAGA(ByHand(encode), ByHand(decode), prior, 1000, 1000, gauge=None, preprocess=preprocess)
    model.adapt_prior(rows)
    return model


@pytest.mark.parametrize("height", [0.0, 0.3], ids=["circle", "cylinder"])
def test_a_closed_surface_is_torn_along_the_cut_alone(height):
    curves = (Circle(), Line()) if height else (Circle(),)
    law = Clusters([1], [[0, 0]], [[3, height]]) if height else Angle(0.2)
    surface = Manifold(Product(curves), law)
    data = surface.sample(3000)
    torn = torn_rows(by_angle(data.rows), data.rows)
    turned = np.abs(np.angle(np.exp(1j * data.coordinates[:, 0])))
    assert torn.sum() >= 10 and turned[torn].min() > 3
    assert torn[turned > np.pi - 0.003].all()


@pytest.mark.parametrize("name", ["arc of a circle", "cylinder"])
def test_a_surface_that_does_not_reach_the_cut_is_whole(name):
    data = DEVELOPABLE[name].sample(3000)
    data = data._replace(rows=data.rows[np.abs(data.coordinates[:, 0]) < 2.9])
    assert not torn_rows(by_angle(data.rows), data.rows).any()


def test_turns_of_a_roll_are_no_neighbours_although_its_thin_tails_lie_near_each_other():
    data = DEVELOPABLE["swiss roll"].sample(4000)
    place = dict(zip(map(bytes, data.rows.astype(np.float32)), data.coordinates.astype(np.float32)))

    def encode(x):  # looked up: the exact coordinates of these rows
        return UNIT * tf.constant([place.get(bytes(row), (0, 0)) for row in x.numpy()], tf.float32)

    model = by_angle(data.rows)
    model.encode_x = encode  # eager, as by_blocks below
    model.by_blocks = lambda rows, function: function(tf.constant(rows, tf.float32))
    assert not torn_rows(model, data.rows).any()


def as_it_is(rows, adapt=True):
    """z is x, scaled."""
    columns = rows.shape[1]
    networks = ByHand(lambda x: UNIT * x), ByHand(lambda z: z / UNIT)
    model = RaDOGAGA(*networks, MixturePrior(columns, 3), 1000, 1000, gauge=None, preprocess=PassThrough(columns))
    if adapt:
        model.adapt_prior(rows)
    return model


@pytest.mark.filterwarnings("ignore:latent_units. the rows lie on sheets")
@pytest.mark.parametrize("name", ["arc of a circle", "sine sheet", "swiss roll", "half sphere"])
def test_a_surface_in_a_latent_of_its_columns_has_its_own_dimension(name):
    data = MANIFOLDS[name].sample(2000)
    report = isometry_report(as_it_is(data.rows), data.rows, jacobian_rows=20)
    assert report.local_dimension == data.coordinates.shape[1] < report.measured_dimensions == data.rows.shape[1]
    expected = f"and round trip <= 0.1, but not local dimension {data.rows.shape[1]}"
    assert report.verdict.startswith("only the decoder is isometric") and report.verdict.endswith(expected)


def narrow(rng):
    """Variances that differ by a factor of 100,000."""
    return rng.normal(size=(2000, 3)) * [10, 1, 0.03]


def heavy_tailed(rng):
    """Nearly all rows are alike in the second column."""
    return np.stack([rng.normal(size=2000), 0.01 * rng.standard_t(1.5, size=2000)], axis=1)


def of_eight(rng):
    return rng.normal(size=(2000, 8))


def few(rng):
    return rng.normal(size=(5, 4))


@pytest.mark.parametrize("draw", [narrow, heavy_tailed, of_eight, few])
def test_flat_data_fill_their_latent(draw, recwarn):
    rows = draw(np.random.default_rng(0))
    model = as_it_is(rows)
    assert local_dimension(model, rows) == model.active_dimensions == rows.shape[1]
    assert not [warning for warning in recwarn if "sheet" in str(warning.message)]


def test_the_density_warns_of_a_dimension_too_many():
    rows = DEVELOPABLE["arc of a circle"].sample(1000).rows
    model = as_it_is(rows, adapt=False)
    with pytest.warns(
        UserWarning, match="latent_units: the rows lie on sheets of dimension 1 in 2 active.*train with 1 units"
    ):
        model.adapt_prior(rows)


def test_the_certificate_tells_a_cut():
    data = Manifold(Product((Circle(),)), Angle(0.2)).sample(3000)
    report = isometry_report(by_angle(data.rows), data.rows, jacobian_rows=20)
    assert report.torn_share > 0.001 and report.local_dimension == report.measured_dimensions == 1
    assert report.verdict.startswith("only the decoder is isometric")
    assert report.verdict.endswith("but not torn rows <= 0.001")


def test_a_column_of_few_values_has_no_density():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=2000), rng.integers(2, size=2000)], axis=1)
    with pytest.warns(UserWarning, match="sheets of dimension 1 in 2 .* if a column takes few values, leave it out"):
        model = as_it_is(rows)
    assert local_dimension(model, rows) == 1


def test_a_row_that_overflows_does_not_spoil_the_others():
    rng = np.random.default_rng(0)
    model = as_it_is(rng.normal(size=(600, 2)))
    rows = rng.normal(size=(600, 2))
    torn, local = torn_rows(model, rows), local_dimension(model, rows)
    rows[3] = 3e38
    assert local_dimension(model, rows) == local == 2
    np.testing.assert_array_equal(torn_rows(model, rows), torn)
