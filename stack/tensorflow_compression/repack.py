"""Builds a wheel of tensorflow-compression 2.14.1 that installs beside any TensorFlow, on any Python.

The wheel on PyPI asks for TensorFlow 2.14 and for Python 3.9 to 3.11, because of its compiled operators. Its Python
files need neither. This build backend (PEP 517) downloads that wheel with pip, checks its hash, and packs its Python
files as they are, without operators, tests and requirements. Their licence is Apache 2.0.
"""

import base64
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SHA256 = "1decdb61438ae31895ed998095f5c518b83860fc5b02ca49e973676a3b5a9240"
SOURCE = f"tensorflow-compression==2.14.1 --hash=sha256:{SHA256}\n"
PLATFORM = ("--python-version=3.11", "--platform=manylinux2014_x86_64", "--only-binary=:all:")
VERSION = "2.14.1+python"
TAG = "py3-none-any"
INFO = f"tensorflow_compression-{VERSION}.dist-info"


def get_requires_for_build_wheel(config_settings=None):
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source.txt").write_text(SOURCE)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *PLATFORM]
        subprocess.run([*pip, "--dest", folder, "-r", f"{folder}/source.txt"], check=True)
        (source,) = Path(folder).glob("*.whl")
        files = dict(repacked(source))
    name = f"tensorflow_compression-{VERSION}-{TAG}.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, content in [*files.items(), (f"{INFO}/RECORD", record(files))]:
            wheel.writestr(zipfile.ZipInfo(path, date_time=(2024, 2, 2, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return name


def repacked(source):
    """Paths and contents: the Python files but the tests, and the metadata without requirements."""
    with zipfile.ZipFile(source) as wheel:
        for path in sorted(wheel.namelist()):
            if path.endswith(".py") and not path.endswith("_test.py"):
                yield path, wheel.read(path)
        (described,) = (path for path in wheel.namelist() if path.endswith(".dist-info/METADATA"))
        lines = wheel.read(described).decode().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("Requires-Dist:")]
    yield f"{INFO}/METADATA", "".join(kept).replace("Version: 2.14.1\n", f"Version: {VERSION}\n").encode()
    yield f"{INFO}/WHEEL", f"Wheel-Version: 1.0\nGenerator: repack\nRoot-Is-Purelib: true\nTag: {TAG}\n".encode()


def record(files):
    """The list of files of a wheel, with their hashes and sizes."""
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{INFO}/RECORD,,\n"])
