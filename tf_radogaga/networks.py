"""Encoders and decoders."""

from __future__ import annotations

import tensorflow as tf

keras = tf.keras


@keras.utils.register_keras_serializable(package="tf_radogaga")
class DenseNetwork(keras.layers.Layer):
    """Fully connected layers, (B, input_units) -> (B, output_units).

    Args:
        input_units: width of the input.
        units: hidden widths.
        output_units: width of the output layer.
        activation: of the hidden layers, by Keras name.
        output_activation: of the output layer, such as "sigmoid" before a `BinaryCrossEntropy`; default none.
    """

    def __init__(
        self,
        input_units: int,
        units: tuple[int, ...],
        output_units: int,
        activation: str = "tanh",
        output_activation: str | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.input_units, self.units = input_units, tuple(units)
        self.output_units, self.activation, self.output_activation = output_units, activation, output_activation
        self.dense = [keras.layers.Dense(width, activation) for width in self.units]
        self.dense.append(keras.layers.Dense(output_units, output_activation))
        for layer, width in zip(self.dense, (input_units, *self.units)):
            layer.build((None, width))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for layer in self.dense:
            x = layer(x)
        return x

    def get_config(self) -> dict:
        return {
            "input_units": self.input_units,
            "units": list(self.units),
            "output_units": self.output_units,
            "activation": self.activation,
            "output_activation": self.output_activation,
        }
