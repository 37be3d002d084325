"""Many models at once: S models of one structure trained in one graph, and their scores averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_radogaga._core import checks, functional
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.ensemble.alike import WEIGHTS, require_alike, require_plain, require_pure
from tf_radogaga.ensemble.vectorized import converters
from tf_radogaga.models.autoencoder import Autoencoder
from tf_radogaga.training import batches
from tf_radogaga.training.callbacks import non_finite_error, start_at_step
from tf_radogaga.training.end_of_fit import find_all, forget, least_rows
from tf_radogaga.training.rows import is_stream


def fit_together(
    models: Sequence[Autoencoder],
    tables: Sequence[Any],
    *,
    batch_size: int = 256,
    epochs: int = 1,
    steps_per_epoch: int | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    **kwargs: Any,
) -> dict[int, Exception]:
    """Trains S compiled models at once. Each has the batches, noise and updates of its own `fit`, so it becomes the
    same model up to the rounding of float32. They are ordinary models before and after.

    Their parameters are the rows of one matrix. The loss and its gradient are mapped over the rows, and one update
    serves all. Small dense models gain most: their steps cost more in calls than in arithmetic. A model that diverges
    learns nothing from then on and leaves the others alone.

    Args:
        models: of one configuration, in which lambda1, lambda2 (or beta) and the learning rate may differ; compiled
            with `tf.keras.optimizers.Adam` without clipping or averaging.
        tables: raw rows in memory for each model, equally many; a table that is given twice is stored once.
        batch_size, epochs, steps_per_epoch: as `fit`.
        callbacks: Keras callbacks; they see means over the models that have not diverged.
        **kwargs: of `keras.Model.fit`, without validation, weights of examples and `shuffle=False`.

    Returns:
        By its place in `models`, the error of each that diverged or could not be adapted, which its own `fit` would
        raise. All others are adapted.

    Raises:
        TypeError, ValueError: models that cannot be trained together, or bad rows, as `fit`.
    """
    models, tables = list(models), list(tables)
    if not models or len(models) != len(tables):
        raise ValueError(f"tables: {len(tables)} for {len(models)} models; give each model its rows, [rows] * S.")
    batch_size = checks.whole_number("batch_size", 256 if batch_size is None else batch_size)
    steps_per_epoch = checks.whole_number("steps_per_epoch", steps_per_epoch)
    require_plain(kwargs)
    require_alike(models)
    require_pure(models[0])
    stored, places = _stored_once(models, tables)
    rows = len(stored[0])
    if {len(table) for table in stored} != {rows}:
        raise ValueError(f"tables: {sorted({len(table) for table in stored})} rows; give each model equally many.")
    if rows < (least := max(map(least_rows, models))):
        raise ValueError(f"tables: {rows} rows, but the prior needs at least {least}.")
    batch_size = min(batch_size, rows)
    first_step = tf.Variable(0, trainable=False, dtype=tf.int64)
    order = batches.shuffled(rows, batch_size, [model._shuffle_seed for model in models], first_step)
    resident, offsets = tf.concat(stored, axis=0), rows * tf.constant(places)[:, None]
    shape = (len(models), batch_size, *resident.shape[1:])
    training = order.map(lambda index: tf.ensure_shape(tf.gather(resident, index + offsets), shape))
    for model in models:
        forget(model)
    together = _Together(models, models[0].preprocess.restored(stored[0][:1]))
    together.fit(
        training.map(models[0].preprocess.restored),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch or rows // batch_size,
        callbacks=[*(callbacks or []), start_at_step(together, first_step)],
        **kwargs,
    )
    together.hand_back()
    errors = together.errors()
    for number, model in enumerate(models):
        if number not in errors:
            try:
                find_all(model, model.feed.scored(stored[places[number]]), in_memory=True)
            except (FloatingPointError, ValueError) as error:
                errors[number] = error
    return errors


def mean_energy(models: Sequence[Autoencoder], rows: Any) -> tf.Tensor:
    """The mean of the models' energies of raw rows in nats, (B,); higher is more anomalous.

    A mean of logarithms, not of probabilities: a row that one model finds unlikely stays unlikely.

    Raises:
        RuntimeError, TypeError, ValueError: as `Autoencoder.energy`; there are no models.
    """
    return _mean([model.energy(rows) for model in models])


def mean_log_density(models: Sequence[Autoencoder], rows: Any, volume: str = "isometric") -> tf.Tensor:
    """The mean of the models' `log_density` of raw rows in nats, (B,), comparable where they share the preprocessing.

    Raises:
        NotImplementedError, RuntimeError, TypeError, ValueError: as `Autoencoder.log_density`; there are no models.
    """
    return _mean([model.log_density(rows, volume) for model in models])


def _mean(scores: list[tf.Tensor]) -> tf.Tensor:
    if not scores:
        raise ValueError("models: none; give one at least.")
    return tf.cast(tf.reduce_mean(tf.cast(tf.stack(scores), tf.float64), axis=0), tf.float32)


def _stored_once(models: list[Autoencoder], tables: list[Any]) -> tuple[list[tf.Tensor], list[int]]:
    """Each different table preprocessed, and which of them is whose."""
    stored, places = {}, []
    for model, table in zip(models, tables):
        if is_stream(table):
            kind = "tf.data.Dataset" if isinstance(table, tf.data.Dataset) else "keras.utils.Sequence"
            raise TypeError(f"tables: a {kind}; models trained together take rows in memory.")
        key = id(model.preprocess), id(table)
        if key not in stored:
            stored[key], weights = model.feed.weighted(table, argument="tables")
            if weights is not None:
                raise TypeError("tables: rows with weights; models with weights of examples are trained one by one.")
        places.append(list(stored).index(key))
    return list(stored.values()), places


class _Rates(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for each of S models, (S, 1)."""

    def __init__(self, optimizers: list[keras.optimizers.Optimizer]):
        self.rates = [optimizer._learning_rate for optimizer in optimizers]

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        rates = [rate(step) if callable(rate) else tf.convert_to_tensor(rate) for rate in self.rates]
        return tf.stack(rates)[:, None]


