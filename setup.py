"""Package of tf_radogaga. tensorflow-compression is frozen on TensorFlow 2.14, hence the narrow pins."""

from pathlib import Path

from setuptools import find_packages, setup

SERVING = ["tensorflow-serving-api==2.14.1", "tqdm>=4.60"]
TRAINERS = ["matplotlib>=3.7", *SERVING]
BEAM = ["apache-beam==2.77.0; python_version >= '3.10'", "tensorflow-hub==0.15.0; python_version >= '3.10'"]
PEERS = ["pyod==3.6.7"]  # detectors without torch, for the tables; as in tests/benchmarks/peers.txt
DOCS = ["matplotlib>=3.7", "pdoc>=14"]
RUNNERS = ["pytest>=7", "pytest-xdist>=3", "pytest-cov>=5"]
TESTS = [*RUNNERS, "hypothesis>=6.100", "pillow>=10", "polars>=1", "pyarrow>=14", "pyyaml>=6", "sybil>=6"]
DEVELOP = [*DOCS, *TESTS, "ruff>=0.4"]

setup(
    name="tf_radogaga",
    version="0.1.0",
    description="Isometric autoencoders with absolute densities (RaDOGAGA) for TensorFlow and Keras",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.12",
    packages=find_packages(include=["tf_radogaga", "tf_radogaga.*"]),
    package_data={"tf_radogaga.datasets": ["data/*"]},
    install_requires=[
        "tensorflow==2.14.*",
        "keras==2.14.*",
        "tensorflow-compression==2.14.*",
        "tensorflow-probability==0.22.*",
        "numpy<2",
        "narwhals>=2",  # frames of any library
        "pandas>=2",
        "scikit-learn>=1.3",
        "scipy>=1.10",
        "threadpoolctl>=3",
        "setuptools<81",  # tensorboard 2.14 imports pkg_resources
    ],
    extras_require={
        "serving": SERVING,
        "trainers": TRAINERS,
        "beam": TRAINERS + BEAM,
        "peers": TRAINERS + PEERS,
        "docs": DOCS,
        "dev": TRAINERS + BEAM + PEERS + DEVELOP,
    },
)
