"""From checks to verdicts under each policy, against the definitions of the policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from torchserve_drift.checks.evidence import Evidence
from torchserve_drift.settings.settings import POLICIES, Alarms, Window
from torchserve_drift.verdicts.budget import Budget, BudgetItem
from torchserve_drift.verdicts.judge import ItemEvidence, budget_level, common_level, judge

DAY = 86400.0


def verdicts(windows: Sequence[ItemEvidence], alarms: Alarms, alpha: float = 1e-6) -> list[Any]:
    """``alpha``: the level of every check under ``budget``."""
    common = alpha if alarms.policy == "budget" else common_level(windows, alarms)
    return judge(windows, alarms, lambda *_: common)


def ks(p_value: float, effect: float = 0.5, min_effect: float = 0.1) -> Evidence:
    return Evidence(p_value, effect, effect, min_effect)


def mean(p_value: float, shift: float, min_effect: float) -> Evidence:
    return Evidence(p_value, shift, abs(shift), min_effect)


def failed(windows: Sequence[ItemEvidence], alarms: Alarms, **more: Any) -> list[bool]:
    return [
        check.failed
        for window in verdicts(windows, alarms, **more)
        if window is not None
        for feature in window
        for check in feature.checks.values()
    ]


def test_under_the_budget_each_check_is_held_against_its_own_level() -> None:
    items = [BudgetItem("x", "numeric", 1.0)]
    budget = Budget.of(items, [Window("24h", DAY)], panes=32, every=15.0, interval=30 * DAY)
    for before, now in ((0.0, 2699.0), (2690.0, 2705.0)):
        level = budget_level(budget, Alarms(), before, now)
        for check in ("ks", "mean"):
            alpha = budget.level(0, check, 0, closed=now > 2700)
            for p_value, fails in ((alpha * 0.999, True), (alpha, False)):
                (verdict,) = judge([[{check: Evidence(p_value, 1, 1, 0.1)}]], Alarms(), level)[0] or ()
                assert verdict.checks[check].failed is fails
                assert verdict.checks[check].alpha == alpha


def test_at_the_first_look_of_all_no_pane_counts_as_closed() -> None:
    budget = Budget.of([BudgetItem("x", "numeric", 1.0)], [Window("24h", DAY)], panes=32, every=15.0, interval=30 * DAY)
    assert budget_level(budget, Alarms(), None, 5.0)(0, 0, "ks") == budget.level(0, "ks", 0, closed=False)


def test_budget_never_exceeds_alpha_however_rare_the_looks() -> None:
    budget = Budget.of(
        [BudgetItem("x", "numeric", 1.0)], [Window("1h", 3600.0)], panes=32, every=30 * DAY, interval=DAY
    )
    assert budget_level(budget, Alarms(alpha=0.01), None, 0.0)(0, 0, "cusum") == 0.01


@pytest.mark.parametrize("policy", ["budget", "bonferroni", "benjamini-hochberg"])
def test_a_bound_is_held_against_alpha_instead_of_a_p_value(policy: str) -> None:
    unsure = Evidence(0.0, 0.5, 0.5, 0.1, bound=0.5)
    assert failed([[{"chi2": unsure}]], Alarms(policy)) == [False]
    assert failed([[{"chi2": unsure._replace(bound=0.0)}]], Alarms(policy)) == [True]


def test_bonferroni_shares_alpha_among_the_p_values_of_one_evaluation() -> None:
    alarms = Alarms("bonferroni", alpha=0.05)
    windows: list[ItemEvidence] = [
        [{"ks": ks(0.0124), "mean": mean(0.0126, 1, 0)}, {"ks": ks(0.3)}],
        None,
        [{"ks": ks(0.9)}],
    ]
    assert failed(windows, alarms) == [True, False, False, False]


P_VALUES = st.lists(
    st.sampled_from([0.0, 1e-300, 0.001, 0.01, 0.02, 0.05, 0.5, 1.0]) | st.floats(0, 1), min_size=1, max_size=30
)


@given(P_VALUES, st.sampled_from([0.01, 0.05, 0.3]))
def test_benjamini_hochberg_rejects_what_scipy_rejects(p_values: list[float], alpha: float) -> None:
    adjusted = false_discovery_control(p_values, method="bh")
    found = failed([[{"ks": ks(p)} for p in p_values]], Alarms("benjamini-hochberg", alpha=alpha))
    for rejected, value in zip(found, adjusted):
        if abs(value - alpha) > 1e-12:
            assert rejected == (value < alpha)


@pytest.mark.parametrize("policy", ["budget", "bonferroni", "benjamini-hochberg"])
def test_significant_is_not_enough(policy: str) -> None:
    """ks, chi2 and joint fail at the minimum effect, all other checks only above it."""
    alarms = Alarms(policy)
    for name in ("ks", "chi2", "joint"):
        for effect, fails in ((0.19, False), (0.2, True)):
            assert failed([[{name: ks(0.0, effect, 0.2)}]], alarms) == [fails]
    for shift, fails in ((0.4, False), (-0.4, False), (0.41, True), (-0.41, True)):
        assert failed([[{"mean": mean(0.0, shift, 0.4)}]], alarms) == [fails]
    assert failed([[{"mean": mean(1.0, 9.0, 0.4), "ks": ks(1.0, 1.0)}]], alarms) == [False, False]


def test_classic_is_the_textbook_rule() -> None:
    """p < 0.05, or a shift beyond its min_effect, with no correction and no effect asked for."""
    alarms = Alarms("classic")
    feature = {
        "ks": ks(0.049, 0.0001),
        "chi2": ks(0.05, 1.0),
        "mean": mean(1.0, -5.1, 5.0),
        "std": mean(0.0, 0.1, 0.1),
        "frequency": mean(1.0, 0.06, 0.05),
        "new_category": mean(1.0, 1e-6, 0.0),
        "cusum": mean(0.0, 1.0, 0.0),
        "missing": mean(0.0, 1.0, 0.02),
        "range": mean(0.0, 1.0, 0.01),
    }
    (verdict,) = verdicts([[feature]], alarms)[0]
    assert {name for name, check in verdict.checks.items() if check.failed} == {
        "ks",
        "mean",
        "frequency",
        "new_category",
    }
    assert verdict.checks["ks"].alpha == 0.05
    assert verdict.checks["mean"].alpha is None
    assert verdict.checks["mean"].min_effect == 5.0


def test_a_window_of_too_few_rows_has_no_verdict() -> None:
    assert verdicts([None, [{}]], Alarms())[0] is None
    assert verdicts([None], Alarms("benjamini-hochberg")) == [None]
    assert verdicts([None], Alarms("bonferroni")) == [None]
    assert verdicts([], Alarms()) == []


CHECKS = st.dictionaries(
    st.sampled_from(["ks", "chi2"]), st.builds(ks, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=2
) | st.dictionaries(
    st.sampled_from(["mean", "std", "range", "missing", "frequency", "new_category"]),
    st.builds(mean, st.floats(0, 1), st.floats(-2, 2), st.floats(0, 1)),
    max_size=4,
)


@given(
    st.lists(st.none() | st.lists(CHECKS, max_size=3), max_size=3),
    st.sampled_from(POLICIES),
    st.sampled_from([1e-9, 0.5]),
)
def test_a_feature_has_drifted_if_and_only_if_a_check_of_it_failed(
    windows: list[ItemEvidence], policy: str, alpha: float
) -> None:
    judged = verdicts(windows, Alarms(policy), alpha)
    assert [window is None for window in judged] == [window is None for window in windows]
    for features, found in zip(windows, judged):
        for evidence, verdict in zip(features or (), found or ()):
            assert verdict.drifted == any(check.failed for check in verdict.checks.values())
            assert list(verdict.checks) == list(evidence)
            for name, check in verdict.checks.items():
                assert (check.p_value, check.statistic, check.effect) == evidence[name][:3]


@given(P_VALUES)
def test_a_stricter_policy_rejects_no_more(p_values: list[float]) -> None:
    """Bonferroni's rejections are among those of Benjamini-Hochberg, and those among the uncorrected."""
    windows: list[ItemEvidence] = [[{"ks": ks(p)} for p in p_values]]
    few, some, most = (np.array(failed(windows, Alarms(p))) for p in ("bonferroni", "benjamini-hochberg", "classic"))
    assert not (few & ~some).any()
    assert not (some & ~most).any()
