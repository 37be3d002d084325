import numpy as np
import pytest

from tf_radogaga import DAGMM, PassThrough, RaDOGAGA, presets


@pytest.mark.parametrize("size", ["paper", "small"])
@pytest.mark.parametrize("model", presets.MODELS)
@pytest.mark.parametrize("dataset", ["thyroid", "arrhythmia", "kddcup99", "kddcup-rev", "my.csv"])
def test_every_preset_builds_a_model_that_scores(dataset, model, size):
    built = presets.build(presets.preset(dataset, model, size), PassThrough(20))
    assert isinstance(built, DAGMM if model == "dagmm" else RaDOGAGA)
    rows = np.random.default_rng(0).uniform(size=(50, 20))
    built.adapt_prior(rows)
    assert np.isfinite(built.energy(rows)).all()


def test_sizes_and_lambdas_are_the_papers():
    thyroid = presets.preset("thyroid", "radogaga-log")
    assert (thyroid.units, thyroid.latent_units, thyroid.components) == ((30, 24), 6, 2)
    assert (thyroid.lambda1, thyroid.lambda2) == (100, 1000)
    kdd = presets.preset("kddcup99", "radogaga-d", "small")
    assert (kdd.units, kdd.latent_units, kdd.components, kdd.lambda1, kdd.lambda2) == ((60, 30), 1, 4, 100, 100)
    dagmm = presets.preset("arrhythmia", "dagmm")
    assert (dagmm.units, dagmm.latent_units, dagmm.lambda1, dagmm.lambda2) == ((10,), 4, 0.1, 0.005)


def test_unknown_names():
    with pytest.raises(ValueError, match="model: 'vae'"):
        presets.preset("thyroid", "vae")
    with pytest.raises(ValueError, match="size: 'huge'"):
        presets.preset("thyroid", "dagmm", "huge")
