"""A monitor with simulated traffic: the number of rows sets its clock, and it is evaluated every 200 rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from detection_study.baselines import Training
from detection_study.marginals import Floats
from detection_study.setting import BUDGET_ROWS, LOOK_ROWS, ROWS_PER_SECOND
from torchserve_drift import Monitor
from torchserve_drift.settings.settings import OF_ALL_FEATURES, OF_ONE_FEATURE
from torchserve_drift.verdicts.report import Report

WINDOWS = ("64s", "10m")
"""6,400 rows in panes of 200, and 60,000 rows."""


@dataclass(frozen=True)
class Alarm:
    """A feature that has just drifted in a window, at the look after ``row`` rows; ``checks`` are those that failed."""

    row: int
    feature: str
    window: str
    checks: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def settings(features: Sequence[str], *, default_min_effects: bool, budget_factor: float = 1.0) -> dict[str, Any]:
    """The section `drift:` with a budget of ``budget_factor`` false alarms in 10 million rows.

    The minimum effects are the defaults or all 0. If the budget factor is not 1, drift ends at the next look.
    """
    section: dict[str, Any] = {
        "windows": list(WINDOWS),
        "evaluate_every": LOOK_ROWS / ROWS_PER_SECOND,
        "alarms": {"policy": "budget", "false_alarm_interval": BUDGET_ROWS / ROWS_PER_SECOND / budget_factor},
    }
    if budget_factor != 1:
        section["alarms"]["quiet_for"] = LOOK_ROWS / ROWS_PER_SECOND
    if not default_min_effects:
        section["alarms"]["min_effect"] = dict.fromkeys(OF_ALL_FEATURES, 0)
        section["features"] = {name: dict.fromkeys(OF_ONE_FEATURE, 0) for name in features}
    return section


class Watch:
    """A monitor that gets the rows of one stream."""

    def __init__(self, training: Training, *, default_min_effects: bool, seed: int, budget_factor: float = 1.0) -> None:
        names = [feature.name for feature in training.baseline.features]
        self._now, self._training = 1_000_000.0, training
        self._monitor = Monitor(
            training.baseline,
            settings(names, default_min_effects=default_min_effects, budget_factor=budget_factor),
            clock=lambda: self._now,
            seed=seed,
        )
        self._drifted: set[tuple[str, str]] = set()
        self.rows = 0

    def pass_by(self, rows: Floats) -> None:
        """Record rows without looks."""
        for block in _blocks(rows):
            self._record(block)

    def looks(self, rows: Floats) -> Iterator[tuple[Report, list[Alarm]]]:
        """Record rows; yield the report of each look, and the alarms that are new at this look."""
        for block in _blocks(rows):
            self._record(block)
            report = self._monitor.evaluate()
            yield report, self._new(report)

    def _record(self, block: Floats) -> None:
        self._now += LOOK_ROWS / ROWS_PER_SECOND
        self._monitor.record(self._training.encoded(block))
        self.rows += len(block)

    def _new(self, report: Report) -> list[Alarm]:
        found = {
            (feature.name, label): tuple(name for name, check in window.checks.items() if check.failed)
            for feature in report.features
            for label, window in feature.windows.items()
            if window.drifted
        }
        new = [Alarm(self.rows, *key, checks) for key, checks in found.items() if key not in self._drifted]
        self._drifted = set(found)
        return new


def _blocks(rows: Floats) -> Iterator[Floats]:
    for start in range(0, len(rows), LOOK_ROWS):
        yield rows[start : start + LOOK_ROWS]
