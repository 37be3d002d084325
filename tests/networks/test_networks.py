import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc
from helpers.marks import after

from tf_radogaga.isometry import tangents
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder

VARIANTS = ("square", "absolute")
SHAPES = [
    ((64, 64, 3), (4, 5, 6, 7), (4, 4)),
    ((28, 28, 1), (3, 3, 3, 3), (2, 2)),
    ((32, 48, 3), (5, 4), (8, 12)),
    ((33, 7, 2), (4, 3, 2), (5, 1)),
    ((5, 6, 1), (3,), (3, 3)),
    ((1, 1, 1), (2, 2), (1, 1)),
]


def pair(shape=(12, 9, 2), filters=(4, 3), units=(10,), latent=3, gdn="square", heads=1, **options):
    """An encoder and the decoder that mirrors it."""
    return (
        ConvolutionalEncoder(shape, units, heads * latent, filters, gdn),
        ConvolutionalDecoder(latent, units[::-1], shape, filters[::-1], gdn, **options),
    )


def perturb(network):
    """Moves every variable, so that no bias is 0 and no matrix diagonal."""
    rng = np.random.default_rng(5)
    for variable in network.variables:
        variable.assign_add(rng.uniform(0.01, 0.1, variable.shape))
    return network


def images(shape, rows=3):
    return tf.constant(np.random.default_rng(0).uniform(size=(rows, *shape)), tf.float32)


def latents(units=3, rows=3):
    return tf.constant(np.random.default_rng(1).normal(size=(rows, units)), tf.float32)


def features(encoder, x):
    """What the encoder's first fully connected layer is given, as a map."""
    for convolution, normalization in zip(encoder.convolutions, encoder.normalizations):
        x = normalization(convolution(x))
    return x


def image_of(decoder, x):
    """The image of a map of features, as `ConvolutionalDecoder` without its fully connected layers and cropping."""
    for convolution, normalization in zip(decoder.convolutions, decoder.normalizations):
        x = normalization(convolution(x))
    return x


def count(network):
    """Elements of kernels, biases and normalizations; the variables behind a kernel are its Fourier coefficients."""
    arrays = [array for layer in network.convolutions for array in (layer.kernel, layer.bias)]
    arrays += [array for layer in network.normalizations for array in (layer.beta, layer.gamma)]
    return sum(array.shape.num_elements() for array in (*arrays, *network.dense.trainable_variables))


@pytest.mark.parametrize(("shape", "filters", "side"), SHAPES)
def test_shapes_of_any_size_and_depth(shape, filters, side):
    encoder, decoder = pair(shape, filters)
    assert encoder.input_units == decoder.output_units == np.prod(shape)
    assert encoder.output_units == decoder.input_units == 3
    assert features(encoder, images(shape)).shape == (3, *side, filters[-1])
    z = encoder(images(shape))
    assert z.shape == (3, 3) and decoder(z).shape == (3, *shape)


@pytest.mark.parametrize(("units", "latent", "heads"), [(8192, 256, 1), (1024, 32, 2), (2048, 256, 2)])
def test_parameters_of_the_papers_networks(units, latent, heads):
    shape = (64, 64, 3)
    encoder = ConvolutionalEncoder(shape, (units,), heads * latent)
    decoder = ConvolutionalDecoder(latent, (units,), shape)
    assert encoder.dense.input_units == decoder.dense.output_units == 1024
    inner = 3 * (5 * 5 * 64 * 64 + 64)
    analysis = 9 * 9 * 3 * 64 + 64 + inner + 4 * (64 + 64**2)
    synthesis = inner + 9 * 9 * 64 * 3 + 3 + 3 * (64 + 64**2) + 3 + 3**2
    assert count(encoder) == analysis + 1025 * units + (units + 1) * heads * latent
    assert count(decoder) == synthesis + (latent + 1) * units + (units + 1) * 1024


