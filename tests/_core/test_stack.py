"""Which TensorFlow, Keras and tensorflow-compression the package runs on, and what it says where they do not fit."""

import base64
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tf_radogaga._core import stack
from tf_radogaga._core.stack import keras, tf

BACKEND = Path(__file__).parents[2] / "stack" / "tensorflow_compression" / "repack.py"


def test_keras_in_use_is_keras_2():
    assert tf.keras.layers.Dense is keras.layers.Dense
    assert issubclass(keras.Model, tf.Module)  # that of Keras 3 is not


def test_layers_draw_from_the_seed_of_the_process():
    def kernel():
        keras.utils.set_random_seed(3)
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
        return layer.kernel.numpy().tolist()

    assert kernel() == kernel()


def test_keras_3_in_use_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(tf.keras, "__version__", "3.5.0", raising=False)
    with pytest.raises(ImportError, match=r"Keras 3\.5\.0 in this process already\. .*TF_USE_LEGACY_KERAS=1"):
        stack._use_keras_2()


def test_an_older_tensorflow_is_refused(monkeypatch):
    monkeypatch.setattr(tf, "__version__", "2.13.1")
    with pytest.raises(ImportError, match=r"TensorFlow 2\.14 or later \(found: 2\.13\.1\)"):
        stack._use_keras_2()


def test_a_missing_library_is_named():
    with pytest.raises(ImportError, match=r"needs tensorflow-nothing: .*install\.md"):
        stack._library("tensorflow_nothing")


def test_without_operators_range_coding_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_compression_ops", None)
    operators = stack._operators()
    assert all(hasattr(importlib.import_module(stack._OPERATORS), name) for name in operators.__all__)
    for name in operators.__all__:
        with pytest.raises(NotImplementedError, match=f"compress and decompress need .*TensorFlow {tf.__version__}"):
            getattr(operators, name)(1)


@pytest.mark.thorough
@pytest.mark.parametrize("before", ["", "import tensorflow", "from tensorflow import keras", "import keras"])
def test_the_order_of_imports_does_not_matter(before):
    code = f"{before}\nimport tf_radogaga, tensorflow as tf\nassert issubclass(tf.keras.Model, tf.Module)"
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# tensorflow-compression without its requirements


@pytest.fixture
def backend():
    spec = importlib.util.spec_from_file_location("repack", BACKEND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_wheel_keeps_its_code_and_loses_operators_tests_and_requirements(backend, tmp_path):
    described = "Name: tensorflow_compression\nVersion: 2.14.1\nLicense: Apache\nRequires-Dist: tensorflow ~=2.14.0\n"
    given = {
        "tensorflow_compression/__init__.py": b"one = 1\n",
        "tensorflow_compression/some_test.py": b"two = 2\n",
        "tensorflow_compression/cc/libtensorflow_compression.so": b"\0",
        "tensorflow_compression-2.14.1.dist-info/METADATA": described.encode(),
    }
    with zipfile.ZipFile(tmp_path / "given.whl", "w") as wheel:
        for path, content in given.items():
            wheel.writestr(path, content)
    files = dict(backend.repacked(tmp_path / "given.whl"))
    names = {Path(path).name: content for path, content in files.items()}
    assert set(names) == {"__init__.py", "METADATA", "WHEEL"} and names["__init__.py"] == b"one = 1\n"
    assert names["METADATA"].decode().splitlines() == [
        "Name: tensorflow_compression",
        f"Version: {backend.VERSION}",
        "License: Apache",
    ]
    lines = dict(line.split(",", 1) for line in backend.record(files).splitlines())
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"one = 1\n").digest()).decode().rstrip("=")
    assert lines["tensorflow_compression/__init__.py"] == f"sha256={digest},8"
    assert set(lines) == {*files, f"{backend.INFO}/RECORD"}
