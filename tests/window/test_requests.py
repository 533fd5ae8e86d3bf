"""The rows of a request as a cluster: sums over requests, the design effect, and the level of p-values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from baselines import baseline
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import CategoricalBaseline, NumericBaseline
from torchserve_drift.checks.evidence import CheckedModel
from torchserve_drift.checks.window_checks import WindowChecks
from torchserve_drift.features.encoding import MISTYPED_VALUE, UNSEEN_INDEX
from torchserve_drift.monitoring.monitor import Monitor
from torchserve_drift.settings.settings import Settings, Window
from torchserve_drift.stats.design_effect import RequestSums, design_effect, sample_design_effect
from torchserve_drift.stats.ecdf import ks_statistic
from torchserve_drift.stats.kolmogorov import two_sample_p
from torchserve_drift.stats.proportions import two_proportions_p
from torchserve_drift.stats.score_tests import Moments, normal_scores, shift_p
from torchserve_drift.verdicts.min_effects import min_effects_of
from torchserve_drift.window import fields
from torchserve_drift.window.coding import NumericCodes, codes_for
from torchserve_drift.window.design_effects import DesignEffects, scores_of
from torchserve_drift.window.hours import RowsInTime
from torchserve_drift.window.layout import layout_for
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.store import Store
from torchserve_drift.window.tally import Tallier

RNG = np.random.default_rng(7)
TRAINING = {
    "x": RNG.normal(size=3000),
    "ties": RNG.poisson(1.0, 3000).astype(float),
    "c": RNG.choice(list("abcd"), 3000, p=[0.6, 0.25, 0.1, 0.05]),
}
MIXED = baseline(TRAINING)
LAYOUT = layout_for(MIXED, 1, 256)
TALLIER = Tallier(MIXED, LAYOUT)
EFFECTS = DesignEffects(MIXED, LAYOUT)
REQUEST_FIELDS = (fields.SIZES_SQUARED, fields.SIZES_FOURTH, fields.TOTALS_SQUARED, fields.SIZES_TOTALS)
ABSENCE_FIELDS = (fields.ABSENT_SQUARED, fields.SIZES_ABSENT)


def tally_of(rows: np.ndarray, ids: np.ndarray, tallier: Tallier = TALLIER) -> np.ndarray:
    begins = np.diff(ids, prepend=ids[0] - 1) != 0
    return tallier.tally(rows, begins.astype(np.uint8))


def drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows with values beyond every edge, ties, unseen categories, missing and infinite ones."""
    return np.column_stack(
        [
            rng.choice([*rng.normal(size=20), np.nan, np.inf, 99.0, -99.0], count),
            rng.choice([0.0, 1.0, 2.0, 30.0, np.nan, MISTYPED_VALUE], count),
            rng.choice([0.0, 1.0, 2.0, 3.0, UNSEEN_INDEX, np.nan], count),
        ]
    )


def score_of_number(values: np.ndarray, edges: np.ndarray, value: float) -> float:
    """By definition: the normal quantile of the middle of the ranks of the value's bin among all training rows."""
    above = edges[edges >= value]
    upper = (values <= above[0]).sum() if len(above) else len(values)
    lower = (values <= edges[edges < value].max()).sum() if (edges < value).any() else 0
    middle = (lower + upper) / 2 if len(above) else len(values)
    return float(stats.norm.ppf((middle + 0.5) / (len(values) + 1)))


def score_of_category(values: np.ndarray, categories: tuple[str, ...], index: float) -> float:
    before = np.isin(values, categories[: int(index)]).sum() if index >= 0 else len(values)
    own = (values == categories[int(index)]).sum() if index >= 0 else 0
    return float(stats.norm.ppf((before + own / 2 + 0.5) / (len(values) + 1)))


@cache
def score(name: str, value: float) -> float:
    feature = MIXED.features[list(TRAINING).index(name)]
    if isinstance(feature, NumericBaseline):
        return score_of_number(TRAINING[name], feature.edges, value) if np.isfinite(value) else np.nan
    assert isinstance(feature, CategoricalBaseline)
    return score_of_category(TRAINING[name], feature.categories, value) if not np.isnan(value) else np.nan


