"""Range coding of latents by a trained FactorizedPrior."""

import struct
import zlib

import numpy as np
import pytest
from helpers.factorized import bimodal_and_normal, perturbed

from tf_radogaga._core.stack import HAS_RANGE_CODER, tf
from tf_radogaga.priors import FactorizedPrior

pytestmark = pytest.mark.skipif(not HAS_RANGE_CODER, reason=f"no range coder for TensorFlow {tf.__version__}")


@pytest.fixture(scope="module")
def coded(trained_prior):
    """Latents and their string."""
    z = bimodal_and_normal(4000, seed=1)
    return z, trained_prior.compress(z)


def test_decompress_returns_the_quantized_latents_exactly(trained_prior, coded):
    z, string = coded
    quantized = trained_prior.quantize(z)
    np.testing.assert_array_equal(trained_prior.decompress(string), quantized)
    assert np.abs(quantized - z).max() <= 0.5 + 1e-5
    steps = quantized - quantized[:1]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
    np.testing.assert_array_equal(trained_prior.quantize(quantized), quantized)


def test_the_string_is_as_long_as_the_rate_says(trained_prior, coded):
    z, string = coded
    rate = float(tf.reduce_sum(trained_prior.rate(trained_prior.quantize(z))))
    assert 8 * len(string) * np.log(2) == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_are_coded_too(trained_prior, rows):
    z = bimodal_and_normal(rows)
    found = trained_prior.decompress(trained_prior.compress(z))
    assert found.shape == (rows, 2)
    np.testing.assert_allclose(found, z, atol=0.5 + 1e-5)


def test_outliers_in_the_tails_are_coded_too(trained_prior):
    z = tf.constant([[0.0, 1e3], [-1e3, 3.0], [1e4, -1e4], [-5.0, 0.4], [1e6, 40.0]])
    found = trained_prior.decompress(trained_prior.compress(z))
    np.testing.assert_array_equal(found, trained_prior.quantize(z))
    np.testing.assert_allclose(found, z, atol=0.51)


def test_latents_of_many_steps_are_coded_too():
    prior = FactorizedPrior(2, init_scale=500.0)
    z = tf.constant(500 * np.random.default_rng(0).normal(size=(100, 2)), tf.float32)
    np.testing.assert_allclose(prior.decompress(prior.compress(z)), z, atol=0.5 + 1e-3)


def test_too_many_steps_for_range_coding():
    with pytest.raises(ValueError, match="too many for range coding"):
        FactorizedPrior(1, init_scale=1e5).compress(tf.zeros((1, 1)))


def _damaged(string):
    yield from (b"", b"abc", b"\x05\0\0\0", b"\0\0\x10\0 is no output of compress")
    yield from (string[: len(string) // 2], string[:-2], string + b"xx", string[4:])
    yield string[:4] + (2**20).to_bytes(4, "little") + string[8:]
    yield (2**20).to_bytes(4, "little") + string[4:]
    yield string[:500] + bytes([string[500] ^ 1]) + string[501:]


def test_a_string_that_is_damaged_or_garbage_is_refused(trained_prior, coded):
    for string in _damaged(coded[1]):
        with pytest.raises(ValueError, match="strings: "):
            trained_prior.decompress(string)


@pytest.mark.parametrize(
    "value",
    [2.0**30 - 2**15, 2.0**24 + 2, *(pytest.param(v, marks=pytest.mark.slow) for v in (2.0**29, 2.0**16 + 0.5))],
)
def test_the_farthest_latents_come_back_exactly(trained_prior, value):
    z = tf.constant([[value, 0.3], [-1.5, -value], [-value, value]])
    np.testing.assert_array_equal(trained_prior.decompress(trained_prior.compress(z)), trained_prior.quantize(z))


@pytest.mark.parametrize("value", [2.0**30 + 2**15, 2.0**31, 2.0**32, 1e20, np.inf, np.nan])
def test_latents_beyond_the_coder_are_refused_and_named(trained_prior, value):
    z = tf.constant([[1.0, 2.0], [0.0, -value], [value, 1.0]])
    with pytest.raises(ValueError, match=r"z: row 1 has .* in dimension 1, and .* steps \(2 such rows\); leave"):
        trained_prior.compress(z)


@pytest.mark.parametrize("shape", [(3, 1), (3, 3), (2,), (1, 3, 2)])
def test_only_a_matrix_of_latents_is_coded(trained_prior, shape):
    with pytest.raises(ValueError, match=r"z: shape .* where \(B, 2\) is expected"):
        trained_prior.compress(tf.zeros(shape))


def test_strings_of_another_prior_are_refused(trained_prior):
    other = perturbed(FactorizedPrior(2), seed=5)
    for rows in (0, 50):
        with pytest.raises(ValueError, match="strings: compressed by another prior than this"):
            trained_prior.decompress(other.compress(bimodal_and_normal(rows)))
    with pytest.raises(ValueError, match="strings: a str where the bytes of compress are expected"):
        trained_prior.decompress("text")


@pytest.mark.thorough
def test_tables_follow_the_weights():
    prior, z = perturbed(FactorizedPrior(2)), bimodal_and_normal(50)
    string, weights = prior.compress(z), prior.get_weights()
    perturbed(prior, seed=1)
    with pytest.raises(ValueError, match="or by one whose weights have changed since"):
        prior.decompress(string)
    prior.set_weights(weights)
    assert prior.compress(z) == string
    np.testing.assert_array_equal(prior.decompress(string), prior.quantize(z))


def test_strings_without_a_digest_are_read_with_a_warning(trained_prior, coded):
    z, string = coded
    earlier = string[4:8] + string[16:]
    earlier = struct.pack("<I", zlib.crc32(earlier)) + earlier
    with pytest.warns(UserWarning, match="strings: of an earlier version, which did not note the prior"):
        found = trained_prior.decompress(earlier)
    np.testing.assert_array_equal(found, trained_prior.quantize(z))
