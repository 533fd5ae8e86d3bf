"""Evaluating one model: its windows through checks and verdicts to a report, which continues from the report before."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable, Optional

from torchserve_drift.baseline.profile import Profile
from torchserve_drift.checks.evidence import CheckedModel
from torchserve_drift.port.compose import compose_snapshot
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.settings.settings import Settings
from torchserve_drift.verdicts.budget import Budget, items_of
from torchserve_drift.verdicts.judge import ItemEvidence, Level, budget_level, common_level, judge
from torchserve_drift.verdicts.min_effects import min_effects_of, require_learnable
from torchserve_drift.verdicts.report import Report
from torchserve_drift.verdicts.reporting import EvaluatedWindow, ReportBuilder
from torchserve_drift.window.pacing import NO_PAUSE, Pace
from torchserve_drift.window.store import Store

if TYPE_CHECKING:
    from torchserve_drift.checks.window_checks import WindowChecks


class Evaluator:
    """Evaluates the windows of ``store`` against ``profile``. It keeps nothing but the last report.

    ``clock`` gives seconds since the epoch. `evaluate` may be called from any thread; calls wait for one another.

    Raises
    ------
    ConfigError
        Where the settings ask for something that the baseline does not hold.
    """

    def __init__(
        self,
        profile: Profile,
        settings: Settings,
        store: Store,
        *,
        clock: Callable[[], float],
        model_name: str,
        model_version: str,
    ) -> None:
        require_learnable(profile.features, settings.alarms)
        self._profile, self._settings, self._store, self._clock = profile, settings, store, clock
        self._budget = Budget.of(
            items_of(profile.features),
            settings.windows,
            panes=store.layout.panes,
            every=settings.evaluate_every,
            interval=settings.alarms.false_alarm_interval,
        )
        self._reports = ReportBuilder(model_name, model_version, profile.sha256, self._budget, settings.alarms)
        self._report: Optional[Report] = None
        self._seconds = 0.0
        self._checks: Optional[WindowChecks] = None
        self._evaluating = threading.Lock()

    @property
    def report(self) -> Optional[Report]:
        """The last report; ``None`` before the first."""
        return self._report

    @property
    def seconds(self) -> float:
        """How long the last evaluation took."""
        return self._seconds

    def continue_from(self, report: Optional[Report]) -> None:
        """Let the next evaluation continue from the report of whoever evaluated this model before."""
        self._report = report

    def evaluate(self, paced: Pace = NO_PAUSE) -> Report:
        """Run every check on every feature and window now, and keep the report."""
        with self._evaluating:
            began = time.perf_counter()
            now = self._clock()
            self._store.writer.fold(paced)
            windows = self._store.windows(now)
            before = self._report.evaluated_at if self._report else None
            checks = self._loaded_checks()
            evidence = [
                checks.evidence(rows, paced, jointly=self._budget.looks_jointly(w, before, now))
                if rows.rows >= self._settings.min_rows
                else None
                for w, rows in enumerate(windows)
            ]
            of_items = [window.features if window is not None else None for window in evidence]
            verdicts = judge(of_items, self._settings.alarms, self._level(of_items, before, now), paced)
            evaluated = [EvaluatedWindow(*window) for window in zip(windows, evidence, verdicts)]
            self._report = self._reports.report(now, evaluated, self._report)
            self._seconds = time.perf_counter() - began
            return self._report

    def snapshot(self) -> Snapshot:
        """What the port shows: the last report beside exact counts of all rows ever."""
        with self._evaluating:  # both read the segments of other workers, which one thread may do at a time
            return compose_snapshot(
                model_name=self._reports.model_name,
                model_version=self._reports.model_version,
                profile=self._profile,
                report=self._report,
                layout=self._store.layout,
                totals=self._store.totals(),
                counters=self._store.counters(),
                evaluation_seconds=self._seconds,
                export=self._settings.export,
            )

    def _level(self, evidence: Sequence[ItemEvidence], before: Optional[float], now: float) -> Level:
        alarms = self._settings.alarms
        if alarms.policy == "budget":
            return budget_level(self._budget, alarms, before, now)
        alpha = common_level(evidence, alarms)
        return lambda *_: alpha

    def _loaded_checks(self) -> WindowChecks:
        # loaded with the first evaluation: of a model's workers only the one that evaluates pays for scipy.special
        if self._checks is None:
            from torchserve_drift.checks.window_checks import WindowChecks

            min_effects = min_effects_of(self._profile, self._settings)
            # the textbook's rule fails by effects alone: those that matter are the user's, not a part of them
            in_time = self._settings.alarms.policy != "classic"
            model = CheckedModel(self._profile, min_effects, self._store.layout, self._store.codes, in_time)
            self._checks = WindowChecks(model)
        return self._checks
