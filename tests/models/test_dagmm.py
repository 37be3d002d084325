import numpy as np
import pytest
import tensorflow as tf
from helpers.models import small_model

from tf_radogaga import DAGMM, DenseNetwork, MixturePrior, Prior


def test_loss_terms_are_the_equation(rows):
    x = tf.constant(rows, tf.float32)
    model = small_model("dagmm", lambda1=0.3, lambda2=0.02)
    model.prior.dropout = 0
    terms = model.loss_terms(x, training=True)
    z = model.encode(x)
    mixture = model.prior.batch_mixture(z)
    penalty = sum(1 / mixture.covariance[k, i, i] for k in range(2) for i in range(2))
    np.testing.assert_allclose(terms["reconstruction"], tf.reduce_sum((x - model.decode(z)) ** 2, 1), rtol=1e-5)
    np.testing.assert_allclose(terms["rate"], 0.3 * mixture.energy(tf.cast(z, tf.float64)), rtol=1e-5)
    np.testing.assert_allclose(terms["singularity"], np.full(len(rows), 0.02 * penalty), rtol=1e-5)


def test_scoring_uses_the_stored_mixture_not_the_batchs(rows):
    model = small_model("dagmm")
    model.adapt_prior(rows)
    alone = model.energy(rows[:1]).numpy()
    np.testing.assert_allclose(alone, model.energy(rows).numpy()[:1], rtol=1e-5)


def test_needs_a_mixture_prior_and_has_no_density(rows):
    with pytest.raises(TypeError, match="MixturePrior"):
        DAGMM(DenseNetwork(4, (), 2), DenseNetwork(2, (), 4), Prior())
    with pytest.raises(NotImplementedError, match="does not fix the volume"):
        small_model("dagmm").log_density(rows)


def test_the_penalty_leaves_out_what_only_fills_the_room_of_a_stack():
    rows, terms = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32), []
    for selection in (None, "stacked"):
        tf.keras.utils.set_random_seed(0)
        prior = MixturePrior(2, 3, selection=selection)
        model = DAGMM(DenseNetwork(4, (6,), 2), DenseNetwork(2, (6,), 4), prior)
        model.adapt_prior(rows, refine=False)
        terms.append(model.loss_terms(tf.constant(rows)))
    for name in terms[0]:
        np.testing.assert_allclose(terms[1][name], terms[0][name], rtol=1e-6)
