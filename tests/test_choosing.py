"""What docs/choosing.py prints and draws: closed forms, and models that were trained."""

import math

import choosing
import numpy as np
import pytest
from scipy import optimize


@pytest.mark.parametrize("weight", [2.1, 3.0, 20.0])
def test_the_closed_form_is_the_minimum_of_the_loss_near_one(weight):
    """The loss of appendix D in a and b, minimized without the closed form."""
    lambda2, s = 7.0, 1.5
    lambda1 = weight / s**2

    def loss(slopes):
        a, b = slopes
        return math.log(a) + lambda1 * s**2 * (1 - a * b) ** 2 + lambda2 * b**2

    a, b = optimize.minimize(loss, [1 / choosing.slope(lambda2), choosing.slope(lambda2)], tol=1e-12).x
    assert a * b == pytest.approx(float(choosing.optimum(weight)), abs=1e-4)
    assert b == pytest.approx(choosing.slope(lambda2), rel=1e-4)


def test_no_optimum_below_two_and_a_barrier_of_log():
    u = np.linspace(0.001, 1, 5000)[:-1]
    assert np.isnan(choosing.optimum(1.9)) and (np.diff(choosing.loss(u, 1.9, "identity")) > 0).all()
    assert choosing.optimum(2.0) == 0.5 and choosing.optimum(1e9) == pytest.approx(1)
    for lambda1 in (0.3, 5.0):
        assert u[np.argmax(choosing.loss(u, lambda1, "log"))] == pytest.approx(choosing.barrier(lambda1), abs=1e-3)


def test_the_line_is_printed_and_drawn_as_given():
    trained = [(0.01 * number, 0.1) for number, _ in enumerate(choosing.WEIGHTS)]
    lines = list(choosing.line_table(trained))
    assert lines[1].split()[1:3] == ["nan", "0.000"] and lines[1].endswith("collapsed")
    right = float(choosing.optimum(choosing.WEIGHTS[2]))
    assert lines[3].split()[1:] == [f"{right:.3f}", "0.020", "0.100", "0.100", f"{-math.log(right):+.3f}", "nats"]
    left, middle, _ = choosing.figure(trained).axes
    np.testing.assert_allclose(left.lines[1].get_ydata(), [u for u, _ in trained])
    np.testing.assert_allclose(middle.lines[0].get_ydata(), -np.log(left.lines[0].get_ydata()))


@pytest.mark.slow
def test_the_tables_of_choosing_are_those_of_trained_models():
    for weight, (u, b) in zip(choosing.WEIGHTS, choosing.train_lines(choosing.WEIGHTS)):
        collapsed = weight < 2
        assert u == pytest.approx(0 if collapsed else float(choosing.optimum(weight)), abs=0.01)
        assert collapsed or b == pytest.approx(choosing.slope(choosing.LAMBDA2), rel=0.02)
    lost, kept = list(choosing.toy_table([{"lambda1": 30}, {"lambda1": 300}]))[3:]
    assert lost.split()[6] == "2" and kept.split()[6] == "3" and float(kept.split()[-1]) < 0.1
    kept = [int(line.split()[3]) for line in list(choosing.thyroid_table(choosing.THYROID, seeds=1, steps=20))[2:]]
    assert kept == [0, 1, 4, 4]
    none, four = list(choosing.thyroid_table([choosing.THYROID[0], choosing.THYROID[-1]], seeds=1))[2:]
    assert float(none.split()[5]) < 0.05 and float(four.split()[5]) > 0.95
