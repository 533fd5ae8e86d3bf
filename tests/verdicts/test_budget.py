"""The alarm budget: the sum of all levels of an interval, and the larger levels of looks at which a pane has closed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift.checks.catalogue import CHECKS, checks_of
from torchserve_drift.settings.settings import Window
from torchserve_drift.settings.values import window as parsed
from torchserve_drift.verdicts.budget import (
    JOINT_LOOKS,
    Budget,
    BudgetItem,
)

DAY = 86400.0

PARTS = st.lists(st.sampled_from(["numeric", "categorical"]), min_size=1, max_size=6)
WINDOWS = st.lists(st.sampled_from(["64s", "10m", "1h", "24h", "7d", "5000 rows"]), min_size=1, max_size=4, unique=True)


def budget(kinds: list[str], windows: list[str], *, every: float = 15.0, joint: bool = True, **more: float) -> Budget:
    weights = [i + 1 for i in range(len(kinds))]
    items = [BudgetItem(f"f{i}", kind, weights[i] / sum(weights)) for i, kind in enumerate(kinds)]
    if joint:
        items.append(BudgetItem("_joint", "joint", 0.0))
    return Budget.of(
        items, [parsed(w) for w in windows], panes=32, every=every, interval=more.get("interval", 30 * DAY)
    )


def spent_at(each: Budget, window: int, *, closed: bool) -> float:
    """By all features at one look."""
    return sum(
        each.level(i, check.name, window, closed=closed)
        for i, item in enumerate(each.items)
        if item.kind != "joint"
        for check in checks_of(item.kind)
    )


@given(PARTS, WINDOWS, st.booleans(), st.sampled_from([1.0, 15.0, 300.0]))
def test_all_levels_of_all_looks_of_an_interval_sum_to_one(
    kinds: list[str], windows: list[str], joint: bool, every: float
) -> None:
    """The union bound: so many p-values below their level are expected, whatever their dependence."""
    interval = 30 * DAY
    each = budget(kinds, windows, every=every, joint=joint)
    total = 0.0
    for w, window in enumerate(each.windows):
        looks = interval / every
        pane = None if window.seconds is None else window.seconds / 32
        closings = looks if pane is None else min(looks, interval / pane)
        total += closings * spent_at(each, w, closed=True) + (looks - closings) * spent_at(each, w, closed=False)
        if joint:
            seldom = looks if window.seconds is None else min(looks, interval / (window.seconds / JOINT_LOOKS))
            total += seldom * each.level(len(kinds), "joint", w, closed=False)
    assert total <= 1 + 1e-9
    assert total > 0.7  # what is given up at looks of closing panes, which have both levels, is little


@given(PARTS, WINDOWS, st.data())
def test_a_window_without_a_verdict_leaves_its_part_to_the_others(
    kinds: list[str], windows: list[str], data: st.DataObject
) -> None:
    """The levels of a look have the same sum, whichever windows have a verdict."""
    each = budget(kinds, windows, joint=False)
    closed, judged = (data.draw(st.lists(st.booleans(), min_size=len(windows), max_size=len(windows))) for _ in "ab")
    spent = [spent_at(each, w, closed=of_pane) for w, of_pane in enumerate(closed)]
    raised = each.raised(closed, judged)
    assert raised >= 1 - 1e-12
    if any(judged):
        assert sum(raised * level for level, has in zip(spent, judged) if has) == pytest.approx(sum(spent))
    if all(judged):
        assert raised == pytest.approx(1)


def test_the_parts_of_the_checks_of_a_kind_sum_to_one() -> None:
    assert {kind for check in CHECKS.values() for kind in check.budget} == {"numeric", "categorical", "joint"}
    for kind in ("numeric", "categorical", "joint"):
        assert sum(check.budget[kind] for check in checks_of(kind)) == pytest.approx(1.0)


def test_a_long_window_has_larger_levels_where_a_pane_has_closed() -> None:
    """Of 24 hours a pane is 45 minutes: 180 looks of 15 seconds; one may spend three quarters of their budget."""
    each = budget(["numeric"], ["10m", "24h"])
    short, few, many = (each.level(0, "ks", w, closed=c) for w, c in ((0, True), (1, True), (1, False)))
    half = short / 2  # the part of the second window
    assert many == pytest.approx(half / 4)
    assert few / half == pytest.approx(0.75 * 180 + 0.25)
    assert each.level(0, "ks", 0, closed=False) == short  # its panes are hardly longer than a look


def test_the_n_th_window_has_an_n_th_of_what_the_first_has() -> None:
    each = budget(["numeric", "categorical"], ["64s", "5000 rows", "32s"])
    for check in ("missing", "cusum"):
        first, *others = (each.level(1, check, w, closed=True) for w in range(3))
        assert [first / other for other in others] == pytest.approx([2, 3])
    first, second = (each.level(2, "joint", w, closed=True) / seconds for w, seconds in ((0, 15.0), (1, 15.0)))
    assert first / second == pytest.approx(2)


def test_half_of_the_budget_goes_by_importance() -> None:
    each = Budget.of(
        [BudgetItem("a", "numeric", 0.9), BudgetItem("b", "numeric", 0.1)],
        [Window("1h", 3600.0)],
        panes=32,
        every=15,
        interval=DAY,
    )
    assert each.weights == pytest.approx((0.7, 0.3))
    assert each.level(0, "ks", 0, closed=True) / each.level(1, "ks", 0, closed=True) == pytest.approx(7 / 3)


def test_when_a_pane_closes() -> None:
    each = budget(["numeric"], ["32s", "100 rows"])
    assert not each.closes(0, 100.1, 100.9)
    assert each.closes(0, 100.9, 101.0)
    assert each.closes(1, 100.1, 100.2)  # rows come whenever they come


def test_the_joint_distribution_is_looked_at_sixteen_times_in_a_window() -> None:
    each = budget(["numeric", "numeric"], ["160s", "100 rows"], every=2.0)
    looks = [each.looks_jointly(0, now - 2.0, now) for now in range(1000, 1160, 2)]
    assert sum(looks) == 16
    assert each.looks_jointly(0, None, 5.0)
    assert each.looks_jointly(1, 4.0, 5.0)


def test_quiet_is_at_least_two_panes() -> None:
    each = budget(["numeric"], ["10m", "24h", "100 rows"])
    assert each.quiet_seconds(0, 300.0) == 300.0
    assert each.quiet_seconds(1, 300.0) == 2 * 2700.0
    assert each.quiet_seconds(2, 300.0) == 300.0
