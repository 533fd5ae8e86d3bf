"""Unseen categories: the bound against enumeration, and its level where a comparison of singletons fails."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_drift.stats.unseen import unseen_categories_p


def exactly(unseen: int, baseline_rows: int, pooled: list[int]) -> float:
    """The share of the ways to choose the baseline's rows that leave at least ``unseen`` rows of the window unseen."""
    categories = [c for c, rows in enumerate(pooled) for _ in range(rows)]
    hits = ways = 0
    for chosen in combinations(range(len(categories)), baseline_rows):
        seen = {categories[i] for i in chosen}
        ways += 1
        hits += sum(category not in seen for category in categories) >= unseen
    return hits / ways


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_never_below_the_exact_p_value(pooled: list[int], data: st.DataObject) -> None:
    pooled = pooled[:5]
    baseline = np.array([data.draw(st.integers(0, rows)) for rows in pooled])
    window = np.array(pooled) - baseline
    new = int(window[baseline == 0].sum())
    known = baseline > 0
    if sum(pooled) > 12 or not known.any():
        return
    assert unseen_categories_p(new, baseline[known], window[known]) >= exactly(new, int(baseline.sum()), pooled) - 1e-12


@pytest.mark.parametrize("unseen", [1, 2, 3, 6, 12])
def test_without_rare_categories_only_chance_hides_a_category(unseen: int) -> None:
    # Only these rows can be unseen, if all of them fall into the window, which has a third of all rows.
    p = unseen_categories_p(unseen, np.array([9000, 900, 100]), np.array([4500, 450, 50]))
    assert 1 <= p * 3.0**unseen < 1.05


@pytest.mark.parametrize(
    ("shares", "rows", "window_rows"),
    [
        (np.full(600, 1 / 600), 4000, 4000),
        (np.full(600, 1 / 600), 4000, 400),
        (1 / np.arange(1, 1001) ** 1.3, 3000, 1000),
        (0.7 ** np.arange(60), 300, 3000),
    ],
)
def test_false_alarms_hold_the_level(shares: np.ndarray, rows: int, window_rows: int) -> None:
    rng = np.random.default_rng(4)
    shares = shares / shares.sum()
    p = []
    for _ in range(1500):
        baseline, window = rng.multinomial(rows, shares), rng.multinomial(window_rows, shares)
        seen = baseline > 0
        p.append(unseen_categories_p(int(window[~seen].sum()), baseline[seen], window[seen]))
    for level in (0.1, 0.01, 0.001):
        assert np.mean(np.array(p) <= level) <= level


def test_many_unseen_rows_are_significant_in_spite_of_a_long_tail() -> None:
    rng = np.random.default_rng(9)
    shares = 1 / np.arange(1, 20_001) ** 1.3
    baseline, window = (rng.multinomial(rows, shares / shares.sum()) for rows in (100_000, 10_000))
    seen = baseline > 0
    usual = int(window[~seen].sum())
    p = [unseen_categories_p(times * usual, baseline[seen], window[seen]) for times in (1, 2, 3)]
    assert p[0] > 0.1
    assert p[1] < 1e-20
    assert p[2] < p[1]


def test_without_unseen_rows_or_a_baseline_the_p_value_is_1() -> None:
    assert unseen_categories_p(0, np.array([5, 5]), np.array([1, 1])) == 1
    assert unseen_categories_p(5, np.array([], np.int64), np.array([], np.int64)) == 1
    assert unseen_categories_p(7, np.array([1]), np.array([0])) == 1


def test_ten_thousand_categories_take_a_few_milliseconds() -> None:
    rng = np.random.default_rng(0)
    baseline, window = rng.integers(1, 3000, 10_000), rng.integers(0, 1000, 10_000)
    best = np.inf
    for _ in range(10):
        start = time.perf_counter()
        assert unseen_categories_p(3000, baseline, window) == 0
        best = min(best, time.perf_counter() - start)
    assert best < 0.02
