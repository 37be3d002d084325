import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import fitted
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from tf_radogaga import DenseNetwork, MixturePrior, RaDOGAGA, load_model, save_model
from tf_radogaga.mixtures import Mixture, Statistics
from tf_radogaga.priors import DistributionPrior, FactorizedPrior, NormalPrior, Prior

tfd = tfp.distributions


def _clusters(n=900, spread=6.0):
    """Three well separated unit clusters in the plane, (n, 2) float64."""
    rng = np.random.default_rng(1)
    centres = spread * np.array([[0, 0], [1, 0], [0, 1]])
    return centres[np.arange(n) % 3] + rng.normal(size=(n, 2))


def _scikit(mixture: Mixture) -> GaussianMixture:
    model = GaussianMixture(mixture.mean.shape[0])
    model.weights_ = np.exp(mixture.log_weights)
    model.means_ = np.array(mixture.mean)
    model.covariances_ = np.array(mixture.covariance)
    model.precisions_cholesky_ = np.swapaxes(np.array(mixture.inverse_cholesky), 1, 2)
    return model


@pytest.mark.parametrize("batch", [1, 7, 100, 149])
def test_streamed_statistics_equal_the_full_batch(batch):
    z, prior = tf.constant(_clusters(150)), MixturePrior(2, 3)
    whole = Statistics.of(z, prior.memberships(z)).mixture(1e-6)
    prior.adapt([z[i : i + batch] for i in range(0, len(z), batch)], refine=False)
    for streamed, full in zip(prior.stored, whole):
        np.testing.assert_allclose(streamed, full, rtol=1e-5, atol=1e-9)  # float32 memberships


def test_log_density_is_scikit_learns_and_tensorflow_probabilitys():
    z, prior = _clusters(), MixturePrior(2, 3)
    prior.adapt([z])
    energy = prior.rate(tf.constant(z))
    np.testing.assert_allclose(energy, -_scikit(prior.stored).score_samples(z), rtol=1e-5)
    np.testing.assert_allclose(energy, -prior.distribution.log_prob(z), rtol=1e-5)


def test_em_repairs_a_network_that_merges_clusters():
    z, prior = _clusters(), MixturePrior(2, 3, em_iterations=200)
    prior.adapt([z[:500], z[500:]])
    best = GaussianMixture(3, n_init=5, random_state=0, reg_covar=1e-6).fit(z)
    assert prior.adaptation["nll_network"] > prior.adaptation["nll_em"] + 0.1  # untrained: all clusters merged
    assert prior.adaptation["nll_em"] == pytest.approx(-best.score(z), abs=1e-3)
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), 1 / 3, atol=0.02)


def test_em_revives_a_component_to_which_the_network_gives_no_members():
    """Weights 0.67 / 0.33 / 0, two clusters merged: EM started there alone would stay there."""
    z, prior = _clusters(), MixturePrior(2, 3, units=())
    prior.logits.kernel.assign([[0, 8, 0], [0, 0, 0]])
    prior.logits.bias.assign([0, -24, -60])  # the second component begins at z_0 = 3, the third nowhere
    prior.adapt([z], refine=False)
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), [2 / 3, 1 / 3, 0], atol=0.01)
    prior.adapt([z])
    np.testing.assert_allclose(np.exp(prior.stored.log_weights), 1 / 3, atol=0.01)
    means = np.array(prior.stored.mean)
    np.testing.assert_allclose(means[np.lexsort(means.round().T)], [[0, 0], [6, 0], [0, 6]], atol=0.3)
    best = GaussianMixture(3, n_init=5, random_state=0, reg_covar=1e-6).fit(z)
    assert float(tf.reduce_mean(prior.rate(tf.constant(z)))) == pytest.approx(-best.score(z), abs=1e-3)


@pytest.mark.parametrize(("seed", "floor"), [(0, 1e-6), (1, 0.5), (2, 5.0)])
def test_em_never_costs_likelihood(seed, floor):
    tf.keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(300, 2)) * [3, 0.3] + rng.choice([0, 1, 5], (300, 1))
    prior, rates = MixturePrior(2, 3, covariance_floor=floor, em_iterations=20), []
    for refine in (False, True):
        prior.adapt([z[:90], z[90:]], refine=refine)
        rates.append(float(tf.reduce_mean(prior.rate(tf.constant(z)))))
    assert rates[1] < rates[0] + 1e-6
    assert [prior.adaptation["nll_network"], prior.adaptation["nll_em"]] == pytest.approx(rates, abs=1e-4)


