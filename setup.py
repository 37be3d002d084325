"""The folders that make the package; all else about it stands in pyproject.toml."""

from setuptools import find_namespace_packages, setup

TRAINERS = find_namespace_packages("trainers", exclude=["*.results"])

setup(
    packages=[
        *find_namespace_packages(include=["tf_radogaga", "tf_radogaga.*"]),
        "tf_radogaga_trainers",
        *(f"tf_radogaga_trainers.{folder}" for folder in TRAINERS),
    ],
    package_dir={"tf_radogaga_trainers": "trainers"},
)
