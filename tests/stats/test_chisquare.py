"""The two-sample chi-squared test against SciPy."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import xlogy

from torchserve_drift.stats.chisquare import chi2_two_sample, pooled_table, share_distance

counts = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=12)


def pooled_by_definition(baseline: list[int], window: list[int], unseen: int) -> list[list[int]]:
    total = sum(baseline), sum(window) + unseen
    cells, pool = [], [0, unseen]
    for b, w in zip(baseline, window):
        if min((b + w) * row / max(sum(total), 1) for row in total) < 5:
            pool = [pool[0] + b, pool[1] + w]
        else:
            cells.append([b, w])
    return [cell for cell in [*cells, pool] if any(cell)]


@given(counts, st.integers(0, 50))
def test_pooled_table_by_definition(pairs: list[tuple[int, int]], unseen: int) -> None:
    baseline, window = map(list, zip(*pairs))
    table = pooled_table(np.array(baseline), np.array(window), unseen)
    assert table.T.tolist() == pooled_by_definition(baseline, window, unseen)
    assert table.sum(axis=1).tolist() == [sum(baseline), sum(window) + unseen]


@given(counts, st.integers(0, 50))
def test_p_value_is_scipys(pairs: list[tuple[int, int]], unseen: int) -> None:
    baseline, window = map(np.array, zip(*pairs))
    table = pooled_table(baseline, window, unseen)
    assume(table.shape[1] > 1)
    expected = stats.chi2_contingency(table, correction=False)
    found = chi2_two_sample(baseline, window, unseen)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert found.dof == expected.dof
    assert found.cramers_v == pytest.approx(stats.contingency.association(table.astype(int), "cramer"), abs=1e-9)


@given(counts, st.integers(0, 50), st.randoms())
def test_order_of_the_categories_does_not_matter(pairs: list[tuple[int, int]], unseen: int, random: object) -> None:
    first = chi2_two_sample(*map(np.array, zip(*pairs)), unseen)
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert chi2_two_sample(*map(np.array, zip(*pairs)), unseen) == pytest.approx(first)


@given(counts, st.integers(1, 1000))
def test_effect_does_not_depend_on_the_sizes(pairs: list[tuple[int, int]], times: int) -> None:
    baseline, window = map(np.array, zip(*pairs))
    effect = share_distance(baseline, window, 0)
    assert 0 <= effect <= 1
    assert share_distance(baseline * times, window, 0) == pytest.approx(effect)
    assert share_distance(window, baseline, 0) == pytest.approx(effect)


def test_effect_is_cramers_v_of_samples_of_one_size() -> None:
    baseline, window = np.array([500, 300, 200]), np.array([400, 400, 200])
    found = chi2_two_sample(baseline, window, 0)
    assert found.effect == pytest.approx(found.cramers_v)
    assert chi2_two_sample(np.array([10, 20]), np.array([0, 0]), 30).effect == pytest.approx(1)


@pytest.mark.parametrize(
    ("baseline", "window", "unseen"),
    [
        ([7], [9], 0),
        ([0, 0], [0, 0], 0),
        ([50, 50], [0, 0], 0),
        ([0, 0], [50, 50], 0),
        ([3, 2], [2, 2], 1),
        ([50], [], 0),
    ],
)
def test_with_fewer_than_two_cells_the_p_value_is_1(baseline: list[int], window: list[int], unseen: int) -> None:
    window = window or [0] * len(baseline)
    assert chi2_two_sample(np.array(baseline), np.array(window), unseen)[:4] == (1, 0, 0, 0)


def test_unseen_categories_alone_are_drift() -> None:
    found = chi2_two_sample(np.array([9_000, 1_000]), np.array([0, 0]), 4_000)
    assert found.p_value == 0 or found.p_value < 1e-300
    assert found.effect == 1
    assert found.cramers_v == pytest.approx(1)


@pytest.mark.parametrize(("rows", "window_rows"), [(1_000, 1_000), (10_000, 500), (500, 10_000)])
def test_false_alarms_are_as_frequent_as_the_level(rows: int, window_rows: int) -> None:
    rng = np.random.default_rng(7)
    shares = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.03, 0.01, 0.005, 0.005])
    p = np.array(
        [
            chi2_two_sample(rng.multinomial(rows, shares), rng.multinomial(window_rows, shares), 0).p_value
            for _ in range(2000)
        ]
    )
    for level in (0.5, 0.05, 0.01):
        assert abs((p < level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 2000) + 0.1 * level


def test_ten_thousand_categories_take_about_a_millisecond() -> None:
    rng = np.random.default_rng(0)
    baseline, window = rng.integers(0, 300, 10_000), rng.integers(0, 300, 10_000)
    best = min(_seconds(baseline, window) for _ in range(20))
    assert best < 0.005


def _seconds(baseline: np.ndarray, window: np.ndarray) -> float:
    start = time.perf_counter()
    chi2_two_sample(baseline, window, 5)
    return time.perf_counter() - start


@pytest.mark.parametrize("expected", [5, 10, 50])
@pytest.mark.parametrize("cells", [5, 20, 100])
def test_the_bound_keeps_its_level_where_cells_are_sparse(expected: int, cells: int) -> None:
    """Cells with Poisson counts and a baseline so large that its shares are known: exact tails by convolution."""
    size, step = 1 << 16, 0.005
    counts = np.arange(400)
    probabilities = stats.poisson.pmf(counts, expected)

    def tail(statistic: np.ndarray, value: float) -> float:
        single = np.zeros(size)
        np.add.at(single, np.minimum(np.round(statistic / step).astype(int), size - 1), probabilities)
        return float(np.fft.irfft(np.fft.rfft(single) ** cells, size)[int(value / step) + 1 :].sum())

    likelihood_ratio = 2 * (xlogy(counts, counts / expected) - counts + expected)
    pearson = (counts - expected) ** 2 / expected
    for level in (1e-3, 1e-5, 1e-7):
        value = stats.chi2.isf(level, cells)
        correction = 1 + (1 / (6 * expected) + 1 / (6 * expected**2))
        assert tail(likelihood_ratio, value * correction) <= level * (1 + 10 / expected)
        if level == 1e-7 and expected == 5:
            assert tail(pearson, value) > 10 * level  # this is why there is a bound


def test_the_bound_of_a_table_is_the_larger_tail_times_the_allowance() -> None:
    baseline, window = np.array([9000, 700, 300]), np.array([150, 20, 30])
    table = np.array([baseline, window], float)
    found = chi2_two_sample(baseline, window, 0)
    likelihood = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    expected = likelihood.expected_freq
    corrected = likelihood.statistic / (1 + (1 / (6 * expected) + 1 / (6 * expected**2)).sum() / 2)
    assert found.bound == pytest.approx(
        max(found.p_value, stats.chi2.sf(corrected, 2)) * (1 + 10 / expected.min()), rel=1e-9
    )
    assert found.bound > found.p_value


def test_a_design_effect_takes_rows_away() -> None:
    baseline, window = np.array([500, 500]), np.array([400, 600])
    assert chi2_two_sample(baseline, window, 0, 10.0).p_value == pytest.approx(
        chi2_two_sample(baseline, np.array([40, 60]), 0).p_value
    )