def test_em_iterations_zero_keeps_the_networks_mixture():
    z, prior = tf.constant(_clusters()), MixturePrior(2, 3, em_iterations=0)
    prior.adapt([z])
    expected = Statistics.of(z, prior.memberships(z)).mixture(1e-6)
    np.testing.assert_allclose(prior.stored.mean, expected.mean)
    assert prior.adaptation["nll_network"] == prior.adaptation["nll_em"]


def test_energy_grows_and_stays_finite_far_away():
    prior = MixturePrior(2, 3)
    prior.adapt([_clusters()])
    far = tf.constant([[10.0**k, -(10.0**k)] for k in range(1, 7)], tf.float64)
    energy = prior.rate(far).numpy()
    assert np.isfinite(energy).all() and (np.diff(energy) > 0).all()


def test_dropout_is_for_training_only():
    z, prior = tf.constant(_clusters(64)), MixturePrior(2, 3, dropout=0.5)
    np.testing.assert_array_equal(prior.memberships(z), prior.memberships(z))
    assert np.abs(prior.memberships(z, training=True) - prior.memberships(z, training=True)).max() > 1e-3


def test_too_few_rows_for_the_components():
    with pytest.raises(ValueError, match="2 rows cannot determine components=3"):
        MixturePrior(2, 3).adapt([_clusters(2)])


def test_latents_that_are_not_finite():
    z = _clusters(20)
    z[4] = np.nan
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        MixturePrior(2, 3).adapt([z])


# Laws of every prior


@tf.keras.utils.register_keras_serializable(package="test_priors")
def correlated_normal():
    return tfd.MultivariateNormalTriL([1.0, -2.0], [[2.0, 0.0], [1.5, 0.5]])


@tf.keras.utils.register_keras_serializable(package="test_priors")
def trainable_normal():
    scale = tfp.util.TransformedVariable(tf.eye(2), tfp.bijectors.FillScaleTriL(), name="scale")
    return tfd.MultivariateNormalTriL(tf.Variable(tf.zeros(2), name="loc"), scale)


def _perturbed(prior, seed=0):
    rng = np.random.default_rng(seed)
    for variable in prior.trainable_variables:
        variable.assign_add(rng.normal(0, 0.5, variable.shape))
    return prior


@functools.cache
def _prior(name, units=2):
    """A prior whose mass lies within 60 of the origin."""
    if name == "mixture":
        prior = MixturePrior(units, 3)
        rng = np.random.default_rng(5)
        shape = np.array([[1.0, 0.8], [0.0, 1.5]])[:units, :units]
        prior.adapt([rng.choice([-4, 0, 9], (400, 1)) + rng.normal(size=(400, units)) @ shape])
        return prior
    if name == "distribution":
        return DistributionPrior(correlated_normal if units == 2 else lambda: tfd.MultivariateNormalDiag([1.0], [3.0]))
    kinds = {"normal": NormalPrior, "factorized": lambda n: FactorizedPrior(n, init_scale=2.0)}
    return _perturbed(kinds[name](units))


PRIORS = ("factorized", "mixture", "normal", "distribution")


