"""The structure of the package, read from its syntax trees: which way imports point, who may do what, and how much."""

import ast
import functools
import graphlib
import importlib
import inspect
from pathlib import Path

import pytest

import tf_radogaga
from tf_radogaga.models import Autoencoder, BetaVAE

PACKAGE = Path(tf_radogaga.__file__).parent
FLOORS = (
    ("_core",),
    ("networks",),
    ("distortions", "preprocessing", "priors"),
    ("training", "datasets"),
    ("isometry",),
    ("models",),
    ("saving", "serving", "presets"),
    ("ensemble", "detector", "plots", "unfolding"),
    ("",),
    ("__main__",),
)
"""Folders and files of the package, the lowest first; "" is its `__init__`. Imports point to lower floors."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

MOST_LINES, MOST_METHODS = 350, 25
CODE = ("tf_radogaga", "trainers", "tests", "docs", "stack")

FILES = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "read_file", "write_file", "GFile", "savez"}
FILES |= {"mkdir", "unlink", "rmtree"}
TOUCH_FILES = ("_core.directories", "saving", "serving", "datasets", "detector.files")
LIBRARIES = {"matplotlib": ("plots",)}
OWN_TENSORFLOW = ("_core.stack", "preprocessing.encoded_images")  # the latter is read where the package is missing, too
STACK = ("keras", "tf_keras", "tensorflow_probability", "tensorflow_compression", "tensorflow_compression_ops")


def _name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FOLDERS = {_name(path) for path in PACKAGE.rglob("__init__.py")}
TREES = {_name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def _room(module):
    return module.partition(".")[0]


def _imported(module):
    """Full names of what a file imports, wherever it does, also for annotations alone."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            folder = module if module in FOLDERS else module.rpartition(".")[0]
            source = f"tf_radogaga.{folder}.{node.module or ''}".rstrip(".") if node.level else node.module
            assert node.level < 2
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _own(name):
    """The module of this package that an imported name is or is from, else None."""
    top, _, rest = name.partition(".")
    if top != "tf_radogaga":
        return None
    while rest not in TREES:
        rest = rest.rpartition(".")[0]
    return rest


def _arrows():
    """Pairs of modules, the one that imports first."""
    found = {(module, _own(name)) for module in TREES for name in _imported(module)}
    return {(module, target) for module, target in found if target is not None and target != module}


def test_every_file_is_on_a_floor():
    assert {_room(module) for module in TREES} == set(FLOOR)


def test_imports_point_down():
    upward = {
        (module, target)
        for module, target in _arrows()
        if _room(module) != _room(target) and FLOOR[_room(module)] <= FLOOR[_room(target)]
    }
    assert not upward


def test_no_file_imports_itself_by_way_of_others():
    graph = {}
    for module, target in _arrows():
        if module != target.rpartition(".")[0] and target != _room(module):  # a folder and what is in it
            graph.setdefault(module, set()).add(target)
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_known_to_its_rooms_alone(library):
    users = {_room(module) for module in TREES for name in _imported(module) if _room(name) == library}
    assert users == set(LIBRARIES[library])


def test_tensorflow_and_what_belongs_to_it_come_from_one_file():
    names = {(module, name) for module in TREES if module not in OWN_TENSORFLOW for name in _imported(module)}
    assert not [(m, n) for m, n in names if n in ("tensorflow", "tensorflow.keras") or n.partition(".")[0] in STACK]


def test_few_touch_files():
    touching = set()
    for module, tree in TREES.items():
        called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", None) for part in called}
        if names & FILES:
            touching.add(module)
    beyond = {module for module in touching if module not in TOUCH_FILES and _room(module) not in TOUCH_FILES}
    assert not beyond


def _scripts():
    return [path for folder in CODE for path in sorted((PACKAGE.parent / folder).rglob("*.py"))]


def test_no_file_is_long():
    lines = {str(path.relative_to(PACKAGE.parent)): path.read_text().count("\n") for path in _scripts()}
    assert len(lines) > 200
    assert {path: number for path, number in lines.items() if number > MOST_LINES} == {}


def test_no_class_has_many_methods_of_its_own():
    """An overload or a setter is the method whose name it has."""
    methods = {}
    for path in _scripts():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found = {part.name for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))}
                methods[node.name] = max(methods.get(node.name, 0), len(found))
    assert len(methods) > 100
    assert {name: number for name, number in methods.items() if number > MOST_METHODS} == {}


_KINDS = (property, classmethod, staticmethod, functools.cached_property, type(vars(Autoencoder)["score_images"]))


def _methods(kind):
    """Names of methods and properties that a class has of this package, but for those of its libraries' classes."""
    packaged = [base for base in kind.__mro__ if base.__module__.startswith("tf_radogaga")]
    known = {name for base in kind.__mro__ if base not in packaged for name in vars(base)}
    names = {name for base in packaged for name in vars(base)} - known
    found = {name: inspect.getattr_static(kind, name) for name in names}
    return {name for name, value in found.items() if inspect.isfunction(value) or isinstance(value, _KINDS)}


def test_no_class_inherits_many_methods():
    modules = [importlib.import_module(f"tf_radogaga.{name}".rstrip(".")) for name in TREES if "__main__" not in name]
    kinds = {kind for module in modules for kind in vars(module).values() if inspect.isclass(kind)}
    methods = {kind: _methods(kind) for kind in kinds if kind.__module__.startswith("tf_radogaga")}
    assert {"encode", "posterior", "score_images"} <= methods[BetaVAE]
    assert not {kind: len(names) for kind, names in methods.items() if len(names) > MOST_METHODS}
