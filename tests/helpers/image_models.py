"""Small images and a model of them."""

import numpy as np
import tensorflow as tf

import tf_radogaga
from tf_radogaga import FactorizedPrior
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder

SHAPE = (16, 18, 3)


def smooth_images(n):
    """Of another size than the model's."""
    rng = np.random.default_rng(0)
    return tf.cast(255 * tf.image.resize(rng.uniform(size=(n, 3, 3, 3)), (24, 27)), tf.uint8).numpy()


def radogaga(shape=SHAPE, prior=None, **options):
    tf.keras.utils.set_random_seed(3)
    encoder, decoder = ConvolutionalEncoder(shape, (8,), 3, (4, 5)), ConvolutionalDecoder(3, (8,), shape, (5, 4))
    return tf_radogaga.RaDOGAGA(encoder, decoder, prior or FactorizedPrior(3), lambda1=10.0, lambda2=100.0, **options)