def _bimodal_and_normal(rows, seed=0):
    """Latents (rows, 2) float32: two modes 10 apart, and a normal."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 2)) * [0.7, 3.0] + np.stack([rng.choice([-5, 5], rows), np.full(rows, 0.3)], axis=1)
    return tf.constant(z, tf.float32)


def _noisy_densities(t):
    """The densities of the two columns of `_bimodal_and_normal` plus uniform noise, (2, len(t))."""

    def cumulatives(t):
        modes = 0.5 * (stats.norm.cdf(t, -5, 0.7) + stats.norm.cdf(t, 5, 0.7))
        return np.stack([modes, stats.norm.cdf(t, 0.3, 3.0)])

    return cumulatives(t + 0.5) - cumulatives(t - 0.5)


@pytest.fixture(scope="module")
def trained():
    """A FactorizedPrior fitted to `_bimodal_and_normal` plus noise."""
    tf.keras.utils.set_random_seed(7)
    prior, z = FactorizedPrior(2), _bimodal_and_normal(20000)
    steps = 1000
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.03, steps))
    optimizer.build(prior.trainable_variables)

    @tf.function
    def train():
        for _ in tf.range(steps):
            batch = tf.gather(z, tf.random.uniform([512], 0, len(z), tf.int32))
            batch += tf.random.uniform(batch.shape, -0.5, 0.5)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(prior.rate(batch, training=True))
            optimizer.apply_gradients(zip(tape.gradient(loss, prior.trainable_variables), prior.trainable_variables))

    train()
    return prior


def _along_axis(prior, axis, t):
    """The density of coordinate `axis` of z at t, by `log_prob_along`."""
    z = np.zeros((len(t), prior.latent_units), np.float32)
    z[:, axis] = t
    return np.exp(prior.log_prob_along(tf.constant(z), tf.eye(prior.latent_units)[axis : axis + 1]))


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("units", [1, 2])
def test_density_integrates_to_one(name, units):
    t = np.arange(-60, 60, 0.01 if units == 1 else 0.2)
    grid = np.stack(np.meshgrid(*[t] * units), axis=-1).reshape(-1, units)
    integral = np.exp(-_prior(name, units).rate(tf.constant(grid, tf.float32))).sum() * (t[1] - t[0]) ** units
    assert integral == pytest.approx(1, abs=1e-3)


def test_density_of_a_trained_factorized_prior_integrates_to_one(trained):
    t = np.arange(-40, 40, 0.2)
    grid = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2)
    assert np.exp(-trained.rate(tf.constant(grid, tf.float32))).sum() * 0.04 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_rate_is_minus_the_log_prob_of_the_distribution(name):
    prior, z = _prior(name), 3 * np.random.default_rng(0).normal(size=(50, 2))
    expected = -prior.distribution.log_prob(z.astype(prior.distribution.dtype.as_numpy_dtype))
    for dtype in (tf.float32, tf.float64):
        rate = prior.rate(tf.constant(z, dtype))
        assert rate.shape == (50,)
        np.testing.assert_allclose(rate, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PRIORS)
def test_along_all_axes_is_the_whole_density(name):
    prior, z = _prior(name), tf.constant(3 * np.random.default_rng(0).normal(size=(50, 2)), tf.float32)
    for axes in (tf.eye(2), tf.eye(2)[::-1]):
        along = prior.log_prob_along(z, axes)
        assert along.shape == (50,)
        np.testing.assert_allclose(along, -prior.rate(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mixture", "normal"])
def test_along_a_rotated_direction_is_the_integral_over_the_other(name):
    prior, angle = _prior(name), 0.7
    along, across = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    s = np.arange(-60, 60, 0.02)
    for t in (-3.0, 0.0, 0.4, 5.0):
        found = np.exp(prior.log_prob_along(tf.constant([t * along], tf.float32), tf.constant([along], tf.float32)))
        density = np.exp(-prior.rate(tf.constant(t * along + s[:, None] * across, tf.float32)))
        assert found == pytest.approx(density.sum() * 0.02, rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["factorized", "mixture", "normal"])
def test_along_an_axis_is_the_integral_over_the_other(name, axis):
    prior, s = _prior(name), np.arange(-60, 60, 0.02)
    for t in (-3.0, 0.0, 5.0):
        z = np.stack([np.full_like(s, t), s], axis=1)[:, [axis, 1 - axis]]
        expected = np.exp(-prior.rate(tf.constant(z, tf.float32))).sum() * 0.02
        assert _along_axis(prior, axis, [t]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["factorized", "normal"])
def test_marginals_ignore_the_other_coordinates(name):
    prior = _prior(name, units=3)
    z = np.random.default_rng(0).normal(size=(20, 3))
    axes = tf.eye(3)[::2]
    along = [prior.log_prob_along(tf.constant(rows, tf.float32), axes) for rows in (z, z + np.array([0, 7, 0]))]
    assert along[0].shape == (20,)
    np.testing.assert_allclose(*along, rtol=1e-5)


class Shell(Prior):
    """A prior of the user's own, without marginals."""

    @property
    def distribution(self):
        return tfd.MultivariateStudentTLinearOperator(3.0, tf.zeros(3), tf.linalg.LinearOperatorIdentity(3))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (lambda: DistributionPrior(correlated_normal), "DistributionPrior has no closed-form marginal on 1 of 2"),
        (Shell, "Shell has no closed-form marginal on 2 of 3"),
    ],
    ids=["distribution", "own"],
)
def test_a_prior_without_marginals_names_itself_and_the_dimensions(prior, message):
    prior = prior()
    units = prior.distribution.event_shape[0]
    z = tf.ones((4, units))
    np.testing.assert_allclose(prior.log_prob_along(z, tf.eye(units)), -prior.rate(z))
    with pytest.raises(NotImplementedError, match=message):
        prior.log_prob_along(z, tf.eye(units)[1:])


