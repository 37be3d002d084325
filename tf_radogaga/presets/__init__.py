"""The papers' hyperparameters, for tables and for images, and the models built from them."""

from tf_radogaga.presets.images import image_preset
from tf_radogaga.presets.tables import DISTORTIONS, MIXTURE_MODELS, MODELS, Preset, build, preset

__all__ = ["DISTORTIONS", "MIXTURE_MODELS", "MODELS", "Preset", "build", "image_preset", "preset"]
