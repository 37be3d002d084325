"""Arguments in their range, or an error that names them."""

import numpy as np
import pytest

from tf_radogaga._core import checks


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.require("step", 0, False, "odd"), "step: 0 must be odd."),
        (lambda: checks.positive(a=1, b=0), "b: 0 must be positive."),
        (lambda: checks.positive(a=np.nan), "a: nan must be positive."),
        (lambda: checks.at_least(2, a=2, b=1), "b: 1 must be at least 2."),
        (lambda: checks.in_range("share", 0.5, 0, 0.5, "give less"), "share: 0.5 is outside [0, 0.5); give less."),
        (lambda: checks.in_range("share", -1, 0, 1), "share: -1 is outside [0, 1)."),
        (lambda: checks.one_of("h", "exp", ("log",)), "h: 'exp' is not one of ('log',)."),
        (lambda: checks.one_of("h", "exp", {"log": 1}, "tables"), "h: 'exp' is not one of ('log',) for tables."),
        (lambda: checks.whole_number("steps", -1, 0), "steps: -1 must be at least 0."),
    ],
)
def test_what_is_out_of_range_is_named(check, message):
    with pytest.raises(ValueError) as raised:
        check()
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [1.5, "2", np.nan, [1]])
def test_no_whole_numbers(value):
    with pytest.raises(TypeError, match=r"^steps: .* must be a whole number\.$"):
        checks.whole_number("steps", value)


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3)])
def test_whole_numbers_of_any_kind(value):
    found = checks.whole_number("steps", value)
    assert type(found) is int and found == 3
    assert checks.whole_number("steps", None) is None
