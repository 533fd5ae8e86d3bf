"""From verdicts to the report of an evaluation, which continues from the previous report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from torchserve_drift.checks.evidence import FeatureEvidence, WindowEvidence
from torchserve_drift.settings.settings import Alarms
from torchserve_drift.verdicts.budget import Budget
from torchserve_drift.verdicts.judge import ItemVerdicts
from torchserve_drift.verdicts.report import FeatureReport, FeatureWindow, Report, WindowReport
from torchserve_drift.window.merge import WindowRows


@dataclass(frozen=True)
class EvaluatedWindow:
    """One window at one evaluation: its rows and, if there are enough of them, the evidence and the verdicts."""

    rows: WindowRows
    evidence: Optional[WindowEvidence]
    verdicts: ItemVerdicts


@dataclass(frozen=True)
class ReportBuilder:
    """Makes the reports of one model version. ``budget`` and ``alarms`` decide how long drift lasts."""

    model_name: str
    model_version: str
    baseline_sha256: str
    budget: Budget
    alarms: Alarms

    def report(self, now: float, windows: Sequence[EvaluatedWindow], before: Optional[Report]) -> Report:
        """The report of an evaluation.

        Parameters
        ----------
        now
            The time of the evaluation, in seconds since 1970.
        windows
            The evaluated windows, in the order of the budget's windows.
        before
            The previous report, from which drift can last; ``None`` if there is none.
        """
        past = {feature.name: feature.windows for feature in before.features} if before else {}
        features = tuple(
            FeatureReport(
                item.name, item.kind, item.importance, dict(self._windows(i, windows, past.get(item.name, {}), now))
            )
            for i, item in enumerate(self.budget.items)
        )
        labels = [window.label for window in self.budget.windows]
        return Report(
            self.model_name,
            self.model_version,
            now,
            self.baseline_sha256,
            {label: _window_report(label, window, features) for label, window in zip(labels, windows)},
            tuple(sorted(features, key=lambda feature: -feature.importance)),
        )

    def _windows(
        self, i: int, windows: Sequence[EvaluatedWindow], past: Mapping[str, FeatureWindow], now: float
    ) -> Iterator[tuple[str, FeatureWindow]]:
        """The result of item ``i`` of the budget in each window, with the window's label.

        ``past`` holds the item's results in the previous report, by label.
        """
        for w, (window, evaluated) in enumerate(zip(self.budget.windows, windows)):
            before = _not_in_the_future(past.get(window.label), now)
            if evaluated.evidence is None or evaluated.verdicts is None:
                # Too few rows for a verdict: the checks have no result, but drift lasts as usual.
                yield window.label, self._unchanged(w, replace(before, checks={}) if before else None, now)
                continue
            verdict = evaluated.verdicts[i]
            if verdict is None:  # the item was not checked this time: its last result is repeated
                yield window.label, self._unchanged(w, before, now)
                continue
            drifted = verdict.drifted or self._lasts(w, before, now)
            # Drift that lasts keeps the time at which it was found.
            since = before.since if before is not None and before.drifted else now
            last_failed = now if verdict.drifted else before.last_failed if before is not None else None
            yield (
                window.label,
                FeatureWindow(
                    drifted,
                    since if drifted else None,
                    verdict.checks,
                    last_failed,
                    evaluated.evidence.design_effects[i],
                    _pair_of(evaluated.evidence.features[i] or {}),
                ),
            )

    def _unchanged(self, w: int, before: Optional[FeatureWindow], now: float) -> FeatureWindow:
        """The previous result without a new verdict; only drift may have ended since."""
        drifted, last = self._lasts(w, before, now), before or FeatureWindow(False, None, {})
        return replace(last, drifted=drifted, since=last.since if drifted else None)

    def _lasts(self, w: int, before: Optional[FeatureWindow], now: float) -> bool:
        """Whether drift lasts without a failed check at ``now``.

        It ends after a quiet time. Otherwise an alert would come and go with a p-value that is close to its level.
        """
        if self.alarms.policy == "classic" or before is None or not before.drifted or before.last_failed is None:
            return False
        return now - before.last_failed < self.budget.quiet_seconds(w, self.alarms.quiet_for)


def _pair_of(evidence: FeatureEvidence) -> tuple[str, ...]:
    """The two features whose association changed most; empty except for the joint distribution."""
    return next((check.pair for check in evidence.values() if check.pair), ())


def _not_in_the_future(before: Optional[FeatureWindow], now: float) -> Optional[FeatureWindow]:
    """``before`` with no time later than ``now``.

    Its times are later if the clock was set back. Drift would then last until the clock has caught up.
    """
    if before is None or before.last_failed is None or before.last_failed <= now:
        return before
    return replace(before, last_failed=now, since=min(before.since, now) if before.since is not None else None)


def _window_report(label: str, window: EvaluatedWindow, features: Sequence[FeatureReport]) -> WindowReport:
    rows, sample_rows = window.rows.rows, window.rows.sample_rows
    if window.verdicts is None:
        return WindowReport(rows, sample_rows, "too_few_rows", 0.0)
    importances = [feature.importance for feature in features if feature.windows[label].drifted]
    return WindowReport(rows, sample_rows, "drifted" if importances else "ok", min(1.0, float(np.sum(importances))))
