"""Checks to verdicts: what is small enough a p-value, and what is large enough a difference, under each policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from torchserve_drift.checks.evidence import AT_LEAST, Evidence, FeatureEvidence
from torchserve_drift.settings.settings import Alarms
from torchserve_drift.verdicts.budget import Budget
from torchserve_drift.verdicts.report import CheckResult

_CLASSIC_TESTS = frozenset(("ks", "chi2"))
_CLASSIC_LIMITS = frozenset(("mean", "std", "frequency", "new_category"))


@dataclass(frozen=True)
class FeatureVerdict:
    """One feature in one window: each check's outcome, and whether the feature has drifted."""

    drifted: bool
    checks: Mapping[str, CheckResult]


WindowEvidence = Optional[Sequence[Optional[FeatureEvidence]]]
"""Evidence of every feature in one window; ``None`` where the window has too few rows for a verdict, or where this look
was not at the feature."""

WindowVerdicts = Optional[list[Optional[FeatureVerdict]]]
"""Verdicts, ``None`` where there is no evidence."""

Level = Callable[[int, int, str], float]
"""The alpha of a window's feature's check."""


def judge(
    windows: Sequence[WindowEvidence], alarms: Alarms, level: Level, pause: Callable[[], None] = lambda: None
) -> list[WindowVerdicts]:
    """The verdicts of one evaluation: a feature has drifted in a window if any of its checks fails there.

    Under every policy but ``classic`` a check fails iff its p-value (or its bound) is below alpha, and its effect
    exceeds its limit or, of the checks in `evidence.AT_LEAST`, reaches it. ``pause`` is called after each feature.
    """
    outcome = _classic if alarms.policy == "classic" else _gated

    def verdict(w: int, f: int, feature: Optional[FeatureEvidence]) -> Optional[FeatureVerdict]:
        if feature is None:
            return None
        checks = {name: outcome(name, check, level(w, f, name)) for name, check in feature.items()}
        pause()
        return FeatureVerdict(any(check.failed for check in checks.values()), checks)

    return [
        None if features is None else [verdict(w, f, feature) for f, feature in enumerate(features)]
        for w, features in enumerate(windows)
    ]


def common_level(windows: Sequence[WindowEvidence], alarms: Alarms) -> float:
    """The one alpha of an evaluation's p-values, under the policies without a budget.

    ``bonferroni``: alpha / p-values of this evaluation. ``benjamini-hochberg``: the largest p-value that this procedure
    rejects (Benjamini and Hochberg, 1995), just above it. ``classic``: alpha as it is.
    """
    if alarms.policy == "classic":
        return alarms.alpha
    p_values = sorted(_held(check) for check in _all_checks(windows))
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


def _all_checks(windows: Sequence[WindowEvidence]) -> Iterator[Evidence]:
    for features in windows:
        for feature in features or ():
            yield from (feature or {}).values()


def _held(check: Evidence) -> float:
    return check.p_value if check.bound is None else check.bound


def _gated(name: str, check: Evidence, alpha: float) -> CheckResult:
    large = check.effect >= check.limit if name in AT_LEAST else check.effect > check.limit
    return _result(check, alpha, check.limit, large and _held(check) < alpha)


def _classic(name: str, check: Evidence, alpha: float) -> CheckResult:
    if name in _CLASSIC_TESTS:
        return _result(check, alpha, None, check.p_value < alpha)
    return _result(check, None, check.limit, name in _CLASSIC_LIMITS and check.effect > check.limit)


def _result(check: Evidence, alpha: Optional[float], limit: Optional[float], failed: bool) -> CheckResult:
    return CheckResult(check.p_value, check.statistic, check.effect, alpha, limit, bool(failed))
