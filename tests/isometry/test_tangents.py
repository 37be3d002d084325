import numpy as np
import pytest
import tensorflow as tf
from helpers.marks import after

from tf_radogaga import DenseNetwork, MeanSquaredError, SumSquaredError
from tf_radogaga.distortions import BinaryCrossEntropy, DownwardConvexError, FunctionDistortion
from tf_radogaga.isometry import tangents

UNITS = 3


def _dense():
    return DenseNetwork(UNITS, (7, 6), 5, output_activation="sigmoid")


def _convolutional():
    """(B, 3) -> images (B, 6, 4, 2)."""
    return tf.keras.Sequential(
        [
            tf.keras.layers.Dense(3 * 2 * 4, "tanh", input_shape=(UNITS,)),
            tf.keras.layers.Reshape((3, 2, 4)),
            tf.keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="tanh"),
            tf.keras.layers.Conv2D(2, 3, padding="same", activation="sigmoid"),
        ]
    )


@pytest.fixture(params=[_dense, _convolutional], ids=["vectors", "images"])
def decoder(request):
    return request.param()


@pytest.fixture
def z():
    return tf.constant(np.random.default_rng(0).normal(size=(6, UNITS)), tf.float32)


def _jacobian(decoder, z):
    """x_hat (B, *event) and J (B, *event, N), by reverse-mode differentiation."""
    with tf.GradientTape() as tape:
        tape.watch(z)
        x_hat = decoder(z)
    return x_hat, tape.batch_jacobian(x_hat, z)


def _flat_jacobian(decoder, z):
    """J (B, M, N) float64."""
    jacobian = _jacobian(decoder, z)[1].numpy().astype(np.float64)
    return jacobian.reshape(len(jacobian), -1, UNITS)


def _directions(count, rows=None):
    shape = (count, UNITS) if rows is None else (rows, count, UNITS)
    return tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)


@pytest.mark.parametrize("count", after(1, [1, pytest.param(2, marks=pytest.mark.slow), 3, 5]))
def test_tangents_are_the_jacobian_times_the_directions(decoder, z, count):
    directions = _directions(count)
    x_hat, tangent = tangents.tangents(decoder, z, directions)
    expected, jacobian = _jacobian(decoder, z)
    np.testing.assert_allclose(x_hat, expected, rtol=1e-5, atol=1e-6)
    assert tangent.shape == (6, count, *expected.shape[1:])
    np.testing.assert_allclose(tangent, tf.einsum("b...j,nj->bn...", jacobian, directions), rtol=1e-4, atol=1e-6)


def test_directions_of_each_row_equal_the_shared_ones(decoder, z):
    shared = _directions(2)
    repeated = tf.tile(shared[None], (len(z), 1, 1))
    for of_rows, of_all in zip(tangents.tangents(decoder, z, repeated), tangents.tangents(decoder, z, shared)):
        np.testing.assert_allclose(of_rows, of_all, rtol=1e-5, atol=1e-7)


