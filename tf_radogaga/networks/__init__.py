"""Encoders and decoders, and what a model asks of those of the user's own."""

from tf_radogaga.networks.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from tf_radogaga.networks.dense import DenseNetwork

__all__ = ["ConvolutionalDecoder", "ConvolutionalEncoder", "DenseNetwork"]
