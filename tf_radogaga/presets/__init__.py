"""The papers' hyperparameters, for tables and for images, and the models built from them."""

from tf_radogaga.presets.building import DISTORTIONS, Preset, build
from tf_radogaga.presets.images import image_preset
from tf_radogaga.presets.tables import DATASETS, DEFAULT, MIXTURE_MODELS, MODELS, preset

__all__ = [
    "DATASETS",
    "DEFAULT",
    "DISTORTIONS",
    "MIXTURE_MODELS",
    "MODELS",
    "Preset",
    "build",
    "image_preset",
    "preset",
]
