"""TensorFlow, Keras 2, TensorFlow Probability and tensorflow-compression; all other files import them from here.

The package runs on TensorFlow 2.14 and later. Two things depend on the version:

- Keras. From TensorFlow 2.16 on, `tf.keras` is Keras 3. Keras 2, which this package is written for, is then the package
  tf-keras, and TensorFlow takes it for `tf.keras` if TF_USE_LEGACY_KERAS is 1 when `tf.keras` is first used.
- The operators of tensorflow-compression, which only its range coder uses. Those in its wheel load in TensorFlow 2.14
  alone; tensorflow-compression-ops has those for TensorFlow 2.15 to 2.17. Elsewhere `compress` and `decompress` raise.

The process is changed in three places: the variable TF_USE_LEGACY_KERAS; the entry of `sys.modules` for the module that
loads the operators; and, on Python 3.12 and later, where tf-keras up to 2.18 keeps the generator of `set_random_seed`.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from importlib import metadata
from types import ModuleType
from typing import Any

_INSTALL = "See docs/start/install.md for the versions that belong together."
_OPERATORS = "tensorflow_compression.python.ops.gen_ops"
_NAMES = (
    *("create_range_encoder", "entropy_encode_channel", "entropy_encode_index", "entropy_encode_finalize"),
    *("create_range_decoder", "entropy_decode_channel", "entropy_decode_index", "entropy_decode_finalize"),
    *("run_length_encode", "run_length_decode", "run_length_gamma_encode", "run_length_gamma_decode"),
    *("pmf_to_quantized_cdf", "stochastic_round"),
)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(f"tf_radogaga needs {name.replace('_', '-')}: {error}. {_INSTALL}") from error


def _use_keras_2() -> Any:
    """TensorFlow, whose `tf.keras` is Keras 2.

    Raises:
        ImportError: Keras 3 is in use already, or tf-keras is missing.
    """
    try:
        three = int(metadata.version("keras").partition(".")[0]) >= 3
    except metadata.PackageNotFoundError:
        three = False
    if three:
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tensorflow = _library("tensorflow")
    major, minor = map(int, tensorflow.__version__.split(".")[:2])
    if (major, minor) < (2, 14):
        raise ImportError(f"tf_radogaga needs TensorFlow 2.14 or later (found: {tensorflow.__version__}). {_INSTALL}")
    try:
        found = getattr(tensorflow.keras, "__version__", "2.")  # Keras 2.14 does not tell
    except ImportError as error:
        raise ImportError(f"tf_radogaga needs Keras 2: pip install 'tf-keras=={major}.{minor}.*' ({error})") from error
    if not found.startswith("2."):
        raise ImportError(
            f"tf_radogaga needs Keras 2, and tf.keras is Keras {found} in this process already. Import tf_radogaga"
            " before anything uses tf.keras, or set TF_USE_LEGACY_KERAS=1 before Python starts."
        )
    return tensorflow


class _Seeds(threading.local):
    """Where tf-keras keeps a generator. Up to 2.18 it calls `randint(1, 1e9)`, which Python 3.12 and later refuse."""

    def __setattr__(self, name: str, generator: Any) -> None:
        draw = generator.randint
        generator.randint = lambda low, high: draw(int(low), int(high))
        super().__setattr__(name, generator)


def _let_seeds_be_drawn() -> None:
    backend: Any = importlib.import_module("tf_keras.src.backend")
    given = getattr(backend._SEED_GENERATOR, "generator", None)
    backend._SEED_GENERATOR = _Seeds()
    if given is not None:
        backend._SEED_GENERATOR.generator = given


class _NoOperators(ModuleType):
    """Functions in the place of operators, which raise."""


def _operators() -> Any:
    """The operators of tensorflow-compression for this TensorFlow, or functions of their names that raise."""
    try:
        return importlib.import_module("tensorflow_compression_ops")
    except (ImportError, tf.errors.NotFoundError) as error:
        reason = str(error).strip().splitlines()[0]

    def missing(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            "compress and decompress need the operators of tensorflow-compression, which cannot be loaded in"
            f" TensorFlow {tf.__version__}: {reason}. TensorFlow 2.14 has them, and so have 2.15 to 2.17 with"
            " tensorflow-compression-ops."
        )

    module = _NoOperators(_OPERATORS)
    module.__dict__.update(dict.fromkeys(_NAMES, missing), __all__=list(_NAMES))
    return module


tf: Any = _use_keras_2()
keras: Any = tf.keras
if sys.version_info >= (3, 12):
    _let_seeds_be_drawn()
tfp: Any = _library("tensorflow_probability")
if not tf.__version__.startswith("2.14."):
    sys.modules.setdefault(_OPERATORS, _operators())
HAS_RANGE_CODER: bool = type(sys.modules.get(_OPERATORS)) is not _NoOperators
tfc: Any = _library("tensorflow_compression")
