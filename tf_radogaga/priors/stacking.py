"""Stacks: weighted means of Gaussian mixtures of several sizes and starts, with weights by held-out likelihood."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from tf_radogaga._core.stopped_early import gaussian_mixture

MEMBERS = 5
"""Mixtures in a stack, at most."""

HELD_OUT = 0.2
"""Share of the rows that the weights are found on."""

STARTS = "kmeans", "random_from_data", "random_from_data"
"""Of the mixtures of each size, as scikit-learn's `init_params`; from random rows EM finds what clusters hide."""

EM_STEPS, TOLERANCE = 200, 1e-5
"""At scikit-learn's own tolerance, 1e-3, EM stops before the small components have found their place."""

WEIGHT_STEPS = 1000


class Stack(NamedTuple):
    """One mixture of the K components of all members: weights (K,), means (K, N), covariances (K, N, N), the upper
    Cholesky factors of their inverses (K, N, N); the number of members, and their log likelihood in nats on the
    rows held out, per row, by the weights that were found there."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    precisions_cholesky: np.ndarray
    members: int
    held_out: float


def stacked(z: np.ndarray, components: int, covariance_floor: float) -> Stack:
    """The stack of mixtures of 1 to `components` components of rows (n, N), float64, from several starts.

    One mixture of p parameters misses the log density by about sqrt(p / n) nats, in its own way for each start; a mean
    of several misses it by less.

    Raises:
        ValueError: fewer than five rows.
    """
    options = {"reg_covar": covariance_floor, "max_iter": EM_STEPS, "tol": TOLERANCE}
    tried = [
        {"n_components": size, "init_params": start, "random_state": seed, **options}
        for size in range(1, components + 1)
        for seed, start in enumerate(STARTS if size > 1 else STARTS[:1])
    ]
    return stack(z, tried)


def stack(z: np.ndarray, tried: list[dict[str, Any]]) -> Stack:
    """The stack of mixtures of rows (n, N), float64.

    All mixtures are fitted to four rows of five, and weighed by the likelihood of their weighted mean on the fifth.
    The `MEMBERS` heaviest stay; EM goes on with each over all rows.

    Source: Smyth and Wolpert, Linearly combining density estimators via stacking, Machine Learning 36, 1999.

    Args:
        z: rows, 5 at least.
        tried: scikit-learn's options of each mixture; those of more components than there are distinct rows are left
            out.

    Raises:
        ValueError: fewer than five rows.
    """
    if len(z) < 1 / HELD_OUT:
        raise ValueError(f"z: {len(z)} rows leave none to hold out; give at least {round(1 / HELD_OUT)}.")
    held_out, rows = np.split(np.random.default_rng(0).permutation(z), [int(HELD_OUT * len(z))])
    distinct = len(np.unique(rows, axis=0))
    tried = [options for options in tried if options["n_components"] <= distinct]
    fitted = [gaussian_mixture(rows, **options) for options in tried]
    log_prob = np.stack([mixture.score_samples(held_out) for mixture in fitted])
    heaviest = np.argsort(-stacking_weights(log_prob), kind="stable")[:MEMBERS]
    weights = stacking_weights(log_prob[heaviest])
    members = [_continued(fitted[index], z, tried[index]) for index in heaviest]
    return Stack(
        np.concatenate([weight * member.weights_ for weight, member in zip(weights, members)]),
        np.concatenate([member.means_ for member in members]),
        np.concatenate([member.covariances_ for member in members]),
        np.concatenate([member.precisions_cholesky_ for member in members]),
        len(members),
        float(logsumexp(log_prob[heaviest], axis=0, b=weights[:, None]).mean()),
    )


def stacking_weights(log_prob: np.ndarray) -> np.ndarray:
    """Weights (m,) of m densities, by EM: those under which their weighted mean is likeliest.

    Args:
        log_prob: (m, n), of each density on n rows that it was not fitted to.
    """
    weights = np.full(len(log_prob), 1 / len(log_prob))
    shares = np.exp(log_prob - log_prob.max(axis=0))
    for _ in range(WEIGHT_STEPS):
        weighted = weights[:, None] * shares
        weights = np.mean(weighted / weighted.sum(axis=0), axis=1)
    return weights


def _continued(mixture: GaussianMixture, z: np.ndarray, options: dict[str, Any]) -> GaussianMixture:
    start = {"weights_init": mixture.weights_, "means_init": mixture.means_, "precisions_init": mixture.precisions_}
    return gaussian_mixture(z, **{**options, **start, "init_params": "random_from_data", "random_state": 0})
