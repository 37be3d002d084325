"""Fully connected encoders and decoders."""

from __future__ import annotations

from tf_radogaga._core.keras_configs import attributes
from tf_radogaga._core.stack import keras, tf
from tf_radogaga.networks.shapes import check_activations, checked_images, element_count


@keras.utils.register_keras_serializable(package="tf_radogaga")
class DenseNetwork(keras.layers.Layer):
    """Fully connected layers, (B, input_units) -> (B, output_units).

    Args:
        input_units: width of the input, or the shape of images (H, W, C), which are flattened.
        units: hidden widths.
        output_units: width of the output layer, or the shape of images.
        activation: of the hidden layers, by Keras name.
        output_activation: of the output layer, such as "sigmoid" before a `BinaryCrossEntropy`; default none.
        dtype: as of any Keras layer; default: the global policy.
    """

    def __init__(
        self,
        input_units: int | tuple[int, int, int],
        units: tuple[int, ...],
        output_units: int | tuple[int, int, int],
        activation: str = "tanh",
        output_activation: str | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        check_activations(activation=activation, output_activation=output_activation)
        self.input_units, self._input_image = element_count(input_units)
        self.output_units, self._output_image = element_count(output_units)
        self.units, self.activation, self.output_activation = tuple(units), activation, output_activation
        policy = self.dtype_policy
        self.dense = [keras.layers.Dense(width, activation, dtype=policy) for width in self.units]
        self.dense.append(keras.layers.Dense(self.output_units, output_activation, dtype=policy))
        for layer, width in zip(self.dense, (self.input_units, *self.units)):
            layer.build((None, width))

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) of the images that the network takes, or gives; None where it has rows on both sides."""
        return self._input_image or self._output_image

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if self._input_image:
            x = tf.reshape(checked_images(x, self._input_image), (-1, self.input_units))
        for layer in self.dense:
            x = layer(x)
        return tf.reshape(x, (-1, *self._output_image)) if self._output_image else x

    def get_config(self) -> dict:
        given, wanted = self._input_image or self.input_units, self._output_image or self.output_units
        own = attributes(self, "units", "activation", "output_activation")
        return {"input_units": given, "output_units": wanted, **own, "dtype": self.dtype_policy.name}
