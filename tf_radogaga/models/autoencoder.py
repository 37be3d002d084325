"""The base model: encoding, scoring, density and sampling, shared by every loss equation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_radogaga._core import checks, replicas, seeds
from tf_radogaga._core.constants import as_constant
from tf_radogaga._core.keras_configs import require_told
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion
from tf_radogaga.models import image_pipelines
from tf_radogaga.models.density import DIRECTIONS, PRIOR, RESIDUALS, Density
from tf_radogaga.models.image_pipelines import for_images
from tf_radogaga.models.joint import JOINT, Joint
from tf_radogaga.models.parts import default_preprocessing, fitting_distortion, fitting_prior, output, stacked_prior
from tf_radogaga.models.residuals import Residuals
from tf_radogaga.networks import shapes
from tf_radogaga.preprocessing import Preprocessing
from tf_radogaga.preprocessing.cells import array_of
from tf_radogaga.priors.base import Prior
from tf_radogaga.priors.stacked import StackedPrior
from tf_radogaga.training import batches, copies
from tf_radogaga.training.end_of_fit import Step, require_adapted
from tf_radogaga.training.feed import Feed
from tf_radogaga.training.loop import TrainedOnRows
from tf_radogaga.training.rows import require_memory

VOLUMES, SPACES = ("isometric", "jacobian"), ("manifold", "ambient")


class Autoencoder(TrainedOnRows):
    """An autoencoder with a prior on its latent. A subclass is its loss equation: it gives `loss_terms`.

    Public methods take *raw* rows, as `preprocess` takes them: a matrix, named columns, or images. Inside, x is what
    comes out of `preprocess`, (B, *event), of M elements each, z the latent, (B, N).

    Args:
        encoder: x -> latent, (B, *event) -> (B, N): `DenseNetwork` or any Keras layer or model of yours. Its weights,
            also those that it makes at its first call, are made here.
        decoder: latent -> x_hat, (B, N) -> (B, *event), likewise.
        prior: P(z), a `Prior` or a `tfp.distributions.Distribution`; over N + 2 dimensions with
            `reconstruction_features`.
        preprocess: adapted layer from raw rows to x; default: rows are x, or images of any size become it, where the
            encoder tells the shape of its input.
        distortion: D(x, y), default the sum of squared errors; or a function (x, y) -> (B,) of your own.
        reconstruction_features: the prior sees [z, ||x - x_hat|| / ||x||, cos(x, x_hat)] as in DAGMM; the decoder sees
            z alone. The score is then an energy, not a density.
        joint_prior: a `StackedPrior` of N + 1 units, fitted to z and log |x - x_hat| of validation rows at the end of
            `fit`, or by `adapt_residuals`; `surprise` scores by it.
        scoring_prior: a `StackedPrior` of as many units as the prior, fitted to training rows at the end of `fit`:
            energies, densities and samples are then of it. The prior trains the networks, and codes.

    Networks are trained as in any Keras model: `training` reaches every layer, regularizers and `add_loss` are in the
    loss, as its term `regularization`, and scores are taken with `training=False`. Where one call of the decoder serves
    several points of each row, its batch statistics are of all of them.

    Raises:
        TypeError: encoder or decoder is no Keras layer, or the prior is none.
        ValueError: parts whose shapes do not fit, named.
    """

    heads = 1
    """Outputs of the encoder for each latent unit."""

    own_prior: Callable[..., Prior] | None = None
    """The prior of losses that take no other, of N units."""

    density_class: type[Density] = Density
    end_of_fit: tuple[Step, ...] = (PRIOR, DIRECTIONS, RESIDUALS, JOINT)
    """What `fit` finds at its end, step by step."""

    threshold_on = "energy"
    """What the threshold is of: energy or surprise; or, in an `AnomalyDetector` of a density, -log_density."""

    metric_scale: float | None = None
    """Squared length in z of a step whose squared length in the metric of the distortion is 1; None where the loss does
    not fix it."""

    noise_variance: float = 1.0
    """Variance of the noise in the loss, in units of z squared, by which `fit` tells what is active."""

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        prior: Prior | None,
        preprocess: Preprocessing | None = None,
        distortion: Distortion | Callable | None = None,
        reconstruction_features: bool = False,
        joint_prior: StackedPrior | None = None,
        scoring_prior: StackedPrior | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        shapes.check_networks(encoder=encoder, decoder=decoder)
        self.encoder, self.decoder = encoder, decoder
        self.preprocess = replicas.within_strategy(preprocess or default_preprocessing(encoder))
        self.feed = Feed(self)
        example = tf.zeros((1, *self.preprocess.event_shape))
        self.latent_units = shapes.latent_units(encoder, decoder, example, self.heads)
        given = prior if self.own_prior is None else self.own_prior(self.latent_units)
        self.prior = fitting_prior(given, units := self.latent_units + 2 * reconstruction_features)
        self.scoring_prior = stacked_prior("scoring_prior", scoring_prior, units)
        self.distortion = fitting_distortion(distortion, example)
        self.reconstruction_features = reconstruction_features
        unset = keras.initializers.Constant(math.inf)
        self.threshold = self.add_weight("threshold", (), initializer=unset, trainable=False)
        self.random = tf.random.Generator.from_seed(seeds.draw_seed())
        self._directions = self.add_weight("active_directions", 2 * (self.latent_units,), trainable=False)
        self._informative = self.add_weight("active_dimensions", (), "int32", "zeros", trainable=False)  # older name
        self.joint_prior = stacked_prior("joint_prior", joint_prior, self.latent_units + 1)
        self.density, self.residuals, self.joint = self.density_class(self), Residuals(self), Joint(self)
        self.built = True  # every weight exists from here on

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """The named terms of the loss, each (B,); their sum, averaged over the batch, is the loss.

        Args:
            x: (B, *event), preprocessed.
            training: dropout on and the prior taken from the batch.
        """
        raise NotImplementedError

    def monitors(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """More quantities to watch while training, computed from the loss terms."""
        return {}

    # Encoding and scoring

    def encode_x(self, x: tf.Tensor) -> tf.Tensor:
        """z of preprocessed x, (B, N)."""
        return output(self.encoder, x)

    def by_blocks(self, rows: Any, function: Callable[[tf.Tensor], Any], fitted: bool = True) -> Any:
        """`function` of preprocessed x (B, *event), a tensor (B, ...) or a structure of such, of so many raw rows at
        once as memory takes.

        Raises:
            RuntimeError: `fitted` is asked for, and the prior has not been adapted.
            TypeError, ValueError: bad rows, naming column and row.
        """
        if fitted:
            require_adapted(self)
        return self.feed.by_blocks(rows, function)

    def encode(self, rows: Any) -> tf.Tensor:
        """The latent z of raw rows, (B, N)."""
        return self.by_blocks(rows, self.encode_x, fitted=False)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """x_hat (B, *event) of latents (B, N), in the preprocessed space."""
        return output(self.decoder, tf.convert_to_tensor(z, tf.float32))

    def energy(self, rows: Any) -> tf.Tensor:
        """-log P(z) of raw rows in nats, (B,); higher is more anomalous. No noise, no dropout, independent of
        batch split; infinite, never NaN, for rows so far off that float32 overflows on the way.

        Raises:
            RuntimeError: the prior has not been adapted.
            TypeError, ValueError: bad rows, naming column and row.
        """
        return self.by_blocks(rows, self.density.scoring_graph)

    def surprise(self, rows: Any) -> tf.Tensor:
        """How unlikely raw rows are on and off the manifold, in nats, (B,); about 2 for normal rows. See `joint.Joint`.

        Raises:
            RuntimeError: there is no `joint_prior`, or it is not fitted.
            TypeError, ValueError: as `energy`.
        """
        if obstacle := self.joint.obstacle():
            raise RuntimeError(obstacle)
        return self.by_blocks(rows, self.joint.surprise)

    def call(self, rows: Any) -> dict[str, tf.Tensor]:
        """Energy (B,), latent (B, N) and reconstruction (B, *event) of raw rows; so `predict` works."""
        require_adapted(self)
        x = self.feed.checked(rows)
        z = self.encode_x(x)
        return {"energy": self.density.energy(x), "latent": z, "reconstruction": self.decode(z)}

    def scores(self, rows: Any) -> dict[str, tf.Tensor]:
        """Scores of raw rows as tensors, (B,) each, unchecked, for graphs, as `serving_default` of an export
        gives them. A bad row gets valid = false and NaN scores, in exports finite ones, and changes no neighbours.

        Args:
            rows: as `preprocess` takes them.

        Returns:
            energy, and where the model has them log_density and surprise, in nats; anomaly, whether what `threshold_on`
            names exceeds the threshold; valid, whether the row could be scored.
        """
        require_memory(rows, "rows")
        return self.density.scores(*self.preprocess.marked(rows))

    score_images = for_images(image_pipelines.score_images)
    keep_normal_images = for_images(image_pipelines.keep_normal_images)
    """Models of images alone have these two, see `image_pipelines`."""

    def set_threshold(self, energies: np.ndarray, anomaly_share: float, on: str = "energy") -> float:
        """Flags rows above the (1 - anomaly_share) quantile of these energies; returns the threshold in nats.

        Args:
            energies: (B,), of held-out rows.
            anomaly_share: share of such rows to flag, in (0, 1).
            on: what they are: "energy", "surprise", or "ambient" for -log_density(rows, space="ambient").

        Raises:
            RuntimeError: the model has no such score.
            ValueError: no or non-finite energies, a share outside (0, 1), or another `on`.
        """
        checks.one_of("on", on, ("energy", "surprise", "ambient"))
        if obstacle := self.density.threshold_obstacle(on):
            raise RuntimeError(obstacle)
        energies = array_of(energies, "energies")
        if not energies.size or not np.isfinite(energies).all():
            raise ValueError(f"energies: {energies.size} values, all must be finite and there must be one at least.")
        checks.require("anomaly_share", anomaly_share, 0 < anomaly_share < 1, "in (0, 1)")
        self.threshold.assign(np.percentile(energies, 100 * (1 - anomaly_share)))
        self.threshold_on = on
        return float(self.threshold.numpy())

    # Density

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

    @property
    def has_log_density(self) -> bool:
        """Whether `log_density` by the free isometric volume is defined; the exported model then serves it."""
        return self.density.obstacle("isometric") is None

    def log_density(self, rows: Any, volume: str = "isometric", space: str = "manifold") -> tf.Tensor:
        """log p(x) of raw rows, absolute, in nats, (B,): in the preprocessed space, on the manifold that the
        `active_dimensions` span, or of all M dimensions.

            isometric   log p(x_hat) = log P(z) + n/2 log(metric_scale) + 1/2 sum_j log alpha_j(A(x))     (free)
            jacobian    log p(x_hat) = log P(z) - 1/2 log det(J' J),     J = dx_hat/dz                    (exact)
            ambient     log p(x) = log p(x_hat) + log q(x - x_hat),     q on M - n dimensions

        The difference of the volumes is the isometry gap, `measures.isometry_gap`. On the manifold, P(z) and J speak of
        the image x_hat of an x that lies off it. Source: Kato et al., ICML 2020, Eq. 15-17; the change of variables.

        Args:
            rows: as `energy`.
            volume: "isometric" trusts the theory's scale; "jacobian" measures it, a decoder pass an active dimension.
            space: "manifold", a density along it; or "ambient", in units that do not depend on n, so that it compares
                models of any number of latent units, and other densities of the same columns.

        Raises:
            NotImplementedError: there is no such density, with the reason.
            RuntimeError, TypeError, ValueError: as `energy`.
        """
        checks.one_of("volume", volume, VOLUMES)
        if obstacle := self.density.obstacle(volume):
            raise NotImplementedError(obstacle)
        checks.one_of("space", space, SPACES)
        return self.by_blocks(rows, functools.partial(self.density.log_density_in, space, volume=volume))

    def adapt_residuals(self, rows: Any) -> None:
        """Fits the law of the residuals x - x_hat, for densities of all space, and the `joint_prior`.

        Args:
            rows: 50 normal raw rows or more that `fit` has not seen, as residuals of those that it has are too small.

        Raises:
            RuntimeError, TypeError, ValueError: as `energy`; too few rows.
        """
        require_adapted(self)
        dataset = batches.rows_only(self.feed.prepared(rows, "rows"))
        self.residuals.fit(dataset, required=self.joint_prior is None)
        self.joint.fit(dataset)

    # Sampling and coding

    def sample(self, rows: int, seed: int | None = None, space: str = "manifold") -> tf.Tensor:
        """Draws latents from the prior and decodes them, (rows, *event), in the preprocessed space; in that of
        "ambient" densities also residuals, normal to the manifold.

        Raises:
            NotImplementedError: the prior is not one of z alone, or has no sampler, or residuals have no known law.
            ValueError: rows below 1.
        """
        require_adapted(self)
        checks.at_least(1, rows=rows)
        checks.one_of("space", space, SPACES)
        self.density.require_prior_of_latent("sample")
        stateless = None if seed is None else tf.constant([seed, 0])  # an integer would not repeat a draw
        z = tf.cast(self.density.prior.distribution.sample(rows, seed=stateless), tf.float32)
        return self.decode(z) if space == "manifold" else self.residuals.decoded(z, seed)

    def compress(self, rows: Any) -> bytes:
        """Raw rows as one range-coded string of their rounded latents; about `energy` of those, summed, in nats.

        Not for serving: range coding needs tensorflow-compression.

        Raises:
            NotImplementedError: the prior has no range coder; `FactorizedPrior` has.
            ValueError: bad rows, or a latent too far to be coded, naming the row.
        """
        require_adapted(self)
        self.density.require_prior_of_latent("compress")
        return self.prior.compress(self.encode(rows))

    def decompress(self, strings: bytes) -> tf.Tensor:
        """x_hat (B, *event), in the preprocessed space, of the latents that `compress` of this very model rounded.

        Raises:
            ValueError: a string that is damaged, no output of `compress`, or of another prior.
        """
        return self.decode(self.prior.decompress(strings))

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
        names = "encoder", "decoder", "prior", "preprocess", "distortion", "reconstruction_features"
        return {name: getattr(self, name) for name in (*names, "joint_prior", "scoring_prior")}
