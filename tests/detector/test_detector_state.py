"""What an `AnomalyDetector` holds is of one fit: after a second one that fails, in its copies, and in its card."""

import copy
import json
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.models import clusters, encoded, rotated, small_model, table
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from tf_radogaga import AnomalyDetector, MixturePrior
from tf_radogaga.detector.export import served_model
from tf_radogaga.serving.card import model_card


def compiled_model(preprocess=None):
    model = small_model("dagmm", preprocess)
    model.compile(tf.keras.optimizers.Adam(1e-3), run_eagerly=True)
    return model


def one_fit(detector, before, scores, rows):
    """Whether the detector is what it was."""
    now = vars(detector)
    return (
        now.keys() == before.keys()
        and all(now[name] is before[name] for name in now)
        and ((detector.score_samples(rows) == scores).all())
    )


def card_of(detector):
    return json.loads(model_card(served_model(detector), None))


@pytest.fixture(scope="module")
def rows():
    return rotated(40)


@pytest.fixture
def detector(rows):
    return AnomalyDetector(random_state=0).fit(pd.DataFrame(rows, columns=["a", "b"]))


def test_a_fit_that_is_interrupted_anywhere_leaves_the_one_before(rows, detector):
    names, other = ["a", "b"], pd.DataFrame(rows * 3 + 20, columns=["c", "d"]).assign(e=rows[:, 0] * rows[:, 1])
    frame = pd.DataFrame(rows, columns=names)
    before, scores = dict(vars(detector)), detector.score_samples(frame)

    def interrupted_after(calls):
        def profile(*_):
            nonlocal calls
            calls -= 1
            if not calls:
                raise KeyboardInterrupt

        sys.setprofile(profile)
        try:
            detector.fit(other)
        finally:
            sys.setprofile(None)
        return calls

    steps = min(10**9 - interrupted_after(10**9) for _ in range(2))  # of fits that end; one may collect others' garbage
    assert list(detector.feature_names_in_) == ["c", "d", "e"]
    vars(detector).clear()
    vars(detector).update(before)
    stopped = 0
    for calls in np.linspace(1, 0.999 * steps, 40, dtype=int):  # at the very end it holds the new one
        try:
            interrupted_after(int(calls))
        except KeyboardInterrupt:
            stopped += 1
            assert one_fit(detector, before, scores, frame)
        vars(detector).clear()
        vars(detector).update(before)
    assert stopped > 30


def test_a_fit_that_is_refused_leaves_the_one_before(rows, detector):
    frame = pd.DataFrame(rows, columns=["a", "b"])
    before, scores = dict(vars(detector)), detector.score_samples(frame)
    text = pd.DataFrame({"kind": ["a", None]})
    for wrong in (np.ones((10, 5)), np.full((4, 3), np.nan), rows[:1], text, "rows"):
        with pytest.raises((ValueError, TypeError)):
            detector.fit(wrong)
        assert one_fit(detector, before, scores, frame)
    with pytest.raises(ValueError, match="quantile"):
        detector.set_threshold(frame, quantile=2)
    with pytest.raises(ValueError, match="columns"):
        detector.set_threshold(frame[["b", "a"]], quantile=0.1)
    assert one_fit(detector, before, scores, frame)
    detector.set_params(model=small_model(), false_positive_rate=0.2)
    with pytest.raises(ValueError, match="not compiled"):
        detector.fit(frame)
    np.testing.assert_array_equal(detector.score_samples(frame), scores)


@pytest.mark.thorough
def test_an_interrupted_training_leaves_the_model_before(monkeypatch):
    rows = clusters(60)
    detector = AnomalyDetector(compiled_model(), epochs=1).fit(rows)
    before, scores = dict(vars(detector)), detector.score_samples(rows)
    model = type(detector.model_)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    for name in ("fit", "energy"):
        with monkeypatch.context() as patch:
            patch.setattr(model, name, stopped)
            with pytest.raises(KeyboardInterrupt):
                detector.fit(rows + 9)
        assert one_fit(detector, before, scores, rows)
    detector.set_params(model=None).fit(rows)
    assert detector.model_ is None and detector.log_density(rows).shape == (60,)


