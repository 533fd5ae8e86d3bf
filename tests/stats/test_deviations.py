"""Tails of deviations among correlated rows: against SciPy, and against simulated rows with random effects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from torchserve_drift.stats.deviations import distance_p, score_p, share_p
from torchserve_drift.stats.effective_rows import effective_seconds, freedom_of, student_factor
from torchserve_drift.stats.kolmogorov import LEAST


@pytest.mark.parametrize("freedom", [3.0, 17.5, np.inf])
def test_a_symmetric_score_has_students_tail(freedom: float) -> None:
    d = np.linspace(-0.8, 0.8, 33)
    t = np.maximum(np.abs(d) - 0.1, 0) / np.sqrt(2.0 * 0.01)
    expected = 2 * stats.t.sf(t, freedom) if np.isfinite(freedom) else 2 * stats.norm.sf(t)
    np.testing.assert_allclose(
        score_p(d, 2.0, 0.0, inverse=0.01, freedom=freedom, min_effect=0.1), np.where(t > 0, expected, 1), rtol=1e-5
    )


@pytest.mark.parametrize("skewness", [-3.0, 3.0])
def test_a_skewed_score_has_the_larger_of_two_tails(skewness: float) -> None:
    d, inverse = np.linspace(-0.5, 0.5, 21), 0.01
    skew = skewness * np.sqrt(inverse)
    t = d / np.sqrt(inverse)
    gamma = np.where(t > 0, stats.pearson3.sf(t, skew), stats.pearson3.cdf(t, skew))
    expected = np.where(d == 0, 1.0, np.minimum(2 * np.maximum(stats.norm.sf(np.abs(t)), gamma), 1))
    found = score_p(d, 1.0, skewness, inverse=inverse, freedom=np.inf)
    np.testing.assert_allclose(found[np.abs(d) > 1e-9], expected[np.abs(d) > 1e-9], rtol=1e-6)


def test_a_share_of_independent_rows_has_the_binomial_tail_at_the_nearer_end_of_the_null() -> None:
    n, e, g = 400, 0.1, 0.02
    hits = np.arange(0, 120)
    upper, lower = stats.binom.sf(hits - 1, n, e + g), stats.binom.cdf(hits, n, e - g)
    share = hits / n
    expected = np.where(share - e > g + 1e-12, 2 * upper, np.where(e - share > g + 1e-12, 2 * lower, 1.0))
    np.testing.assert_allclose(
        share_p(share - e, e, inverse=1 / n, correlation=0.0, freedom=np.inf, min_effect=g),
        np.minimum(expected, 1),
        rtol=1e-6,
    )


@pytest.mark.parametrize("rho", [1e-4, 1e-3, 0.01, 0.1])
@pytest.mark.parametrize("n", [50, 300, 3000])
@pytest.mark.parametrize("e", [0.002, 0.02, 0.1])
def test_a_share_of_random_rate_has_at_least_half_of_the_beta_binomial_tail(e: float, n: int, rho: float) -> None:
    hits = np.arange(int(e * n) + 1, n + 1)
    kappa = 1 / rho - 1
    tail = 2 * stats.betabinom.sf(hits - 1, n, e * kappa, (1 - e) * kappa)
    found = share_p(hits / n - e, e, inverse=1 / n + rho, correlation=rho, freedom=np.inf)
    near, far = (tail < 0.01) & (tail > 1e-5), (tail <= 1e-5) & (tail > 1e-10) & (hits < 0.4 * n)
    assert (found[near] >= 0.5 * tail[near]).all()
    assert (found[far] >= 0.1 * tail[far]).all()


def test_a_distance_has_at_least_kolmogorovs_tail() -> None:
    d = np.linspace(0.05, 0.3, 26)
    assert (distance_p(d, inverse=1 / 200, freedom=np.inf) >= np.minimum(stats.kstwo.sf(d, 200), 1) - 1e-12).all()
    np.testing.assert_allclose(
        distance_p(d + 0.04, inverse=1 / 200, freedom=np.inf, min_effect=0.04),
        distance_p(d, inverse=1 / 200, freedom=np.inf),
    )


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(d=numbers, e=numbers, rho=numbers, inverse=numbers, freedom=numbers, g=st.floats(0, 1e300))
def test_no_argument_makes_anything_but_a_p_value(  # noqa: PLR0917 - hypothesis gives them all
    d: float, e: float, rho: float, inverse: float, freedom: float, g: float
) -> None:
    with np.errstate(all="ignore"):
        for p in (
            score_p(d, e, rho, inverse=inverse, freedom=freedom, min_effect=g),
            share_p(d, e, inverse=inverse, correlation=rho, freedom=freedom, min_effect=g),
            distance_p(d, inverse=inverse, freedom=freedom, min_effect=g),
        ):
            assert LEAST <= float(p) <= 1


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(1.5, 1e4))
def test_correlation_and_doubt_never_make_a_deviation_surer(
    d: float, e: float, rho: float, g: float, freedom: float
) -> None:
    d = float(np.clip(e + d, 0, 1) - e)
    independent, n = np.inf, 0.005
    slack = 1 + 1e-6
    assert score_p(d, 1, 1, inverse=n + rho, freedom=freedom, min_effect=g) * slack >= score_p(
        d, 1, 0, inverse=n, freedom=independent, min_effect=g
    )
    assert share_p(d, e, inverse=n + rho, correlation=rho, freedom=freedom, min_effect=g) * slack >= share_p(
        d, e, inverse=n, correlation=0, freedom=independent, min_effect=g
    )
    assert distance_p(d, inverse=n + rho, freedom=freedom, min_effect=g) * slack >= distance_p(
        d, inverse=n, freedom=independent, min_effect=g
    )


@pytest.mark.parametrize("rho", [0.001, 0.02, 0.2])
def test_scores_with_random_effects_hold_their_level(rho: float) -> None:
    """Normal effects and rows: down to 1e-3 exactly; with 12 windows to learn the correlation from, too."""
    rng, trials, n = np.random.default_rng(1), 200_000, 50
    means = rng.normal(0, np.sqrt(rho + (1 - rho) / n), trials)
    p = score_p(means, 1.0, 0.0, inverse=1 / n + rho, freedom=np.inf)
    learnt = rho * rng.chisquare(12, trials) / 12
    freedom = freedom_of(1 / n + learnt, learnt[:, None], np.full((trials, 1), 12.0))
    doubtful = score_p(means, 1.0, 0.0, inverse=1 / n + learnt, freedom=freedom)
    for level in (0.05, 0.01, 1e-3):
        error = 4 * np.sqrt(level / trials)
        assert (p < level).mean() <= level + error
        assert (doubtful < level).mean() <= 1.25 * level + error
    # without Student's factor the same learnt correlation would break its level
    if rho == 0.2:
        assert (score_p(means, 1.0, 0.0, inverse=1 / n + learnt, freedom=np.inf) < 1e-3).mean() > 3e-3


@pytest.mark.parametrize("rho", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("e", [0.005, 0.05, 0.5])
def test_shares_with_random_rates_hold_their_level(e: float, rho: float) -> None:
    rng, trials, n = np.random.default_rng(2), 200_000, 300
    kappa = 1 / rho - 1
    rates = rng.beta(e * kappa, (1 - e) * kappa, trials)
    shares = rng.binomial(n, rates) / n
    p = share_p(shares - e, e, inverse=1 / n + rho, correlation=rho, freedom=np.inf)
    for level in (0.05, 0.01, 1e-3):
        assert (p < level).mean() <= level + 4 * np.sqrt(level / trials)


def test_a_deviation_within_the_minimum_effect_holds_the_level_at_its_edge() -> None:
    rng, trials, n, rho, g = np.random.default_rng(3), 100_000, 80, 0.01, 0.1
    means = g + rng.normal(0, np.sqrt(1 / n + rho), trials)
    shares = rng.binomial(n, 0.1 + 0.02, trials) / n
    for level in (0.01, 1e-3):
        assert (score_p(means, 1.0, 0.0, inverse=1 / n + rho, freedom=np.inf, min_effect=g) < level).mean() <= level
        assert (
            share_p(shares - 0.1, 0.1, inverse=1 / n, correlation=0.0, freedom=np.inf, min_effect=0.02) < level
        ).mean() <= level


@pytest.mark.parametrize("freedom", [5.0, 20.0, 200.0])
def test_students_factor_is_the_squared_ratio_of_quantiles(freedom: float) -> None:
    exact = (stats.t.ppf(5e-9, freedom) / stats.norm.ppf(5e-9)) ** 2
    assert float(student_factor(freedom)) == pytest.approx(exact, rel=0.35 if freedom < 10 else 0.12)


def test_the_effective_length_is_that_over_which_rows_lie() -> None:
    """By the definition: (sum of densities)² over the sum of squared densities, of very many rows."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        slices, seconds = rng.integers(1, 30), 120.0
        rows = rng.integers(0, 50, slices) * 10_000.0 + 1
        n = rows.sum()
        found = effective_seconds(n, n * n - n, ((rows * rows - rows) / seconds).sum(), slices * seconds)
        assert float(found) == pytest.approx(min(n * n / (rows * rows / seconds).sum(), slices * seconds), rel=1e-3)
