"""The base model: encoding, scoring, density and sampling, shared by every loss equation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_radogaga._core import checks, replicas, seeds
from tf_radogaga._core.constants import as_constant
from tf_radogaga._core.keras_configs import require_told
from tf_radogaga.distortions.base import Distortion, as_distortion
from tf_radogaga.isometry import active_directions, tangents
from tf_radogaga.models.graph_scores import ScoredInGraphs, without_nan
from tf_radogaga.models.reconstruction_features import with_features, with_scored_features
from tf_radogaga.networks import shapes
from tf_radogaga.preprocessing import PassThrough, Preprocessing
from tf_radogaga.preprocessing.cells import array_of
from tf_radogaga.preprocessing.images import ImageScaling
from tf_radogaga.priors.base import Prior, as_prior
from tf_radogaga.training import copies
from tf_radogaga.training.loop import TrainedOnRows
from tf_radogaga.training.rows import require_memory

keras = tf.keras

VOLUMES = ("isometric", "jacobian")


class Autoencoder(ScoredInGraphs, TrainedOnRows):
    """An autoencoder with a prior on its latent. A subclass is its loss equation: it gives `loss_terms`.

    Public methods take *raw* rows, as `preprocess` takes them: a matrix, named columns, or images. Inside, x is what
    comes out of `preprocess`, (B, *event), of M elements each, z the latent, (B, N).

    Args:
        encoder: x -> latent, (B, *event) -> (B, N): `DenseNetwork` or any Keras layer or model of yours. Its weights,
            also those that it makes at its first call, are made here.
        decoder: latent -> x_hat, (B, N) -> (B, *event), likewise.
        prior: P(z), a `Prior` or a `tfd.Distribution`; over N + 2 dimensions with `reconstruction_features`.
        preprocess: adapted layer from raw rows to x; default: rows are x, or images of any size become it, where the
            encoder tells the shape of its input.
        distortion: D(x, y), default the sum of squared errors; or a function (x, y) -> (B,) of your own.
        reconstruction_features: the prior sees [z, ||x - x_hat|| / ||x||, cos(x, x_hat)] as in DAGMM; the decoder sees
            z alone. The score is then an energy, not a density.

    Networks are trained as in any Keras model: `training` reaches every layer, so that dropout drops and batch
    normalization learns, and regularizers and `add_loss` are in the loss, as its term `regularization`. Where one call
    of the decoder serves several points of each row, its batch statistics are of all of them. Scores are taken with
    `training=False`.

    Raises:
        TypeError: encoder or decoder is no Keras layer, or the prior is none.
        ValueError: parts whose shapes do not fit, named.
    """

    heads = 1
    """Outputs of the encoder for each latent unit."""

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        prior: Prior,
        preprocess: Preprocessing | None = None,
        distortion: Distortion | Callable | None = None,
        reconstruction_features: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.encoder, self.decoder = (
            shapes.as_network("encoder", encoder),
            shapes.as_network("decoder", decoder),
        )
        self.preprocess = replicas.within_strategy(preprocess or _default_preprocessing(encoder))
        example = tf.zeros((1, *self.preprocess.event_shape))
        self.latent_units = shapes.latent_units(encoder, decoder, example, self.heads)
        self.prior = self._as_prior(prior)
        wide_prior = self.latent_units + 2 * reconstruction_features
        if (found := getattr(self.prior, "latent_units", wide_prior)) != wide_prior:
            raise ValueError(f"prior: {found} units where the {wide_prior} latent units and features are needed.")
        if self.prior.adapted and (found := self.prior.rate(tf.zeros((1, wide_prior))).shape) != (1,):
            raise ValueError(f"prior: a rate of shape {found} for one latent; one number per example, (B,), is needed.")
        self.distortion = as_distortion(distortion)
        found = tf.convert_to_tensor(self.distortion(example, example)).shape
        if found != (1,):
            raise ValueError(f"distortion: {found} for {example.shape} rows; one number per example, (B,), is needed.")
        self.reconstruction_features = reconstruction_features
        self.threshold = self.add_weight(
            "threshold", (), initializer=keras.initializers.Constant(math.inf), trainable=False
        )
        self.random = seeds.generator()
        units = self.latent_units
        self._directions = self.add_weight("active_directions", (units, units), trainable=False)
        self._informative = self.add_weight("active_dimensions", (), "int32", "zeros", trainable=False)
        self.built = True  # every weight exists from here on

    def _as_prior(self, prior: Any) -> Prior:
        return as_prior(prior)

    # Encoding and scoring

    # float32 also where the networks compute in float16: priors, gauges and distortions need it

    def _encoder_output(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self.encoder(x, training=training), tf.float32)

    def _decoder_output(self, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self.decoder(y, training=training), tf.float32)

    def _decode_all(self, points: list[tf.Tensor], training: bool = False) -> list[tf.Tensor]:
        """x_hat of several points of each row, by one call of the decoder."""
        return tf.split(self._decoder_output(tf.concat(points, axis=0), training), len(points))

    def encode_x(self, x: tf.Tensor) -> tf.Tensor:
        """z of preprocessed x, (B, N)."""
        return self._encoder_output(x)

    def _decode(self, z: tf.Tensor) -> tf.Tensor:
        return self._decoder_output(z)

    def _prior_input(
        self, z: tf.Tensor, x: tf.Tensor, x_hat: tf.Tensor, with_features: Callable = with_features
    ) -> tf.Tensor:
        """What the prior sees: z, or float64 [z, relative distance, cosine]."""
        if not self.reconstruction_features:
            return z
        return with_features(*(tf.reshape(t, (-1, math.prod(t.shape[1:]))) for t in (z, x, x_hat)))

    def _latents(self, x: tf.Tensor) -> tf.Tensor:
        """The latents that the prior is adapted to and scores."""
        z = self.encode_x(x)
        return self._prior_input(z, x, self._decode(z) if self.reconstruction_features else x, with_scored_features)

    def _energy(self, x: tf.Tensor) -> tf.Tensor:
        return without_nan(self.prior.rate(self._latents(x), training=False), math.inf)

    @functools.cached_property
    def _scoring_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`_energy` compiled as it is served: eager kernels round otherwise, and narrow priors magnify that."""
        return tf.function(self._energy).get_concrete_function(self._x_spec)

    def _scored(self, x: tf.Tensor) -> tf.Tensor:
        return self._scoring_graph(x) if tf.executing_eagerly() else self._energy(x)

    @property
    def _x_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self.preprocess.event_shape), tf.float32)

    def _checked(self, rows: Any) -> tf.Tensor:
        require_memory(rows, "rows")
        return self.preprocess(self.preprocess.check(rows))

    def encode(self, rows: Any) -> tf.Tensor:
        """The latent z of raw rows, (B, N)."""
        return self.by_blocks(rows, self.encode_x, fitted=False)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """x_hat (B, *event) of latents (B, N), in the preprocessed space."""
        return self._decode(tf.convert_to_tensor(z, tf.float32))

    def energy(self, rows: Any) -> tf.Tensor:
        """-log P(z) of raw rows in nats, (B,); higher is more anomalous. No noise, no dropout, independent of
        batch split.

        It is infinite, never NaN, for rows so far off that float32 overflows on the way.

        Raises:
            RuntimeError: the prior has not been adapted.
            TypeError, ValueError: bad rows, naming column and row.
        """
        return self.by_blocks(rows, self._scoring_graph)

    def call(self, rows: Any) -> dict[str, tf.Tensor]:
        """Energy (B,), latent (B, N) and reconstruction (B, *event) of raw rows; so `predict` works."""
        self._require_adapted()
        x = self._checked(rows)
        z = self.encode_x(x)
        return {"energy": self._energy(x), "latent": z, "reconstruction": self._decode(z)}

    def set_threshold(self, energies: np.ndarray, anomaly_share: float) -> float:
        """Flags rows above the (1 - anomaly_share) quantile of these energies; returns the threshold in nats.

        Args:
            energies: (B,), of held-out rows.
            anomaly_share: share of such rows to flag, in (0, 1).

        Raises:
            ValueError: no or non-finite energies, or a share outside (0, 1).
        """
        energies = array_of(energies, "energies")
        if not energies.size or not np.isfinite(energies).all():
            raise ValueError(f"energies: {energies.size} values, all must be finite and there must be one at least.")
        checks.require("anomaly_share", anomaly_share, 0 < anomaly_share < 1, "in (0, 1)")
        self.threshold.assign(np.percentile(energies, 100 * (1 - anomaly_share)))
        return float(self.threshold.numpy())

    def _require_adapted(self) -> None:
        if tf.executing_eagerly() and not self.prior.adapted:
            raise RuntimeError("prior: not adapted, so there is no mixture to score by; call fit or adapt_prior first.")

    # Density

    @property
    def metric_scale(self) -> float | None:
        """Squared length in z of a step whose squared length in the metric of the distortion is 1; None where the loss
        does not fix it."""
        return None

    @property
    def noise_variance(self) -> float:
        """Variance of the noise in the loss, in units of z squared, by which `fit` judges what is active."""
        return 1.0

    @property
    def axis_aligned(self) -> bool:
        """Whether the axes of z mean something one by one; a loss that is blind to rotations of z mixes them."""
        return self.prior.axis_aligned

    @property
    def active_dimensions(self) -> int:
        """Latent directions along which the data vary by more than `active_directions.LEAST_SIGNAL` of the noise
        (a VAE's: of a mean rate above `beta_vae.LEAST_RATE`), found at the end of `fit`; densities count only these."""
        with tf.init_scope():
            return int(self._informative.numpy())

    @property
    def active_directions(self) -> tf.Tensor:
        """An orthonormal basis of the active part of the latent space, (n, N); axes where all are active."""
        return as_constant(lambda: self._directions[: self.active_dimensions])

    def density_obstacle(self, volume: str) -> str | None:
        """Why `log_density` by this volume is not defined, or None."""
        if self.reconstruction_features:
            return (
                "reconstruction_features: the prior sees more than z, so the energy is no density; train with"
                " reconstruction_features=False."
            )
        if volume == "isometric" and (obstacle := self._isometric_obstacle()):
            return obstacle
        if self.prior.adapted and not self.active_dimensions:
            return (
                "active_dimensions: 0, no latent direction is known to carry more than noise; call fit or"
                " adapt_prior, and if that finds none train longer, or with greater lambdas or a smaller beta."
            )
        if self.active_dimensions < self.latent_units and not self.prior.has_marginals:
            return (
                f"{type(self.prior).__name__} has no closed-form marginal on {self.active_dimensions} of"
                f" {self.latent_units} dimensions; train with fewer latent units, so that all are active."
            )
        return None

    def _isometric_obstacle(self) -> str | None:
        """Why the theory gives no volume."""
        if self.metric_scale is None:
            return f"the loss of {type(self).__name__} does not fix the volume of z; use volume='jacobian'."
        if not self.prior.learned:
            return (
                f"{type(self.prior).__name__} is fixed, so the latent bends towards it and is not isometric; use"
                " volume='jacobian' or a prior that is learned."
            )
        return self._metric_obstacle()

    def _metric_obstacle(self) -> str | None:
        if not self.distortion.has_log_volume:
            return f"{type(self.distortion).__name__} has no closed-form volume; use volume='jacobian'."
        return None

    @property
    def has_log_density(self) -> bool:
        """Whether `log_density` by the free isometric volume is defined; the exported model then serves it."""
        return self.density_obstacle("isometric") is None

    def log_density(self, rows: Any, volume: str = "isometric") -> tf.Tensor:
        """log p(x) of raw rows, absolute, in nats, (B,): in the preprocessed space, on the manifold that the
        `active_dimensions` span.

            isometric   log p(x) = log P(z) + n/2 log(metric_scale) + 1/2 sum_j log alpha_j(A(x))     (free)
            jacobian    log p(x) = log P(z) - 1/2 log det(J' J),     J = dx_hat/dz                    (exact)

        Their difference is the isometry gap, `measures.isometry_gap`. Where x lies off the manifold P(z) and J speak of
        its image x_hat. Source: Kato et al., ICML 2020, Eq. 15-17; the change of variables.

        Args:
            rows: as `energy`.
            volume: "isometric" trusts the theory's constant scale; "jacobian" measures it, one decoder pass for every
                active dimension.

        Raises:
            NotImplementedError: there is no such density, with the reason.
            RuntimeError, TypeError, ValueError: as `energy`.
        """
        checks.one_of("volume", volume, VOLUMES)
        if obstacle := self.density_obstacle(volume):
            raise NotImplementedError(obstacle)
        return self.by_blocks(rows, self._log_density if volume == "isometric" else self._jacobian_log_density)

    def _jacobian_log_density(self, x: tf.Tensor) -> tf.Tensor:
        directions = self.active_directions
        elements = self.preprocess.width * len(directions)
        volumes = tangents.in_blocks(lambda part: self._volume_graph(x[part], directions), len(x), elements)
        return self._log_prob(x) - tf.cast(volumes, tf.float32)

    def _log_density(self, x: tf.Tensor) -> tf.Tensor:
        """By the isometric volume, of preprocessed x."""
        count = self.active_dimensions
        scale = 0.5 * count * math.log(self.metric_scale)
        return without_nan(scale + self.distortion.log_volume(x, count) + self._log_prob(x), -math.inf)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        """log P of the active part of z."""
        if self.active_dimensions == self.latent_units:
            return -self._scored(x)
        return self.prior.log_prob_along(self.encode_x(x), self.active_directions)

    @functools.cached_property
    def _volume_graph(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        def log_volume(x, directions):
            return tangents.log_volume(self._decode, self.encode_x(x), directions)

        directions = tf.TensorSpec((None, self.latent_units), tf.float32)
        return tf.function(log_volume).get_concrete_function(self._x_spec, directions)

    def _invalidate(self) -> None:
        super()._invalidate()
        # an interrupted training must leave neither directions nor a threshold of the last one
        self._informative.assign(0)
        self.threshold.assign(math.inf)

    def _adapt(self, dataset: tf.data.Dataset, cache: bool = False, refine: bool = True) -> None:
        super()._adapt(dataset, cache, refine)
        if refine and not self.reconstruction_features:
            self._find_active(dataset)

    def _find_active(self, dataset: tf.data.Dataset) -> None:
        if self.metric_scale is None:
            judged = tf.eye(self.latent_units), tf.ones(self.latent_units, tf.bool), tf.ones(self.latent_units)
        else:
            judged = active_directions.find(self, dataset)
        self._keep_directions(*judged)

    def _keep_directions(self, directions: tf.Tensor, active: tf.Tensor, signal: tf.Tensor) -> None:
        """Stores directions (N, N), the active ones first, in the order of their signal (N,)."""
        if not tf.reduce_all(active):
            directions = tf.gather(directions, tf.argsort(signal, direction="DESCENDING"))
        else:
            directions = tf.eye(self.latent_units)
        self._directions.assign(tf.cast(directions, tf.float32))
        self._informative.assign(tf.reduce_sum(tf.cast(active, tf.int32)))

    # Sampling and coding

    def sample(self, rows: int, seed: int | None = None) -> tf.Tensor:
        """Draws latents from the prior and decodes them, (rows, *event), in the preprocessed space.

        Raises:
            NotImplementedError: with `reconstruction_features` the prior is not one of z alone.
            ValueError: rows below 1.
        """
        self._require_adapted()
        checks.at_least(1, rows=rows)
        self._require_prior_of_z("sample")
        stateless = None if seed is None else tf.constant([seed, 0])  # an integer would not repeat a draw
        return self.decode(tf.cast(self.prior.distribution.sample(rows, seed=stateless), tf.float32))

    def compress(self, rows: Any) -> bytes:
        """Raw rows as one range-coded string of their rounded latents; about `energy` of those, summed, in nats.

        Not for serving: range coding needs tensorflow-compression.

        Raises:
            NotImplementedError: the prior has no range coder; `FactorizedPrior` has.
            ValueError: bad rows, or a latent too far to be coded, naming the row.
        """
        self._require_adapted()
        self._require_prior_of_z("compress")
        return self.prior.compress(self.encode(rows))

    def decompress(self, strings: bytes) -> tf.Tensor:
        """x_hat (B, *event), in the preprocessed space, of the latents that `compress` of this very model rounded.

        Raises:
            ValueError: a string that is damaged, no output of `compress`, or of another prior.
        """
        return self.decode(self.prior.decompress(strings))

    def _require_prior_of_z(self, what: str) -> None:
        if self.reconstruction_features:
            raise NotImplementedError(
                f"{what}: with reconstruction_features the prior sees more than z; train with"
                " reconstruction_features=False."
            )

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Autoencoder:
        """A model of its own: layers of the same configuration with initial weights, and the preprocessing as it was
        adapted. So `keras.models.clone_model` makes an untrained model; `copy.deepcopy` copies the weights too."""
        return cls(**{argument: copies.fresh(part, argument) for argument, part in config.items()})

    def __deepcopy__(self, memo: dict) -> Autoencoder:
        memo[id(self)] = twin = copies.copy_model(self)
        return twin

    def __copy__(self) -> Autoencoder:
        return copies.copy_model(self)

    def get_config(self) -> dict:
        require_told(self)
        copies.require_apart(self)
        return {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "prior": self.prior,
            "preprocess": self.preprocess,
            "distortion": self.distortion,
            "reconstruction_features": self.reconstruction_features,
        }


def _default_preprocessing(encoder: keras.layers.Layer) -> Preprocessing:
    shape = shapes.input_shape(encoder)
    if shape is None or len(shape) not in (1, 3):
        raise ValueError(
            f"preprocess: missing, and the encoder tells no shape of its input (found {shape}); give"
            " preprocess=PassThrough(columns), ImageScaling((height, width, channels)), or another adapted layer."
        )
    return ImageScaling(shape) if len(shape) == 3 else PassThrough(*shape)
