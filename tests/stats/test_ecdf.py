"""Kolmogorov-Smirnov statistics from codes against SciPy's from values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from torchserve_drift.stats.ecdf import code_shares, ks_from_counts, ks_from_sorted_codes, ks_statistic

values = st.integers(-4, 4).map(lambda i: i / 2)


def code(baseline: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The codes of the window by their definition, value by value, and the shares of the baseline."""
    distinct = sorted(set(baseline.tolist()))
    codes = [2 * sum(v < value for v in distinct) + (value in distinct) for value in window.tolist()]
    return (np.array(codes, np.uint16), *code_shares(np.array([(baseline <= v).sum() for v in distinct])))


@given(
    st.lists(values, min_size=1, max_size=40), st.lists(st.one_of(values, st.floats(-3, 3)), min_size=1, max_size=40)
)
@settings(deadline=None)
def test_statistic_is_scipys_with_ties(baseline: list[float], window: list[float]) -> None:
    codes, below, at_most = code(np.array(baseline), np.array(window))
    with np.errstate(all="ignore"):  # SciPy warns of a p-value that is not used here
        expected = stats.ks_2samp(baseline, window, method="asymp").statistic
    assert ks_from_sorted_codes(np.sort(codes), below, at_most) == pytest.approx(expected, rel=0, abs=1e-15)
    assert ks_from_counts(np.bincount(codes, minlength=len(at_most)), at_most) == pytest.approx(
        expected, rel=0, abs=1e-15
    )
    assert ks_statistic(codes, below, at_most) == pytest.approx(expected, rel=0, abs=1e-15)


@pytest.mark.parametrize(
    ("baseline", "window", "expected"),
    [
        ([3, 3, 3], [3, 3], 0),
        ([3, 3, 3], [4], 1),
        ([3, 3, 3], [2, 2], 1),
        ([1], [1], 0),
        ([1, 2], [1], 0.5),
        ([1, 2, 3, 4], [2.5], 0.5),
    ],
)
def test_constants_and_single_rows(baseline: list[float], window: list[float], expected: float) -> None:
    codes, below, at_most = code(np.array(baseline), np.array(window))
    assert ks_statistic(codes, below, at_most) == pytest.approx(expected, rel=0, abs=1e-15)


@pytest.mark.parametrize("rows", [1, 200, 4096, 30_000])
@pytest.mark.parametrize("decimals", [1, 9])
def test_large_samples_are_scipys_whose_versions_differ_in_the_last_bit(rows: int, decimals: int) -> None:
    rng = np.random.default_rng(rows)
    baseline, window = rng.normal(size=10_000).round(decimals), rng.normal(0.05, 1, rows).round(decimals)
    distinct, counts = np.unique(baseline, return_counts=True)
    index = np.searchsorted(distinct, window)
    codes = 2 * index + (distinct[np.minimum(index, len(distinct) - 1)] == window)
    below, at_most = code_shares(np.cumsum(counts))
    with np.errstate(all="ignore"):  # SciPy warns of a p-value that is not used here
        expected = stats.ks_2samp(baseline, window, method="asymp").statistic
    assert ks_statistic(codes.astype(np.uint16), below, at_most) == pytest.approx(expected, rel=0, abs=1e-15)


@given(st.lists(values, min_size=1, max_size=40), st.lists(values, min_size=1, max_size=40), st.randoms())
def test_order_does_not_matter(baseline: list[float], window: list[float], random: object) -> None:
    codes, below, at_most = code(np.array(baseline), np.array(window))
    shuffled = codes.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ks_statistic(shuffled, below, at_most) == ks_statistic(codes, below, at_most)


def test_an_empty_sample_has_no_statistic() -> None:
    below, at_most = code_shares(np.array([2, 3]))
    none = np.array([], np.uint16)
    assert np.isnan(ks_statistic(none, below, at_most))
    assert np.isnan(ks_from_counts(np.zeros(5, np.int64), at_most))
    assert np.isnan(ks_statistic(np.array([0, 0], np.uint16), *code_shares(np.array([], np.int64))))
