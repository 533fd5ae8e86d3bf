"""From evidence to verdicts: whether a p-value is small enough and an effect large enough, under each policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from torchserve_drift.checks.catalogue import CHECKS, EFFECT, JOINT, P_VALUE, Check
from torchserve_drift.checks.evidence import Evidence, FeatureEvidence
from torchserve_drift.settings.settings import Alarms
from torchserve_drift.verdicts.budget import Budget
from torchserve_drift.verdicts.report import CheckResult
from torchserve_drift.window.pacing import NO_PAUSE, Pace


@dataclass(frozen=True)
class FeatureVerdict:
    """The verdict on one feature in one window: the result of each check by name, and whether any of them failed."""

    drifted: bool
    checks: Mapping[str, CheckResult]


ItemEvidence = Optional[Sequence[Optional[FeatureEvidence]]]
"""The evidence on each item of the budget in one window. ``None`` stands for an item that was not checked this time, or
for a window with too few rows."""

ItemVerdicts = Optional[list[Optional[FeatureVerdict]]]
"""The verdict on each item of the budget in one window; ``None`` where there is no evidence."""

Level = Callable[[int, int, str], float]
"""Gives the alpha for a window, an item of the budget (both as positions), and the name of a check."""


def judge(windows: Sequence[ItemEvidence], alarms: Alarms, level: Level, paced: Pace = NO_PAUSE) -> list[ItemVerdicts]:
    """The verdicts of one evaluation: a feature has drifted in a window if any of its checks fails there.

    Under all policies except ``classic`` a check fails if two conditions hold. Its p-value (or its bound, if it has
    one) is below alpha, and its effect is above its minimum effect, or equal to it if `Check.fails_at_min_effect`.

    Parameters
    ----------
    windows
        The evidence in each window.
    alarms
        The settings; the policy is one of them.
    level
        The alpha of each check.
    paced
        Wraps the loop over items.

    Returns
    -------
    verdicts
        For each window, in the same order.
    """
    outcome = _classic if alarms.policy == "classic" else _significant_and_large

    def verdict(w: int, i: int, evidence: Optional[FeatureEvidence]) -> Optional[FeatureVerdict]:
        if evidence is None:
            return None
        checks = {name: outcome(CHECKS[name], check, level(w, i, name)) for name, check in evidence.items()}
        return FeatureVerdict(any(check.failed for check in checks.values()), checks)

    return [
        None if window is None else [verdict(w, i, evidence) for i, evidence in enumerate(paced(window))]
        for w, window in enumerate(windows)
    ]


def common_level(windows: Sequence[ItemEvidence], alarms: Alarms) -> float:
    """The alpha of all p-values of an evaluation, under the policies without a budget.

    ``classic``: the alpha of the settings. ``bonferroni``: that alpha divided by the number of p-values.
    ``benjamini-hochberg``: that alpha times k, divided by the number of p-values. Here k is the number of p-values that
    this procedure rejects, or 1 if it rejects none.

    References
    ----------
    Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57, 1995.
    """
    if alarms.policy == "classic":
        return alarms.alpha
    p_values = sorted(_compared_with_alpha(check) for check in _all_checks(windows))
    total = max(len(p_values), 1)
    if alarms.policy == "bonferroni":
        return alarms.alpha / total
    # The step-up procedure rejects all p-values up to the largest one that is below its own threshold.
    rejected = [rank for rank, p in enumerate(p_values, 1) if p < alarms.alpha * (rank / total)]
    return alarms.alpha * (max(rejected, default=1) / total)


def budget_level(
    budget: Budget, alarms: Alarms, before: Optional[float], now: float, judged: Sequence[bool] = ()
) -> Level:
    """The levels of ``policy: budget`` at a look at ``now``, after a look at ``before`` (seconds; ``None``: no look).

    ``judged`` says for each window whether it has a verdict at this look; empty: all have. At a first look no pane
    counts as closed. Otherwise a worker that restarts often would spend more than the budget.
    """
    closed = [before is not None and budget.closes(w, before, now) for w in range(len(budget.windows))]
    raised = budget.raised(closed, judged) if judged else 1.0
    # With few features and long pauses between looks a level could exceed alpha, which is the limit of every policy.
    return lambda w, item, check: min(
        budget.level(item, check, w, closed=closed[w]) * (1.0 if budget.items[item].kind == JOINT else raised),
        alarms.alpha,
    )


def _all_checks(windows: Sequence[ItemEvidence]) -> Iterator[Evidence]:
    for window in windows:
        for evidence in window or ():
            yield from (evidence or {}).values()


def _compared_with_alpha(evidence: Evidence) -> float:
    """The p-value, or the bound above it where the p-value is too small in its far tail."""
    return evidence.p_value if evidence.bound is None else evidence.bound


def _significant_and_large(check: Check, evidence: Evidence, alpha: float) -> CheckResult:
    """The rule of all policies except ``classic``."""
    effect, min_effect = evidence.effect, evidence.min_effect
    large = effect >= min_effect if check.fails_at_min_effect else effect > min_effect
    return _result(evidence, alpha, min_effect, failed=large and _compared_with_alpha(evidence) < alpha)


def _classic(check: Check, evidence: Evidence, alpha: float) -> CheckResult:
    """The rule of textbooks: a p-value or an effect decides, without any correction for the number of tests."""
    if check.classic == P_VALUE:
        return _result(evidence, alpha, None, failed=evidence.p_value < alpha)
    failed = check.classic == EFFECT and evidence.effect > evidence.min_effect
    return _result(evidence, None, evidence.min_effect, failed=failed)


def _result(evidence: Evidence, alpha: Optional[float], min_effect: Optional[float], *, failed: bool) -> CheckResult:
    return CheckResult(evidence.p_value, evidence.statistic, evidence.effect, alpha, min_effect, bool(failed))
