"""Exports score the same where nothing is known of the package: TensorFlow alone, and the C++ loader of servers."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.exports import KINDS, read_tensors, rows32, write_tensors, wrong_shapes

from tf_radogaga import AnomalyDetector
from tf_radogaga.serving.signatures import requests

TENSORFLOW_ALONE = """
import sys, tensorflow as tf
from pathlib import Path
from tensorflow.core.framework import tensor_pb2
for version, inputs, outputs in zip(*3 * [iter(sys.argv[1:])]):
    loaded = tf.saved_model.load(version)
    for folder in Path(inputs).iterdir():
        protos = {path.name: tensor_pb2.TensorProto.FromString(path.read_bytes()) for path in folder.iterdir()}
        found = loaded.signatures[folder.name](**{k: tf.constant(tf.make_ndarray(v)) for k, v in protos.items()})
        (Path(outputs) / folder.name).mkdir(parents=True)
        for name, value in found.items():
            (Path(outputs) / folder.name / name).write_bytes(tf.make_tensor_proto(value).SerializeToString())
from tf_radogaga_trainers.shared import csv_rows  # what the scripts that score files need
packages = {name.partition(".")[0] for name in sys.modules}
assert not packages & {"tf_radogaga", "tensorflow_compression", "tensorflow_probability"}
"""
pytestmark = pytest.mark.thorough
QUICK, SLOW = ("log-table-features", "images"), pytest.mark.slow
SHIPPED = Path(__file__).parents[2] / "saved_models"


@pytest.fixture(scope="module")
def answered(exported, tmp_path_factory):
    """Of a kind of model: it, its rows, its version, and a folder of requests in `inputs`, answers in `python`."""

    @functools.cache
    def made(kind):
        model, rows, version = exported(kind)
        folder = tmp_path_factory.mktemp(kind)
        loaded = tf.saved_model.load(str(version))
        asked = requests(model, rows)
        assert set(asked) == set(loaded.signatures)
        for signature, inputs in asked.items():
            write_tensors(folder / "inputs" / signature, inputs)
            write_tensors(folder / "python" / signature, loaded.signatures[signature](**inputs))
        return model, rows, version, folder

    return made


@pytest.fixture(params=[kind if kind in QUICK else pytest.param(kind, marks=SLOW) for kind in KINDS])
def export(request, answered):
    return answered(request.param)


def _assert_same_answers(folder, there, tolerance):
    signatures = sorted(path.name for path in (folder / "inputs").iterdir())
    assert sorted(path.name for path in (folder / there).iterdir()) == signatures
    for signature in signatures:
        found, expected = (read_tensors(folder / where / signature) for where in (there, "python"))
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=tolerance, err_msg=f"{signature} {name}")


@pytest.mark.parametrize(
    "kinds", [QUICK, pytest.param([kind for kind in KINDS if kind not in QUICK], marks=SLOW)], ids=["quick", "rest"]
)
def test_a_process_with_tensorflow_alone_gives_the_same(kinds, answered):
    made = [answered(kind)[2:] for kind in kinds]
    paths = [path for version, folder in made for path in (version, folder / "inputs", folder / "alone")]
    done = subprocess.run([sys.executable, "-c", TENSORFLOW_ALONE, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for _, folder in made:
        _assert_same_answers(folder, "alone", 1e-6)


@pytest.fixture(scope="session")
def score_program(tmp_path_factory):
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    program, library = tmp_path_factory.mktemp("cpp") / "score", tf.sysconfig.get_lib()
    # every library is kept, because sessions register themselves in one of which the program names nothing
    link = ["-Wl,--no-as-needed", *tf.sysconfig.get_link_flags(), "-l:libtensorflow_cc.so.2", f"-Wl,-rpath,{library}"]
    source = str(Path(__file__).parents[1] / "cpp" / "score.cc")
    done = subprocess.run(
        ["g++", source, "-o", str(program), *tf.sysconfig.get_compile_flags(), *link], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return program


def _run(program, version, inputs, outputs):
    return subprocess.run([str(program), str(version), str(inputs), str(outputs)], capture_output=True, text=True)


def _score_by_cpp(program, version, folder):
    done = _run(program, version, folder / "inputs", folder / "cpp")
    assert done.returncode == 0, done.stderr


def test_the_loader_of_servers_gives_the_same(export, score_program):
    *_, version, folder = export
    _score_by_cpp(score_program, version, folder)
    _assert_same_answers(folder, "cpp", 1e-6)


def test_the_loader_of_servers_names_what_fails(exported, score_program, tmp_path):
    version = exported("log-matrix")[2]
    write_tensors(tmp_path / "inputs" / "serving_default", {"features": np.zeros((3, 5), np.float32)})
    with pytest.raises(AssertionError, match=r"features\S* \[3,5\] is not compatible"):
        _score_by_cpp(score_program, version, tmp_path)


def test_the_loader_of_servers_refuses_inputs_of_any_other_shape(export, score_program):
    model, rows, version, folder = export
    wrong = list(wrong_shapes(tf.saved_model.load(str(version)), requests(model, rows)))
    for name, _, inputs in wrong:
        write_tensors(folder / "wrong" / name, inputs)
    done = _run(score_program, version, folder / "wrong", folder / "none")
    told = [line for line in done.stderr.splitlines() if "Shape of tensor" in line]
    assert not (folder / "none").exists()
    assert sorted(line.partition(":")[0] for line in told) == sorted(name for name, *_ in wrong)


def test_the_loader_of_servers_refuses_other_columns_than_a_detectors(score_program, tmp_path):
    rows = rows32(60)
    version = AnomalyDetector(random_state=0).fit(rows).export(tmp_path / "served")
    for width in (0, 1, 3, 5):
        write_tensors(tmp_path / "wrong" / f"serving_default.{width}", {"features": np.resize(rows, (60, width))})
    done = _run(score_program, version, tmp_path / "wrong", tmp_path / "none")
    assert done.stderr.count("is not compatible with expected shape [?,4]") == 4 and not (tmp_path / "none").exists()


@pytest.mark.parametrize("missing", ["variables.index", ""])
def test_a_version_without_its_variables_does_not_load(missing, exported, score_program, tmp_path):
    _, rows, version = exported("log-matrix")
    copied = shutil.copytree(version, tmp_path / "copied")
    (copied / "variables").rename(tmp_path / "variables")
    if missing:  # it is the last that is copied
        (tmp_path / "variables" / missing).unlink()
        (tmp_path / "variables").rename(copied / "variables")
    write_tensors(tmp_path / "inputs" / "serving_default", {"features": rows})
    with pytest.raises(AssertionError, match="the variables of this version are not there"):
        _score_by_cpp(score_program, copied, tmp_path)


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        pytest.param("thyroid", "features", (6,), marks=SLOW),
        ("toy", "features", (16,)),
        ("mnist", "images", (28, 28, 1)),
    ],
)
def test_the_loader_of_servers_scores_the_models_that_ship(name, key, shape, score_program, tmp_path):
    version = SHIPPED / name / "1"
    rows = np.random.default_rng(0).uniform(size=(5, *shape)).astype(np.float32)
    rows = (255 * rows).astype(np.uint8) if key == "images" else rows
    write_tensors(tmp_path / "inputs" / "serving_default", {key: rows})
    loaded = tf.saved_model.load(str(version))
    scores = loaded.signatures["serving_default"](**{key: tf.constant(rows)})
    write_tensors(tmp_path / "python" / "serving_default", scores)
    _score_by_cpp(score_program, version, tmp_path)
    _assert_same_answers(tmp_path, "cpp", 1e-6)


def test_an_export_scores_as_its_model(export):
    model, rows, _, folder = export
    found = {path.name: read_tensors(path) for path in (folder / "python").iterdir()}
    energy = model.energy(rows).numpy()
    same = "serving_bytes" if "serving_bytes" in found else "serving_examples"
    for signature in ("serving_default", same):
        scores = found[signature]
        np.testing.assert_allclose(scores["energy"], energy, rtol=1e-5, atol=1e-5)
        assert scores["valid"].all() and scores["anomaly"].sum() == len(rows) // 10
        np.testing.assert_array_equal(scores["anomaly"], scores["energy"] > model.threshold)
        assert ("log_density" in scores) == model.has_log_density
        if model.has_log_density:
            np.testing.assert_allclose(scores["log_density"], model.log_density(rows), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found["encode"]["latent"], model.encode(rows), rtol=1e-4, atol=1e-4)
    reconstruction = found["reconstruct"]["reconstruction"]
    np.testing.assert_allclose(found["decode"]["reconstruction"], reconstruction, atol=1e-4)
    np.testing.assert_allclose(model.decode(model.encode(rows)), reconstruction, atol=1e-4)
    assert ("sample" in found) == (not model.reconstruction_features)
    if "sample" in found:
        for seed in (0, 7):
            np.testing.assert_allclose(found["sample"]["sample"][seed], model.sample(1, seed)[0], rtol=1e-4, atol=1e-4)
