"""Gauges: invertible maps between the encoder's output y and the latent z, which leave every x_hat alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tf_radogaga._core.constants import as_constant
from tf_radogaga._core.stack import keras, tf, tfp

REACH = 4.0
"""Of the splines of a flow, in standard deviations."""

LEAST_BIN = 0.01
"""Width and height of a piece of a spline, over those of the whole; also the least slope at a knot."""


class IdentityGauge:
    """z = y, the papers' form: no layer, and in no checkpoint."""

    def __init__(self, units: int, scale: float, rotate: bool = False):
        pass

    def __call__(self, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        return y

    inverse = __call__


@keras.utils.register_keras_serializable(package="tf_radogaga")
class LatentGauge(keras.layers.Layer):
    """z = y A with a learned invertible A between the encoder's output y and the latent z.

    The decoder sees y for the reconstruction and (z + eps) A^-1 for the coding term, so the reconstruction has no
    gradient to A: the rate and the coding term alone set the scale and the orthogonality of z, which the
    reconstruction term otherwise drowns. A adds no capacity; it is a linear layer that the dense layers beside it
    could absorb.

    A = L R, L lower-triangular with a positive diagonal, R a rotation (Cayley transform of a skew-symmetric matrix).
    A prior that takes rotations in its stride, as a mixture of full covariances does, needs no R.

    Args:
        units: N.
        scale: A starts at `scale` times the identity.
        rotate: whether R is learned; for axis-aligned priors, whose dimensions then become principal ones.
        speed: step size of A relative to the other weights under Adam.
    """

    def __init__(self, units: int, scale: float, rotate: bool = False, speed: float = 5.0, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self.units, self.scale, self.rotate, self.speed = units, scale, rotate, speed
        self.log_diagonal = self.add_weight("log_diagonal", (units,), initializer="zeros")
        self.lower = self.add_weight("lower", (units, units), initializer="zeros")
        self.turn = self.add_weight("turn", (units, units), initializer="zeros") if rotate else None

    def _triangle(self) -> tf.Tensor:
        off_diagonal = tf.linalg.band_part(self.lower, -1, 0) - tf.linalg.diag(tf.linalg.diag_part(self.lower))
        return self.scale * (tf.linalg.diag(tf.exp(self.speed * self.log_diagonal)) + self.speed * off_diagonal)

    def rotation(self) -> tf.Tensor:
        skew, identity = self.speed * (self.turn - tf.transpose(self.turn)), tf.eye(self.units)
        return tf.linalg.solve(identity + skew, identity - skew)

    def matrix(self) -> tf.Tensor:
        """A, (N, N)."""
        return self._triangle() @ self.rotation() if self.rotate else self._triangle()

    def inverse_matrix(self) -> tf.Tensor:
        """A^-1, (N, N)."""
        inverse = tf.linalg.triangular_solve(self._triangle(), tf.eye(self.units))
        return tf.linalg.matmul(self.rotation(), inverse, transpose_a=True) if self.rotate else inverse

    def call(self, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        return y @ as_constant(self.matrix)

    def inverse(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """y = z A^-1. L is inverted against the identity: transposing the batch would break fused CPU kernels."""
        return z @ as_constant(self.inverse_matrix)

    def get_config(self) -> dict:
        return {"units": self.units, "scale": self.scale, "rotate": self.rotate, "speed": self.speed}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class CouplingFlow(keras.layers.Layer):
    """z = phi(u), invertible: couplings, each of half the coordinates by the others; at first the identity.

        c_b <- S(c_b) exp(s) + t,     S, s in (-1, 1) and t functions of c_a

    in coordinates c along an orthonormal basis, of which the first `moved` take part and the others stay as they are.
    S is a monotone rational-quadratic spline between -REACH and REACH standard deviations and the identity beyond, so
    rows far off the data stay finite.

    Sources: Durkan et al., Neural Spline Flows, NeurIPS 2019; Dinh et al., ICLR 2017 (affine couplings).

    Args:
        units: N.
        couplings: how many.
        width: hidden units (tanh) of S, s and t.
        bins: pieces of each spline.
    """

    def __init__(self, units: int, couplings: int = 4, width: int = 64, bins: int = 12, name: str | None = None):
        super().__init__(name=name, dtype=tf.float32)
        self.units, self.couplings, self.width, self.bins = units, couplings, width, bins
        self.basis = self.add_weight("basis", (units, units), initializer="identity", trainable=False)
        self.moved = self.add_weight("moved", (units,), initializer="zeros", trainable=False)
        self.centre = self.add_weight("centre", (units,), initializer="zeros", trainable=False)
        self.spread = self.add_weight("spread", (units,), initializer="ones", trainable=False)
        self.networks = []
        for number in range(couplings):
            initial = keras.initializers.GlorotUniform(seed=number)
            hidden = keras.layers.Dense(width, "tanh", kernel_initializer=initial, dtype="float32")
            outputs = keras.layers.Dense((3 * bins + 1) * units, kernel_initializer="zeros", dtype="float32")
            hidden.build((None, units))
            outputs.build((None, width))
            self.networks.append([hidden, outputs])
        self.trainable = False  # by the loss; `gauge_fitting` does

    def reset(self) -> None:
        """Becomes the identity."""
        self.moved.assign(tf.zeros_like(self.moved))

    def start(self, u: np.ndarray, basis: np.ndarray, moved: int) -> None:
        """At the identity, with the coordinates that move, their centre and their spread from latents (B, N)."""
        self.basis.assign(basis)
        self.moved.assign(tf.cast(tf.range(self.units) < moved, tf.float32))
        coordinates = u @ basis.T
        self.centre.assign(coordinates.mean(axis=0))
        self.spread.assign(np.maximum(coordinates.std(axis=0), 1e-6))
        for hidden, outputs in self.networks:
            hidden.kernel.assign(hidden.kernel_initializer(hidden.kernel.shape))
            for weight in (hidden.bias, *outputs.weights):
                weight.assign(tf.zeros_like(weight))

    def halves(self) -> list[tf.Tensor]:
        """Which coordinates steer at each coupling, (N,), every other one the complement of that before; those that
        move are divided evenly."""
        random, halves = np.random.default_rng(0), []
        for _ in range(0, self.couplings, 2):
            order = random.permutation(self.units)
            rank = tf.cumsum(tf.gather(self.moved, order))
            steering = tf.gather(tf.math.floormod(rank, 2), np.argsort(order))
            halves += [steering, 1 - steering]
        return halves[: self.couplings]

    def _steered(self, network: list, steering: tf.Tensor, c: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor]:
        """S, exp(s) and t at each coordinate, those of the identity where it steers or does not move."""
        hidden, outputs = network
        found = tf.reshape(outputs(hidden(c * steering * self.moved)), (-1, self.units, 3 * self.bins + 1))
        found *= ((1 - steering) * self.moved)[:, None]
        widths, heights, slopes, scale, shift = tf.split(found, [self.bins, self.bins, self.bins - 1, 1, 1], axis=-1)
        widths, heights = (LEAST_BIN + (1 - self.bins * LEAST_BIN) * tf.nn.softmax(v) for v in (widths, heights))
        slopes = tf.nn.softplus(slopes + math.log(math.e - 1)) * (1 - LEAST_BIN) + LEAST_BIN
        spline = tfp.bijectors.RationalQuadraticSpline(2 * REACH * widths, 2 * REACH * heights, slopes, -REACH)
        return spline, tf.exp(tf.tanh(scale[..., 0])), shift[..., 0]

    def standardized(self, u: tf.Tensor) -> tf.Tensor:
        """c of u."""
        return (tf.linalg.matmul(u, self.basis, transpose_b=True) - self.centre) / self.spread

    def coupled(self, c: tf.Tensor) -> tf.Tensor:
        """c after all couplings."""
        for network, steering in zip(self.networks, self.halves()):
            spline, scale, shift = self._steered(network, steering, c)
            c = spline.forward(c) * scale + shift
        return c

    def call(self, u: tf.Tensor) -> tf.Tensor:
        return (self.coupled(self.standardized(u)) * self.spread + self.centre) @ self.basis

    def inverse(self, z: tf.Tensor) -> tf.Tensor:
        """u of z."""
        c = self.standardized(z)
        for network, steering in reversed(list(zip(self.networks, self.halves()))):
            spline, scale, shift = self._steered(network, steering, c)
            c = spline.inverse((c - shift) / scale)
        return (c * self.spread + self.centre) @ self.basis

    def get_config(self) -> dict:
        return {name: getattr(self, name) for name in ("units", "couplings", "width", "bins")}


@keras.utils.register_keras_serializable(package="tf_radogaga")
class FlowGauge(LatentGauge):
    """z = phi(y A): a `LatentGauge`, and behind it a `CouplingFlow` that bends.

    The loss trains A as if phi were not there. At the end of `fit`, when the decoder is what it is, `gauge_fitting`
    fits phi to its metric. Like A it leaves every x_hat alone.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.flow = CouplingFlow(self.units)

    def call(self, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        u = super().call(y)
        return u if training else self.flow(u)

    def inverse(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        return super().inverse(z if training else self.flow.inverse(z))


GAUGES = {"learned": LatentGauge, "flow": FlowGauge, None: IdentityGauge}
