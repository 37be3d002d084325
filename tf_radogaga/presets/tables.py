"""The papers' hyperparameters of tables and of the toy data, one entry for each (data set, size, model).

In a source "networks" are units, latent_units, components and activation. What was chosen here for tables was chosen by
F1 on splits 100 to 153, which no reported result uses: among it learning rates in place of the printed 1e-4, D, D1 of
the VAE (Table 5 has the norm on all but KDDCup-rev), the latent gauge, which the papers do not have, and whether EM
refines the mixture. The toy data have no labels; beta_2 of Adam is 0.9 there since the gradient of log D has heavy
tails, and after a large one Adam must not stand still for a thousand steps.
"""

from __future__ import annotations

from tf_radogaga._core import checks
from tf_radogaga.presets.building import Preset

MIXTURE_MODELS = ("radogaga-d", "radogaga-log", "dagmm")
MODELS = (*MIXTURE_MODELS, "vae")
DEFAULT = "default"
"""The data set to name for a table that is not one of the papers'."""

_KATO, _VAE = "Kato et al., arXiv v1", "Nakagawa et al., ICML 2021, 5.3, Table 5 and H.2"
_REST = "the rest: chosen here"
_TABLE_2 = f"networks, lambdas: {_KATO}, Table 2; {_REST}"
_TABLE_3 = f"networks, lambdas: {_KATO}, Table 3; {_REST}"
_DAGMM_2 = f"networks: {_KATO}, Table 2; lambdas: its appendix E, as Zong et al., 2018; {_REST}"
_DAGMM_3 = f"networks: {_KATO}, Table 3; lambdas: its appendix E, as Zong et al., 2018; {_REST}"
# by the closed form of appendix D (100, 10000) keep one direction of the table's six, none with D as a mean
_D_THYROID = f"networks: {_KATO}, Table 2; lambdas in place of its (100, 10000), {_REST} (docs/choosing.py)"
_VAE_THYROID = f"networks, distortion: {_VAE}; lambdas in place of its (6000, 18000), {_REST}"
_TOY = f"networks, lambdas, distortion, noisy_rate, dropout: Kato et al., ICML 2020, 5.2.1; {_REST}"