def test_an_interrupted_prior_is_not_adapted(monkeypatch):
    prior, z = MixturePrior(2, 2, em_iterations=5), tf.constant(rotated(60), tf.float32)
    prior.adapt([z])
    kept = [variable.numpy() for variable in prior.stored]

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prior, "_expectation_maximization", stopped)
        with pytest.raises(KeyboardInterrupt):
            prior.adapt([z + 1])
    assert prior.adapted and all((variable.numpy() == old).all() for variable, old in zip(prior.stored, kept))
    with pytest.raises(ValueError, match="None"):
        prior.store([*prior.stored[:3], None])
    assert not prior.adapted


@pytest.mark.thorough
def test_copies_are_detectors_of_their_own():
    rows, frame = clusters(60), table(60)
    cases = [
        (AnomalyDetector(random_state=0), rows),
        (AnomalyDetector(random_state=0), frame),
        (AnomalyDetector(compiled_model(), epochs=1), rows),
        (AnomalyDetector(compiled_model(encoded(frame)), epochs=1), frame),
    ]
    for detector, data in cases:
        expected = detector.fit(data).score_samples(data)
        deep, shallow = copy.deepcopy(detector), copy.copy(detector)
        unfitted = clone(detector)
        assert detector.model is None or unfitted.model is not detector.model
        changed = data.iloc[::2] if data is frame else data[::2] + 1
        for other in (deep, shallow):
            np.testing.assert_allclose(other.score_samples(data), expected, rtol=1e-6)
            other.fit(changed)
            np.testing.assert_array_equal(detector.score_samples(data), expected)
        assert deep.model is None or deep.model is not detector.model


@pytest.mark.thorough
def test_a_search_chooses_among_models_and_none():
    rows, model = clusters(60), compiled_model()
    before = [variable.numpy() for variable in model.variables]
    grid = {"model": [None, model], "epochs": [1]}
    search = GridSearchCV(AnomalyDetector(random_state=0), grid, cv=KFold(2), error_score="raise").fit(rows)
    scores = search.cv_results_["mean_test_score"]
    halves = (rows[:30], rows[30:]), (rows[30:], rows[:30])
    by_hand = [AnomalyDetector(random_state=0).fit(train).score(test) for train, test in halves]
    assert scores[0] == pytest.approx(np.mean(by_hand)) and np.isfinite(scores[1])
    assert (search.best_params_["model"] is None) == (scores[0] >= scores[1])
    assert all((variable.numpy() == old).all() for variable, old in zip(model.variables, before))


def test_the_card_has_the_names_of_the_columns(rows, detector, tmp_path):
    detector.save(tmp_path / "saved")
    loaded = AnomalyDetector.load(tmp_path / "saved")
    assert card_of(loaded)["columns"] == card_of(detector)["columns"] == {"features": ["a", "b"]}
    assert "columns" not in card_of(AnomalyDetector(random_state=0).fit(rows))
    frame = pd.DataFrame(clusters(60), columns=["height", "weight", 3, "age in years"])
    trained = AnomalyDetector(compiled_model(), epochs=1).fit(frame)
    names = ["height", "weight", "3", "age in years"]
    assert card_of(trained)["columns"] == {"features": names}


def test_the_card_has_the_reader_and_the_names_of_named_inputs():
    model = compiled_model(encoded(table(60)))
    model.prior.adapt([tf.constant(rotated(60), tf.float32)])
    assert "reader" not in json.loads(model_card(model, None))
    model.preprocess.reader = {"separator": ";", "header": True}
    card = json.loads(model_card(model, None))
    served = {"blood_pressure": "blood pressure", "kind": "kind", "code": "code", "dose": "dose"}
    assert card["columns"] == served and card["reader"] == {"separator": ";", "header": True}
    with pytest.raises(ValueError, match=r"card: \['columns', 'reader'\] are filled in from the model"):
        model_card(model, {"columns": 1, "reader": 2})


def test_a_detector_fitted_again_keeps_nothing_of_the_fit_before():
    rows, frame = clusters(60), pd.DataFrame(clusters(60), columns=list("abcd"))
    model = compiled_model()
    settings = ({"model": None}, frame), ({"model": model, "epochs": 1}, rows), ({"model": None}, rows)
    again = AnomalyDetector(random_state=0)
    for options, given in settings:
        again.set_params(**options).fit(given)
        fresh = AnomalyDetector(random_state=0, **options).fit(given)
        assert vars(again).keys() == vars(fresh).keys()
        assert hasattr(again, "held_out_") == hasattr(again, "used_") == (options["model"] is None)
