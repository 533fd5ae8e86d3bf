"""Associations of all pairs equal their definitions, and p-values hold their level far into the tail."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy import stats

from torchserve_drift.stats.association import Association, association, change, correlations, own_rank_scores

Draw = Callable[[np.random.Generator, int], np.ndarray]


def standardised(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return centred / np.where(spread > 0, spread, 1)


def measured(scores: np.ndarray) -> Association:
    x = standardised(scores)
    return association((x[:, i : i + 1024] for i in range(0, x.shape[1], 1024)), x.shape[1])


def influence(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The influence of each row on the correlation of x and y, times the rows."""
    x, y = standardised(np.array([x, y]))
    return x * y - (x * y).mean() * (x**2 + y**2) / 2


@pytest.mark.parametrize("rows", [1, 2, 7, 1500])
def test_moments_are_those_of_the_influence_function(rows: int) -> None:
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(5, rows))
    x[1] += 2 * x[0]
    x[2] = np.round(x[2])
    x[3] = x[0]
    x[4] = 3.0
    found = measured(x)
    assert found.rows == rows
    for a, b in np.ndindex(5, 5):
        psi = influence(x[a], x[b])
        expected = np.corrcoef(x[a], x[b])[0, 1] if rows > 1 and 4 not in (a, b) else 0
        moments = (found.r[a, b], found.variance[a, b], found.third[a, b])
        assert moments == pytest.approx((expected, (psi**2).mean(), (psi**3).mean()), abs=1e-9)


def test_the_influence_function_is_the_derivative_of_the_correlation() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    y += x
    for row in range(5):
        weights = np.ones(50)
        weights[row] += 1e-5
        moved = np.cov(x, y, aweights=weights)
        slope = (moved[0, 1] / np.sqrt(moved[0, 0] * moved[1, 1]) - np.corrcoef(x, y)[0, 1]) / 1e-5 * 50
        assert slope == pytest.approx(influence(x, y)[row], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_own_scores_are_midranks(decimals: int) -> None:
    values = np.random.default_rng(1).normal(size=200).round(decimals)
    codes = np.searchsorted(np.unique(values), values) + 3
    scores = own_rank_scores(np.bincount(codes, minlength=300))[codes]
    np.testing.assert_allclose(scores, (stats.rankdata(values) - 0.5) / 200 - 0.5, atol=1e-12)
    assert own_rank_scores(np.zeros(3, int)).tolist() == [0, 0, 0]


def test_correlations_are_over_the_rows_that_have_both_values() -> None:
    rng = np.random.default_rng(4)
    x, present = rng.normal(size=(4, 300)), rng.random((4, 300)) < 0.8
    x[1] += x[0]
    present[2], present[3] = True, ~present[0]
    for row, known in zip(x, present):
        row[:] = np.where(known, (row - row[known].mean()) / row[known].std(), 0)
    blocks = [slice(0, 100), slice(100, 300)]
    found = correlations((x[:, b] for b in blocks), (present[:, b].astype(float) for b in blocks))
    for a, b in np.ndindex(4, 4):
        both = present[a] & present[b]
        expected = min((x[a, both] * x[b, both]).mean(), 1) if both.any() else np.nan
        assert found[a, b] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found[0, 3])
    z = standardised(x)
    np.testing.assert_allclose(correlations([z], None), np.corrcoef(z), atol=1e-12)


def chosen_pair() -> np.ndarray:
    return np.array([[False, True], [False, False]])


@pytest.mark.parametrize("rho", [0, 0.6, 0.95])
def test_p_value_is_that_of_the_rows_influences_together(rho: float) -> None:
    rng = np.random.default_rng(6)
    before, after = rng.random((2, 900)), rng.random((2, 250))
    before[1] += rho * 3 * before[0]
    after[1] += (rho + 0.2) * 3 * after[0]
    r = [np.corrcoef(x)[0, 1] for x in (before, after)]
    shift = np.arctanh(r[1] / 1.01) - np.arctanh(r[0] / 1.01)
    slopes = [1 / (1 - (each / 1.01) ** 2) / 1.01 for each in r]
    values = np.concatenate([influence(*after) * slopes[1] + shift, influence(*before) * slopes[0]])
    sd = values.std() * np.sqrt(1 / 250 + 1 / 900)
    skew = ((values - values.mean()) ** 3).mean() * (1 / 250**2 - 1 / 900**2) / sd**3 * np.sign(shift)
    tails = stats.norm.sf(abs(shift) / sd), stats.pearson3.sf(abs(shift) / sd, skew) if skew > 1e-3 else 0
    found = change(measured(after), measured(before), [], chosen_pair())
    assert found.p_value.tolist() == pytest.approx([2 * max(tails)], rel=1e-6)
    assert found.r.tolist() == pytest.approx([r[1] - r[0]])


