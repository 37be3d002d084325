"""The kernels of models of images in other forms: GDN, and the means over windows of 1 - SSIM.

    python tests/benchmarks/bench_kernels.py

Forward and backward, on the batches and maps of the small preset of faces. All forms of a kernel take turns in one
process, and the medians of several rounds are shown beside their ratio to the form that the package uses. All but the
exponents of today's GDN, another function, and float32, which loses flat windows, compute the same.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from turns import medians, repeated

from tf_radogaga.distortions import StructuralDissimilarity
from tf_radogaga.networks import ConvolutionalDecoder, ConvolutionalEncoder
from tf_radogaga.presets import images as image_presets

IMAGE = (64, 64, 3)
IN_USE = "in use"


class SeparateProducts(StructuralDissimilarity):
    """Means over windows by products with banded matrices, one for each axis."""

    def _means(self, images: tf.Tensor) -> tf.Tensor:
        def band(side):
            first, place = np.arange(side - self.window + 1)[:, None], np.arange(side)
            return tf.constant(((first <= place) & (place < first + self.window)) / self.window, images.dtype)

        return tf.einsum("ih,jw,bhwc->bijc", band(images.shape[1]), band(images.shape[2]), images, optimize="optimal")


class CumulativeSums(StructuralDissimilarity):
    """Means over windows by differences of cumulative sums, the integral image."""

    def _means(self, images: tf.Tensor) -> tf.Tensor:
        integral = tf.pad(tf.cumsum(tf.cumsum(images, axis=1), axis=2), [[0, 0], [1, 0], [1, 0], [0, 0]])
        rows = integral[:, self.window :] - integral[:, : -self.window]
        return (rows[:, :, self.window :] - rows[:, :, : -self.window]) / self.window**2


class ShiftedSlices(StructuralDissimilarity):
    """Means over windows by adding shifted slices, along one axis after the other."""

    def _means(self, images: tf.Tensor) -> tf.Tensor:
        height, width = (side - self.window + 1 for side in images.shape[1:3])
        rows = tf.add_n([images[:, shift : shift + height] for shift in range(self.window)])
        return tf.add_n([rows[:, :, shift : shift + width] for shift in range(self.window)]) / self.window**2


class SquareWindows(StructuralDissimilarity):
    """Means over windows by average pooling along both axes at once."""

    def _means(self, images: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool2d(images, self.window, strides=1, padding="VALID")


class SinglePrecision(StructuralDissimilarity):
    _moments = tf.float32


SSIM = {
    f"average pooling, one axis after the other, float64 ({IN_USE})": StructuralDissimilarity,
    "average pooling, both axes at once": SquareWindows,
    "products with banded matrices": SeparateProducts,
    "cumulative sums": CumulativeSums,
    "shifted slices": ShiftedSlices,
    "float32": SinglePrecision,
}


def on_pixels(layer: tf.keras.layers.Layer, maps: tf.Tensor) -> tf.Tensor:
    """A layer of channels alone on the pixels as rows: its sum over channels is then a product of matrices."""
    return tf.reshape(layer(tf.reshape(maps, (-1, maps.shape[-1]))), maps.shape)


def by_root(layer: tf.keras.layers.Layer, maps: tf.Tensor) -> tf.Tensor:
    """GDN with the reciprocal root of one op in place of a root and a quotient; IGDN has no quotient."""
    kernel = tf.reshape(layer.gamma, (1, 1, *layer.gamma.shape))
    pool = tf.nn.bias_add(tf.nn.convolution(tf.square(maps), kernel, padding="VALID"), layer.beta)
    return maps * (tf.sqrt(pool) if layer.inverse else tf.math.rsqrt(pool))


def in_double(layer: tf.keras.layers.Layer, maps: tf.Tensor) -> tf.Tensor:
    """The same formula on products of pixels in float64."""
    pixels = tf.cast(tf.reshape(maps, (-1, maps.shape[-1])), tf.float64)
    norm = tf.sqrt(tf.square(pixels) @ tf.cast(layer.gamma, tf.float64) + tf.cast(layer.beta, tf.float64))
    return tf.cast(tf.reshape(pixels * norm if layer.inverse else pixels / norm, maps.shape), maps.dtype)


def gdn_forms(inverse: bool) -> tuple[dict[str, Callable], dict[str, list[tf.Variable]], tf.Tensor]:
    """Forms of the largest normalization of the preset's encoder, or of as many channels in its decoder; their
    variables, and maps at random."""
    preset = image_presets.image_preset(IMAGE, "radogaga", "mse")
    layers = {}
    for gdn in ("square", "absolute"):
        encoder = ConvolutionalEncoder(IMAGE, preset.units, preset.latent_units, preset.filters, gdn)
        decoder = ConvolutionalDecoder(preset.latent_units, preset.units, IMAGE, preset.filters, gdn)
        layers[gdn] = decoder.normalizations[-2] if inverse else encoder.normalizations[0]
    shape = (preset.batch_size, IMAGE[0] // 2, IMAGE[1] // 2, preset.filters[0])
    maps = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    square, absolute = layers["square"], layers["absolute"]
    forms = {
        f"1 x 1 convolution, exponents of the papers, float32 ({IN_USE})": square,
        "product of matrices on pixels": functools.partial(on_pixels, square),
        "reciprocal root" if not inverse else "its formula written out": functools.partial(by_root, square),
        "float64, on pixels": functools.partial(in_double, square),
        "exponents of today": absolute,
    }
    variables = {form: (absolute if form == "exponents of today" else square).trainable_variables for form in forms}
    return forms, variables, maps


def gdn(inverse: bool) -> dict[str, Callable[[], list[tf.Tensor]]]:
    """Each form with its gradients to maps and parameters."""
    forms, variables, maps = gdn_forms(inverse)
    return {form: graph(function, [maps], variables[form]) for form, function in forms.items()}


def ssim() -> dict[str, Callable[[], list[tf.Tensor]]]:
    """D of a batch of images by each form, with its gradients to both sides, as the coding term has it."""
    batch = image_presets.image_preset(IMAGE, "radogaga", "ssim").batch_size
    images = np.random.default_rng(0).uniform(size=(2, batch, *IMAGE))
    given = [tf.constant(half, tf.float32) for half in images]
    return {form: graph(kind(), given) for form, kind in SSIM.items()}


def graph(
    function: Callable[..., tf.Tensor], given: list[tf.Tensor], variables: list[tf.Variable] = ()
) -> Callable[[], list[tf.Tensor]]:
    """A graph that returns the function's value and its gradients, output by output weighed by what it is."""

    @tf.function
    def differentiated(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            found = function(*inputs)
        return [found, *tape.gradient(found, [*inputs, *variables], output_gradients=found)]

    return functools.partial(differentiated, *given)


KERNELS = {"GDN": lambda: gdn(inverse=False), "IGDN": lambda: gdn(inverse=True), "1 - SSIM": ssim}


def table(measured: dict[str, dict[str, float]]) -> str:
    """In Markdown, of the seconds of each form of each kernel; the first is the one in use."""
    lines = ["| kernel | form | forward and backward [ms] | time / in use |", "| --- | --- | --- | --- |"]
    for kernel, times in measured.items():
        used = next(iter(times.values()))
        lines += [f"| {kernel} | {form} | {1e3 * time:.2f} | {time / used:.2f} |" for form, time in times.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--kernels", nargs="+", choices=list(KERNELS), default=list(KERNELS), help="default: all")
    add("--rounds", type=int, default=15, help="of which medians are taken (default: %(default)s)")
    add("--repeats", type=int, default=10, help="calls of a form in a round (default: %(default)s)")
    args = parser.parse_args()
    for name in ("rounds", "repeats"):
        if getattr(args, name) < 1:
            parser.error(f"--{name}: {getattr(args, name)} must be at least 1")
    measured = {}
    for kernel in args.kernels:
        sides = {form: repeated(call, args.repeats) for form, call in KERNELS[kernel]().items()}
        measured[kernel] = medians(sides, args.rounds)
    print(table(measured))


if __name__ == "__main__":
    main()
