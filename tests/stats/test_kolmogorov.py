"""p-values of the Kolmogorov-Smirnov test against SciPy and exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from torchserve_drift.stats.durbin import durbin_cdf
from torchserve_drift.stats.kolmogorov import LEAST, kstwo_sf, least_two_sample_p, two_sample_p

SIZES = [1, 2, 3, 5, 7, 30, 77, 139, 140, 141, 160, 196, 250, 251, 500, 1000, 1001, 2905, 50_000, 100_001, 300_000]


def smirnov_exactly(n: int, d: Fraction) -> mpmath.mpf:
    """Smirnov's sum in 60 digits."""
    with mpmath.workdps(60):
        x = mpmath.mpf(d.numerator) / d.denominator
        terms = (
            mpmath.binomial(n, j) * (x + mpmath.mpf(j) / n) ** (j - 1) * (1 - x - mpmath.mpf(j) / n) ** (n - j)
            for j in range(int(n * (1 - d)) + 1)
        )
        return x * mpmath.fsum(terms)


@pytest.mark.parametrize("n", SIZES)
def test_one_sample_p_values_are_scipys(n: int) -> None:
    rng = np.random.default_rng(n)
    edges = np.sqrt([2.2 - 1e-9, 2.2 + 1e-9, 0.754, 0.755, 4 - 1e-9, 4 + 1e-9])
    z = np.concatenate([rng.uniform(0.05, 3.75, 30 if n < 10_000 else 4), edges])  # SciPy needs n steps for each
    d = np.concatenate([z / np.sqrt(n), np.arange(1, 8) / (2 * n), [0.5, (1.4 / n) ** (2 / 3)]])
    if n < 10_000:
        d = np.concatenate([d, rng.uniform(0, 1, 10)])
    d = d[d < 1]
    expected = np.array([stats.kstwo.sf(x, n) for x in d])
    told = expected > 1e-12
    np.testing.assert_allclose(kstwo_sf(d, n)[told], expected[told], rtol=1e-6)
    assert (kstwo_sf(d, n)[~told] < 1.1e-12).all()


@pytest.mark.parametrize(("n", "d"), [(50, 0.8), (140, 0.6), (600, 0.3), (1001, 0.25), (2905, 0.136), (5_000, 0.12)])
def test_far_tails_are_smirnovs_sum(n: int, d: float) -> None:
    exact = 2 * smirnov_exactly(n, Fraction(d))
    assert 1e-160 < exact < 1e-30
    assert float(kstwo_sf(d, n) / exact) == pytest.approx(1, rel=1e-6 if exact > 1e-50 else 1e-3)


@pytest.mark.parametrize("n", [1, 2, 140, 141, 1000, 1001, 10**6])
def test_statistics_next_to_0_and_1(n: int) -> None:
    near = np.array([5e-324, 1e-12, 1 - 1e-12, np.nextafter(1, 0)])
    p = kstwo_sf(near, n)
    np.testing.assert_allclose(p, [stats.kstwo.sf(x, n) for x in near], rtol=1e-6, atol=1e-300)
    assert (p >= LEAST).all()


@pytest.mark.parametrize("n", [1, 3, 20, 140, 141, 300, 1000, 1001, 2905, 100_000])
def test_falls_in_d_and_never_reaches_zero(n: int) -> None:
    d = np.unique(np.concatenate([np.linspace(0, 1, 2001), np.linspace(0, min(1, 10 / np.sqrt(n)), 2001)]))
    p = kstwo_sf(d, n)
    assert p[0] == 1
    assert p[-1] == LEAST
    assert (np.diff(p) <= 1e-11 * p[:-1]).all()


def test_the_middle_regime_is_exact_arithmetic() -> None:
    # n = 10, d = 0.274: the worked example of Marsaglia, Tsang and Wang
    assert durbin_cdf(np.array([10.0]), np.array([0.274]))[0] == pytest.approx(0.6284796154565043, rel=1e-12)


def test_features_of_all_sizes_at_once_are_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    n = rng.choice(SIZES, 300).astype(float)
    d = np.minimum(rng.uniform(0, 3, 300) / np.sqrt(n), 1)
    together = kstwo_sf(d, n)
    np.testing.assert_allclose(together, [kstwo_sf(x, size) for x, size in zip(d, n)], rtol=1e-11)
    assert kstwo_sf(d.reshape(3, 100), n.reshape(3, 100)).tolist() == together.reshape(3, 100).tolist()


@pytest.mark.parametrize(("d", "n"), [(0.5, 0), (np.nan, 10), (0.5, np.nan), (np.nan, np.nan), (0.0, 0)])
def test_without_observations_there_is_no_p_value(d: float, n: float) -> None:
    assert np.isnan(kstwo_sf(d, n))


@given(
    first=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    second=st.lists(st.integers(0, 6), min_size=1, max_size=200),
)
@settings(max_examples=100, deadline=None)
def test_two_samples_with_ties_are_scipys(first: list[int], second: list[int]) -> None:
    if len(first) == len(second) == 1:
        first = first * 2
    expected = stats.ks_2samp(first, second, method="asymp")
    p = two_sample_p(expected.statistic, len(first), len(second))
    np.testing.assert_allclose(p, expected.pvalue, rtol=1e-6, atol=1e-12)


@given(st.floats(0, 1), st.integers(1, 20_000), st.integers(1, 20_000))
def test_two_samples_are_symmetric(d: float, n: int, m: int) -> None:
    np.testing.assert_array_equal(two_sample_p(d, n, m), two_sample_p(d, m, n))


def test_two_samples_of_no_or_single_rows() -> None:
    p = two_sample_p(np.array([0.3, 0.3, 0.0, 0.0, 1.0]), np.array([0, 9, 0, 1, 1]), np.array([9, 0, 0, 1, 1]))
    np.testing.assert_array_equal(p, [np.nan, np.nan, np.nan, 1, np.nan])


@pytest.mark.parametrize(("n", "m"), [(10_000, 4_096), (500, 500), (10_000, 250), (60, 5_000)])
def test_false_alarms_are_as_frequent_as_the_level(n: int, m: int) -> None:
    rng = np.random.default_rng(11)
    d = np.array([stats.ks_2samp(rng.random(n), rng.random(m), method="asymp").statistic for _ in range(600)])
    p = two_sample_p(d, n, m)
    for level in (0.5, 0.05):
        rate = (p < level).mean()
        assert abs(rate - level) < 4 * np.sqrt(level * (1 - level) / 600) + 0.1 * level


def test_the_least_p_value_is_that_of_samples_apart() -> None:
    np.testing.assert_allclose(least_two_sample_p([1, 3, 4], [1, 2, 10]), [1, 2 / comb(5, 2), 2 / comb(14, 4)])
    assert least_two_sample_p(10_000, 4_096) == LEAST
    assert least_two_sample_p(7, 9) == pytest.approx(stats.ks_2samp(range(7), range(10, 19), method="exact").pvalue)