def by_request(rows: np.ndarray, ids: np.ndarray, column: int) -> list[np.ndarray]:
    """The scores of each request's valid values."""
    z = np.array([score(list(TRAINING)[column], value) for value in rows[:, column]])
    groups = np.split(z, np.flatnonzero(np.diff(ids)) + 1)
    return [group[~np.isnan(group)] for group in groups]


def defined_effect(groups: list[np.ndarray]) -> float:
    """Kish's design effect of the mean, by its definition and before any allowance for its own error."""
    z = np.concatenate(groups)
    n, sizes = len(z), np.array([len(group) for group in groups], dtype=float)
    k = (sizes**2).sum() ** 2 / (sizes**4).sum()
    clustered = k / (k - 1) * sum(((group - z.mean()).sum()) ** 2 for group in groups) / n**2
    return float(clustered / (z.var(ddof=1) / n))


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_requests_are_those_of_their_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, ids = drawn(rng, 600), np.repeat(np.arange(200), rng.integers(1, 6, 200))[:600]
    rows = rows[: len(ids)]
    tally = tally_of(rows, ids)
    for column in range(3):
        groups = by_request(rows, ids, column)
        sizes, totals = np.array([len(g) for g in groups], float), np.array([g.sum() for g in groups])
        expected = ((sizes**2).sum(), (sizes**4).sum(), (totals**2).sum(), (sizes * totals).sum())
        np.testing.assert_allclose(LAYOUT.part(tally, column)[list(REQUEST_FIELDS)], expected, rtol=1e-12)
        raised = defined_effect(groups) * (1 + 2 * np.sqrt(2 / ((sizes**2).sum() ** 2 / (sizes**4).sum())))
        largest = (sizes**2).sum() / sizes.sum()
        np.testing.assert_allclose(EFFECTS.of(tally)[column], np.clip(raised, 1, largest), rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_sums_of_absent_values_are_those_of_their_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(200), rng.integers(1, 6, 200))
    rows = drawn(rng, len(ids))
    rows[np.isin(ids, rng.choice(200, 30)), 0] = np.nan
    tally, n = tally_of(rows, ids), len(ids)
    s = np.bincount(ids).astype(float)
    squared, fourth = (s**2).sum(), (s**4).sum()
    assert tally[[fields.ROWS, fields.REQUESTS_SQUARED, fields.REQUESTS_FOURTH]].tolist() == [n, squared, fourth]
    raise_by = 1 + 2 * np.sqrt(2 / (squared**2 / fourth))
    for column in range(3):
        absent = ~np.isfinite(rows[:, column])
        k = np.bincount(ids, absent)
        assert LAYOUT.part(tally, column)[list(ABSENCE_FIELDS)].tolist() == [(k**2).sum(), (s * k).sum()]
        groups = [absent[ids == i].astype(float) for i in range(200)]
        expected = np.clip(defined_effect(groups) * raise_by, 1, squared / n)
        np.testing.assert_allclose(EFFECTS.of_absence(tally)[column], expected, rtol=1e-9)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_tallies_of_parts_of_a_stream_add_up_to_that_of_the_whole(sizes: list[int], cut: int, seed: int) -> None:
    rows, ids = drawn(np.random.default_rng(seed), sum(sizes)), np.repeat(np.arange(len(sizes)), sizes)
    first = ids < cut
    parts = [tally_of(rows[part], ids[part]) for part in (first, ~first) if part.any()]
    whole = tally_of(rows, ids)
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(EFFECTS.of(sum(parts)), EFFECTS.of(whole), rtol=1e-6)
    np.testing.assert_array_equal(EFFECTS.of_absence(sum(parts)), EFFECTS.of_absence(whole))  # exact sums


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_requests_touch_no_other_tally_and_requests_of_one_row_have_no_effect(sizes: list[int], seed: int) -> None:
    rows = drawn(np.random.default_rng(seed), sum(sizes))
    alone, together = tally_of(rows, np.arange(len(rows))), tally_of(rows, np.repeat(np.arange(len(sizes)), sizes))
    assert (EFFECTS.of(alone) == 1.0).all()
    assert (EFFECTS.of_absence(alone) == 1.0).all()
    assert (EFFECTS.of(together) >= 1.0).all()
    assert (EFFECTS.of_absence(together) >= 1.0).all()
    for column in range(3):
        of_alone, of_together = LAYOUT.part(alone, column).copy(), LAYOUT.part(together, column).copy()
        of_requests = [*REQUEST_FIELDS, *ABSENCE_FIELDS]
        of_alone[of_requests] = of_together[of_requests] = 0
        np.testing.assert_array_equal(of_alone, of_together)


