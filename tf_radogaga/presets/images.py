"""The papers' hyperparameters for images, and smaller ones that two processor cores train in minutes.

Faces, "paper": the networks of RaDOGAGA are those of Kato et al., ICML 2020, section 5.1.1; those of the beta-VAE, its
lambda, batch and learning rate for 1 - SSIM those of Nakagawa et al., ICML 2021, appendix C.2, and "paper-256" those of
its appendix E.3. The lambdas (0.1, 0.1) and (0.2, 0.1) of RaDOGAGA go with a scale of D that is not printed; here
lambda2 is 1 / beta of the beta-VAE that Kato et al. put beside it, 1e5 for the mean squared error and 1e4 for 1 - SSIM,
which buys the same distortion; and the beta-VAE of Nakagawa et al. has 10 times its lambda for the mean squared error,
in the same ratio. Digits: the beta-VAE of Nakagawa et al., appendix F. "small" and what goes with it was chosen here;
it has no hidden fully connected layers, so that decoders bend less.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tf_radogaga.presets.tables import Preset

MODELS = ("radogaga", "beta-vae", "beta-vae-decomposed")
DISTORTIONS = {"mse": "mean", "ssim": "ssim", "bce": "bce"}
"""Names of this module -> of `presets.DISTORTIONS`."""

_PAPER_FILTERS = (64, 64, 64, 64)

_FACES = Preset(
    "radogaga-log",
    units=(8192,),
    latent_units=256,
    components=None,
    lambda1=1000,
    lambda2=1e5,
    filters=_PAPER_FILTERS,
    noisy_rate=False,
    learning_rate=1e-4,
    batch_size=64,
    steps=300_000,
    reconstruction_features=False,
)
_FACES_VAE = replace(
    _FACES,
    model="vae",
    units=(1024,),
    latent_units=32,
    lambda1=None,
    lambda2=1e4,
    map_activation="softplus",
    learning_rate=1e-3,
)
_SMALL_FACES = replace(
    _FACES,
    units=(),
    latent_units=16,
    lambda1=100,
    lambda2=12_000,
    filters=(32, 32, 32, 32),
    gauge="flow",
    learning_rate=1e-3,
    decay=True,
    batch_size=32,
    steps=2000,
)
_DIGITS_VAE = Preset(
    "vae",
    units=(1024, 1024),
    latent_units=32,
    components=None,
    lambda1=None,
    lambda2=2000,
    activation="relu",
    decay=True,
    steps=50_000,
    reconstruction_features=False,
)
_SMALL_DIGITS = replace(
    _SMALL_FACES, lambda1=200, lambda2=10_000, filters=(32, 32, 32), gauge="learned", batch_size=64, steps=4000
)

# kind of images, size -> preset of RaDOGAGA and of the beta-VAE; lambdas weight means over pixels and channels
_PRESETS = {
    ("faces", "paper"): (_FACES, _FACES_VAE),
    ("faces", "paper-256"): (_FACES, replace(_FACES_VAE, units=(2048,), latent_units=256, lambda2=1e5)),
    ("faces", "small"): (_SMALL_FACES, _SMALL_FACES),
    ("digits", "paper"): (None, _DIGITS_VAE),
    ("digits", "paper-64"): (None, replace(_DIGITS_VAE, latent_units=64, lambda2=10_000)),
    ("digits", "small"): (_SMALL_DIGITS, _SMALL_DIGITS),
}
SIZES = tuple(dict.fromkeys(size for _, size in _PRESETS))

# 1 - SSIM has a tenth of the mean squared error's lambda2, and what else departs from it; its metric weighs dark and
# flat windows many times as much as others, to which small batches adapt sooner
_SSIM_FACTOR = 0.1
_SSIM_CHANGES = {
    _FACES: {"lambda1": 2000},
    _SMALL_FACES: {
        "lambda1": 300,
        "lambda2": 2000,
        "latent_units": 8,
        "output_activation": "sigmoid",
        "initial_beta": 0.05,
        "learning_rate": 2e-3,
        "batch_size": 8,
        "steps": 4000,
    },
}


def default_size(image_shape: tuple[int, int, int], model: str) -> str:
    """ "paper" for the beta-VAE of digits, which is dense and trains in minutes; "small" for all others."""
    return "paper" if _kind(image_shape) == "digits" and model == "beta-vae" else "small"


def _kind(image_shape: tuple[int, int, int]) -> str:
    return "digits" if tuple(image_shape) == (28, 28, 1) else "faces"


def image_preset(
    image_shape: tuple[int, int, int], model: str = "radogaga", distortion: str | None = None, size: str | None = None
) -> Preset:
    """The hyperparameters of a model of images.

    Args:
        image_shape: (H, W, C): 28 x 28 x 1 takes those of digits, all others those of faces.
        model: one of `MODELS`.
        distortion: a key of `DISTORTIONS`; default "bce" for the papers' digits, "ssim" for their beta-VAE of faces,
            "mse" for all others.
        size: "small"; "paper"; or another size of the papers' beta-VAE, "paper-64" of digits and "paper-256" of faces;
            default `default_size`.

    Raises:
        ValueError: an unknown name, or a model that no paper has for these images.
    """
    kind, size = _kind(image_shape), size or default_size(image_shape, model)
    for name, value, allowed in (
        ("model", model, MODELS),
        ("distortion", distortion, (None, *DISTORTIONS)),
        ("size", size, [size for of, size in _PRESETS if of == kind]),
    ):
        if value not in allowed:
            raise ValueError(f"{name}: {value!r} is not one of {tuple(allowed)} for {kind}.")
    radogaga, vae = _PRESETS[kind, size]
    if model == "radogaga" and not radogaga:
        raise ValueError(f"size: {size!r} of {kind} is a beta-VAE's; RaDOGAGA has 'small'.")
    preset = radogaga if model == "radogaga" else vae
    if distortion is None:
        papers_vae = model != "radogaga" and size != "small"
        distortion = {"digits": "bce", "faces": "ssim"}[kind] if papers_vae else "mse"
    changes = {"distortion": DISTORTIONS[distortion], "lambda2": preset.lambda2}
    if distortion == "ssim":
        changes |= {"lambda2": _SSIM_FACTOR * preset.lambda2, **_SSIM_CHANGES.get(preset, {})}
    if distortion == "bce":  # a sum over pixels of numbers in 0..1
        changes |= {"lambda2": preset.lambda2 / math.prod(image_shape), "output_activation": "sigmoid"}
    if model != "radogaga":
        changes |= {
            "model": "vae",
            "gauge": "learned",
            "lambda1": changes["lambda2"] if model == "beta-vae-decomposed" else None,
        }
    return replace(preset, **changes)
