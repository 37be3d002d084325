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
from typing import Any

from tf_radogaga._core import checks
from tf_radogaga.presets.building import Preset

MODELS = ("radogaga", "beta-vae", "beta-vae-decomposed")
DISTORTIONS = {"mse": "mean", "ssim": "ssim", "bce": "bce"}
"""Names of this module -> of `presets.DISTORTIONS`."""
_Part = dict[str, Any]  # of a preset
_IMAGES: _Part = {"components": None, "reconstruction_features": False}
_FACES: _Part = {**_IMAGES, "filters": (64, 64, 64, 64), "noisy_rate": False, "batch_size": 64, "steps": 300_000}
_FACES_RADOGAGA: _Part = {**_FACES, "units": (8192,), "latent_units": 256, "learning_rate": 1e-4}
_FACES_VAE: _Part = {**_FACES, "lambda1": None, "map_activation": "softplus"}
_FACES_VAE_32: _Part = {**_FACES_VAE, "units": (1024,), "latent_units": 32}
_FACES_VAE_256: _Part = {**_FACES_VAE, "units": (2048,), "latent_units": 256}
_DIGITS_VAE: _Part = {**_IMAGES, "units": (1024, 1024), "activation": "relu", "decay": True, "steps": 50_000}
_SMALL: _Part = {**_IMAGES, "units": (), "noisy_rate": False, "decay": True}
_SMALL_DIGITS: _Part = {**_SMALL, "filters": (32, 32, 32), "latent_units": 16, "batch_size": 64}
_SMALL_FACES: _Part = {**_SMALL, "filters": (32, 32, 32, 32)}
_SMALL_FACES_MSE: _Part = {**_SMALL_FACES, "latent_units": 16, "lambda2": 12_000, "batch_size": 32, "steps": 2000}
# the metric of 1 - SSIM weighs dark and flat windows many times as much as others; small batches adapt to them sooner
_SMALL_SSIM: _Part = {"distortion": "ssim", "output_activation": "sigmoid", "initial_beta": 0.05, "batch_size": 8}
_SMALL_FACES_SSIM: _Part = {**_SMALL_FACES, **_SMALL_SSIM, "latent_units": 8, "lambda2": 2000, "learning_rate": 2e-3}
_RADOGAGA_OF_FACES = (
    Preset("radogaga-log", **_FACES_RADOGAGA, lambda1=1000, lambda2=1e5),
    Preset("radogaga-log", **_FACES_RADOGAGA, lambda1=2000, lambda2=1e4, distortion="ssim"),
)

# kind of images, size -> entries of the mean squared error ("mean") and of 1 - SSIM; lambdas weight means over pixels
# and channels
_PRESETS = {
    ("faces", "paper"): (
        *_RADOGAGA_OF_FACES,
        Preset("vae", **_FACES_VAE_32, lambda2=1e4),
        Preset("vae", **_FACES_VAE_32, lambda2=1e3, distortion="ssim"),
    ),
    ("faces", "paper-256"): (
        *_RADOGAGA_OF_FACES,
        Preset("vae", **_FACES_VAE_256, lambda2=1e5),
        Preset("vae", **_FACES_VAE_256, lambda2=1e4, distortion="ssim"),
    ),
    ("faces", "small"): (
        Preset("radogaga-log", **_SMALL_FACES_MSE, lambda1=100, gauge="flow"),
        Preset("radogaga-log", **_SMALL_FACES_SSIM, lambda1=300, gauge="flow"),
        Preset("vae", **_SMALL_FACES_MSE, lambda1=None),
        Preset("vae", **_SMALL_FACES_SSIM, lambda1=None),
    ),
    ("digits", "paper"): (
        Preset("vae", **_DIGITS_VAE, lambda1=None, latent_units=32, lambda2=2000),
        Preset("vae", **_DIGITS_VAE, lambda1=None, latent_units=32, lambda2=200.0, distortion="ssim"),
    ),
    ("digits", "paper-64"): (
        Preset("vae", **_DIGITS_VAE, lambda1=None, latent_units=64, lambda2=10_000),
        Preset("vae", **_DIGITS_VAE, lambda1=None, latent_units=64, lambda2=1e3, distortion="ssim"),
    ),
    ("digits", "small"): (
        Preset("radogaga-log", **_SMALL_DIGITS, lambda1=200, lambda2=10_000),
        Preset("radogaga-log", **_SMALL_DIGITS, lambda1=200, lambda2=1e3, distortion="ssim"),
        Preset("vae", **_SMALL_DIGITS, lambda1=None, lambda2=10_000),
        Preset("vae", **_SMALL_DIGITS, lambda1=None, lambda2=1e3, distortion="ssim"),
    ),
}
SIZES = tuple(dict.fromkeys(size for _, size in _PRESETS))


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
    checks.one_of("model", model, MODELS, kind)
    checks.one_of("distortion", distortion, (None, *DISTORTIONS), kind)
    checks.one_of("size", size, [size for of, size in _PRESETS if of == kind], kind)
    if distortion is None:
        papers_vae = model != "radogaga" and size != "small"
        distortion = {"digits": "bce", "faces": "ssim"}[kind] if papers_vae else "mse"
    entries = {(preset.model, preset.distortion): preset for preset in _PRESETS[kind, size]}
    equation = "radogaga-log" if model == "radogaga" else "vae"
    found = entries.get((equation, "ssim" if distortion == "ssim" else "mean"))
    if found is None:
        raise ValueError(f"size: {size!r} of {kind} is a beta-VAE's; RaDOGAGA has 'small'.")
    if distortion == "bce":  # a sum over pixels of numbers in 0..1
        scaled = found.lambda2 / math.prod(image_shape)
        found = replace(found, distortion="bce", lambda2=scaled, output_activation="sigmoid")
    return replace(found, lambda1=found.lambda2) if model == "beta-vae-decomposed" else found