def _assert_drawn_from(sample, t, density):
    cumulative = np.cumsum(density) * (t[1] - t[0])
    assert cumulative[-1] == pytest.approx(1, abs=1e-3)
    result = stats.kstest(sample, lambda x: np.interp(x, t + (t[1] - t[0]) / 2, cumulative))
    assert result.pvalue > 1e-3


@pytest.mark.parametrize("name", ["factorized", "mixture", "normal"])
def test_samples_follow_the_density_along_each_axis(name):
    prior, t = _prior(name), np.arange(-80, 80, 0.01)
    sample = prior.distribution.sample(4000, seed=(0, 3)).numpy()
    assert sample.shape == (4000, 2)
    for axis in (0, 1):
        _assert_drawn_from(sample[:, axis], t, _along_axis(prior, axis, t))
    if name != "mixture":  # independent axes
        assert abs(stats.spearmanr(*sample.T).statistic) < 4 / np.sqrt(4000)


def test_samples_of_a_mixture_follow_its_density_aslant():
    prior, t, slant = _prior("mixture"), np.arange(-80, 80, 0.01), np.array([[0.6, -0.8]])
    sample = prior.distribution.sample(4000, seed=(0, 3)) @ slant.T
    density = np.exp(prior.log_prob_along(tf.constant(t[:, None] * slant), tf.constant(slant)))
    _assert_drawn_from(sample[:, 0], t, density)


def test_samples_of_a_trained_factorized_prior_follow_its_density(trained):
    t = np.arange(-80, 80, 0.01)
    sample = trained.distribution.sample(4000, seed=(0, 3)).numpy()
    for axis in (0, 1):
        _assert_drawn_from(sample[:, axis], t, _along_axis(trained, axis, t))


def test_samples_of_a_given_distribution_follow_the_density():
    prior, t = _prior("distribution", units=1), np.arange(-80, 80, 0.01)
    sample = prior.distribution.sample(4000, seed=(0, 3)).numpy()
    _assert_drawn_from(sample[:, 0], t, np.exp(-prior.rate(tf.constant(t[:, None], tf.float32))))


