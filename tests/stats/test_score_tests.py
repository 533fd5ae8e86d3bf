"""Location and scale tests by normal scores: level without drift, power with drift, little influence of outliers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from torchserve_drift.stats.score_tests import Moments, normal_scores, shift_p


def p_values(baseline: np.ndarray, window: np.ndarray) -> tuple[float, float]:
    distinct, counts = np.unique(baseline, return_counts=True)
    index = np.searchsorted(distinct, window)
    codes = 2 * index + (distinct[np.minimum(index, len(distinct) - 1)] == window)
    scores = normal_scores(np.cumsum(counts))
    known, found = np.repeat(scores[1::2], counts), scores[codes]
    location, scale = (float(shift_p(moments(found**k), moments(known**k))) for k in (1, 2))
    return location, scale


def moments(scores: np.ndarray) -> Moments:
    if not len(scores):
        return Moments(0.0, np.nan, np.nan, np.nan)
    centred = scores - scores.mean()
    return Moments(len(scores), scores.mean(), (centred**2).mean(), (centred**3).mean())


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_scores_are_those_of_midranks(decimals: int) -> None:
    baseline = np.random.default_rng(1).normal(size=500).round(decimals)
    distinct, counts = np.unique(baseline, return_counts=True)
    scores = normal_scores(np.cumsum(counts))
    expected = stats.norm.ppf(stats.rankdata(baseline) / 501)
    np.testing.assert_allclose(scores[2 * np.searchsorted(distinct, baseline) + 1], expected, atol=1e-12)


def zeros_but(share: float):
    return lambda rng, size: np.where(rng.random(size) < share, rng.random(size) + 1, 0)


@pytest.mark.parametrize(("n", "m"), [(200, 200), (200, 2000), (2000, 200)])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.random(size),
        lambda rng, size: rng.standard_cauchy(size),
        lambda rng, size: rng.poisson(0.5, size),
        zeros_but(0.05),
        zeros_but(0.005),
    ],
    ids=["uniform", "cauchy", "poisson", "zeros", "nearly all zeros"],
)
def test_false_alarms_hold_the_level(draw, n: int, m: int) -> None:
    rng = np.random.default_rng(6)
    p = np.array([p_values(draw(rng, n), draw(rng, m)) for _ in range(1000)])
    for level in (0.05, 0.01, 0.001):
        assert ((p <= level).mean(axis=0) <= level * 1.25 + 3.5 * np.sqrt(level / 1000)).all()


def test_gamma_tail_holds_the_level_of_squares() -> None:
    # against a baseline known without error, the sum of m squared scores is chi-squared with m degrees of freedom
    m, n = 200, 1e12
    normal = Moments(n, 1.0, 2.0, 8.0)
    for p in (1e-3, 1e-6, 1e-9):
        mean = stats.chi2.isf(p, m) / m
        found = float(shift_p(Moments(m, mean, 2.0, 8.0), normal))
        assert p < found < 2.5 * p
        by_normal = 2 * stats.norm.sf((mean - 1) / np.sqrt(2 / m))
        assert by_normal < found


def test_a_shift_and_a_spread_are_told_apart() -> None:
    rng = np.random.default_rng(8)
    baseline = rng.normal(size=5000)
    location, scale = p_values(baseline, rng.normal(0.5, 1, 1000))
    assert location < 1e-30
    location, scale = p_values(baseline, rng.normal(0, 1.5, 1000))
    assert location > 1e-3
    assert scale < 1e-20
    assert p_values(baseline, rng.normal(0, 0.6, 1000))[1] < 1e-20


def test_outliers_are_a_few_rows_like_others() -> None:
    rng = np.random.default_rng(8)
    baseline, window = rng.normal(size=5000), rng.normal(size=1000)
    window[:3] = 1e12
    assert min(p_values(baseline, window)) > 1e-3
    assert stats.ttest_ind_from_stats(baseline.mean(), 1, 5000, window.mean(), 1, 1000).pvalue == 0


def test_any_increasing_map_leaves_the_p_values() -> None:
    rng = np.random.default_rng(3)
    baseline, window = rng.normal(size=300).round(1), rng.normal(0.1, 1.1, 200).round(1)
    assert p_values(np.exp(baseline), np.exp(window)) == p_values(baseline, window)
    mirrored = p_values(-baseline, -window)
    assert mirrored == pytest.approx(p_values(baseline, window))


def test_constants_and_single_rows() -> None:
    assert p_values(np.zeros(50), np.zeros(20)) == (1, 1)
    assert p_values(np.zeros(1), np.zeros(1)) == (1, 1)
    assert p_values(np.zeros(1000), np.ones(300))[0] < 1e-50
    assert 0.01 < p_values(np.arange(100.0), np.array([1000.0]))[0] < 0.05
    assert np.isnan(p_values(np.arange(9.0), np.array([]))).all()


def test_many_features_at_once() -> None:
    mean = np.array([0.0, 0.1, -0.5])
    baseline = Moments(np.array([1000, 1000, 0]), np.zeros(3), np.ones(3), np.zeros(3))
    together = shift_p(Moments(200, mean, 1.0, 0.0), baseline)
    alone = [
        float(shift_p(Moments(200, x, 1.0, 0.0), Moments(rows, 0.0, 1.0, 0.0)))
        for x, rows in zip(mean, (1000, 1000, 0))
    ]
    np.testing.assert_array_equal(together, alone)
    assert together[0] == 1
    assert np.isnan(together[2])


def test_where_rows_are_alike_no_tail_is_lighter_than_the_normal_one() -> None:
    baseline = Moments(1e12, 1.0, 2.0, 8.0)
    below = Moments(np.array([50.0, 50.0]), np.array([0.4, 0.4]), 2.0, 8.0)
    sharp, cautious = shift_p(below, baseline, cautious=np.array([False, True]))
    t = 0.6 / np.sqrt(2 / 50)
    assert cautious == pytest.approx(2 * stats.norm.sf(t), rel=1e-6)
    assert sharp == pytest.approx(2 * stats.pearson3.cdf(-t, 8 / 2**1.5 / np.sqrt(50)), rel=1e-3)
    assert sharp < cautious / 20
