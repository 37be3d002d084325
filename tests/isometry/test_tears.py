"""Latents that cut what is whole: the cut shows in neighbours that are far apart, and nowhere else."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_radogaga import MixturePrior, PassThrough, RaDOGAGA
from tf_radogaga.datasets.manifolds import DEVELOPABLE, Angle, Circle, Clusters, Line, Manifold, Product
from tf_radogaga.isometry import torn_rows

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