@pytest.mark.parametrize("name", PRIORS)
def test_a_seed_decides_the_sample(name):
    distribution = _prior(name).distribution
    first, again, other = (distribution.sample(5, seed=(0, seed)).numpy() for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# FactorizedPrior: training and range coding


def _model(prior, **options):
    networks = DenseNetwork(4, (8,), 2), DenseNetwork(2, (8,), 4)
    return RaDOGAGA(*networks, prior, **{"lambda1": 100.0, "lambda2": 100.0, **options})


def test_a_factorized_prior_is_learned_with_its_model(rows):
    prior = FactorizedPrior(2)
    model = _model(prior)
    identities = {id(variable) for variable in model.trainable_variables}
    assert prior.trainable_variables and all(id(v) in identities for v in prior.trainable_variables)
    before = [variable.numpy() for variable in prior.trainable_variables]
    fitted(model, rows, epochs=1, steps_per_epoch=1)
    assert all((v.numpy() != b).all() for v, b in zip(prior.trainable_variables, before))


def test_gradients_reach_every_variable_of_a_factorized_prior():
    prior, z = FactorizedPrior(2), _bimodal_and_normal(100)
    with tf.GradientTape() as tape:
        tape.watch(z)
        rate = tf.reduce_mean(prior.rate(z, training=True))
    for gradient in tape.gradient(rate, [*prior.trainable_variables, z]):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_trained_factorized_prior_reaches_the_entropy(trained):
    """The cross entropy of the noisy density exceeds its entropy, by little."""
    t = np.arange(-30, 30, 0.01)
    for axis, density in enumerate(_noisy_densities(t)):
        entropy = special.entr(density).sum() * 0.01
        cross_entropy = -(density * np.log(_along_axis(trained, axis, t))).sum() * 0.01
        assert entropy - 1e-3 < cross_entropy < entropy + 0.05


def test_far_latents_keep_finite_rates_and_gradients(trained):
    z = tf.constant([[10.0**k, -(10.0**k)] for k in range(2, 7)])
    with tf.GradientTape() as tape:
        tape.watch(z)
        rate = trained.rate(z)
    gradient = tape.gradient(rate, z).numpy()
    assert np.isfinite(rate).all() and (np.diff(rate) > 0).all()
    assert np.isfinite(gradient).all() and (np.sign(gradient) == np.sign(z)).all()


@pytest.fixture(scope="module")
def coded(trained):
    """Latents and their string."""
    z = _bimodal_and_normal(4000, seed=1)
    return z, trained.compress(z)


def test_decompress_returns_the_quantized_latents_exactly(trained, coded):
    z, string = coded
    quantized = trained.quantize(z)
    np.testing.assert_array_equal(trained.decompress(string), quantized)
    assert np.abs(quantized - z).max() <= 0.5 + 1e-5
    steps = quantized - quantized[:1]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
    np.testing.assert_array_equal(trained.quantize(quantized), quantized)


def test_the_string_is_as_long_as_the_rate_says(trained, coded):
    z, string = coded
    rate = float(tf.reduce_sum(trained.rate(trained.quantize(z))))
    assert 8 * len(string) * np.log(2) == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_are_coded_too(trained, rows):
    z = _bimodal_and_normal(rows)
    found = trained.decompress(trained.compress(z))
    assert found.shape == (rows, 2)
    np.testing.assert_allclose(found, z, atol=0.5 + 1e-5)


def test_outliers_in_the_tails_are_coded_too(trained):
    z = tf.constant([[0.0, 1e3], [-1e3, 3.0], [1e4, -1e4], [-5.0, 0.4], [1e6, 40.0]])
    found = trained.decompress(trained.compress(z))
    np.testing.assert_array_equal(found, trained.quantize(z))
    np.testing.assert_allclose(found, z, atol=0.51)


def test_latents_of_many_steps_are_coded_too():
    prior = FactorizedPrior(2, init_scale=500.0)
    z = tf.constant(500 * np.random.default_rng(0).normal(size=(100, 2)), tf.float32)
    np.testing.assert_allclose(prior.decompress(prior.compress(z)), z, atol=0.5 + 1e-3)


def test_too_many_steps_for_range_coding():
    with pytest.raises(ValueError, match="too many for range coding"):
        FactorizedPrior(1, init_scale=1e5).compress(tf.zeros((1, 1)))


def _damaged(string):
    yield from (b"", b"abc", b"\x05\0\0\0", b"\0\0\x10\0 is no output of compress")
    yield from (string[: len(string) // 2], string[:-2], string + b"xx", string[4:])
    yield string[:4] + (2**20).to_bytes(4, "little") + string[8:]
    yield (2**20).to_bytes(4, "little") + string[4:]
    yield string[:500] + bytes([string[500] ^ 1]) + string[501:]


def test_a_string_that_is_damaged_or_garbage_is_refused(trained, coded):
    for string in _damaged(coded[1]):
        with pytest.raises(ValueError, match="strings: "):
            trained.decompress(string)


@pytest.mark.parametrize("name", ["mixture", "normal", "distribution"])
def test_other_priors_say_that_they_have_no_range_coder(name):
    prior = _prior(name)
    message = f"{type(prior).__name__} has no range coder; train with a FactorizedPrior"
    with pytest.raises(NotImplementedError, match=message):
        prior.compress(tf.zeros((3, 2)))
    with pytest.raises(NotImplementedError, match=message):
        prior.decompress(b"abcd")


# DistributionPrior


def test_a_fixed_distribution_is_used_and_has_nothing_to_learn(rows):
    prior = DistributionPrior(correlated_normal)
    model = fitted(_model(prior), rows, epochs=1, steps_per_epoch=1)
    assert prior.trainable_variables == []
    expected = stats.multivariate_normal([1, -2], [[4, 3], [3, 2.5]]).logpdf(model.encode(rows))
    np.testing.assert_allclose(model.energy(rows), -expected, rtol=1e-4)


def test_a_trainable_distribution_learns_the_moments_of_the_latents():
    x = np.random.default_rng(0).normal(size=(4000, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [1, 3]
    prior = DistributionPrior(trainable_normal)
    networks = DenseNetwork(2, (), 2), DenseNetwork(2, (), 2)
    model = RaDOGAGA(*networks, prior, lambda1=100.0, lambda2=10.0, h="identity")
    identities = {id(variable) for variable in model.trainable_variables}
    assert [v.name for v in prior.trainable_variables] == ["loc:0", "scale:0"]
    assert all(id(variable) in identities for variable in prior.trainable_variables)
    model.compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.05, 500)), 250)
    model.fit(x, batch_size=256, steps_per_epoch=500, verbose=0)
    z = model.encode(x).numpy()
    np.testing.assert_allclose(prior.distribution.mean(), z.mean(axis=0), atol=0.1)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(z.T, ddof=0))[1]
    assert entropy - 1e-3 < np.mean(model.energy(x)) < entropy + 0.02


def test_a_learned_distribution_survives_saving(rows, tmp_path):
    model = fitted(_model(DistributionPrior(trainable_normal)), rows, epochs=1, steps_per_epoch=1)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded.prior, DistributionPrior)
    for found, kept, fresh in zip(
        loaded.prior.trainable_variables,
        model.prior.trainable_variables,
        DistributionPrior(trainable_normal).trainable_variables,
    ):
        np.testing.assert_array_equal(found, kept)
        assert (found.numpy() != fresh.numpy()).any()
    np.testing.assert_array_equal(loaded.energy(rows), model.energy(rows))