# fmt: off
_PRESETS = {
    ("kddcup99", "paper"): (
        Preset("radogaga-d", units=(60, 30), latent_units=8, components=4, lambda1=100, lambda2=1000, distortion="sum",
               noisy_rate=False, covariance_floor=1e-3, batch_size=1024, source=_TABLE_2),
        Preset("radogaga-log", units=(60, 30), latent_units=8, components=4, lambda1=10, lambda2=100, distortion="sum",
               noisy_rate=False, gauge=None, covariance_floor=1e-3, batch_size=1024, source=_TABLE_2),
        Preset("dagmm", units=(60, 30), latent_units=8, components=4, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, batch_size=1024, source=_DAGMM_2),
        Preset("vae", units=(200, 100), latent_units=10, components=None, activation="leaky_relu", lambda1=30_000,
               lambda2=6000, distortion="sum", reconstruction_features=False, learning_rate=3e-3, decay=True,
               steps=24_000, patience=3, source=f"networks, lambdas, distortion: {_VAE}; {_REST}"),
    ),
    ("kddcup99", "small"): (
        Preset("radogaga-d", units=(60, 30), latent_units=1, components=4, lambda1=100, lambda2=100, distortion="sum",
               noisy_rate=False, covariance_floor=1e-3, batch_size=1024, source=_TABLE_3),
        Preset("radogaga-log", units=(60, 30), latent_units=1, components=4, lambda1=100, lambda2=1000,
               distortion="sum", noisy_rate=False, gauge=None, covariance_floor=1e-3, batch_size=1024, source=_TABLE_3),
        Preset("dagmm", units=(60, 30), latent_units=1, components=4, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, batch_size=1024, source=_DAGMM_3),
    ),
    ("kddcup-rev", "paper"): (
        Preset("radogaga-d", units=(60, 30), latent_units=8, components=2, lambda1=1000, lambda2=100, distortion="sum",
               noisy_rate=False, covariance_floor=1e-3, batch_size=1024, source=_TABLE_2),
        Preset("radogaga-log", units=(60, 30), latent_units=8, components=2, lambda1=100, lambda2=100, distortion="sum",
               noisy_rate=False, gauge=None, covariance_floor=1e-3, batch_size=1024, source=_TABLE_2),
        Preset("dagmm", units=(60, 30), latent_units=8, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, batch_size=1024, source=_DAGMM_2),
        Preset("vae", units=(200, 50), latent_units=20, components=None, lambda1=30_000, lambda2=6000, distortion="sum",
               reconstruction_features=False, decay=True, batch_size=1024, steps=12_000, patience=3,
               source=f"networks, lambdas, distortion, transform, batch_size: {_VAE}; {_REST}"),
    ),
    ("kddcup-rev", "small"): (
        Preset("radogaga-d", units=(60, 30), latent_units=1, components=2, lambda1=100, lambda2=100, distortion="sum",
               noisy_rate=False, covariance_floor=1e-3, batch_size=1024, source=_TABLE_3),
        Preset("radogaga-log", units=(60, 30), latent_units=1, components=2, lambda1=100, lambda2=1000,
               distortion="sum", noisy_rate=False, gauge=None, covariance_floor=1e-3, batch_size=1024, source=_TABLE_3),
        Preset("dagmm", units=(60, 30), latent_units=1, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, batch_size=1024, source=_DAGMM_3),
    ),
    ("thyroid", "paper"): (
        Preset("radogaga-d", units=(30, 24), latent_units=6, components=2, lambda1=1000, lambda2=1000, distortion="sum",
               source=_D_THYROID),
        Preset("radogaga-log", units=(30, 24), latent_units=6, components=2, lambda1=100, lambda2=1000,
               covariance_floor=1e-2, source=_TABLE_2),
        Preset("dagmm", units=(30, 24), latent_units=6, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, steps=1000, source=_DAGMM_2),
        Preset("vae", units=(60, 30), latent_units=6, components=None, activation="leaky_relu", lambda1=20_000,
               lambda2=60_000, distortion="sum", reconstruction_features=False, learning_rate=3e-3, steps=2500,
               patience=3, source=_VAE_THYROID),
    ),
    ("thyroid", "small"): (
        Preset("radogaga-d", units=(12, 4), latent_units=1, components=2, lambda1=1000, lambda2=10_000,
               distortion="sum", covariance_floor=1e-3, source=_TABLE_3),
        Preset("radogaga-log", units=(12, 4), latent_units=1, components=2, lambda1=100, lambda2=10_000,
               distortion="sum", covariance_floor=1e-3, source=_TABLE_3),
        Preset("dagmm", units=(12, 4), latent_units=1, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, steps=1000, source=_DAGMM_3),
    ),
    ("arrhythmia", "paper"): (
        Preset("radogaga-d", units=(10,), latent_units=4, components=2, lambda1=1000, lambda2=100,
               covariance_floor=1e-3, em_iterations=100, steps=400, source=_TABLE_2),
        Preset("radogaga-log", units=(10,), latent_units=4, components=2, lambda1=1000, lambda2=100,
               covariance_floor=3e-3, em_iterations=100, weight_decay=1.0, dropout=0.0, steps=400, source=_TABLE_2),
        Preset("dagmm", units=(10,), latent_units=4, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, steps=400, source=_DAGMM_2),
        Preset("vae", units=(200, 100), latent_units=50, components=None, activation="leaky_relu", lambda1=6000,
               lambda2=24_000, distortion="pseudo-huber", reconstruction_features=False, batch_size=1024, steps=260,
               patience=3, source=f"networks, lambdas, batch_size: {_VAE}; {_REST}"),
    ),
    ("arrhythmia", "small"): (
        Preset("radogaga-d", units=(10,), latent_units=2, components=2, lambda1=1000, lambda2=100,
               covariance_floor=1e-3, em_iterations=100, steps=400, source=_TABLE_3),
        Preset("radogaga-log", units=(10,), latent_units=2, components=2, lambda1=1000, lambda2=100,
               covariance_floor=3e-3, em_iterations=100, weight_decay=1.0, dropout=0.0, steps=400, source=_TABLE_3),
        Preset("dagmm", units=(10,), latent_units=2, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, steps=400, source=_DAGMM_3),
    ),
    ("toy", "paper"): (
        Preset("radogaga-d", units=(64, 32, 16), latent_units=3, components=3, lambda1=10**6, lambda2=1000,
               distortion="sum", noisy_rate=False, em_iterations=100, reconstruction_features=False, learning_rate=2e-3,
               decay=True, beta_2=0.9, steps=20_000, source=_TOY),
        Preset("radogaga-log", units=(64, 32, 16), latent_units=3, components=3, lambda1=1000, lambda2=1000,
               distortion="sum", noisy_rate=False, em_iterations=100, reconstruction_features=False, learning_rate=2e-3,
               decay=True, beta_2=0.9, steps=20_000, source=_TOY),
        Preset("dagmm", units=(64, 32, 16), latent_units=3, components=3, lambda1=1e-4, lambda2=1e-9, distortion="sum",
               noisy_rate=False, gauge=None, em_iterations=100, reconstruction_features=False, learning_rate=2e-3,
               decay=True, beta_2=0.9, steps=20_000, source=_TOY),
    ),
    (DEFAULT, "paper"): (
        Preset("radogaga-d", units=(30, 24), latent_units=6, components=2, lambda1=1000, lambda2=1000, distortion="sum",
               source=f"as for Thyroid: {_D_THYROID}"),
        Preset("radogaga-log", units=(30, 24), latent_units=6, components=2, lambda1=100, lambda2=1000,
               source=f"as for Thyroid: {_TABLE_2}"),
        Preset("dagmm", units=(30, 24), latent_units=6, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, source=f"as for Thyroid: {_DAGMM_2}"),
        Preset("vae", units=(60, 30), latent_units=6, components=None, activation="leaky_relu", lambda1=20_000,
               lambda2=60_000, distortion="sum", reconstruction_features=False, learning_rate=3e-3, steps=2500,
               patience=3, source=f"as for Thyroid: {_VAE_THYROID}"),
    ),
    (DEFAULT, "small"): (
        Preset("radogaga-d", units=(12, 4), latent_units=1, components=2, lambda1=1000, lambda2=10_000,
               distortion="sum", source=f"as for Thyroid: {_TABLE_3}"),
        Preset("radogaga-log", units=(12, 4), latent_units=1, components=2, lambda1=100, lambda2=10_000,
               source=f"as for Thyroid: {_TABLE_3}"),
        Preset("dagmm", units=(12, 4), latent_units=1, components=2, lambda1=0.1, lambda2=0.005, distortion="sum",
               noisy_rate=False, gauge=None, source=f"as for Thyroid: {_DAGMM_3}"),
    ),
}
# fmt: on
DATASETS = tuple(dict.fromkeys(dataset for dataset, _ in _PRESETS))
"""What `preset` knows by name, `DEFAULT` among them."""


def preset(dataset: str, model: str, size: str = "paper") -> Preset:
    """The hyperparameters of one of the papers' models on one of their data sets.

    Args:
        dataset: "thyroid", "arrhythmia", "kddcup99" or "kddcup-rev"; "toy", which has the paper's `MIXTURE_MODELS`
            alone; or `DEFAULT` for any other table.
        model: one of `MODELS`.
        size: "paper" (arXiv v1 Table 2) or "small" (Table 3), which the vae does not have.

    Raises:
        ValueError: an unknown name, or a model of a size that no paper has.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset: {dataset!r} is not one of {DATASETS}; give {DEFAULT!r} for a table of your own.")
    checks.one_of("model", model, MODELS)
    checks.one_of("size", size, [size for known, size in _PRESETS if known == dataset], dataset)
    found = {preset.model: preset for preset in _PRESETS[dataset, size]}
    checks.one_of("model", model, found, f"the {size} size of {dataset}")
    return found[model]
