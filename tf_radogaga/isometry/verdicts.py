"""What certificates share, the thresholds that make a latent isometric, and verdicts by them in words."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

from tf_radogaga._core.keras_configs import plain

LEAST_PEARSON_R = 0.99
"""Of the tangent pairs of an isometric model; the paper's models reach 0.97, its beta-VAE 0.7."""

MOST_SLOPE_ERROR = 0.05
"""Distance of the slope from 1 in an isometric model."""

LEAST_RECONSTRUCTION = 0.99
"""Share of D that an isometric copy of the data keeps. Toy models keep 0.998 and more when training is done, 0.44 to
0.97 when it is not; swiss rolls that training folded keep 0.98."""

MOST_ROUND_TRIP = 0.1
"""The same for the root mean square of `round_trips`: 0.02 to 0.05 when training is done, 0.17 to 0.7 when it is not.
An encoder that shortens z by a tenth just misses this and `LEAST_RECONSTRUCTION`."""

MOST_TORN = 0.001
"""Share of torn rows in a latent that is one copy of the data."""

LEAST_IMPLICIT_R, MOST_IMPLICIT_SLOPE_ERROR = 0.95, 0.1
"""Of an implicitly isometric beta-VAE. Posterior deviations are estimates: the paper's unit norms are 0.92 to 0.98."""


@dataclasses.dataclass(frozen=True, eq=False)
class Report(abc.ABC):
    """What every certificate holds, as plain numbers; `str` of it is a table to read."""

    rows: int  # behind all that takes no Jacobian
    jacobian_rows: int  # behind the rest
    pairs: int
    tangent_r: float  # Pearson r of the tangent pairs
    tangent_slope: float  # of the least-squares line through 0, data on latent
    gram_offdiagonal_mean: float | None  # of |G_ij| / sqrt(G_ii G_jj), i != j; None where n is 1
    gram_offdiagonal_max: float | None
    reconstructed_share: float  # of `reconstructed_share`
    round_trip_rms: float  # of `round_trips`
    round_trip_quantile: float  # 95 % of the rows lie below
    torn_share: float  # of `torn_rows`, of some rows
    local_dimension: int  # of `local_dimension`, of the same rows
    measured_dimensions: int  # n

    @property
    @abc.abstractmethod
    def verdict(self) -> str:
        """One line, with the thresholds it rests on."""

    @abc.abstractmethod
    def _lines(self) -> list[str]:
        """The table, without the verdict."""

    def __str__(self) -> str:
        return "\n".join([*self._lines(), f"verdict: {self.verdict}"])

    def to_dict(self) -> dict[str, Any]:
        """The numbers and the verdict as JSON types; None for those that are not finite."""
        return plain({**vars(self), "verdict": self.verdict})


def isometric(report: Report, scale_is_fitted: bool) -> str:
    """Whether the latent is an isometric copy of the data, which conditions hold, and which do not."""
    straight = {f"Pearson r >= {LEAST_PEARSON_R}": report.tangent_r >= LEAST_PEARSON_R}
    slope = {f"slope 1 +- {MOST_SLOPE_ERROR}": abs(report.tangent_slope - 1) <= MOST_SLOPE_ERROR}
    scaled = {} if scale_is_fitted else slope
    inverts = _inverts(report)
    words = f"{_weighed(straight, scaled, inverts)}{'; the loss does not fix the scale' * scale_is_fitted}"
    if not all(straight.values()):
        return f"not isometric: {words}"
    only = "" if all(inverts.values()) else "only the decoder is "
    scale = "" if scaled and all(scaled.values()) else " up to a scale"
    return f"{only}isometric{scale}: {words}"


def implicitly_isometric(report: Report) -> str:
    """As `isometric`, of the coordinates y of a beta-VAE."""
    error = abs(report.tangent_slope - 1)
    straight = {
        f"Pearson r >= {LEAST_IMPLICIT_R}": report.tangent_r >= LEAST_IMPLICIT_R,
        f"slope 1 +- {MOST_IMPLICIT_SLOPE_ERROR} of tangent pairs in y": error <= MOST_IMPLICIT_SLOPE_ERROR,
    }
    inverts = _inverts(report)
    words = _weighed(straight, inverts)
    if all((*straight.values(), *inverts.values())):
        return f"implicitly isometric: {words}"
    kind = "only the decoder is" if all(straight.values()) else "not"
    return f"{kind} implicitly isometric: {words}; train longer, or with a smaller beta"


def _inverts(report: Report) -> dict[str, bool]:
    """What a latent needs to be a copy of the data; what few models lack is told only where it is lacking."""
    rare = {
        f"torn rows <= {MOST_TORN}": report.torn_share <= MOST_TORN,
        f"local dimension {report.measured_dimensions}": report.local_dimension == report.measured_dimensions,
    }
    return {
        f"reconstruction >= {LEAST_RECONSTRUCTION}": report.reconstructed_share >= LEAST_RECONSTRUCTION,
        f"round trip <= {MOST_ROUND_TRIP}": report.round_trip_rms <= MOST_ROUND_TRIP,
        **{text: holds for text, holds in rare.items() if not holds},
    }


def _weighed(*conditions: dict[str, bool]) -> str:
    """Which hold, and which do not."""
    held = [(text, holds) for group in conditions for text, holds in group.items()]
    right, wrong = ([text for text, holds in held if holds == wanted] for wanted in (True, False))
    parts = [" and ".join(filter(None, (", ".join(right[:-1]), *right[-1:]))), " nor ".join(wrong)]
    return ", but not ".join(parts) if all(parts) else parts[0] or f"not {parts[1]}"
