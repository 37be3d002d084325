"""Priors of a given law: the standard normal, and any distribution of TensorFlow Probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_radogaga._core import checks
from tf_radogaga._core.registry import function_name, registered_function
from tf_radogaga._core.stack import keras, tf, tfp
from tf_radogaga.priors.base import Prior


@keras.utils.register_keras_serializable(package="tf_radogaga")
class NormalPrior(Prior):
    """Standard normal: rate(z) = N/2 log(2 pi) + ||z||^2 / 2                                    [nats]

    It is fixed, so RaDOGAGA's latent is not isometric under it; log_density then needs volume="jacobian".

    Args:
        latent_units: N.

    Raises:
        ValueError: latent_units below 1.
    """

    axis_aligned = False
    has_marginals = True

    def __init__(self, latent_units: int, name: str | None = None):
        super().__init__(name=name)
        checks.at_least(1, latent_units=latent_units)
        self.latent_units = latent_units

    @property
    def distribution(self) -> tfp.distributions.Distribution:
        return tfp.distributions.MultivariateNormalDiag(tf.zeros(self.latent_units))

    def log_prob_along(self, z: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        along = tf.linalg.matmul(tf.cast(z, tf.float32), directions, transpose_b=True)
        return tf.reduce_sum(tfp.distributions.Normal(0.0, 1.0).log_prob(along), axis=-1)

    def get_config(self) -> dict:
        return {"latent_units": self.latent_units}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class DistributionPrior(Prior):
    """Any `tfp.distributions.Distribution` over R^N; parameters that are `tf.Variable`s are learned with the model.

    Without such parameters it is fixed, and the latent not isometric, as under `NormalPrior`.

    Args:
        build: the distribution, of event shape (N,), or a function without arguments that returns it. To save a model
            give a function registered by `tf.keras.utils.register_keras_serializable`, or its registered name.

    Raises:
        ValueError: the event shape is not (N,), or the name is not registered.
        TypeError: there is no distribution.
    """

    def __init__(
        self,
        build: tfp.distributions.Distribution | Callable[[], tfp.distributions.Distribution] | str,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._given = given = isinstance(build, tfp.distributions.Distribution)
        if not (given or callable(build) or isinstance(build, str)):
            raise TypeError(
                f"build: {build!r} is neither a tfp.distributions.Distribution nor a function that returns one."
            )
        self.build_distribution = (lambda: build) if given else registered_function("build", build)
        self._distribution = self.build_distribution()
        if not isinstance(self._distribution, tfp.distributions.Distribution):
            raise TypeError(f"build: returned {self._distribution!r}, a tfp.distributions.Distribution is needed.")
        if self._distribution.event_shape.rank != 1 or self._distribution.batch_shape.rank != 0:
            raise ValueError(
                f"build: {self._distribution.name} has batch shape {self._distribution.batch_shape} and event shape"
                f" {self._distribution.event_shape}; one event of shape (N,) is needed, as"
                " tfp.distributions.Independent or tfp.distributions.Sample make it."
            )
        self.latent_units = int(self._distribution.event_shape[0])

    @property
    def distribution(self) -> tfp.distributions.Distribution:
        return self._distribution

    def fresh(self) -> DistributionPrior:
        return DistributionPrior(_apart(self._distribution) if self._given else self.build_distribution)

    def get_config(self) -> dict:
        return {"build": function_name("build", self.build_distribution)}


def _apart(value: Any) -> Any:
    """A distribution, or a parameter of one, with variables of its own."""
    if isinstance(value, tfp.util.TransformedVariable):
        inner = value.pretransformed_input
        return tfp.util.TransformedVariable(tf.convert_to_tensor(value), value.bijector, trainable=inner.trainable)
    if isinstance(value, tf.Variable):
        return tf.Variable(value, trainable=value.trainable)
    if isinstance(value, tfp.distributions.Distribution):
        return type(value)(**{name: _apart(part) for name, part in value.parameters.items()})
    return tf.nest.map_structure(_apart, value) if isinstance(value, (list, tuple, dict)) else value


def as_prior(value: Any) -> Prior:
    """The prior that an argument stands for: a `Prior`, or a `tfp.distributions.Distribution` over R^N.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, tfp.distributions.Distribution):
        return DistributionPrior(value)
    if not isinstance(value, Prior):
        raise TypeError(f"prior: {value!r} is neither a Prior nor a tfp.distributions.Distribution.")
    return value
