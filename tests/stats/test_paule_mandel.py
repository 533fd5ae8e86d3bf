"""The correlation of rows within windows: its defining equation, and simulated windows whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift.stats.paule_mandel import LARGEST, correlation_of, not_increasing

SHAPES = st.lists(st.tuples(st.floats(0, 1e6), st.floats(1e-6, 1.0)), min_size=1, max_size=30)


@given(SHAPES)
def test_the_mean_of_squares_over_their_variance_is_one(windows):
    squares, inverse = np.array(windows).T
    rho = correlation_of(squares, inverse)
    mean = np.mean(squares / (inverse + rho))
    if rho == 0:
        assert mean <= 1 + 1e-9
    elif rho < LARGEST:
        assert mean == pytest.approx(1, rel=1e-3)
    else:
        assert mean >= 1 - 1e-3


@pytest.mark.parametrize("rho", [0.0, 0.002, 0.1, 2.0])
def test_windows_with_a_random_effect_have_its_correlation(rho):
    random = np.random.default_rng(3)
    rows = random.integers(10, 500, 4000)
    deviations = random.normal(0, np.sqrt(1 / rows + rho))
    # the standard error of a variance of 4,000 windows is 2.2 % of it
    assert correlation_of(deviations**2, 1 / rows) == pytest.approx(rho, rel=0.08, abs=2e-4)


def test_no_windows_have_no_correlation():
    assert correlation_of(np.empty(0), np.empty(0)) == 0


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_values_are_raised_to_the_largest_that_follows(values):
    raised = not_increasing(np.array(values))
    assert raised.tolist() == [max(values[i:]) for i in range(len(values))]
