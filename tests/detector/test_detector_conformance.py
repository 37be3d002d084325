"""What users of scikit-learn take for granted, for detectors of every kind; a new one gets it by a line in `MODELS`."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tensorflow as tf
from helpers.marks import after
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tf_radogaga import DAGMM, AnomalyDetector, BetaVAE, DenseNetwork, FactorizedPrior, MixturePrior, RaDOGAGA


def compiled(model):
    model.compile(tf.keras.optimizers.Adam(1e-2), run_eagerly=True)
    return model


def networks(heads=1):
    return DenseNetwork(3, (4,), heads * 2), DenseNetwork(2, (4,), 3)


MODELS = {
    "radogaga": lambda: RaDOGAGA(*networks(), FactorizedPrior(2, init_scale=3), lambda1=10, lambda2=10),
    "dagmm": lambda: DAGMM(*networks(), MixturePrior(2, 2, covariance_floor=1e-3, em_iterations=3)),
    "beta-vae": lambda: BetaVAE(*networks(heads=2), beta=0.1),
}
KINDS = ("densities", *MODELS)
NAMES = ["width", "height", "class"]


def frame(rows=60, seed=0):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 3)), columns=NAMES)


def unfitted(kind):
    model = None if kind == "densities" else compiled(MODELS[kind]())
    return AnomalyDetector(model, epochs=1, batch_size=25, random_state=0)


_kept = {}


@pytest.fixture(params=after(1, KINDS))
def detector(request):
    """A fitted detector of each kind, which tests must not change."""
    if request.param not in _kept:
        _kept[request.param] = unfitted(request.param).fit(frame())
    return _kept[request.param]


def test_scores_are_of_the_row_alone(detector):
    rows = frame(seed=1)
    scores = detector.score_samples(rows)
    np.testing.assert_array_equal(detector.score_samples(rows), scores)
    parts = np.concatenate([detector.score_samples(rows[i : i + 7]) for i in range(0, 60, 7)])
    np.testing.assert_allclose(parts, scores, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(detector.decision_function(rows), scores - detector.threshold_)
    np.testing.assert_array_equal(detector.predict(rows), np.where(scores < detector.threshold_, -1, 1))


def test_frames_of_any_library_score_alike_and_in_their_order_alone(detector):
    rows = frame(seed=1)
    scores = detector.score_samples(rows)
    np.testing.assert_array_equal(detector.score_samples(pl.DataFrame(dict(rows))), scores)
    for wrong in (rows[NAMES[::-1]], pl.DataFrame(dict(rows[NAMES[::-1]])), rows.rename(columns={"width": "depth"})):
        with pytest.raises(ValueError, match="where those of fit belong"):
            detector.score_samples(wrong)


def test_clones_are_unfitted_and_copies_equal_and_apart(detector):
    rows = frame(seed=1)
    scores, threshold = detector.score_samples(rows), detector.threshold_
    with pytest.raises(NotFittedError):
        clone(detector).predict(rows)
    twin = copy.deepcopy(detector)
    np.testing.assert_array_equal(twin.score_samples(rows), scores)
    twin.fit(5 * frame(seed=2)).set_threshold(quantile=0.5)
    assert not np.array_equal(twin.score_samples(rows), scores)
    np.testing.assert_array_equal(detector.score_samples(rows), scores)
    assert detector.threshold_ == threshold


def test_files_and_pickles_keep_scores_and_threshold(detector, tmp_path):
    rows = frame(seed=1)
    detector.save(tmp_path / "detector")
    copies = [AnomalyDetector.load(tmp_path / "detector")]
    if detector.model is None:
        copies.append(pickle.loads(pickle.dumps(detector)))
    for twin in copies:
        np.testing.assert_allclose(twin.score_samples(rows), detector.score_samples(rows), rtol=1e-6, atol=1e-6)
        assert twin.threshold_ == detector.threshold_
        with pytest.raises(ValueError, match="where those of fit belong"):
            twin.predict(rows[NAMES[::-1]])


def test_exports_score_flag_and_name_columns_as_the_detector_does(detector, tmp_path):
    rows = frame(seed=1).astype(np.float32)
    loaded = tf.saved_model.load(str(detector.export(tmp_path)))
    served = loaded.signatures["serving_default"](features=tf.constant(rows.to_numpy()))
    scores = served["log_density"] if "log_density" in served else -served["energy"]
    np.testing.assert_allclose(scores, detector.score_samples(rows), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(served["anomaly"], detector.predict(rows) == -1)
    card = pd.read_json(tmp_path / "1" / "assets" / "card.json", typ="series")
    assert card["columns"] == {"features": NAMES}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (frame().where(frame() < 2), r"column '\w+', row \d+: nan"),
        (frame()[:1], "minimum of 2"),
        (frame(0), "minimum of 2|empty"),
        (frame().assign(width=[[1]] * 60), "column 'width', row 0"),
    ],
    ids=["missing", "one row", "no rows", "lists"],
)
def test_a_fit_that_is_refused_leaves_the_old_one_whole(detector, rows, message):
    test, twin = frame(seed=1), copy.copy(detector)
    scores = twin.score_samples(test)
    with pytest.raises((TypeError, ValueError), match=message):
        twin.fit(rows)
    np.testing.assert_array_equal(twin.score_samples(test), scores)


@pytest.mark.parametrize("kind", after(1, sorted(KINDS, key=lambda kind: kind != "dagmm")))
def test_one_seed_gives_one_detector_also_in_a_pipeline(kind):
    rows, scores = frame(), []
    for _ in range(2):
        tf.keras.utils.set_random_seed(3)
        scores.append(make_pipeline(StandardScaler(), unfitted(kind)).fit(rows).score_samples(rows))
    np.testing.assert_array_equal(*scores)
