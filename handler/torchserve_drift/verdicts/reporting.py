"""Verdicts to the report of an evaluation, which goes on from the report before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from torchserve_drift.checks.evidence import Found
from torchserve_drift.settings.settings import Alarms
from torchserve_drift.verdicts.budget import Budget
from torchserve_drift.verdicts.judge import WindowVerdicts
from torchserve_drift.verdicts.report import FeatureReport, FeatureWindow, Report, WindowReport
from torchserve_drift.window.merge import WindowRows


@dataclass(frozen=True)
class Look:
    """One window at one evaluation: its rows, and, where they are enough, what was found and how it was judged."""

    rows: WindowRows
    found: Optional[Found]
    verdicts: WindowVerdicts


@dataclass(frozen=True)
class Outcome:
    """Whose report it is, and the rule by which drift ends."""

    model_name: str
    model_version: str
    baseline_sha256: str
    budget: Budget
    alarms: Alarms

    def report(self, now: float, looks: Sequence[Look], before: Optional[Report]) -> Report:
        """The report of an evaluation at ``now``, of one look at each window of the budget."""
        past = {feature.name: feature.windows for feature in before.features} if before else {}
        features = tuple(
            FeatureReport(
                part.name,
                part.kind,
                part.importance,
                dict(self._windows(index, looks, past.get(part.name, {}), now)),
            )
            for index, part in enumerate(self.budget.parts)
        )
        labels = [window.label for window in self.budget.windows]
        return Report(
            self.model_name,
            self.model_version,
            now,
            self.baseline_sha256,
            {label: _window(label, look, features) for label, look in zip(labels, looks)},
            tuple(sorted(features, key=lambda feature: -feature.importance)),
        )

    def _windows(
        self, index: int, looks: Sequence[Look], past: Mapping[str, FeatureWindow], now: float
    ) -> Iterator[tuple[str, FeatureWindow]]:
        for w, (window, look) in enumerate(zip(self.budget.windows, looks)):
            before = _not_in_the_future(past.get(window.label), now)
            if look.found is None or look.verdicts is None:  # too few rows for a verdict, but drift is not forgotten
                yield window.label, self._as_it_was(w, replace(before, checks={}) if before else None, now)
                continue
            verdict = look.verdicts[index]
            if verdict is None:  # not looked at: what was found last still stands
                yield window.label, self._as_it_was(w, before, now)
                continue
            last_failed = now if verdict.drifted else before.last_failed if before is not None else None
            drifted = verdict.drifted or self._lasts(w, before, now)
            since = before.since if before is not None and before.drifted else now
            yield (
                window.label,
                FeatureWindow(
                    drifted,
                    since if drifted else None,
                    verdict.checks,
                    last_failed,
                    look.found.design_effects[index],
                    look.found.pair if self.budget.parts[index].kind == "joint" else (),
                ),
            )

    def _as_it_was(self, w: int, before: Optional[FeatureWindow], now: float) -> FeatureWindow:
        drifted, last = self._lasts(w, before, now), before or FeatureWindow(False, None, {})
        return replace(last, drifted=drifted, since=last.since if drifted else None)

    def _lasts(self, w: int, before: Optional[FeatureWindow], now: float) -> bool:
        """Whether drift of which no check fails now goes on all the same: it ends after a while of quiet only."""
        if self.alarms.policy == "classic" or before is None or not before.drifted or before.last_failed is None:
            return False
        return now - before.last_failed < self.budget.quiet_seconds(w, self.alarms.quiet_for)


def _not_in_the_future(before: Optional[FeatureWindow], now: float) -> Optional[FeatureWindow]:
    """What was found before the clock was set back: as if it had been found just now, or it would last until then."""
    if before is None or before.last_failed is None or before.last_failed <= now:
        return before
    return replace(before, last_failed=now, since=min(before.since, now) if before.since is not None else None)


def _window(label: str, look: Look, features: Sequence[FeatureReport]) -> WindowReport:
    rows, sample_rows = look.rows.rows, look.rows.sample_rows
    if look.verdicts is None:
        return WindowReport(rows, sample_rows, "too_few_rows", 0.0)
    drifted = [feature.importance for feature in features if feature.windows[label].drifted]
    return WindowReport(rows, sample_rows, "drifted" if drifted else "ok", min(1.0, float(np.sum(drifted))))
