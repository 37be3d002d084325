"""That the forms of a kernel compute what the package does, and the arithmetic of their table; nothing is timed."""

import bench_kernels
import numpy as np
import pytest
import tensorflow as tf
from helpers.marks import after


def assert_same(found, expected, rtol=1e-4):
    for one, other in zip(found, expected):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)


@pytest.mark.thorough
@pytest.mark.parametrize("inverse", [False, True])
def test_forms_of_gdn_are_that_of_the_network_but_for_the_exponents(inverse):
    forms, variables, maps = bench_kernels.gdn_forms(inverse)
    assert maps.shape == (32, 32, 32, 32)
    used, *others = (
        [part.numpy() for part in bench_kernels.graph(form, [maps[:2, :3, :4]], variables[name])()]
        for name, form in forms.items()
    )
    assert len(used) == 4, "the maps, and the gradients to them, to beta and to gamma"
    for other in others[:-1]:
        assert_same(other, used)
    assert np.abs(others[-1][0] - used[0]).max() > 0.1


@pytest.mark.parametrize("form", after(2, list(bench_kernels.SSIM)[1:]))
def test_forms_of_window_means_give_the_distortion_and_its_gradients(form):
    rng = np.random.default_rng(0)
    given = [tf.constant(rng.uniform(size=(2, 13, 16, 3)), tf.float32) for _ in range(2)]
    used = next(iter(bench_kernels.SSIM.values()))
    found, expected = (bench_kernels.graph(kind(), given)() for kind in (bench_kernels.SSIM[form], used))
    assert_same(found, expected, 1e-3 if form == "float32" else 1e-5)


def test_the_table_has_ratios_to_the_form_in_use():
    lines = bench_kernels.table({"GDN": {"in use": 0.004, "other": 0.003}}).splitlines()
    assert lines[2:] == ["| GDN | in use | 4.00 | 1.00 |", "| GDN | other | 3.00 | 0.75 |"]
    assert len({line.count("|") for line in lines}) == 1
