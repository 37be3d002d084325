"""Tests on random examples: few at once, many among the long tests."""

import pytest
from hypothesis import HealthCheck, given, settings

SEVERAL = pytest.mark.parametrize(
    "examples", [pytest.param(12, id="few"), pytest.param(1000, id="many", marks=pytest.mark.slow)]
)


def fuzzed(examples, strategy, test):
    """The same examples at every run; no deadline, as other work may slow a machine down."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=health
    )
    chosen(given(strategy)(test))()
