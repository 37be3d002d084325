"""The base model: training, scoring and their data, shared by every loss equation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_radogaga import batches, randomness
from tf_radogaga.callbacks import AdaptBeforeValidation, StartAtStep, StopOnNonFinite
from tf_radogaga.distortions import Distortion, SumSquaredError
from tf_radogaga.preprocessing import PassThrough, Preprocessing
from tf_radogaga.priors import Prior

keras = tf.keras

SCORING_BATCH = 16384


class Autoencoder(keras.Model):
    """An autoencoder with a prior on its latent. A subclass is its loss equation: it gives `loss_terms`.

    Public methods take *raw* rows, as `preprocess` takes them: a matrix, or named columns. Inside, x is what comes
    out of `preprocess`, (B, M), z the latent, (B, N).

    Args:
        encoder: x -> latent, a layer with `input_units` and `output_units`, such as `DenseNetwork`.
        decoder: latent -> x_hat, likewise.
        prior: P(z); over N + 2 dimensions with `reconstruction_features`.
        preprocess: adapted layer from raw rows to x; default: rows are x.
        distortion: D(x, y), default the sum of squared errors.
        reconstruction_features: the prior sees [z, ||x - x_hat|| / ||x||, cos(x, x_hat)] as in DAGMM; the decoder sees
            z alone. The score is then an energy, not a density.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        prior: Prior,
        preprocess: Preprocessing | None = None,
        distortion: Distortion | None = None,
        reconstruction_features: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.preprocess = preprocess or PassThrough(encoder.input_units)
        wide_prior = encoder.output_units + 2 * reconstruction_features
        for name, found, needed, why in (
            ("encoder", encoder.input_units, self.preprocess.width, "columns of preprocess"),
            ("decoder", decoder.input_units, encoder.output_units, "latent units of the encoder"),
            ("decoder", decoder.output_units, encoder.input_units, "columns of x"),
            ("prior", getattr(prior, "latent_units", wide_prior), wide_prior, "latent units and features"),
        ):
            if found != needed:
                raise ValueError(f"{name}: {found} units where the {needed} {why} are needed.")
        self.distortion = distortion or SumSquaredError()
        self.reconstruction_features = reconstruction_features
        self.threshold = self.add_weight(
            "threshold", (), initializer=keras.initializers.Constant(math.inf), trainable=False
        )
        self.random = randomness.generator()
        self._shuffle_seed = randomness.draw_seed()
        self._non_finite = tf.Variable([0, 0], trainable=False, dtype=tf.int64, name="non_finite")
        self._validation_batches = None
        self._means: dict[str, keras.metrics.Mean] = {}
        self.built = True  # every weight exists from here on

    # The loss equation

    def loss_terms(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """The named terms of the loss, each (B,); their sum, averaged over the batch, is the loss.

        Args:
            x: (B, M), preprocessed.
            training: dropout on and the prior taken from the batch.
        """
        raise NotImplementedError

    def monitors(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """More quantities to watch while training, computed from the loss terms."""
        return {}

    # Encoding and scoring

    def _encode(self, x: tf.Tensor) -> tf.Tensor:
        return self.encoder(x)

    def _decode(self, z: tf.Tensor) -> tf.Tensor:
        return self.decoder(z)

    def _prior_input(self, z: tf.Tensor, x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
        """What the prior sees: z, or float64 [z, relative distance, cosine]."""
        if not self.reconstruction_features:
            return z
        # float64: squares of far-off rows overflow float32, and the cosine is nearly 1
        z, x, x_hat = (tf.cast(t, tf.float64) for t in (z, x, x_hat))
        tiny = 1e-12
        x_norm = tf.sqrt(tf.reduce_sum(tf.square(x), axis=1, keepdims=True) + tiny)
        x_hat_norm = tf.sqrt(tf.reduce_sum(tf.square(x_hat), axis=1, keepdims=True) + tiny)
        distance = tf.sqrt(tf.reduce_sum(tf.math.squared_difference(x, x_hat), axis=1, keepdims=True) + tiny)
        cosine = tf.reduce_sum(x * x_hat, axis=1, keepdims=True) / (x_norm * x_hat_norm)
        return tf.concat([z, distance / x_norm, cosine], axis=1)

    def _latents(self, x: tf.Tensor) -> tf.Tensor:
        """The latents that the prior is adapted to and scores."""
        z = self._encode(x)
        return self._prior_input(z, x, self._decode(z) if self.reconstruction_features else x)

    def _energy(self, x: tf.Tensor) -> tf.Tensor:
        return self.prior.rate(self._latents(x), training=False)

    @functools.cached_property
    def _scoring_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`_energy` compiled as it is served: eager kernels round otherwise, and narrow priors magnify that."""
        return tf.function(self._energy).get_concrete_function(tf.TensorSpec((None, self.preprocess.width), tf.float32))

    def _checked(self, rows: Any) -> tf.Tensor:
        return self.preprocess(self.preprocess.check(rows))

    def encode(self, rows: Any) -> tf.Tensor:
        """The latent z of raw rows, (B, N)."""
        return self._encode(self._checked(rows))

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """x_hat (B, M) of latents (B, N), in the preprocessed space."""
        return self._decode(tf.convert_to_tensor(z, tf.float32))

    def energy(self, rows: Any) -> tf.Tensor:
        """-log P(z) of raw rows in nats, (B,); higher is stranger. No noise, no dropout, independent of batch split.

        Raises:
            RuntimeError: the prior has not been adapted.
            TypeError, ValueError: bad rows, naming column and row.
        """
        self._require_adapted()
        return self._scoring_graph(self._checked(rows))

    def log_density(self, rows: Any) -> tf.Tensor:
        """log p(x) of raw rows, absolute, in nats, in the preprocessed space, (B,).

        Raises:
            NotImplementedError: this model's loss does not fix the volume of its latent space.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no absolute density: its loss does not fix the volume of z."
        )

    @property
    def has_log_density(self) -> bool:
        """Whether `log_density` is defined."""
        return False

    def call(self, rows: Any) -> dict[str, tf.Tensor]:
        """Energy (B,), latent (B, N) and reconstruction (B, M) of raw rows; so `predict` works."""
        self._require_adapted()
        x = self._checked(rows)
        z = self._encode(x)
        x_hat = self._decode(z)
        energy = self.prior.rate(self._prior_input(z, x, x_hat), training=False)
        return {"energy": energy, "latent": z, "reconstruction": x_hat}

    def set_threshold(self, energies: np.ndarray, anomaly_share: float) -> float:
        """Flags rows above the (1 - anomaly_share) quantile of these energies; returns the threshold in nats.

        Args:
            energies: (B,), of held-out rows.
            anomaly_share: share of such rows to flag, in (0, 1).

        Raises:
            ValueError: no or non-finite energies, or a share outside (0, 1).
        """
        energies = np.asarray(energies)
        if not energies.size or not np.isfinite(energies).all():
            raise ValueError(f"energies: {energies.size} values, all must be finite and there must be one at least.")
        if not 0 < anomaly_share < 1:
            raise ValueError(f"anomaly_share: {anomaly_share} is outside (0, 1).")
        self.threshold.assign(np.percentile(energies, 100 * (1 - anomaly_share)))
        return float(self.threshold)

    def _require_adapted(self) -> None:
        if tf.executing_eagerly() and not self.prior.adapted:
            raise RuntimeError("prior: not adapted, so there is no mixture to score by; call fit or adapt_prior first.")

    # Training

    def compile(
        self,
        optimizer: Any = "adam",
        steps_per_execution: int = 50,
        jit_compile: bool | None = None,
        run_eagerly: bool | None = None,
    ) -> None:
        """As `keras.Model.compile`, without losses: the loss is the model.

        Args:
            optimizer: Keras optimizer or its name.
            steps_per_execution: steps in one call of the compiled loop. Small networks gain several times from it.
            jit_compile: XLA; measure before use, mixture priors often run slower with it on a CPU.
            run_eagerly: for debugging.
        """
        super().compile(
            optimizer=optimizer,
            steps_per_execution=1 if run_eagerly else steps_per_execution,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
        )

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x = keras.utils.unpack_x_y_sample_weight(data)[0]
        with tf.GradientTape() as tape:
            terms = self.loss_terms(x, training=True)
            loss = tf.add_n([tf.reduce_mean(term) for term in terms.values()])
        self._watch_finite(terms)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self._track(terms)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        return self._track(self.loss_terms(keras.utils.unpack_x_y_sample_weight(data)[0], training=False))

    def _watch_finite(self, terms: dict[str, tf.Tensor]) -> None:
        """Notes step and term of the first non-finite value, for `first_non_finite`."""
        self._term_names = list(terms)
        bad = tf.stack([~tf.math.is_finite(tf.reduce_mean(term)) for term in terms.values()])
        found = tf.stack([tf.argmax(tf.cast(bad, tf.int32)), tf.cast(self.optimizer.iterations, tf.int64) + 1])
        is_first = tf.reduce_any(bad) & (self._non_finite[1] == 0)
        self._non_finite.assign(tf.where(is_first, found, self._non_finite))

    def first_non_finite(self) -> tuple[str, int]:
        """The loss term that first became NaN or infinite while training, and the step."""
        term, step = self._non_finite.numpy()
        return self._term_names[term], int(step)

    def _track(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        values = {"loss": tf.add_n(list(terms.values())), **terms, **self.monitors(terms)}
        for name, value in values.items():
            if name not in self._means:
                self._means[name] = keras.metrics.Mean(name)
            self._means[name].update_state(value)
        return {name: self._means[name].result() for name in values}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int = 256,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data: Any = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on normal raw rows through `keras.Model.fit`, then adapts the prior.

        A table in memory is preprocessed once and stays resident; its batches are drawn by shuffled index, whole
        batches only, in an order that depends on the seed and the step alone. A `tf.data.Dataset` of batches of raw
        rows is streamed as it is.

        Args:
            x: matrix, DataFrame or mapping of columns; or a `tf.data.Dataset` of batches of rows, or (rows, label).
            y: ignored, for the scikit-learn habit.
            batch_size: for tables in memory.
            epochs: reports on the progress bar; each one pass over x, or `steps_per_epoch` steps.
            steps_per_epoch: steps of one epoch; x is repeated as needed.
            validation_data: held-out normal raw rows, for `val_loss` and early stopping.
            callbacks: Keras callbacks.
            **kwargs: the rest of `keras.Model.fit`.

        Raises:
            TypeError, ValueError: bad rows, naming column and row; too few rows for the prior.
            FloatingPointError: a loss term became NaN or infinite, naming it.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size} must be at least 1.")
        self._non_finite.assign([0, 0])
        callbacks = [*(callbacks or []), StopOnNonFinite()]
        streamed = isinstance(x, tf.data.Dataset)
        if streamed:
            scored = self._prepared(x)
            training = (scored.repeat() if steps_per_epoch else scored).prefetch(tf.data.AUTOTUNE)
        else:
            x = self._checked_in_blocks(x)
            if len(x) < self.prior.minimum_rows:
                raise ValueError(f"x: {len(x)} rows, but the prior needs at least {self.prior.minimum_rows}.")
            batch_size = min(batch_size, len(x))
            first_step = tf.Variable(0, trainable=False, dtype=tf.int64)
            callbacks.append(StartAtStep(first_step))
            training = batches.resident(x, batch_size, self._shuffle_seed, first_step)
            steps_per_epoch = steps_per_epoch or len(x) // batch_size
            scored = tf.data.Dataset.from_tensor_slices(x).batch(SCORING_BATCH)
        if validation_data is not None:
            self._validation_batches = validation_data = self._prepared(validation_data)
            callbacks.append(AdaptBeforeValidation(scored))
        self.prior.invalidate()
        try:
            history = super().fit(
                training,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=validation_data,
                callbacks=callbacks,
                **kwargs,
            )
        finally:
            self._validation_batches = None
        self._adapt(scored, cache=not streamed)
        return history

    def adapt_prior(self, x: Any) -> None:
        """Fixes the prior that scores, from the latents of these raw training rows; `fit` calls it at its end."""
        self._adapt(self._prepared(x), cache=not isinstance(x, tf.data.Dataset))

    def _adapt(self, dataset: tf.data.Dataset, cache: bool = False, refine: bool = True) -> None:
        latents = dataset.map(self._latents)
        self.prior.adapt(latents.cache() if cache else latents, refine)

    def evaluate(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, on raw rows; y is ignored, as in `fit`."""
        if x is not self._validation_batches:  # fit hands over what it has already preprocessed
            self._require_adapted()
            x = self._prepared(x)
        return super().evaluate(x, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """As `keras.Model.predict`, on raw rows: `energy`, `latent` and `reconstruction` as arrays."""
        self._require_adapted()
        if not isinstance(x, tf.data.Dataset):
            x = self.preprocess.check(x)
        return super().predict(x, *args, **kwargs)

    def _prepared(self, rows: Any) -> tf.data.Dataset:
        if isinstance(rows, tf.data.Dataset):
            return batches.rows_only(rows).map(self._checked, tf.data.AUTOTUNE)
        return tf.data.Dataset.from_tensor_slices(self._checked_in_blocks(rows)).batch(SCORING_BATCH)

    def _checked_in_blocks(self, rows: Any, size: int = 65536) -> tf.Tensor:
        """Preprocesses a table block by block, so that its raw columns are never all tensors at once."""
        if isinstance(rows, tuple):
            rows = rows[0]
        if isinstance(rows, dict):
            rows = pd.DataFrame(rows)
        blocks = [rows[i : i + size] for i in range(0, max(len(rows), 1), size)]
        checked = [self.preprocess.check(block, i * size) for i, block in enumerate(blocks)]
        return tf.concat([self.preprocess(block) for block in checked], axis=0)

    # Keras' own file formats lose the parameters of GDN layers and entropy models without a word

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(_SAVE_MESSAGE)

    def save_own_variables(self, store: Any) -> None:
        raise NotImplementedError(_SAVE_MESSAGE)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        if str(filepath).endswith((".h5", ".keras", ".hdf5")):
            raise NotImplementedError(_SAVE_MESSAGE)
        super().save_weights(filepath, *args, **kwargs)

    def get_config(self) -> dict:
        return {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "prior": self.prior,
            "preprocess": self.preprocess,
            "distortion": self.distortion,
            "reconstruction_features": self.reconstruction_features,
        }


_SAVE_MESSAGE = (
    "Keras' own formats (.keras, .h5, model.save) silently lose layers of tensorflow-compression; save with"
    " tf_radogaga.save_model(model, directory), export with tf_radogaga.export_saved_model(model, directory)."
)
