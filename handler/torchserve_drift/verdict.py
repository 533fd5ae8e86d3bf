"""Checks to verdicts: what is small enough a p-value, and what is large enough a difference, under each policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from torchserve_drift.config import Alarms
from torchserve_drift.evidence import Evidence, FeatureEvidence
from torchserve_drift.report import CheckResult

_EFFECT_GATES = {"ks": "min_effect_ks", "chi2": "min_effect_cramers_v"}
_CLASSIC_CHECKS = frozenset(("ks", "chi2", "mean", "std", "frequency", "new_category"))


@dataclass(frozen=True)
class FeatureVerdict:
    """One feature in one window: each check's outcome, and whether the feature has drifted."""

    drifted: bool
    checks: Mapping[str, CheckResult]


WindowEvidence = Optional[Sequence[FeatureEvidence]]
"""Evidence of every feature in one window; ``None`` where the window has too few rows for a verdict."""


def judge(
    windows: Sequence[WindowEvidence], alarms: Alarms, *, evaluate_every: float, checks_per_window: int
) -> list[Optional[list[FeatureVerdict]]]:
    """The verdicts of one evaluation: a feature has drifted in a window if any of its checks fails there.

    Under every policy but ``classic`` a check fails iff p_value < alpha and its effect reaches min_effect (ks, chi2) or
    exceeds its limit (the others). ``evaluate_every`` in seconds and ``checks_per_window`` set the alpha of ``budget``.
    """
    alpha = level(windows, alarms, evaluate_every=evaluate_every, checks_per_window=checks_per_window)
    outcome = _classic if alarms.policy == "classic" else _gated
    return [
        None if features is None else [_verdict(feature, alarms, alpha, outcome) for feature in features]
        for features in windows
    ]


def level(windows: Sequence[WindowEvidence], alarms: Alarms, *, evaluate_every: float, checks_per_window: int) -> float:
    """The alpha against which each p-value of this evaluation is held.

    ``budget``: evaluate_every / (false_alarm_interval x checks x windows), by which the expected number of p-values
    below
    alpha in a false_alarm_interval without drift is at most 1 (union bound: whatever the checks' dependence).
    ``bonferroni``:
    alpha / p-values of this evaluation. ``benjamini-hochberg``: the largest p-value that this procedure rejects
    (Benjamini and Hochberg, 1995), just above it. ``classic``: alpha as it is.
    """
    if alarms.policy == "classic":
        return alarms.alpha
    if alarms.policy == "budget":
        looks = alarms.false_alarm_interval / evaluate_every
        return min(alarms.alpha, 1.0 / (looks * checks_per_window * max(len(windows), 1)))
    p_values = sorted(check.p_value for check in _all_checks(windows))
    total = max(len(p_values), 1)
    if alarms.policy == "bonferroni":
        return alarms.alpha / total
    rejected = [rank for rank, p in enumerate(p_values, 1) if p < alarms.alpha * (rank / total)]
    return alarms.alpha * (max(rejected, default=1) / total)


def _all_checks(windows: Sequence[WindowEvidence]) -> Iterator[Evidence]:
    for features in windows:
        for feature in features or ():
            yield from feature.values()


def _verdict(feature: FeatureEvidence, alarms: Alarms, alpha: float, outcome: object) -> FeatureVerdict:
    assert callable(outcome)
    checks = {name: outcome(name, check, alarms, alpha) for name, check in feature.items()}
    return FeatureVerdict(any(check.failed for check in checks.values()), checks)


def _gated(name: str, check: Evidence, alarms: Alarms, alpha: float) -> CheckResult:
    significant = check.p_value < alpha
    if check.limit is None:
        gate: float = getattr(alarms, _EFFECT_GATES[name])
        return CheckResult(
            check.p_value, check.statistic, check.effect, alpha, gate, significant and check.effect >= gate
        )
    failed = significant and check.effect > check.limit
    return CheckResult(check.p_value, check.statistic, check.effect, alpha, check.limit, failed)


def _classic(name: str, check: Evidence, _: Alarms, alpha: float) -> CheckResult:
    if check.limit is None:
        return CheckResult(check.p_value, check.statistic, check.effect, alpha, None, check.p_value < alpha)
    failed = name in _CLASSIC_CHECKS and check.effect > check.limit
    return CheckResult(check.p_value, check.statistic, check.effect, None, check.limit, failed)
