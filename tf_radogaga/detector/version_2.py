"""Detectors that version 2 of the files and pickles of its time hold, as those of today."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.rounding import FLOAT64

CLASSES = ("IsometricLatent", "KernelDensity", "MixtureDensity", "IndependentColumns", "GaussianMixture")
"""Objects of which those files hold the attributes."""


def upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a detector, of those of then, in which files have the attributes of objects in their place;
    `_scorer` is the state of its scorer."""
    state = dict(state)
    names = state.get("feature_names_in_")
    state.setdefault("_column_names", None if names is None else list(names))
    state.setdefault("_around_threshold", (-math.inf, math.inf))
    encoding, model = state.pop("_encoding", None), state.pop("model_", state["model"])
    if "_densities" not in state:
        return {**state, "_scorer": {"model": model}}
    latent = {"rounding": FLOAT64, "noise": 0.0, **_attributes(state.pop("_latent"))}
    average = {name: _attributes(density) for name, density in state.pop("_densities").items()}
    for name, upgrade in {"mixture": _mixture, "columns": _columns}.items():
        if name in average:
            average[name] = upgrade(average[name])
    average["log_normalizer"] = state.pop("_log_normalizer")
    return {**state, "_scorer": {"encoding": encoding, "latent": latent, "average": average}}


def _attributes(value: Any) -> dict[str, Any]:
    return dict(value if isinstance(value, Mapping) else vars(value))


def _mixture(state: dict[str, Any]) -> dict[str, Any]:
    mixtures = list(map(_attributes, state.pop("mixtures")))
    joined = {"weights": "weights_", "means": "means_", "whitening": "precisions_cholesky_"}
    state.update({name: np.concatenate([mixture[then] for mixture in mixtures]) for name, then in joined.items()})
    sizes = np.array([len(mixture["weights_"]) for mixture in mixtures])
    return {**state, "fitted": np.stack(state["fitted"]), "sizes": sizes}


def _columns(state: dict[str, Any]) -> dict[str, Any]:
    values, shares, widths = zip(*state.pop("columns"))
    bandwidths = np.array([[min(each), max(each)] for each in widths])
    joined = {"values": np.concatenate(values), "shares": np.concatenate(shares), "bandwidths": bandwidths}
    return {**state, "sizes": np.array(list(map(len, values))), **joined}
