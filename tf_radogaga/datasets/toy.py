"""Toy data with a known density: the three-component mixture of Kato et al., ICML 2020, section 5.2."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from tf_radogaga._core import checks

TOY_PATH = Path(__file__).parent / "data" / "radogaga_toy.csv.gz"
TOY_SHA256 = "dedcd10c716bfdca26e196b7e2bfa8e95745249d1f634a3d8ed7d4f666fea189"
"""Of the unpacked file."""

MEANS = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 10]], np.float64)
"""(components, 3): centres of the equally weighted components of the source s."""

VARIANCES = np.array([1, 2, 4], np.float64)
"""(components,): the variance of each component, the same in every direction."""

BASIS = np.array(
    "-0.11602976893224534 -0.11973948043818175 0.2406456417893708 -0.35265715759796434 0.10152865882563059 "
    "-0.1392275185838508 -0.21939091391591986 -0.0791275064212269 -0.15862360797518132 0.020141228849767857 "
    "0.22687220157677554 -0.3041382502825751 0.23809033277327699 -0.11622019750475758 -0.0526634253662986 "
    "0.6806838337099309 0.39323599647237617 -0.32525024414526177 -0.34057337094248125 0.06597603355159079 "
    "0.22813530466127052 0.05591744968251585 0.19612189287150053 0.30684816409789123 0.1395854443697442 "
    "0.24790358120801187 0.28105580975681743 0.33332702763589006 -0.06995810795991661 -0.034850897271861976 "
    "-0.22454792991238426 0.32229264424378007 -0.2689991045828369 -0.2198476854297531 0.1748635073514067 "
    "-0.05025843479861024 -0.3209951630563255 0.17825418366083398 0.29306951333372255 0.3397015488537288 "
    "0.318421383386853 0.28885375990194545 -0.10747942508009789 -0.24049948006543306 -0.28946044215134326 "
    "0.05540114233329712 0.3699925882443562 0.17925496256146398".split(),
    np.float64,
).reshape(3, 16)
"""(3, 16), orthonormal rows: x = s BASIS. The file fixes the first row, the sum of the other two, and their plane."""


class ToyData(NamedTuple):
    """Rows on a 3-dimensional plane in 16 dimensions, with their true density.

    `rows`: (n, 16) float64. `log_density`: (n,) float64, log p(x) in nats, where p is the density with respect to the
    plane's own volume (3-dimensional Hausdorff measure) in the coordinates of `rows`. `component`: (n,) int, 0 to 2.
    """

    rows: np.ndarray
    log_density: np.ndarray
    component: np.ndarray

    def scaled(self, by: ToyData | None = None) -> ToyData:
        """The same data scaled by one minimum and one maximum of the whole matrix, as the authors ask.

        y = (x - low) / (high - low) shrinks each of the 3 directions of the plane alike, so
        log p(y) = log p(x) + 3 log(high - low).

        Args:
            by: the data that give minimum and maximum, such as the training set of a model; default: these.

        Raises:
            ValueError: a minimum equal to the maximum.
        """
        rows = (self if by is None else by).rows
        low, high = rows.min(), rows.max()
        if not high > low:
            raise ValueError(f"rows: minimum {low} and maximum {high} leave no range to scale by.")
        return self._replace(
            rows=(self.rows - low) / (high - low), log_density=self.log_density + 3 * np.log(high - low)
        )


def load_toy() -> ToyData:
    """The authors' 10,000 rows, raw, with the density they state, sorted by component (3333, 3333 and 3334 rows).

    The data are s BASIS with s drawn from 1/3 N((0, 0, 0), I) + 1/3 N((10, 0, 0), 2 I) + 1/3 N((10, 10, 10), 4 I):
    this density equals the stated one within 1e-12 of its logarithm in every row. BASIS is orthonormal, so p(x) = p(s).
    The paper prints centres (0, 0, 0), (15, 0, 0), (15, 15, 15), covariance diag(1, 2, 3), and a map with entries
    uniform in -1/2..1/2, which would not be orthonormal.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is truncated or changed.
    """
    packed = TOY_PATH.read_bytes()
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{TOY_PATH}: damaged ({error}); install the package anew.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != TOY_SHA256:
        raise ValueError(f"{TOY_PATH}: sha256 {digest} unpacked, expected {TOY_SHA256}; install the package anew.")
    table = np.loadtxt(io.BytesIO(content), delimiter=",")
    return ToyData(table[:, :16], np.log(table[:, 16]), table[:, 17].astype(int))


def generate_toy(rows: int = 10_000, seed: int = 0) -> ToyData:
    """Fresh rows, raw, from the very density of `load_toy`, on the same plane: held-out rows, or more of them.

    Unlike in the file, each row draws its component on its own, and the rows are in no order.

    Raises:
        ValueError: fewer than 1 row, or a negative seed.
    """
    checks.at_least(1, rows=rows)
    checks.at_least(0, seed=seed)
    rng = np.random.default_rng(seed)
    component = rng.integers(len(MEANS), size=rows)
    source = MEANS[component] + np.sqrt(VARIANCES[component])[:, None] * rng.standard_normal((rows, 3))
    return ToyData(source @ BASIS, mixture_log_density(source), component)


def mixture_log_density(source: np.ndarray) -> np.ndarray:
    """log p(s) of the mixture, (n, 3) to (n,), in nats; as BASIS is orthonormal, also log p(x) at x = s BASIS."""
    squares = ((source[:, None] - MEANS) ** 2).sum(axis=-1)
    return logsumexp(-squares / (2 * VARIANCES) - 1.5 * np.log(2 * np.pi * VARIANCES), axis=1) - np.log(len(MEANS))