@pytest.mark.parametrize("m", [2, 7, 32])
def test_equal_rows_in_requests_count_once_a_request(m: int) -> None:
    rng = np.random.default_rng(m)
    rows = np.column_stack([rng.normal(size=300), rng.poisson(1.0, 300), rng.integers(0, 4, 300)]).repeat(m, axis=0)
    np.testing.assert_allclose(EFFECTS.of(tally_of(rows, np.arange(300).repeat(m))), m, rtol=1e-12)


def test_independent_rows_in_requests_cost_little() -> None:
    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.normal(size=32_000), rng.poisson(1.0, 32_000), rng.integers(0, 4, 32_000)])
    effects = EFFECTS.of(tally_of(rows, np.arange(1000).repeat(32)))
    assert (effects < 1.2).all()  # the largest possible is 32


@pytest.mark.parametrize("k", [15, 20, 30, 60])
def test_an_effect_known_from_few_requests_is_raised_as_students_quantile_is(k: int) -> None:
    """At a p-value of 1e-10, for which the normal quantile is too small when the variance is estimated."""
    rng = np.random.default_rng(k)
    ids = np.arange(k).repeat(1000)
    x = (0.2 * rng.normal(size=k)[ids] + rng.normal(size=len(ids))).round(1)
    rows = np.column_stack([x, ids % 3, ids % 4])
    raised = EFFECTS.of(tally_of(rows, ids))[0] / defined_effect(by_request(rows, ids, 0))
    needed = (stats.t.isf(5e-11, k - 1) / stats.norm.isf(5e-11)) ** 2
    assert needed * 0.9 < raised < needed * 1.1


def test_few_requests_or_one_with_most_of_the_rows_have_the_largest_effect() -> None:
    rng = np.random.default_rng(4)
    rows = np.column_stack([rng.normal(size=1000), rng.poisson(1.0, 1000), rng.integers(0, 4, 1000)])
    few = np.arange(9).repeat(32)
    np.testing.assert_array_equal(EFFECTS.of(tally_of(rows[: len(few)], few)), 32.0)
    large = np.concatenate([np.zeros(500), np.arange(1, 501)])
    np.testing.assert_array_equal(EFFECTS.of(tally_of(rows, large)), (500**2 + 500) / 1000)


def test_rows_of_one_score_have_the_largest_effect() -> None:
    ids = np.arange(4000) // 4
    for x in MIXED.features[0].edges:
        rows = np.tile([x, 1.0, UNSEEN_INDEX], (len(ids), 1))
        np.testing.assert_array_equal(EFFECTS.of(tally_of(rows, ids)), 4.0)


