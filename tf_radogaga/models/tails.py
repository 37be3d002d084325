"""How far out in the tail of a law a value is: -log p in nats, p the share of rows that exceed it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_radogaga._core.stack import tf

SHARE = 0.05
"""Of the values, those beyond which the tail is taken for exponential."""

STEPS = 64

Tail = Mapping[str, Any]
"""`values` (STEPS + 1,), above which shares from 1 to `SHARE` lie, in equal steps of the logarithm; and `excess`, the
mean by which values exceed the last."""


def fitted_tail(values: np.ndarray) -> Tail:
    """Of values (n,), finite, 1 at least."""
    values = np.asarray(values, np.float64)
    quantiles = np.quantile(values, 1 - SHARE ** (np.arange(STEPS + 1) / STEPS))
    beyond = values[values > quantiles[-1]] - quantiles[-1]
    excess = beyond.mean() if len(beyond) else 0.0
    least = 1e-6 * max(np.ptp(quantiles), np.abs(quantiles).max(), 1e-6)
    return {"values": quantiles.tolist(), "excess": float(max(excess, least))}


def nats(tail: Tail, values: tf.Tensor) -> tf.Tensor:
    """-log p of values (B,), (B,), float64."""
    values, knots = tf.cast(values, tf.float64), np.array(tail["values"])
    lengths = np.maximum(np.diff(knots), np.finfo(np.float64).tiny)
    passed = tf.clip_by_value((values[:, None] - knots[:-1]) / lengths, 0, 1)
    within = -math.log(SHARE) / STEPS * tf.reduce_sum(passed, axis=1)
    return within + tf.maximum(values - knots[-1], 0) / tail["excess"]