def test_every_row_follows_its_own_directions(decoder, z):
    directions = _directions(2, rows=len(z))
    tangent = tangents.tangents(decoder, z, directions)[1]
    jacobian = _jacobian(decoder, z)[1]
    np.testing.assert_allclose(tangent, tf.einsum("b...j,bnj->bn...", jacobian, directions), rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_a_graph_of_unknown_batch_size_gives_the_same_tangents(decoder, z):
    specs = tf.TensorSpec((None, UNITS), tf.float32), tf.TensorSpec((None, UNITS), tf.float32)
    graph = tf.function(lambda z, d: tangents.tangents(decoder, z, d)[1], input_signature=specs)
    for rows, count in ((6, 2), (1, 3)):
        directions = _directions(count)
        expected = tangents.tangents(decoder, z[:rows], directions)[1]
        np.testing.assert_allclose(graph(z[:rows], directions), expected, rtol=1e-4, atol=1e-6)


def test_a_decoder_deaf_to_its_latent_has_zero_tangents(z):
    tangent = tangents.tangents(lambda z: tf.ones((tf.shape(z)[0], 4)), z, tf.eye(UNITS))[1]
    np.testing.assert_array_equal(tangent, np.zeros((6, UNITS, 4)))


def _cubic(x, y):
    difference = tf.reshape(x - y, (tf.shape(x)[0], -1))
    return tf.reduce_sum(difference**2 + difference**3, axis=1) + difference[:, 0] * difference[:, 1]


def _metric(distortion, x):
    """A(x), (B, M, M) float64: what each distortion promises, written out."""
    x = x.numpy().astype(np.float64).reshape(len(x), -1)
    identity = np.broadcast_to(np.eye(x.shape[1]), (*x.shape, x.shape[1]))
    if isinstance(distortion, MeanSquaredError):
        return identity / x.shape[1]
    if isinstance(distortion, DownwardConvexError):
        return identity * (2 / 3 + 2 / 21 * (x**2).sum(axis=1))[:, None, None]
    if isinstance(distortion, BinaryCrossEntropy):
        return identity * (0.5 / (x * (1 - x)))[:, None, :]
    if isinstance(distortion, FunctionDistortion):
        metric = identity.copy()
        metric[:, 0, 1] = metric[:, 1, 0] = 0.5
        return metric
    return identity


DISTORTIONS = [
    SumSquaredError(),
    MeanSquaredError(),
    DownwardConvexError(),
    BinaryCrossEntropy(),
    FunctionDistortion(_cubic),
]


@pytest.mark.parametrize("distortion", after(2, DISTORTIONS), ids=lambda d: type(d).__name__)
def test_gram_is_the_jacobian_in_the_metric_of_the_distortion(decoder, z, distortion):
    directions = _directions(2)
    found = tangents.gram(decoder, distortion, z, directions)
    columns = np.einsum("bmj,nj->bmn", _flat_jacobian(decoder, z), directions)
    expected = np.einsum("bmi,bmk,bkj->bij", columns, _metric(distortion, decoder(z)), columns)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found, tf.linalg.matrix_transpose(found), rtol=1e-4, atol=1e-6)


def test_gram_takes_directions_of_each_row(decoder, z):
    directions = _directions(2, rows=len(z))
    found = tangents.gram(decoder, SumSquaredError(), z, directions)
    for row in range(len(z)):
        alone = tangents.gram(decoder, SumSquaredError(), z[row : row + 1], directions[row])
        np.testing.assert_allclose(found[row : row + 1], alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", after(1, [1, 2, 3]))
def test_log_volume_is_half_the_log_determinant_of_the_gram_matrix(decoder, z, count):
    directions = _directions(count)
    found = tangents.log_volume(decoder, z, directions)
    columns = np.einsum("bmj,nj->bmn", _flat_jacobian(decoder, z), directions)
    gram = np.einsum("bmi,bmj->bij", columns, columns)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, 0.5 * np.linalg.slogdet(gram)[1], atol=1e-4)


def test_log_volume_of_a_square_decoder_is_the_log_determinant_of_its_jacobian(z):
    decoder = DenseNetwork(UNITS, (7,), UNITS)
    expected = np.linalg.slogdet(_flat_jacobian(decoder, z))[1]
    np.testing.assert_allclose(tangents.log_volume(decoder, z, tf.eye(UNITS)), expected, atol=1e-4)


def test_log_volume_does_not_depend_on_the_basis_of_the_directions(decoder, z):
    rotation = tf.linalg.qr(_directions(UNITS))[0]
    found = tangents.log_volume(decoder, z, rotation)
    np.testing.assert_allclose(found, tangents.log_volume(decoder, z, tf.eye(UNITS)), atol=1e-4)


def test_log_volume_of_a_steep_or_flat_decoder_neither_overflows_nor_underflows(z):
    for factor in (1e-12, 1e12):
        found = tangents.log_volume(lambda z, factor=factor: factor * z, z, tf.eye(UNITS))
        np.testing.assert_allclose(found, UNITS * np.log(factor), rtol=1e-5)
