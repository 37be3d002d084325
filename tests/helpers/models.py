"""Small models and data of the tests."""

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_radogaga import (
    DAGMM,
    BetaVAE,
    DenseNetwork,
    EuclideanNorm,
    MinMaxScaling,
    MixturePrior,
    RaDOGAGA,
    TableEncoding,
)

WITH_FEATURES = ("log", "identity", "no-gauge", "gaussian", "noisy-rate", "dagmm")
MODELS = (*WITH_FEATURES, "vae", "vae-decomposed")
TOLERANCE = {"rtol": 1e-5, "atol": 5e-5}
"""Of scores of the same rows in batches of other sizes, whose float32 sums processors take in an order of their own."""


def clusters(n=300):
    """(n, 4) float64: two clusters on different scales."""
    rng = np.random.default_rng(3)
    centres = rng.choice([[0, 0, 5, 1], [10, 3, 0, 2]], n)
    return centres + rng.normal(size=(n, 4)) * [1.0, 0.3, 2.0, 0.1]


def rotated(n=400, seed=0):
    """Two columns, correlated and in two clusters, that cover the plane evenly enough to integrate over."""
    rng = np.random.default_rng(seed)
    centres = rng.choice([[0, 0], [4, -3]], n)
    return centres + rng.normal(size=(n, 2)) @ [[1, 0.8], [0, 0.6]]


def table(n=300):
    """n rows with numeric, textual and categorical-by-number columns."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "blood pressure": rng.normal(120, 10, n),
            "kind": rng.choice(["a", "b", "c"], n),
            "code": rng.integers(0, 3, n),
            "dose": rng.integers(1, 9, n),
        }
    )


def scaled(rows):
    layer = MinMaxScaling(np.shape(rows)[1])
    layer.adapt(rows)
    return layer


def encoded(frame):
    return TableEncoding.for_table(frame, categorical=["code"])


def small_model(kind="log", preprocess=None, width=4, reconstruction_features=False, latent_units=2, **options):
    """One of `MODELS`, untrained: width - 8 - 2 - 8 - width and a mixture of two."""
    width = preprocess.width if preprocess else width
    if kind.startswith("vae"):
        weights = {"beta": 0.01} if kind == "vae" else {"lambda1": 50, "lambda2": 100, "transform": EuclideanNorm()}
        networks = DenseNetwork(width, (8,), 2 * latent_units), DenseNetwork(latent_units, (8,), width)
        return BetaVAE(*networks, preprocess=preprocess, **{**weights, **options})
    prior = MixturePrior(
        latent_units + 2 * reconstruction_features, components=2, covariance_floor=1e-4, em_iterations=2
    )
    parts = (DenseNetwork(width, (8,), latent_units), DenseNetwork(latent_units, (8,), width), prior)
    shared = {"preprocess": preprocess, "reconstruction_features": reconstruction_features}
    if kind == "dagmm":
        return DAGMM(*parts, **shared, **options)
    choice = {
        "log": {},
        "identity": {"h": "identity"},
        "no-gauge": {"gauge": None},
        "gaussian": {"noise": "gaussian"},
        "noisy-rate": {"noisy_rate": True},
    }[kind]
    return RaDOGAGA(*parts, **{"lambda1": 100, "lambda2": 100, **choice, **shared, **options})


def adapted_model(rows, *arguments, **options):
    """A `small_model` of random weights, its prior adapted without EM."""
    model = small_model(*arguments, preprocess=scaled(rows), **options)
    model.prior.em_iterations = 0
    model.adapt_prior(rows)
    return model


def fitted(model, rows, epochs=1, compiled=False, **options):
    """The model after a few steps; tracing a compiled one takes longer than these steps run eagerly."""
    model.compile(tf.keras.optimizers.Adam(1e-3), run_eagerly=not compiled)
    model.fit(rows, batch_size=150, epochs=epochs, verbose=0, **options)
    return model
