"""p-values of shares are never below the exact ones, and close to them where they are small."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from torchserve_drift.stats.proportions import beyond_range_p, hypergeometric_tail, two_proportions_p


def tail_exactly(k: int, m: int, K: int, N: int) -> Fraction:
    """The exact tail: the number of ways to each outcome follows from that to the one before, in whole numbers."""
    low, high = max(k, m - (N - K)), min(m, K)
    ways = total = comb(K, low) * comb(N - K, m - low) if low <= high else 0
    for x in range(low, high):
        ways = ways * (K - x) * (m - x) // ((x + 1) * (N - K - m + x + 1))
        total += ways
    return Fraction(total, comb(N, m))


@given(st.data())
def test_tail_is_an_upper_bound(data: st.DataObject) -> None:
    N = data.draw(st.integers(1, 300))
    m, K = data.draw(st.integers(0, N)), data.draw(st.integers(0, N))
    k = data.draw(st.integers(0, min(m, K) + 1))
    bound, exact = float(hypergeometric_tail(k, m, K, N)), float(tail_exactly(k, m, K, N))
    assert exact <= bound <= 1
    if k * N <= m * K:
        assert bound == 1
    if exact < 1e-3:
        assert bound <= 2 * exact


@pytest.mark.parametrize(
    ("k", "m", "K", "N"),
    [(40, 4_096, 60, 14_096), (1_000, 4_096, 3_000, 14_096), (60, 2_000, 1_000, 60_000), (4_096, 4_096, 4_096, 14_096)],
)
def test_far_tails_of_large_populations(k: int, m: int, K: int, N: int) -> None:
    exact = float(tail_exactly(k, m, K, N))
    bound = float(hypergeometric_tail(k, m, K, N))
    assert exact <= bound <= 2 * exact


def test_a_billion_rows_keep_the_bound() -> None:
    k, m, K, N = 1_200, 1_000_000, 1_000_000, 1_000_000_000
    exact = stats.binom.sf(k - 1, m, K / N)  # here larger than the hypergeometric tail by 2 %
    bound = float(hypergeometric_tail(k, m, K, N))
    assert 0.9 * exact < bound < 2 * exact


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_two_proportions_are_at_least_fishers(a: int, b: int, c: int, d: int) -> None:
    table = [[c, d], [a, b]]
    found = {side: float(two_proportions_p(a, a + b, c, c + d, side=side)) for side in ("two", "greater")}
    if (a + b) * (c + d) * (a + c) * (b + d) == 0:
        assert found == {"two": 1, "greater": 1}
        return
    assert found["greater"] >= stats.fisher_exact(table, "greater").pvalue
    # SciPy adds all outcomes that are at most as likely: together no more than twice the smaller tail
    assert found["two"] >= min(2 * min(stats.fisher_exact(table, s).pvalue for s in ("greater", "less")), 1)
    assert found["two"] == float(two_proportions_p(c, c + d, a, a + b))


def test_many_features_at_once() -> None:
    k2 = np.array([0, 3, 9, 40])
    together = two_proportions_p(10, 10_000, k2, 4_096)
    assert together.tolist() == [float(two_proportions_p(10, 10_000, k, 4_096)) for k in k2]
    assert together[1] == 1
    assert (np.diff(together[1:]) < 0).all()


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 4), (4, 3), (5, 5), (2, 7), (6, 1)])
def test_beyond_range_by_enumeration(m: int, n: int) -> None:
    outside = Counter(
        sum(position < min(old) or position > max(old) for position in range(n + m))
        for old in combinations(range(n + m), n)
    )
    for k in range(m + 2):
        exact = sum(times for count, times in outside.items() if count >= k) / comb(n + m, n)
        assert float(beyond_range_p(k, m, n)) == pytest.approx(exact, rel=2e-6)
        assert float(beyond_range_p(k, m, n)) >= exact


@pytest.mark.parametrize(("m", "n"), [(200, 10_000), (5_000, 1_000)])
def test_beyond_range_of_large_samples_and_ties(m: int, n: int) -> None:
    rng = np.random.default_rng(2)
    for draw in (rng.random, lambda size: rng.integers(0, 500, size)):
        old, new = draw((4000, 2)), None
        counts = []
        for _ in old:
            old, new = draw(n), draw(m)
            counts.append(((new < old.min()) | (new > old.max())).sum())
        k = int(np.quantile(counts, 0.99)) + 1
        assert np.mean(np.array(counts) >= k) <= beyond_range_p(k, m, n) + 4 * np.sqrt(0.01 / 4000)


def test_beyond_range_without_rows() -> None:
    assert beyond_range_p([0, 1, 5, 3], [0, 5, 4, 9], [9, 0, 10, 10]).tolist()[:3] == [1, 1, 0]
    falling = beyond_range_p(np.arange(101), 100, 10_000)
    assert (np.diff(falling) <= 0).all()
    assert falling[20] < 1e-36