def normalized(x, normalization, gdn, inverse):
    beta, gamma = (v.numpy().astype(np.float64) for v in (normalization.beta, normalization.gamma))
    assert gamma.min() > 0  # perturbed, so that the channels mix
    norm = np.sqrt(beta + x**2 @ gamma) if gdn == "square" else beta + np.abs(x) @ gamma
    return x * norm if inverse else x / norm


@pytest.mark.parametrize("gdn", VARIANTS)
def test_the_first_layer_by_its_formula(gdn):
    encoder = perturb(ConvolutionalEncoder((7, 8, 2), (3,), 1, (3,), gdn))
    x = images((7, 8, 2), rows=2).numpy().astype(np.float64)
    kernel, bias = encoder.convolutions[0].kernel.numpy(), encoder.convolutions[0].bias.numpy()
    padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(1, 2))[:, ::2, ::2]
    expected = normalized(np.einsum("bijcuv,uvcd->bijd", windows, kernel) + bias, encoder.normalizations[0], gdn, False)
    np.testing.assert_allclose(features(encoder, tf.constant(x, tf.float32)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gdn", VARIANTS)
def test_the_last_layer_by_its_formula(gdn):
    decoder = perturb(ConvolutionalDecoder(2, (4,), (7, 8, 2), (3,), gdn))
    z = latents(2)
    given = tf.reshape(decoder.dense(z), (3, 4, 4, 3)).numpy()
    kernel, bias = decoder.convolutions[0].kernel.numpy(), decoder.convolutions[0].bias.numpy()
    spread = np.zeros((3, 8, 8, 3))
    spread[:, ::2, ::2] = given
    padded = np.pad(spread, ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(1, 2))
    expected = np.einsum("bijcuv,uvcd->bijd", windows, kernel[::-1, ::-1]) + bias
    expected = normalized(expected, decoder.normalizations[0], gdn, True)[:, :7]
    np.testing.assert_allclose(decoder(z), expected, rtol=1e-4, atol=1e-5)


def test_the_fully_connected_layers_are_softplus_but_for_the_latent_and_the_map():
    encoder, decoder = pair(units=(10, 11))
    papers = ConvolutionalDecoder(3, (11, 10), decoder.image_shape, decoder.filters, map_activation="softplus")
    names = [[layer.activation.__name__ for layer in network.dense.dense] for network in (encoder, decoder, papers)]
    assert names == [["softplus", "softplus", "linear"], ["softplus", "softplus", "linear"], ["softplus"] * 3]


def test_without_beta_the_response_grows_with_the_contrast():
    z = 10 * latents(2)
    for beta, factor in ((1e-6, 4), (1e6, 2)):
        decoder = ConvolutionalDecoder(2, (), (8, 8, 1), (3,), initial_beta=beta)
        np.testing.assert_allclose(decoder(2 * z), factor * decoder(z), rtol=1e-3, atol=1e-3)
        assert ConvolutionalDecoder.from_config(decoder.get_config()).initial_beta == beta
    with pytest.raises(ValueError, match="initial_beta: 0 must be positive"):
        ConvolutionalDecoder(2, (), (8, 8, 1), (3,), initial_beta=0)


@pytest.mark.parametrize("shape", [(8, 8, 2), (7, 10, 1), (9, 5, 3)])
def test_the_decoders_convolutions_are_the_transpose_of_the_encoders(shape):
    encoder, decoder = pair(shape, (4, 3))
    sides = decoder.sides[::-1]  # of the image and of what follows it, without the last map
    x = images(shape)
    for i, (analysis, synthesis) in enumerate(zip(encoder.convolutions, decoder.convolutions[::-1])):
        kernel = tf.transpose(analysis.kernel, (0, 1, 3, 2))
        parameter = tfc.RDFTParameter(kernel, shape=kernel.shape)
        synthesis.kernel_parameter.real.assign(parameter.real)
        synthesis.kernel_parameter.imag.assign(parameter.imag)
        x = tf.random.stateless_normal(x.shape, (i, 0))
        mapped = analysis(x)
        y = tf.random.stateless_normal(mapped.shape, (i, 1))
        back = synthesis(y)[:, : sides[i][0], : sides[i][1]]
        np.testing.assert_allclose(tf.reduce_sum(mapped * y), tf.reduce_sum(x * back), rtol=1e-4, atol=1e-3)
        x = mapped


@pytest.mark.parametrize("gdn", VARIANTS)
def test_a_shift_of_the_image_by_the_stride_shifts_the_features_by_one(gdn):
    encoder = ConvolutionalEncoder((72, 80, 2), (3,), 1, (4, 3, 2), gdn)
    x = images((72, 80, 2), rows=1)
    found = features(encoder, tf.roll(x, (8, 16), axis=(1, 2)))
    expected = tf.roll(features(encoder, x), (1, 2), axis=(1, 2))
    inside = np.s_[:, 3:-2, 4:-2]  # 4 + 2 * 2 + 4 * 2 pixels away from the border
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    assert np.abs(found - features(encoder, x))[inside].max() > 1e-2


@pytest.mark.parametrize("gdn", VARIANTS)
def test_a_shift_of_the_features_by_one_shifts_the_image_by_the_stride(gdn):
    decoder = perturb(ConvolutionalDecoder(1, (3,), (48, 56, 2), (4, 3, 2), gdn))
    x = tf.random.stateless_normal((1, 6, 7, 4), (0, 0))
    found = image_of(decoder, tf.roll(x, 1, axis=1))[:, 24:-16]
    np.testing.assert_allclose(found, image_of(decoder, x)[:, 16:-24], rtol=1e-4, atol=1e-5)


def test_a_feature_sees_the_pixels_around_its_own_place():
    encoder = ConvolutionalEncoder((40, 40, 1), (3,), 1, (3, 3))
    x = images((40, 40, 1), rows=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        feature = features(encoder, x)[0, 4, 5, 0]
    rows, columns = np.nonzero(tape.gradient(feature, x)[0, :, :, 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16 - 8, 16 + 8, 20 - 8, 20 + 8)


@pytest.mark.parametrize("gdn", VARIANTS)
def test_the_gradient_reaches_every_variable(gdn):
    encoder, decoder = (perturb(network) for network in pair(gdn=gdn))
    assert all(variable.trainable for network in (encoder, decoder) for variable in network.variables)
    assert [len(network.trainable_variables) for network in (encoder, decoder)] == [2 * 5 + 2 * 2] * 2
    x = images(encoder.image_shape)
    variables = encoder.trainable_variables + decoder.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.math.squared_difference(x, decoder(encoder(x))))
    for variable, gradient in zip(variables, tape.gradient(loss, variables)):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.name


def test_the_variants_differ_and_the_papers_is_the_default():
    found = []
    for options in ({"gdn": "square"}, {"gdn": "absolute"}, {}):
        tf.keras.utils.set_random_seed(1)
        found.append(ConvolutionalEncoder((12, 9, 2), (5,), 3, (4, 3), **options)(images((12, 9, 2))))
    assert np.abs(found[0] - found[1]).max() > 1e-3
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("gdn", VARIANTS)
def test_config_and_checkpoint_give_the_same_network_again(gdn, tmp_path):
    for network, given in zip(pair(gdn=gdn, output_activation="sigmoid"), (images((12, 9, 2)), latents())):
        tf.train.Checkpoint(network=perturb(network)).write(str(tmp_path / "weights"))
        config = json.loads(json.dumps(network.get_config()))
        registered = tf.keras.utils.get_registered_object(tf.keras.utils.get_registered_name(type(network)))
        again = registered(**config)
        assert again.get_config() == network.get_config()
        status = tf.train.Checkpoint(network=again).read(str(tmp_path / "weights"))  # before any call: nothing is lazy
        status.assert_consumed()
        np.testing.assert_array_equal(again(given), network(given))


@pytest.mark.thorough
@pytest.mark.parametrize("gdn", VARIANTS)
def test_the_graphs_know_their_shapes_and_hold_core_ops_without_conditionals(gdn):
    encoder, decoder = pair(gdn=gdn)
    for network, given, returned in ((encoder, [None, 12, 9, 2], [None, 3]), (decoder, [None, 3], [None, 12, 9, 2])):
        function = tf.function(network).get_concrete_function(tf.TensorSpec(given, tf.float32))
        assert function.structured_outputs.shape.as_list() == returned
        graph = function.graph.as_graph_def()
        functions = {function.signature.name for function in graph.library.function}
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        ops = {node.op for node in nodes} - functions
        assert all(hasattr(tf.raw_ops, op) for op in ops)
        assert not {op for op in ops if "PyFunc" in op or op in ("If", "StatelessIf", "Case", "While")}


@pytest.mark.parametrize("gdn", after(1, VARIANTS))
def test_tangents_equal_finite_differences_in_and_out_of_a_graph(gdn):
    decoder = perturb(pair(gdn=gdn)[1])
    z, directions, step = latents(), tf.eye(3), 2e-2
    spec = tf.TensorSpec((None, 3), tf.float32)
    graph = tf.function(lambda z, d: tangents.tangents(decoder, z, d)[1], input_signature=(spec, spec))
    x_hat, found = tangents.tangents(decoder, z, directions)
    np.testing.assert_allclose(x_hat, decoder(z), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(graph(z, directions), found, rtol=1e-4, atol=1e-5)
    for i, direction in enumerate(directions):
        difference = (decoder(z + step * direction) - decoder(z - step * direction)) / (2 * step)
        np.testing.assert_allclose(found[:, i], difference, atol=2e-3 * np.abs(difference).max())


def test_the_encoders_tangents_equal_finite_differences():
    encoder = perturb(pair()[0])
    x, step = images((12, 9, 2)), 1e-2
    move = tf.random.stateless_normal(x.shape, (3, 3))
    with tf.autodiff.ForwardAccumulator(x, move) as forward:
        z = encoder(x)
    difference = (encoder(x + step * move) - encoder(x - step * move)) / (2 * step)
    np.testing.assert_allclose(forward.jvp(z), difference, atol=2e-3 * np.abs(difference).max())


def test_the_output_activation_follows_the_last_normalization():
    tf.keras.utils.set_random_seed(1)
    plain = pair()[1]
    tf.keras.utils.set_random_seed(1)
    ended = pair(output_activation="sigmoid")[1]
    np.testing.assert_allclose(ended(latents()), tf.sigmoid(plain(latents())), rtol=1e-6)
    assert np.min(plain(latents())) < 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (28, 28)}, r"image_shape: \(28, 28\) must be \(height, width, channels\)"),
        ({"shape": (28, 0, 1)}, r"image_shape: \(28, 0, 1\)"),
        ({"filters": ()}, r"filters: \(\) must be positive integers.*at least one"),
        ({"filters": (4, 0)}, r"filters: \((4, 0|0, 4)\)"),
        ({"gdn": "relu"}, r"gdn: 'relu' is not one of \('square', 'absolute'\)"),
    ],
)
def test_arguments_outside_their_range_are_named(options, message):
    given = {"shape": (12, 9, 2), "filters": (4, 3), "gdn": "square", **options}
    with pytest.raises(ValueError, match=message):
        ConvolutionalEncoder(given["shape"], (5,), 3, given["filters"], given["gdn"])
    with pytest.raises(ValueError, match=message):
        ConvolutionalDecoder(3, (5,), given["shape"], given["filters"], given["gdn"])


@pytest.mark.parametrize("shape", [(3, 11, 9, 2), (3, 12, 9, 1), (3, 216)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"where images \(B, 12, 9, 2\) are needed; reshape or resize"):
        pair()[0](tf.zeros(shape))