@pytest.mark.parametrize("build", [lambda: correlated_normal(), correlated_normal()], ids=["function", "distribution"])
def test_an_unregistered_distribution_is_not_saved(build, tmp_path):
    model = _model(DistributionPrior(build))
    np.testing.assert_array_equal(model.prior.rate(tf.ones((3, 2))), _prior("distribution").rate(tf.ones((3, 2))))
    with pytest.raises(TypeError, match="build: <lambda> is not registered"):
        save_model(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_registered_name_stands_for_its_function():
    prior, z = DistributionPrior("test_priors>correlated_normal"), tf.ones((3, 2))
    np.testing.assert_array_equal(prior.rate(z), DistributionPrior(correlated_normal).rate(z))
    with pytest.raises(ValueError, match="build: 'test_priors>nothing' is not a registered function"):
        DistributionPrior("test_priors>nothing")


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (lambda: tfd.Normal(0.0, 1.0), r"batch shape \(\) and event shape \(\)"),
        (lambda: tfd.Normal([0.0, 0.0], 1.0), r"batch shape \(2,\) and event shape \(\)"),
        (lambda: tfd.MultivariateNormalDiag(tf.zeros((3, 2))), r"batch shape \(3,\) and event shape \(2,\)"),
        (lambda: tfd.Sample(tfd.Normal(0.0, 1.0), (2, 2)), r"batch shape \(\) and event shape \(2, 2\)"),
    ],
    ids=["scalar", "batch", "batch-of-vectors", "matrix"],
)
def test_a_distribution_of_another_shape_is_refused(build, shapes):
    with pytest.raises(ValueError, match=f"build: .*{shapes}; one event of shape .N,. is needed"):
        DistributionPrior(build)


def test_a_distribution_of_another_width_than_the_latent_is_refused():
    with pytest.raises(ValueError, match="prior: 3 units where the 2 latent units"):
        _model(DistributionPrior(lambda: tfd.MultivariateNormalDiag(tf.zeros(3))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalPrior(0), "latent_units: 0 must be at least 1"),
        (lambda: FactorizedPrior(2, init_scale=-1.0), "init_scale: -1.0 must be positive"),
        (lambda: MixturePrior(2, 0), "components: 0 must be at least 1"),
        (lambda: MixturePrior(2, 2, dropout=1.0), "dropout: 1.0 must be in"),
        (lambda: MixturePrior(2, 2, covariance_floor=-1.0), "covariance_floor: -1.0"),
    ],
)
def test_wrong_arguments_of_priors_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("prior", [None, NormalPrior, 3])
def test_what_is_no_prior_is_refused_by_name(prior):
    with pytest.raises(TypeError, match=r"prior: .* is neither a Prior nor a tfd.Distribution"):
        RaDOGAGA(DenseNetwork(3, (), 2), DenseNetwork(2, (), 3), prior, 1, 1)
    with pytest.raises(TypeError, match="build: "):
        DistributionPrior(lambda: prior)