def test_a_change_is_the_least_by_all_measures() -> None:
    def pair(r: float) -> Association:
        return Association(1000.0, np.full((2, 2), r), np.ones((2, 2)), np.zeros((2, 2)))

    def found(*others: tuple[float, float]) -> tuple[float, float]:
        measures = [(np.full((2, 2), then), np.full((2, 2), now)) for then, now in others]
        r, p_value = change(pair(0.4), pair(0.1), measures, chosen_pair())
        return float(r[0]), float(p_value[0])

    assert found() == found((0.1, 0.4)) == found((0.1, 0.8))
    assert found()[0] == pytest.approx(0.3)
    r, p_value = found((0.1, 0.4), (0.1, 0.2))
    assert r == pytest.approx(0.1)
    assert found()[1] < p_value < 1
    for unmoved in ((0.1, 0.1), (0.1, 0.0), (np.nan, 0.4), (0.1, np.nan)):
        assert found(unmoved, (0.1, 0.4)) == (0, 1)


# Levels without drift: at most a share a of all pairs' p-values lies below a.


def independent(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.normal(size=(40, rows))


def correlated(rho: float) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> np.ndarray:
        x = rng.normal(size=(40, rows))
        x[1::2] = rho * x[::2] + np.sqrt(1 - rho**2) * x[1::2]
        return x

    return draw


def tied(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.round(np.exp(0.7 * correlated(0.6)(rng, rows)))


def binary(rng: np.random.Generator, rows: int) -> np.ndarray:
    return (correlated(0.5)(rng, rows) > np.linspace(0, 1.2, 40)[:, None]).astype(float)


def curved(rng: np.random.Generator, rows: int) -> np.ndarray:
    x = rng.normal(size=(40, rows))
    x[1::2] = x[::2] ** 2 + 0.2 * rng.standard_cauchy((20, rows))
    return x


def near_duplicates(rng: np.random.Generator, rows: int) -> np.ndarray:
    x = np.repeat(rng.normal(size=(20, rows)), 2, axis=0)
    return np.where(rng.random(x.shape) < 0.005, rng.normal(size=x.shape), x)


DRAWS = {
    "independent": independent,
    "correlated": correlated(0.9),
    "tied": tied,
    "binary": binary,
    "curved": curved,
    "near duplicates": near_duplicates,
}


def null_p_values(draw: Draw, n: int, m: int, runs: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The p-values of pairs that are associated (``draw`` may make some), and those of all other pairs, in each run."""
    associated = np.zeros((40, 40), dtype=bool)
    associated[np.arange(0, 40, 2), np.arange(1, 40, 2)] = True
    others = np.triu(np.ones((40, 40), dtype=bool), 1) & ~associated
    for run in range(runs):
        rng = np.random.default_rng([run, n, m])
        before, after = draw(rng, n), draw(rng, m)
        scores = []
        for old, new in zip(before, after):
            in_order = np.sort(old)
            for x in (old, new):
                scores.append((in_order.searchsorted(x) + in_order.searchsorted(x, side="right")) / (2 * n) - 0.5)
        a, b = measured(np.array(scores[1::2])), measured(np.array(scores[::2]))
        yield change(a, b, [], associated).p_value, change(a, b, [], others).p_value


def assert_level(groups: list[np.ndarray], levels: tuple[float, ...]) -> None:
    """Few enough p-values (runs, pairs) of each group are small, given the variance between the runs."""
    for p in groups:
        for level in levels:
            below = (p <= level).mean(axis=1)
            error = np.sqrt(max(below.var() / len(below), level / p.size))
            assert below.mean() <= level * 1.1 + 3 * error, (level, below.mean(), error)


@pytest.mark.parametrize("name", DRAWS)
def test_small_p_values_hold_their_level(name: str) -> None:
    groups = [np.array(p) for p in zip(*null_p_values(DRAWS[name], 800, 200, 30))]
    assert_level(groups, (0.05, 0.01, 1e-3, 1e-4))
    if name in ("independent", "correlated"):  # far fewer would cost power
        assert all((p <= 0.05).mean() > 0.035 for p in groups)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(1000, 200), (1000, 1000), (10_000, 4096)])
@pytest.mark.parametrize("name", DRAWS)
def test_the_smallest_p_values_hold_their_level(name: str, n: int, m: int) -> None:
    groups = [np.array(p) for p in zip(*null_p_values(DRAWS[name], n, m, 1500 if n < 10_000 else 150))]
    assert_level(groups, (1e-2, 1e-3, 1e-4, 1e-5, 1e-6))
