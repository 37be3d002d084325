"""A prior that scores in place of the one that trained."""

import copy
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.linear_models import SCALE, linear_model, rotation_matrix

from tf_radogaga import (
    DAGMM,
    BetaVAE,
    DenseNetwork,
    FactorizedPrior,
    MixturePrior,
    RaDOGAGA,
    StackedPrior,
    export_saved_model,
    load_model,
    save_model,
)
from tf_radogaga.serving.card import read_card

KERNEL = rotation_matrix(3)[:2]


def bent_rows(n=3000, seed=0):
    """In a plane of three columns, z_2 follows z_1 squared, so that its axes are not independent."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    z[:, 1] = 0.3 * z[:, 1] + z[:, 0] ** 2
    return (z @ KERNEL).astype(np.float32)


def true_log_density(rows):
    z = rows @ KERNEL.T
    rest = (z[:, 1] - z[:, 0] ** 2) / 0.3
    return -0.5 * (z[:, 0] ** 2 + rest**2) - math.log(2 * math.pi) - math.log(0.3)


def radogaga(**options):
    tf.keras.utils.set_random_seed(0)
    networks = DenseNetwork(3, (8,), 2), DenseNetwork(2, (8,), 3)
    model = RaDOGAGA(*networks, FactorizedPrior(2), lambda1=10.0, lambda2=40.0, **options)
    model.compile("adam")
    return model


@pytest.fixture(scope="module")
def trained():
    model = radogaga(scoring_prior=StackedPrior(2, 4))
    model.fit(bent_rows(500), epochs=1, verbose=0)
    return model


def test_energies_and_densities_are_of_it():
    rows, fresh = bent_rows(), bent_rows(1000, seed=1)
    by_one = linear_model(KERNEL / math.sqrt(SCALE), MixturePrior(2, 1), rows)
    by_stack = linear_model(KERNEL / math.sqrt(SCALE), MixturePrior(2, 1), rows, scoring_prior=StackedPrior(2, 16))
    errors = [np.abs(model.log_density(fresh) - true_log_density(fresh)) for model in (by_one, by_stack)]
    assert np.median(errors[1]) < 0.15 and np.median(errors[0]) > 0.5
    z = by_stack.encode(fresh)
    np.testing.assert_allclose(by_stack.energy(fresh), by_stack.scoring_prior.rate(z), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        by_stack.log_density(fresh, volume="jacobian"), by_stack.log_density(fresh), rtol=1e-4, atol=1e-4
    )
    drawn = by_stack.sample(4000, seed=0).numpy() @ KERNEL.T
    assert abs(np.mean(drawn[:, 1] - drawn[:, 0] ** 2)) < 0.1


def test_the_loss_and_its_gradients_are_of_the_other():
    plain, scored = radogaga(), radogaga(scoring_prior=StackedPrior(2, 4))
    trained = {id(variable) for variable in scored.trainable_variables}
    assert trained and not trained & {id(variable) for variable in scored.scoring_prior.variables}
    histories = [model.fit(bent_rows(300), epochs=2, verbose=0).history["loss"] for model in (plain, scored)]
    np.testing.assert_array_equal(*histories)
    np.testing.assert_array_equal(plain.encode(bent_rows(9)), scored.encode(bent_rows(9)))
    scored.fit(bent_rows(300), epochs=1, verbose=0)  # it can go on
    assert np.isfinite(scored.energy(bent_rows(9))).all()


def test_copies_files_and_exports_score_alike(trained, tmp_path):
    rows = bent_rows(20, seed=1)
    energies = trained.energy(rows).numpy()
    save_model(trained, tmp_path / "model")
    for twin in (copy.deepcopy(trained), load_model(tmp_path / "model")):
        np.testing.assert_array_equal(twin.energy(rows), energies)
        np.testing.assert_array_equal(twin.sample(5, seed=3), trained.sample(5, seed=3))
    served = tf.saved_model.load(str(export_saved_model(trained, tmp_path / "served")))
    assert read_card(tmp_path / "served" / "1")["scoring_prior"] == "StackedPrior"
    found = served.signatures["serving_default"](features=tf.constant(rows))
    np.testing.assert_allclose(found["energy"], energies, rtol=1e-5)
    np.testing.assert_allclose(found["log_density"], trained.log_density(rows), rtol=1e-5)


def test_it_is_forgotten_with_the_weights(trained, tmp_path):
    model = copy.deepcopy(trained)
    model.train_on_batch(bent_rows(50))
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        model.energy(bent_rows(5))
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        model.predict(bent_rows(5), verbose=0)
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        export_saved_model(model, tmp_path)
    model.adapt_prior(bent_rows(200), refine=False)
    assert model.scoring_prior.adaptation["components"] == 3  # one Gaussian at each floor
    assert np.isfinite(model.energy(bent_rows(5))).all()


def test_no_checkpoint_holds_a_rough_or_a_stale_one(trained, tmp_path):
    model = radogaga(scoring_prior=StackedPrior(2, 4))
    kept = tf.keras.callbacks.ModelCheckpoint(str(tmp_path / "kept"), save_weights_only=True)
    model.fit(bent_rows(300), validation_data=bent_rows(60, seed=1), epochs=1, callbacks=[kept], verbose=0)
    assert np.isfinite(model.energy(bent_rows(5))).all()
    model.load_weights(str(tmp_path / "kept"))  # of before the end of fit
    with pytest.raises(RuntimeError, match="call fit or adapt_prior first"):
        model.energy(bent_rows(5))
    plain, scored = radogaga(), copy.deepcopy(trained)
    plain.save_weights(str(tmp_path / "plain"))
    scored.load_weights(str(tmp_path / "plain"))
    assert not scored.scoring_prior.adapted
    trained.save_weights(str(tmp_path / "own"))
    scored.load_weights(str(tmp_path / "own"))
    np.testing.assert_array_equal(scored.energy(bent_rows(5)), trained.energy(bent_rows(5)))


def test_features_of_the_reconstruction_are_scored_by_it():
    networks = DenseNetwork(3, (8,), 2), DenseNetwork(2, (8,), 3)
    model = DAGMM(*networks, MixturePrior(4, 2), reconstruction_features=True, scoring_prior=StackedPrior(4, 2))
    model.compile("adam")
    model.fit(bent_rows(300), epochs=1, verbose=0)
    assert np.isfinite(model.energy(bent_rows(9))).all()


def test_what_cannot_score_is_refused():
    with pytest.raises(TypeError, match=r"scoring_prior: .* is no prior that is fitted to latents alone"):
        radogaga(scoring_prior=FactorizedPrior(2))
    with pytest.raises(ValueError, match=r"scoring_prior: 3 units where 2 are needed; give StackedPrior\(2\)"):
        radogaga(scoring_prior=StackedPrior(3))
    with pytest.raises(ValueError, match="at least 5"):
        radogaga(scoring_prior=StackedPrior(2)).fit(bent_rows(4), verbose=0)  # before the training
    with pytest.raises(TypeError, match="scoring_prior: leave it out; a BetaVAE has its own prior"):
        BetaVAE(DenseNetwork(3, (8,), 4), DenseNetwork(2, (8,), 3), beta=0.1, scoring_prior=StackedPrior(2))
