"""Evidence to verdicts: whether a p-value is small enough and an effect large enough, under each policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from torchserve_drift.checks.catalogue import CHECKS, EFFECT, P_VALUE, Check
from torchserve_drift.checks.evidence import Evidence, FeatureEvidence
from torchserve_drift.settings.settings import Alarms
from torchserve_drift.verdicts.budget import Budget
from torchserve_drift.verdicts.report import CheckResult
from torchserve_drift.window.pacing import NO_PAUSE, Pace


@dataclass(frozen=True)
class FeatureVerdict:
    """One feature in one window: each check's outcome, and whether the feature has drifted."""

    drifted: bool
    checks: Mapping[str, CheckResult]


ItemEvidence = Optional[Sequence[Optional[FeatureEvidence]]]
"""The evidence on each item of the budget in one window; ``None`` for an item that was not looked at this time, and for
a window with too few rows."""

ItemVerdicts = Optional[list[Optional[FeatureVerdict]]]
"""The verdicts on them, ``None`` where there is no evidence."""

Level = Callable[[int, int, str], float]
"""The alpha of a window's item's check."""


def judge(windows: Sequence[ItemEvidence], alarms: Alarms, level: Level, paced: Pace = NO_PAUSE) -> list[ItemVerdicts]:
    """The verdicts of one evaluation: a feature has drifted in a window if any of its checks fails there.

    Under every policy but ``classic`` a check fails if its p-value (or its bound) is below alpha and its effect exceeds
    its minimum effect or, if its declaration says so, equals it.
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
    """The one alpha of an evaluation's p-values, under the policies without a budget.

    ``bonferroni``: alpha / p-values of this evaluation. ``benjamini-hochberg``: the largest p-value that this procedure
    rejects (Benjamini and Hochberg, 1995), just above it. ``classic``: alpha as it is.
    """
    if alarms.policy == "classic":
        return alarms.alpha
    p_values = sorted(_compared_with_alpha(check) for check in _all_checks(windows))
    total = max(len(p_values), 1)
    if alarms.policy == "bonferroni":
        return alarms.alpha / total
    rejected = [rank for rank, p in enumerate(p_values, 1) if p < alarms.alpha * (rank / total)]
    return alarms.alpha * (max(rejected, default=1) / total)


def budget_level(budget: Budget, alarms: Alarms, before: Optional[float], now: float) -> Level:
    """The levels of ``policy: budget`` at a look at ``now``, the last one having been at ``before`` (seconds).

    At a first look no pane counts as closed: a worker that starts again and again must not spend the budget with it.
    """
    closed = [before is not None and budget.closes(w, before, now) for w in range(len(budget.windows))]
    return lambda w, f, check: min(budget.level(f, check, w, closed=closed[w]), alarms.alpha)


def _all_checks(windows: Sequence[ItemEvidence]) -> Iterator[Evidence]:
    for window in windows:
        for evidence in window or ():
            yield from (evidence or {}).values()


def _compared_with_alpha(evidence: Evidence) -> float:
    return evidence.p_value if evidence.bound is None else evidence.bound


def _significant_and_large(check: Check, evidence: Evidence, alpha: float) -> CheckResult:
    effect, least = evidence.effect, evidence.min_effect
    large = effect >= least if check.fails_at_min_effect else effect > least
    return _result(evidence, alpha, least, failed=large and _compared_with_alpha(evidence) < alpha)


def _classic(check: Check, evidence: Evidence, alpha: float) -> CheckResult:
    """The textbook's rule, without any correction for the number of tests."""
    if check.classic == P_VALUE:
        return _result(evidence, alpha, None, failed=evidence.p_value < alpha)
    failed = check.classic == EFFECT and evidence.effect > evidence.min_effect
    return _result(evidence, None, evidence.min_effect, failed=failed)


def _result(evidence: Evidence, alpha: Optional[float], min_effect: Optional[float], *, failed: bool) -> CheckResult:
    return CheckResult(evidence.p_value, evidence.statistic, evidence.effect, alpha, min_effect, bool(failed))
