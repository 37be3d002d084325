"""A quick model and the rows it is fed, in every form."""

import numpy as np
import tensorflow as tf

from helpers.models import scaled
from tf_radogaga import DenseNetwork, NormalPrior, RaDOGAGA


def plain(rows=None, prior=None, compiled=False, gauge=None, finds_active=False, **options):
    """A linear model that is quick to train; unless `finds_active`, nothing looks for its active dimensions."""
    tf.keras.utils.set_random_seed(7)
    networks = DenseNetwork(4, (), 2), DenseNetwork(2, (), 4)
    preprocess = None if rows is None else scaled(rows)
    model = RaDOGAGA(*networks, prior or NormalPrior(2), 1, 1, "identity", preprocess=preprocess, gauge=gauge)
    model.compile(tf.keras.optimizers.SGD(1e-4), run_eagerly=not compiled, **options)
    if not finds_active:
        model.density.find_active = lambda dataset: None
    return model


def weights_of(model):
    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])


def fitted(data, model=None, **options):
    """History and weights after a fit."""
    model = model or plain()
    history = model.fit(data, verbose=0, **{"shuffle": False, "batch_size": 30, **options}).history
    return history, weights_of(model)


def assert_same(one, other):
    (history, weights), (other_history, other_weights) = one, other
    assert history == other_history
    np.testing.assert_array_equal(weights, other_weights)


class Batches(tf.keras.utils.Sequence):
    """Batches of arrays; counts what Keras tells it."""

    def __init__(self, size, *arrays):
        self.size, self.arrays, self.epochs, self.read = size, arrays, 0, []

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        self.read.append(index)
        batch = tuple(array[self.size * index : self.size * (index + 1)] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]

    def on_epoch_end(self):
        self.epochs += 1