def test_a_stack_of_tallies_has_the_effects_of_each() -> None:
    rng = np.random.default_rng(5)
    tallies = np.array([tally_of(drawn(rng, 400), np.arange(400) // size) for size in (1, 2, 5, 400)])
    stacked = EFFECTS.of(tallies.reshape(2, 2, -1))
    assert stacked.shape == (2, 2, 3)
    np.testing.assert_array_equal(stacked.reshape(4, 3), [EFFECTS.of(tally) for tally in tallies])
    np.testing.assert_array_equal(
        EFFECTS.of_absence(tallies.reshape(2, 2, -1)).reshape(4, 3), [EFFECTS.of_absence(tally) for tally in tallies]
    )
    for effects in (EFFECTS.of, EFFECTS.of_absence):
        np.testing.assert_array_equal(effects(np.zeros(LAYOUT.length)), 1.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e300, 1e308])
def test_corrupt_sums_give_an_effect_within_its_bounds(wrong: float) -> None:
    sums = RequestSums(3200.0, 5.0, 3300.0, 102_400.0, 104_857_600.0, 4e4, 100.0)
    for field in ("score_sum", "score_squares", "sizes_fourth", "totals_squared", "sizes_totals"):
        assert 1 <= design_effect(sums._replace(**{field: wrong})) <= 32


def test_scores_rise_with_the_value_and_no_outlier_goes_beyond_the_last() -> None:
    for feature in MIXED.features:
        scores = scores_of(feature)
        if isinstance(feature, CategoricalBaseline):
            scores = np.roll(scores, -1)  # unseen categories have the first count and the last score
        assert (np.diff(scores) > 0).all()
        assert scores[-1] < 4
    nothing = replace(MIXED.features[0], count=0, edges=np.empty(0), edge_counts=np.empty(0, np.int64))
    assert scores_of(nothing).tolist() == [0.0]


def test_a_sample_has_fewer_rows_of_each_request() -> None:
    """Where the rows of a request are equal, the effect is sum(m²) / n, with m and n of the sample."""
    rng = np.random.default_rng(6)
    n, m, s = 3200, 32, 800
    found = []
    for _ in range(200):
        sizes = np.bincount(rng.choice(n, s, replace=False) // m).astype(float)
        found.append((sizes**2).sum() / s)
    np.testing.assert_allclose(np.mean(found), sample_design_effect(m, s / n), rtol=0.02)


NORMAL = baseline({"x": np.random.default_rng(8).normal(size=20_000)})
NORMAL_LAYOUT = layout_for(NORMAL, 1, 256)
NORMAL_TALLIER, NORMAL_EFFECTS = Tallier(NORMAL, NORMAL_LAYOUT), DesignEffects(NORMAL, NORMAL_LAYOUT)
CODES = NumericCodes.of(NORMAL.features[0].sample)
_, COUNTS = np.unique(NORMAL.features[0].sample, return_counts=True)
SCORES = normal_scores(np.cumsum(COUNTS))


def p_values(codes: np.ndarray, effect: float) -> tuple[float, float]:
    """KS and location by normal scores, with effective rows."""
    rows = len(codes) / effect
    window, known = moments(SCORES[codes], rows), moments(np.repeat(SCORES[1::2], COUNTS), COUNTS.sum())
    ks = two_sample_p(ks_statistic(codes, CODES.below, CODES.at_most), CODES.sample_count, max(1, int(rows)))
    return float(ks), float(shift_p(window, known))


def moments(z: np.ndarray, rows: float) -> Moments:
    return Moments(rows, z.mean(), z.var(), ((z - z.mean()) ** 3).mean())


def ragged(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([1, 2, 8, 64], 120, p=[0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize(
    ("shared", "sizes"),
    [
        (0.99, lambda _: np.full(63, 32)),
        (0.5, lambda _: np.full(63, 32)),
        (0.1, lambda _: np.full(63, 32)),
        (0.9, lambda _: np.full(20, 100)),
        (0.7, ragged),
    ],
    ids=["nearly alike", "half", "a tenth", "few requests", "unequal requests"],
)
def test_effective_rows_hold_the_level_where_rows_of_a_request_are_alike(
    shared: float, sizes: Callable[[np.random.Generator], np.ndarray]
) -> None:
    rng = np.random.default_rng(9)
    naive, effective = [], []
    for _ in range(500):
        of_each = sizes(rng)
        ids = np.arange(len(of_each)).repeat(of_each)
        values = np.sqrt(shared) * rng.normal(size=len(of_each))[ids] + np.sqrt(1 - shared) * rng.normal(size=len(ids))
        effect = float(NORMAL_EFFECTS.of(tally_of(values[:, None], ids, NORMAL_TALLIER))[0])
        naive.append(p_values(CODES.encode(values), 1.0))
        effective.append(p_values(CODES.encode(values), effect))
    assert (np.array(naive) < 0.01).mean() > 0.1
    assert ((np.array(effective) < 0.01).mean(axis=0) <= 0.015).all()


HOLES = np.random.default_rng(13)
GAPPED = baseline({"x": np.where(HOLES.random(20_000) < 0.05, np.nan, HOLES.normal(size=20_000))})
GAPPED_ROWS, GAPPED_MISSING = 20_000, GAPPED.features[0].missing
GAPPED_LAYOUT = layout_for(GAPPED, 1, 256)
GAPPED_TALLIER, GAPPED_EFFECTS = Tallier(GAPPED, GAPPED_LAYOUT), DesignEffects(GAPPED, GAPPED_LAYOUT)
GAPPED_CHECKS = WindowChecks(CheckedModel(GAPPED, min_effects_of(GAPPED, Settings()), GAPPED_LAYOUT, codes_for(GAPPED)))
REQUESTS = np.arange(125).repeat(32)


def p_of_absence(x: np.ndarray, ids: np.ndarray, check: str) -> float:
    """The p-value of a check in a window of these rows."""
    tally = tally_of(x[:, None], ids, GAPPED_TALLIER)
    in_time = RowsInTime(np.zeros((1, 168)), np.zeros(1))
    window = WindowRows(tally[None], codes_for(GAPPED)[0].encode(x)[None], lambda: in_time)
    found = GAPPED_CHECKS.evidence(window).features[0]
    assert found is not None
    return found[check].p_value


def test_requests_that_lack_a_feature_together_hold_the_level_of_missing_values() -> None:
    rng = np.random.default_rng(14)
    alone, together = [], []
    for _ in range(500):
        x = np.where((rng.random(125) < 0.05)[REQUESTS], np.nan, rng.normal(size=len(REQUESTS)))
        alone.append(p_of_absence(x, np.arange(len(x)), "missing"))
        together.append(p_of_absence(x, REQUESTS, "missing"))
    assert (np.array(alone) < 1e-8).mean() > 0.1
    assert (np.array(together) < 0.01).mean() <= 0.015
    assert np.min(together) > 1e-5


@pytest.mark.parametrize(("check", "value"), [("missing", np.nan), ("wrong_type", MISTYPED_VALUE)])
def test_values_that_are_absent_together_count_once_a_request(check: str, value: float) -> None:
    x = np.where(REQUESTS < 40, value, np.random.default_rng(15).normal(size=len(REQUESTS)))
    before = GAPPED_MISSING if check == "missing" else 0
    assert GAPPED_EFFECTS.of_absence(tally_of(x[:, None], REQUESTS, GAPPED_TALLIER)).tolist() == [32.0]
    assert p_of_absence(x, REQUESTS, check) == two_proportions_p(before, GAPPED_ROWS, 40, 125)
    assert p_of_absence(x, np.arange(len(x)), check) == two_proportions_p(before, GAPPED_ROWS, 40 * 32, len(x))


def test_values_that_are_all_absent_or_absent_at_random_have_the_largest_and_nearly_no_effect() -> None:
    rng = np.random.default_rng(16)
    ids = np.arange(1000).repeat(32)
    nothing, some = np.full(len(ids), np.nan), np.where(rng.random(len(ids)) < 0.05, np.nan, 0.0)
    assert GAPPED_EFFECTS.of_absence(tally_of(nothing[:, None], ids, GAPPED_TALLIER)).tolist() == [32.0]
    assert GAPPED_EFFECTS.of_absence(tally_of(some[:, None], ids, GAPPED_TALLIER)) < 1.2


def test_a_shift_is_still_seen_with_effective_rows() -> None:
    rng = np.random.default_rng(10)
    ids = np.arange(200).repeat(32)
    values = rng.normal(size=200)[ids] + 1.0
    effect = float(NORMAL_EFFECTS.of(tally_of(values[:, None], ids, NORMAL_TALLIER))[0])
    assert max(p_values(CODES.encode(values), effect)) < 1e-12


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("entrance", ["record", "observe"])
def test_a_monitor_knows_the_requests_of_every_window(entrance: str) -> None:
    """Requests of 32 equal rows, through rings that wrap and panes that are shorter than a request."""
    rng, clock = np.random.default_rng(11), Clock()
    monitor = Monitor(NORMAL, {"windows": ["1h", "640 rows"], "reservoir_rows": 1000}, clock=clock, seed=0)
    effects = DesignEffects(NORMAL, monitor.store.layout)
    for _ in range(400):
        rows = rng.normal(size=2).repeat(32)[:, None]
        if entrance == "record":
            monitor.record(rows, [32, 32])
        else:
            monitor.observe({"x": rows[:, 0]}, requests=["a"] * 32 + ["b"] * 32)
        clock.now += 1.0
        if rng.random() < 0.3:
            monitor.store.writer.fold()
    monitor.evaluate()
    wrapped = 25_600 // monitor.store.layout.ring_rows
    by_time, by_rows = monitor.store.windows(clock.now)
    assert by_time.rows == 25_600
    assert 640 <= by_rows.rows <= 640 + 32 + 20
    found = float(effects.of(by_time.tally)[0])
    assert 32 * (1 - wrapped / 800) <= found <= 32  # only the end of the ring divides a request
    assert 32 * (1 - 2 / 20) <= float(effects.of(by_rows.tally)[0]) <= 32


@pytest.mark.parametrize("reservoir_rows", [4096, 500])
def test_p_values_of_a_monitors_windows_hold_their_level_with_effective_rows(reservoir_rows: int) -> None:
    """Windows of 2,000 rows, of which the sample has all or a quarter."""
    rng, clock = np.random.default_rng(12), Clock()
    monitor = Monitor(NORMAL, {"windows": ["1h"], "reservoir_rows": reservoir_rows}, clock=clock, seed=0)
    effects = DesignEffects(NORMAL, monitor.store.layout)
    naive, effective = [], []
    for _ in range(300):
        clock.now += 7200.0
        values = rng.normal(size=63).repeat(32) + 0.1 * rng.normal(size=63 * 32)
        monitor.record(values[:, None], [32] * 63)
        monitor.store.writer.fold()
        (window,) = monitor.store.windows(clock.now)
        assert window.rows == len(values)
        assert window.sample_rows == min(len(values), reservoir_rows)
        effect = sample_design_effect(effects.of(window.tally), window.sample_rows / window.rows)
        naive.append(p_values(window.codes[0], 1.0))
        effective.append(p_values(window.codes[0], float(effect[0])))
    assert (np.array(naive) < 0.01).mean() > 0.4
    assert ((np.array(effective) < 0.01).mean(axis=0) <= 0.015).all()


def test_rows_of_one_time_without_identifiers_are_independent() -> None:
    monitor = Monitor(NORMAL, {"windows": ["1h"]}, clock=Clock(), seed=0)
    monitor.observe({"x": np.zeros(500)})
    monitor.record(np.zeros((500, 1)))
    monitor.record(np.zeros((3, 1)), [1, 1, 1])
    monitor.evaluate()
    (window,) = monitor.store.windows(1e9)
    part = monitor.store.layout.part(window.tally, 0)
    assert part[fields.SIZES_SQUARED] == part[fields.SIZES_FOURTH] == window.rows == 1003


def test_requests_that_do_not_fit_the_rows_are_refused() -> None:
    monitor = Monitor(NORMAL, {"windows": ["1h"]}, clock=Clock(), seed=0)
    with pytest.raises(ValueError, match=r"^the rows of all requests must be 4, got 3$"):
        monitor.record(np.zeros((4, 1)), [1, 2])
    monitor.observe({"x": np.zeros(4)}, requests=np.zeros(3))
    monitor.observe({"x": np.empty(0)}, requests=[])
    monitor.store.writer.fold()
    assert monitor.store.totals()[fields.ROWS] == 0
    assert monitor.snapshot()["rows_rejected"]["wrong_shape"] == 1


def sizes_squared(store: Store) -> float:
    return float(store.layout.part(store.totals(), 0)[fields.SIZES_SQUARED])


def test_a_request_longer_than_the_ring_counts_as_several() -> None:
    store = Store(NORMAL, (Window("1h", seconds=3600.0),), 100, seed=0)
    ring = store.layout.ring_rows
    store.append(np.zeros((2 * ring + 10, 1)), 1.0, b"\1" + bytes(2 * ring + 9))
    store.writer.fold()
    assert store.totals()[fields.ROWS] == 2 * ring + 10
    assert sizes_squared(store) == 2 * ring**2 + 10**2


def test_the_next_owner_of_a_ring_knows_its_requests(tmp_path: Path) -> None:
    windows = (Window("1h", seconds=3600.0),)
    first = Store(NORMAL, windows, 100, directory=tmp_path, seed=0)
    first.append(np.zeros((7, 1)), 1.0, b"\1\0\0\1\0\0\0")
    assert first._own is not None
    first._own.unlock()  # as if its process had ended
    second = Store(NORMAL, windows, 100, directory=tmp_path, seed=0)
    second.writer.fold()
    assert sizes_squared(second) == 3**2 + 4**2


def test_a_baseline_of_any_kind_has_effects() -> None:
    odd: Baseline = baseline({"constant": np.zeros(50), "one": ["a"] * 50, "none": np.full(50, np.nan)})
    layout = layout_for(odd, 1, 256)
    rows = np.array([[0.0, 0.0, np.nan], [5.0, UNSEEN_INDEX, 1.0]]).repeat(40, axis=0)
    effects = DesignEffects(odd, layout).of(tally_of(rows, np.arange(80) // 4, Tallier(odd, layout)))
    assert ((effects >= 1) & (effects <= 4)).all()
