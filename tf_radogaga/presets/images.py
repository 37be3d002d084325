"""The papers' hyperparameters for images, and smaller ones that two processor cores train in minutes.

In a source "networks" are units, filters, latent_units, activation and map_activation. The lambdas (0.1, 0.1) and
(0.2, 0.1) of Kato et al. go with a scale of D that is not printed; lambda2 = 1 / beta of the beta-VAE that they put
beside it buys the same distortion. "small" has no hidden fully connected layers, so that decoders bend less.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tf_radogaga._core import checks
from tf_radogaga.presets.building import Preset
from tf_radogaga.presets.tables import DEFAULT

MODELS = ("radogaga", "beta-vae", "beta-vae-decomposed")
DISTORTIONS = {"mse": "mean", "ssim": "ssim", "bce": "bce"}
"""Names of this module -> of `presets.DISTORTIONS`."""

_REST, _KATO, _NAKAGAWA = "the rest: chosen here", "Kato et al., ICML 2020, 5.1.1", "Nakagawa et al., ICML 2021"
_C2 = f"networks, learning_rate, batch_size, steps: {_NAKAGAWA}, C.2"
_E3 = f"{_C2} and E.3"
_TENFOLD = f"lambda2: 10 times that of ssim, the ratio of {_KATO}"
_RADOGAGA = f"networks, learning_rate: {_KATO}; lambda2: 1 / beta there; batch_size, steps: {_NAKAGAWA}, C.2; {_REST}"
_F = f"networks, learning_rate, batch_size, steps: {_NAKAGAWA}, F; {_REST}"
_F_BCE = f"lambda2 (of bce), {_F}"
_ON_FACES, _HERE = "chosen here, by r on held-out faces of 64 x 64", "chosen here"

# lambdas weight means over pixels and channels; the metric of 1 - SSIM weighs dark and flat windows many times as much
# as others, and small batches adapt to them sooner
# fmt: off
_PRESETS = {
    ("faces", "paper"): (
        Preset("radogaga-log", units=(8192,), filters=(64, 64, 64, 64), latent_units=256, components=None, lambda1=1000,
               lambda2=1e5, noisy_rate=False, reconstruction_features=False, learning_rate=1e-4, batch_size=64,
               steps=300_000, source=_RADOGAGA),
        Preset("radogaga-log", units=(8192,), filters=(64, 64, 64, 64), latent_units=256, components=None, lambda1=2000,
               lambda2=1e4, distortion="ssim", noisy_rate=False, reconstruction_features=False, learning_rate=1e-4,
               batch_size=64, steps=300_000, source=_RADOGAGA),
        Preset("vae", units=(1024,), filters=(64, 64, 64, 64), latent_units=32, components=None,
               map_activation="softplus", lambda1=None, lambda2=1e4, noisy_rate=False, reconstruction_features=False,
               batch_size=64, steps=300_000, source=f"{_C2}; {_TENFOLD}; {_REST}"),
        Preset("vae", units=(1024,), filters=(64, 64, 64, 64), latent_units=32, components=None,
               map_activation="softplus", lambda1=None, lambda2=1e3, distortion="ssim", noisy_rate=False,
               reconstruction_features=False, batch_size=64, steps=300_000, source=f"lambda2, {_C2}; {_REST}"),
    ),
    ("faces", "paper-256"): (
        Preset("radogaga-log", units=(8192,), filters=(64, 64, 64, 64), latent_units=256, components=None, lambda1=1000,
               lambda2=1e5, noisy_rate=False, reconstruction_features=False, learning_rate=1e-4, batch_size=64,
               steps=300_000, source=_RADOGAGA),
        Preset("radogaga-log", units=(8192,), filters=(64, 64, 64, 64), latent_units=256, components=None, lambda1=2000,
               lambda2=1e4, distortion="ssim", noisy_rate=False, reconstruction_features=False, learning_rate=1e-4,
               batch_size=64, steps=300_000, source=_RADOGAGA),
        Preset("vae", units=(2048,), filters=(64, 64, 64, 64), latent_units=256, components=None,
               map_activation="softplus", lambda1=None, lambda2=1e5, noisy_rate=False, reconstruction_features=False,
               batch_size=64, steps=300_000, source=f"{_E3}; {_TENFOLD}; {_REST}"),
        Preset("vae", units=(2048,), filters=(64, 64, 64, 64), latent_units=256, components=None,
               map_activation="softplus", lambda1=None, lambda2=1e4, distortion="ssim", noisy_rate=False,
               reconstruction_features=False, batch_size=64, steps=300_000, source=f"lambda2, {_E3}; {_REST}"),
    ),
    (DEFAULT, "small"): (
        Preset("radogaga-log", units=(), filters=(32, 32, 32, 32), latent_units=16, components=None, lambda1=100,
               lambda2=12_000, noisy_rate=False, gauge="flow", reconstruction_features=False, decay=True, batch_size=32,
               steps=2000, source=_ON_FACES),
        Preset("radogaga-log", units=(), filters=(32, 32, 32, 32), latent_units=8, components=None,
               output_activation="sigmoid", initial_beta=0.05, lambda1=300, lambda2=2000, distortion="ssim",
               noisy_rate=False, gauge="flow", reconstruction_features=False, learning_rate=2e-3, decay=True,
               batch_size=8, source=_ON_FACES),
        Preset("vae", units=(), filters=(32, 32, 32, 32), latent_units=16, components=None, lambda1=None,
               lambda2=12_000, noisy_rate=False, reconstruction_features=False, decay=True, batch_size=32, steps=2000,
               source=_ON_FACES),
        Preset("vae", units=(), filters=(32, 32, 32, 32), latent_units=8, components=None, output_activation="sigmoid",
               initial_beta=0.05, lambda1=None, lambda2=2000, distortion="ssim", noisy_rate=False,
               reconstruction_features=False, learning_rate=2e-3, decay=True, batch_size=8, source=_ON_FACES),
    ),
    ("digits", "paper"): (
        Preset("vae", units=(1024, 1024), latent_units=32, components=None, activation="relu", lambda1=None,
               lambda2=2000, reconstruction_features=False, decay=True, steps=50_000, source=_F_BCE),
        Preset("vae", units=(1024, 1024), latent_units=32, components=None, activation="relu", lambda1=None,
               lambda2=200.0, distortion="ssim", reconstruction_features=False, decay=True, steps=50_000, source=_F),
    ),
    ("digits", "paper-64"): (
        Preset("vae", units=(1024, 1024), latent_units=64, components=None, activation="relu", lambda1=None,
               lambda2=10_000, reconstruction_features=False, decay=True, steps=50_000, source=_F_BCE),
        Preset("vae", units=(1024, 1024), latent_units=64, components=None, activation="relu", lambda1=None,
               lambda2=1e3, distortion="ssim", reconstruction_features=False, decay=True, steps=50_000, source=_F),
    ),
    ("digits", "small"): (
        Preset("radogaga-log", units=(), filters=(32, 32, 32), latent_units=16, components=None, lambda1=200,
               lambda2=10_000, noisy_rate=False, reconstruction_features=False, decay=True, batch_size=64,
               source=_HERE),
        Preset("radogaga-log", units=(), filters=(32, 32, 32), latent_units=16, components=None, lambda1=200,
               lambda2=1e3, distortion="ssim", noisy_rate=False, reconstruction_features=False, decay=True,
               batch_size=64, source=_HERE),
        Preset("vae", units=(), filters=(32, 32, 32), latent_units=16, components=None, lambda1=None, lambda2=10_000,
               noisy_rate=False, reconstruction_features=False, decay=True, batch_size=64, source=_HERE),
        Preset("vae", units=(), filters=(32, 32, 32), latent_units=16, components=None, lambda1=None, lambda2=1e3,
               distortion="ssim", noisy_rate=False, reconstruction_features=False, decay=True, batch_size=64,
               source=_HERE),
    ),
}
# fmt: on
SIZES = tuple(dict.fromkeys(size for _, size in _PRESETS))


def default_size(image_shape: tuple[int, int, int], model: str) -> str:
    """ "paper" for the beta-VAE of digits, which is dense and trains in minutes; "small" for all others."""
    return "paper" if tuple(image_shape) == (28, 28, 1) and model == "beta-vae" else "small"


def image_preset(
    image_shape: tuple[int, int, int], model: str = "radogaga", distortion: str | None = None, size: str | None = None
) -> Preset:
    """The hyperparameters of a model of images.

    Args:
        image_shape: (H, W, C): 28 x 28 x 1 takes those of digits, 64 x 64 x 3 those of faces; no paper has others,
            which take the "small" ones of faces.
        model: one of `MODELS`.
        distortion: a key of `DISTORTIONS`; default "bce" for the papers' digits, "ssim" for their beta-VAE of faces,
            "mse" for all others.
        size: "small"; "paper"; or another size of the papers' beta-VAE, "paper-64" of digits and "paper-256" of faces;
            default `default_size`.

    Raises:
        ValueError: an unknown name, or a model that no paper has for these images.
    """
    kinds: dict[tuple[int, ...], str] = {(64, 64, 3): "faces", (28, 28, 1): "digits"}
    kind = kinds.get(tuple(image_shape), f"images of shape {tuple(image_shape)}")
    size = size or default_size(image_shape, model)
    checks.one_of("model", model, MODELS, kind)
    checks.one_of("distortion", distortion, (None, *DISTORTIONS), kind)
    sizes = {size: entries for of in (DEFAULT, kind) for (known, size), entries in _PRESETS.items() if known == of}
    checks.one_of("size", size, sizes, kind)
    if distortion is None:
        papers_vae = model != "radogaga" and size != "small"
        distortion = {"digits": "bce", "faces": "ssim"}[kind] if papers_vae else "mse"
    entries = {(preset.model, preset.distortion): preset for preset in sizes[size]}
    equation = "radogaga-log" if model == "radogaga" else "vae"
    found = entries.get((equation, "ssim" if distortion == "ssim" else "mean"))
    if found is None:
        raise ValueError(f"size: {size!r} of {kind} is a beta-VAE's; RaDOGAGA has 'small'.")
    source = found.source
    if distortion == "bce":  # a sum over pixels of numbers in 0..1
        source += "; for bce lambda2 is divided by H W C, and the output is a sigmoid"
        scaled = found.lambda2 / math.prod(image_shape)
        found = replace(found, distortion="bce", lambda2=scaled, output_activation="sigmoid", source=source)
    if model == "beta-vae-decomposed":
        found = replace(found, lambda1=found.lambda2, source=f"{source}; lambda1 = lambda2: {_NAKAGAWA}, C.2")
    return found
