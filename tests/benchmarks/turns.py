"""Times of several ways to do a thing, taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def medians(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of what each side returns, its seconds, over so many rounds in which all take a turn.

    A round before them is left out: the first call of a graph traces it.
    """
    found = {side: [] for side in sides}
    for _ in range(rounds + 1):
        for side, call in sides.items():
            found[side].append(call())
    return {side: statistics.median(times[1:]) for side, times in found.items()}


def repeated(call: Callable[[], object], repeats: int) -> Callable[[], float]:
    """A side: seconds of one of so many calls."""

    def seconds():
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - started) / repeats

    return seconds
