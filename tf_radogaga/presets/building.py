"""What a preset holds, and the compiled model that is built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_radogaga import distortions
from tf_radogaga._core.stack import keras
from tf_radogaga.distortions.structural import StructuralDissimilarity
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.models.beta_vae import BetaVAE
from tf_radogaga.models.dagmm import DAGMM
from tf_radogaga.models.radogaga import RaDOGAGA
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder, DenseNetwork
from tf_radogaga.preprocessing import ImageScaling, Preprocessing
from tf_radogaga.priors.factorized import FactorizedPrior
from tf_radogaga.priors.mixture import MixturePrior
from tf_radogaga.priors.stacked import StackedPrior

DISTORTIONS = {
    "mean": distortions.MeanSquaredError,
    "sum": distortions.SumSquaredError,
    "downward-convex": distortions.DownwardConvexError,
    "upward-convex": distortions.UpwardConvexError,
    "bce": distortions.BinaryCrossEntropy,
    "norm": distortions.EuclideanNorm,
    "pseudo-huber": distortions.PseudoHuberError,
    "ssim": StructuralDissimilarity,
}

MOST_JOINT_UNITS = 64
"""Mixtures of more would take more memory than the networks; of more than half as many, they have fewer components."""

_Networks = tuple[keras.layers.Layer, keras.layers.Layer]  # encoder and decoder


@dataclass(frozen=True)
class Preset:
    """One configuration: `units` of the encoder (the decoder mirrors them), N, the prior, the loss, and how it is
    trained. A VAE with lambda1 has the decomposed form, one without the conventional, beta = 1 / lambda2."""

    model: str
    units: tuple[int, ...]
    latent_units: int
    components: int | None  # of the mixture; None: a factorized prior
    lambda1: float | None
    lambda2: float
    activation: str = "tanh"
    output_activation: str | None = None
    estimation_units: tuple[int, ...] = (10,)
    distortion: str = "mean"
    transform: str | None = None  # D1 of RaDOGAGA or a decomposed VAE, where it is not the distortion
    noisy_rate: bool = True
    gauge: str | None = "learned"
    covariance_floor: float = 1e-6
    em_iterations: int = 0
    learning_rate: float = 1e-3
    decay: bool = False  # of the learning rate, to 0, as a cosine
    beta_2: float = 0.999  # of Adam
    weight_decay: float | None = None  # of Adam, decoupled
    dropout: float = 0.5  # in the estimation network
    batch_size: int = 256
    steps: int = 4000
    patience: int | None = None  # reports without a lower loss on a held-out tenth before training stops
    reconstruction_features: bool = True
    filters: tuple[int, ...] | None = None  # of convolutions before `units`, with GDN; None: dense networks
    map_activation: str | None = None  # of a `ConvolutionalDecoder`
    initial_beta: float = 1.0  # of its IGDN
    source: str = ""  # the papers that print these values, and which were chosen here


def build(preset: Preset, preprocess: Preprocessing) -> Autoencoder:
    """The compiled, untrained model of a preset; seed it by `tf.keras.utils.set_random_seed` first.

    On tables the mixture sees [z, relative distance, cosine], as in DAGMM (ICML 2020, section 5.3). Models of images
    have a `joint_prior`, up to `MOST_JOINT_UNITS` latent units.
    """
    outputs = preset.latent_units * (BetaVAE.heads if preset.model == "vae" else 1)
    networks = _networks(preset, preprocess, outputs)
    shared: dict[str, Any] = {"preprocess": preprocess, "distortion": DISTORTIONS[preset.distortion]()}
    if isinstance(preprocess, ImageScaling) and preset.latent_units <= MOST_JOINT_UNITS:
        components = 64 if preset.latent_units <= MOST_JOINT_UNITS // 2 else 16
        shared["joint_prior"] = StackedPrior(preset.latent_units + 1, components)
    model = _model(preset, networks, **shared)
    rate = preset.learning_rate
    if preset.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, preset.steps)
    model.compile(keras.optimizers.Adam(rate, beta_2=preset.beta_2, weight_decay=preset.weight_decay))
    return model


def _networks(preset: Preset, preprocess: Preprocessing, outputs: int) -> _Networks:
    latent_units, units, end = preset.latent_units, preset.units, preset.output_activation
    event: Any = preprocess.width if len(preprocess.event_shape) == 1 else preprocess.event_shape
    if preset.filters is None:
        encoder = DenseNetwork(event, units, outputs, preset.activation)
        return encoder, DenseNetwork(latent_units, units[::-1], event, preset.activation, end)
    encoder = ConvolutionalEncoder(event, units, outputs, preset.filters)
    form = {name: getattr(preset, name) for name in ("map_activation", "output_activation", "initial_beta")}
    return encoder, ConvolutionalDecoder(latent_units, units[::-1], event, preset.filters[::-1], **form)


def _model(preset: Preset, networks: _Networks, **shared: Any) -> Autoencoder:
    transform = DISTORTIONS[preset.transform]() if preset.transform else None
    if preset.model == "vae" and preset.lambda1 is None:
        return BetaVAE(*networks, beta=1 / preset.lambda2, transform=transform, **shared)
    shared.update(lambda1=preset.lambda1, lambda2=preset.lambda2)
    if preset.model == "vae":
        return BetaVAE(*networks, transform=transform, **shared)
    shared["reconstruction_features"] = features = preset.reconstruction_features
    width = preset.latent_units + 2 * features
    if preset.components is None:
        prior = FactorizedPrior(width, init_scale=3.0)  # an isometric z of images spans a few units a dimension
    else:
        options = {name: getattr(preset, name) for name in ("dropout", "covariance_floor", "em_iterations")}
        prior = MixturePrior(width, preset.components, preset.estimation_units, **options)
    if preset.model == "dagmm":
        return DAGMM(*networks, prior, **shared)
    h = "identity" if preset.model == "radogaga-d" else "log"
    shared.update(h=h, noisy_rate=preset.noisy_rate, gauge=preset.gauge, transform=transform)
    return RaDOGAGA(*networks, prior, **shared)
