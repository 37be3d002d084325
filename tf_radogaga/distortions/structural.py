"""Structural dissimilarity of images, 1 - SSIM, and its metric tensor."""

from __future__ import annotations

from tf_radogaga._core import checks
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.distortions.base import Distortion


@keras.utils.register_keras_serializable(package="tf_radogaga")
class StructuralDissimilarity(Distortion):
    """D(x, y) = 1 - SSIM(x, y) of images, the mean over windows w and channels of 1 minus

        (2 mu_x mu_y + C1) (2 sigma_xy + C2) / ((mu_x^2 + mu_y^2 + C1) (sigma_x^2 + sigma_y^2 + C2))
        v' A(x) w = mean[ mu_v mu_w / (2 mu_x^2 + C1) + sigma_vw / (2 sigma_x^2 + C2) ]

    with the moments mu, sigma (divided by n) of uniform windows at every position inside the image, and
    C1 = (k1 max_value)^2, C2 = (k2 max_value)^2.

    Sources: Kato et al., ICML 2020, section 5.2 (the metric, there without constants); Nakagawa et al., ICML 2021,
    Eq. 103-107. With k1 = k2 = 0 this is the papers' formula. A term is then 0 where it would be 0/0: windows that are
    flat in both images agree in structure, and windows that are black in both agree in mean. A(x) leaves out the term
    of such a window of x, where D jumps; flat is a variance at rounding level, below 1e-12 of the mean square.

    Moments are float64 inside, as E[x^2] - E[x]^2 cancels in float32; the result has the type of x.

    Args:
        window: side of the windows in pixels.
        k1, k2: of the constants C1, C2.
        max_value: value of a white pixel.

    Raises:
        ValueError: an argument outside its range; later, images that are not (B, H, W, C) with H, W >= window.
    """

    _moments = tf.float64
    """The type in which moments are computed."""

    def __init__(self, window: int = 11, k1: float = 0.01, k2: float = 0.03, max_value: float = 1.0):
        checks.at_least(1, window=window)
        checks.at_least(0, k1=k1, k2=k2)
        checks.positive(max_value=max_value)
        self.window, self.k1, self.k2, self.max_value = window, k1, k2, max_value

    def __call__(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        return tf.cast(tf.reduce_mean(self._window_distortions(x, y), axis=[1, 2, 3]), x.dtype)

    def contributions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """What each window and channel adds to 1 - SSIM, spread evenly over the pixels of the window, (B, H, W, C)."""
        x = tf.convert_to_tensor(x)
        windows = self._window_distortions(x, y)
        beyond = [self.window - 1] * 2
        (spread,) = self._window_means(tf.pad(windows, [[0, 0], beyond, beyond, [0, 0]]))
        return tf.cast(spread / tf.cast(tf.reduce_prod(tf.shape(windows)[1:]), spread.dtype), x.dtype)

    def _window_distortions(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """1 - SSIM of each window and channel, (B, H - window + 1, W - window + 1, C)."""
        x, y = tf.cast(x, self._moments), tf.cast(y, self._moments)
        # as SSIM = (1 - luminance) (1 - structure), small distortions are not differences from 1
        mean_x, mean_y, square, distance = self._window_means(
            x, y, tf.square(x) + tf.square(y), tf.math.squared_difference(x, y)
        )
        mean_square = tf.square(mean_x) + tf.square(mean_y)
        mean_distance = tf.math.squared_difference(mean_x, mean_y)
        luminance = _ratio(mean_distance, mean_square + self._c1, square)
        structure = _ratio(distance - mean_distance, square - mean_square + self._c2, square)
        return luminance + structure - luminance * structure

    def inner_product(self, x: tf.Tensor, v: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        dtype = x.dtype
        x, v, w = (tf.cast(t, self._moments) for t in (x, v, w))
        mean_x, square, mean_v, mean_w, product = self._window_means(x, tf.square(x), v, w, v * w)
        means = mean_v * mean_w
        variance = square - tf.square(mean_x)
        luminance = _ratio(means, 2 * tf.square(mean_x) + self._c1, square)
        structure = _ratio(product - means, 2 * variance + self._c2, square)
        return tf.cast(tf.reduce_mean(luminance + structure, axis=[1, 2, 3]), dtype)

    @property
    def _c1(self) -> float:
        return (self.k1 * self.max_value) ** 2

    @property
    def _c2(self) -> float:
        return (self.k2 * self.max_value) ** 2

    def _window_means(self, *images: tf.Tensor) -> list[tf.Tensor]:
        """Mean of each window, (B, H, W, C) -> (B, H - window + 1, W - window + 1, C) each."""
        shape, window = images[0].shape, self.window
        if shape.rank != 4:
            raise ValueError(f"images: shape {shape} is not (B, H, W, C); reshape the rows to images.")
        if any(side is not None and side < window for side in shape[1:3]):
            raise ValueError(
                f"images: shape {shape} is smaller than the {window} x {window} window; choose"
                f" StructuralDissimilarity(window=...) of at most {min(s for s in shape[1:3] if s is not None)}."
            )
        return tf.split(self._means(tf.concat(images, axis=-1)), len(images), axis=-1)

    def _means(self, images: tf.Tensor) -> tf.Tensor:
        for sides in ((self.window, 1), (1, self.window)):
            images = tf.nn.avg_pool2d(images, sides, strides=1, padding="VALID")
        return images

    def get_config(self) -> dict:
        return {"window": self.window, "k1": self.k1, "k2": self.k2, "max_value": self.max_value}


def _ratio(numerator: tf.Tensor, denominator: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """numerator / denominator, 0 where the denominator is at the rounding level of quantities of this size."""
    above = denominator > 1e-12 * size
    return tf.where(above, numerator / tf.where(above, denominator, 1), 0)