class _Together(keras.Model):
    """S models as one Keras model with a matrix (S, parameters). The loss of the first at x names the terms."""

    def __init__(self, models: list[Autoencoder], x: tf.Tensor):
        super().__init__(dtype=tf.float32)
        self.models, template = models, models[0]
        self.shapes = [variable.shape for variable in template.trainable_variables]
        self.sizes = [shape.num_elements() for shape in self.shapes]
        self.weights_apart = self._differing_weights()
        count, width = len(models), sum(self.sizes)
        self.parameters = tf.Variable(tf.zeros((count, width)), name="parameters")
        self.states = tf.Variable(
            tf.stack([tf.stack([g.state for g in functional.generators(model)]) for model in models]), trainable=False
        )
        self.non_finite = tf.Variable(tf.zeros((count, 2), tf.int64), trainable=False)
        terms, monitors = template.steps.all_terms(x)
        self.names = list(terms)
        # before the step is traced: variables made within would have it traced twice
        self.means = {name: keras.metrics.Mean(name) for name in ("loss", *self.names, *monitors)}
        self.compile(
            self._optimizer(), steps_per_execution=int(template._steps_per_execution), jit_compile=template._jit_compile
        )
        for whole, parts in self._whole_and_parts():
            rows = [tf.concat([tf.reshape(part, [-1]) for part in own], axis=0) for own in parts]
            whole.assign(tf.stack(rows))

    def _differing_weights(self) -> list[tuple[Any, str, tf.Tensor]]:
        """Layer and attribute of the first model, and the value in each (S,), where they differ."""
        found = []
        for layers in zip(*((model, *model.submodules) for model in self.models)):
            for name in (*WEIGHTS, "scale"):
                values = [getattr(layer, name, None) for layer in layers]
                if isinstance(values[0], (int, float)) and len(set(values)) > 1:
                    found.append((layers[0], name, tf.constant(values, tf.float64)))
        return found

    def _optimizer(self) -> keras.optimizers.Optimizer:
        optimizers = [model.optimizer for model in self.models]
        configs = [optimizer.get_config() for optimizer in optimizers]
        config = configs[0]
        if any(other["learning_rate"] != config["learning_rate"] for other in configs):
            config = {**config, "learning_rate": _Rates(optimizers)}
        optimizer = keras.optimizers.Adam.from_config(config)
        optimizer.build([self.parameters])
        optimizer.iterations.assign(optimizers[0].iterations)
        return optimizer

    def _whole_and_parts(self) -> list[tuple[tf.Variable, list[list[tf.Variable]]]]:
        """Each matrix over all models, and for each model the variables that make up its row."""
        pairs = [(self.parameters, [model.trainable_variables for model in self.models])]
        for model in self.models:
            model.optimizer.build(model.trainable_variables)
        for slot in ("_momentums", "_velocities", "_velocity_hats"):
            for whole in getattr(self.optimizer, slot, []):
                pairs.append((whole, [getattr(model.optimizer, slot) for model in self.models]))
        return pairs

    def hand_back(self) -> None:
        """Gives each model its parameters, the state of its optimizer and of its generators."""
        for whole, parts in self._whole_and_parts():
            for row, own in zip(whole.numpy(), parts):
                for part, values in zip(own, np.split(row, np.cumsum(self.sizes)[:-1])):
                    part.assign(values.reshape(part.shape))
        for model, states in zip(self.models, self.states.numpy()):
            model.optimizer.iterations.assign(self.optimizer.iterations)
            for generator, state in zip(functional.generators(model), states):
                generator.state.assign(state)

    def errors(self) -> dict[int, Exception]:
        """Of the models that diverged."""
        found = enumerate(self.non_finite.numpy())
        names = [*self.names, "gradient"]
        return {number: non_finite_error(names[what], int(step)) for number, (what, step) in found if step}

    def _one(self, given: tuple) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor]:
        """The mean terms of the loss of one model, its monitors, and the gradient to its parameters. It is taken here,
        since a vectorized map loses the custom gradients of the function it maps."""
        x, states, weights, row = given
        model = self.models[0]
        apart = [(layer, name, value) for (layer, name, _), value in zip(self.weights_apart, weights)]
        with tf.GradientTape() as tape:
            tape.watch(row)
            values = [tf.reshape(part, shape) for part, shape in zip(tf.split(row, self.sizes), self.shapes)]
            with functional.substituted(model, values, states, apart) as self._drawn:
                terms, monitors = model.steps.all_terms(x, training=True)
            means = {name: tf.reduce_mean(value) for name, value in terms.items()}
            loss = tf.add_n(list(means.values()))
        return means, tf.nest.map_structure(tf.reduce_mean, monitors), tape.gradient(loss, row)

    @tf.function  # Keras traces the body of its loop of steps several times
    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        apart = [value for *_, value in self.weights_apart]
        given = data, tf.convert_to_tensor(self.states), apart, tf.convert_to_tensor(self.parameters)
        with converters():
            terms, monitors, gradient = tf.vectorized_map(self._one, given)
        losses = tf.add_n(list(terms.values()))
        sound = self._watch_finite(terms, gradient)
        self.optimizer.apply_gradients([(tf.where(sound[:, None], gradient, 0.0), self.parameters)])
        self.states.assign(functional.advanced(self.states, self._drawn))
        return self._track({"loss": losses, **terms, **monitors}, sound)

    def _watch_finite(self, terms: dict[str, tf.Tensor], gradient: tf.Tensor) -> tf.Tensor:
        """Which models never had a NaN or infinite number, (S,); notes of each what had it first, and at which step."""
        finite = [tf.math.is_finite(terms[name]) for name in self.names]
        bad = ~tf.stack([*finite, tf.reduce_all(tf.math.is_finite(gradient), axis=1)], axis=1)
        step = tf.cast(self.optimizer.iterations, tf.int64) + 1
        what = tf.argmax(tf.cast(bad, tf.int32), axis=1)
        is_first = tf.reduce_any(bad, axis=1) & (self.non_finite[:, 1] == 0)
        found = tf.stack([what, tf.fill(tf.shape(what), step)], axis=1)
        self.non_finite.assign(tf.where(is_first[:, None], found, self.non_finite))
        return self.non_finite[:, 1] == 0

    def _track(self, values: dict[str, tf.Tensor], sound: tf.Tensor) -> dict[str, tf.Tensor]:
        for name, value in values.items():
            self.means[name].update_state(tf.where(sound, value, 0.0), tf.cast(sound, tf.float32))
        return {name: self.means[name].result() for name in values}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.means.values())
