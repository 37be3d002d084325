"""Distortions D(x, y) and the metric tensors A(x) they induce.

    D(x, x + dx) - D(x, x) ~ dx' A(x) dx,      A(x) = 1/2 d^2 D(x, y) / dy^2  at  y = x

Near x a distortion is a squared length. The isometric embedding keeps lengths and angles in that metric, so each
distortion also offers its geometry.

Sources: Kato et al., ICML 2020, Eq. 6 and appendix A; Nakagawa et al., ICML 2021, appendices G.2 and H.
"""

from __future__ import annotations

from tf_radogaga._core.stack import tf


def event_sum(values: tf.Tensor) -> tf.Tensor:
    """Sum over all axes but the first, (B, *event) -> (B,)."""
    values = tf.convert_to_tensor(values)
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))


def over_event(values: tf.Tensor, event: tf.Tensor) -> tf.Tensor:
    """(B,) -> (B, 1, ..., 1), which broadcasts against `event`, (B, *event)."""
    return tf.reshape(values, [-1] + [1] * (event.shape.rank - 1))


class Distortion:
    """Base class. A subclass gives `__call__`; geometry follows from the Hessian rule unless it knows better."""

    has_metric = True
    """Whether D is a squared length near x; False where it has no metric tensor."""

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Distortion of each example.

        Args:
            x: (B, *event), the reference.
            y: (B, *event), its approximation.

        Returns:
            (B,), D(x, y).
        """
        raise NotImplementedError

    def self_distortion(self, x: tf.Tensor) -> tf.Tensor:
        """D(x, x), (B,): zero, unless a subclass says otherwise."""
        return tf.zeros(tf.shape(x)[:1], x.dtype)

    def excess(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """D(x, y) - D(x, x), (B,): near x the squared length of y - x, where `has_metric`."""
        return self(x, y) - self.self_distortion(x)

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """How much each element adds to `excess(x, y)`, (B, *event), in units of D.

        The distortions of this package with a formula of their own sum to `excess` over the event. The general rule,
        for any other, is for y near x: delta_i (A(x) delta)_i with delta = y - x, which sums to the squared length
        delta' A(x) delta, to which `excess` tends. Elements can be below 0 there, if A(x) is not diagonal.

        Raises:
            NotImplementedError: D has neither a metric tensor nor a formula of its own.
        """
        self._require_metric()
        difference = tf.subtract(y, x)
        return difference * self._metric_times(x, difference)

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """v' A(x) w of each example, (B,), for tangent vectors v, w of the shape of x.

        General rule: A(x) is half the Hessian of D(x, y) in y at y = x.

        Raises:
            NotImplementedError: D has no metric tensor.
        """
        self._require_metric()
        return event_sum(v * self._metric_times(x, w))

    def _metric_times(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """A(x) w by the general rule, (B, *event)."""
        x = tf.convert_to_tensor(x)
        with tf.autodiff.ForwardAccumulator(primals=x, tangents=w) as forward:
            with tf.GradientTape() as tape:
                y = tf.identity(x)
                tape.watch(y)
                distortion = self(tf.stop_gradient(x), y)
            gradient = tape.gradient(distortion, y, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return 0.5 * forward.jvp(gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    @property
    def has_log_volume(self) -> bool:
        """Whether `log_volume` has a closed form here."""
        return type(self).log_volume is not Distortion.log_volume

    def log_volume(self, x: tf.Tensor, rank: int) -> tf.Tensor:
        """1/2 sum_j log alpha_j(x), (B,), over the `rank` eigenvalues alpha_j of A(x) along the manifold, in nats.

        Raises:
            NotImplementedError: D has no metric tensor, or one that is not a multiple of the identity.
        """
        self._require_metric()
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form volume: its metric tensor is not a multiple of the identity."
        )

    def _require_metric(self) -> None:
        if not self.has_metric:
            raise NotImplementedError(
                f"{type(self).__name__} has no metric tensor, because it is no squared length near x; it is for the"
                " transform loss D(x, g(mu)) of the decomposed beta-VAE only (Nakagawa et al., ICML 2021, appendix H)."
            )

    def get_config(self) -> dict:
        """Arguments of the constructor, as JSON types."""
        return {}
