import numpy as np
import pytest
from helpers.marks import after

from tf_radogaga import DAGMM, BetaVAE, PassThrough, RaDOGAGA, presets
from tf_radogaga.presets import images, tables

REST = ("arrhythmia", "kddcup99", "kddcup-rev")
CLASSES = {"dagmm": DAGMM, "vae": BetaVAE}


@pytest.mark.parametrize(
    ("model", "size"),
    after(2, [*((m, "small") for m in presets.MIXTURE_MODELS), *((m, "paper") for m in presets.MODELS)]),
)
@pytest.mark.parametrize(
    "dataset", after(1, ["thyroid", presets.DEFAULT, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)])
)
def test_every_preset_builds_a_model_that_scores(dataset, model, size):
    built = presets.build(presets.preset(dataset, model, size), PassThrough(20))
    assert isinstance(built, CLASSES.get(model, RaDOGAGA))
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


def test_the_vae_has_the_networks_and_weights_of_table_5():
    kdd, rev = (presets.build(presets.preset(name, "vae"), PassThrough(30)) for name in ("kddcup99", "kddcup-rev"))
    assert (kdd.encoder.units, kdd.latent_units, kdd.lambda1, kdd.lambda2) == ((200, 100), 10, 30000, 6000)
    assert kdd.transform is kdd.distortion and rev.transform is rev.distortion
    assert (kdd.decoder.activation, rev.decoder.activation) == ("leaky_relu", "tanh")
    assert kdd.decomposed and kdd.beta == 1 / 6000


def test_a_table_that_no_paper_has_must_say_so():
    with pytest.raises(ValueError, match=r"dataset: 'my\.csv' is not one of \('kddcup99', .*; give 'default'"):
        presets.preset("my.csv", "dagmm")
    for model in presets.MODELS:
        default, thyroid = (presets.preset(name, model) for name in (presets.DEFAULT, "thyroid"))
        assert (default.units, default.lambda1, default.lambda2) == (thyroid.units, thyroid.lambda1, thyroid.lambda2)


def test_the_toy_data_have_the_networks_of_one_paper():
    with pytest.raises(ValueError, match=r"size: 'small' is not one of \('paper',\) for toy"):
        presets.preset("toy", "dagmm", "small")
    with pytest.raises(ValueError, match=r"model: 'vae' is not one of .* for the paper size of toy"):
        presets.preset("toy", "vae")


@pytest.mark.parametrize("module", [tables, images])
def test_every_preset_names_its_source(module):
    for key, entries in module._PRESETS.items():
        for preset in entries:
            assert "et al." in preset.source or "chosen here" in preset.source, (key, preset.model)


def test_unknown_names():
    with pytest.raises(ValueError, match="model: 'gan'"):
        presets.preset("thyroid", "gan")
    with pytest.raises(ValueError, match=r"model: 'vae' is not one of .* for the small size of thyroid"):
        presets.preset("thyroid", "vae", "small")
    with pytest.raises(ValueError, match="size: 'huge'"):
        presets.preset("thyroid", "dagmm", "huge")
