"""Traffic through a real monitor, whose clock the rows set: what drifts at which look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import numpy as np

from torchserve_drift import Baseline, Monitor
from torchserve_drift.verdicts.report import Report
from traffic_study.traffic import DAY, Traffic

LOOK_SECONDS = 300.0
MONTH_DAYS = 30


@dataclass(frozen=True)
class Event:
    """A feature that came to be drifted in a window; ``new``: it was in no window at the look before."""

    time: float
    feature: str
    window: str
    checks: tuple[str, ...]
    new: bool


@dataclass
class Replay:
    """What was seen at the looks of one replay.

    ``drifted`` are the times of looks at which any feature was drifted. ``judged`` counts, by window, the looks at
    which it had enough rows for a verdict.
    """

    days: float
    rows: int = 0
    looks: int = 0
    events: list[Event] = field(default_factory=list)
    drifted: list[float] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    now: frozenset[tuple[str, str]] = frozenset()

    def add(self, time: float, report: Report) -> None:
        found = {
            (feature.name, label): window
            for feature in report.features
            for label, window in feature.windows.items()
            if window.drifted
        }
        before = {name for name, _ in self.now}
        for name, label in found.keys() - self.now:
            checks = tuple(check for check, result in found[name, label].checks.items() if result.failed)
            self.events.append(Event(time, name, label, checks, name not in before))
            before.add(name)  # drifted in two windows at one look: one new feature
        self.now = frozenset(found)
        self.looks += 1
        self.judged.update(label for label, window in report.windows.items() if window.state != "too_few_rows")
        if found:
            self.drifted.append(time)

    def summary(self) -> dict[str, Any]:
        """Counts for 30 days, in the form in which results.json keeps them."""
        scale = MONTH_DAYS / self.days
        new = [event for event in self.events if event.new]
        by = {
            "by_feature": Counter(event.feature for event in new),
            "by_window": Counter(event.window for event in self.events),
            "by_check": Counter(check for event in self.events for check in event.checks),
        }
        return {
            "days": round(self.days, 1),
            "rows": self.rows,
            "looks": self.looks,
            "new_features": round(len(new) * scale, 2),
            "new_in_windows": round(len(self.events) * scale, 2),
            "time_in_drift": round(len(self.drifted) / max(self.looks, 1), 5),
            "judged": {label: round(count / self.looks, 3) for label, count in self.judged.items()},
            **{key: {name: round(count * scale, 2) for name, count in c.most_common()} for key, c in by.items()},
        }


def settings(every: float = LOOK_SECONDS, **more: Any) -> dict[str, Any]:
    """The defaults, but for the looks."""
    return {"evaluate_every": every, **more}


class Watch:
    """One monitor of one traffic, evaluated every ``every`` seconds by a clock that is ``ahead`` seconds."""

    def __init__(
        self, baseline: Baseline, traffic: Traffic, *, every: float = LOOK_SECONDS, seed: int = 0, ahead: float = 0.0
    ) -> None:
        self._time = 0.0
        self.monitor = Monitor(baseline, settings(every), clock=lambda: self._time, seed=seed)
        self._every, self._ahead, self._traffic = every, ahead, traffic
        self._rows = self.monitor.encoder.columns(dict(traffic.columns))
        starts = np.flatnonzero(np.diff(traffic.times, prepend=-np.inf) > 0)
        self._parts = np.append(starts, len(traffic)).tolist()
        self._least = self.monitor.settings.min_rows
        self._longest = max(window.seconds or np.inf for window in self.monitor.settings.windows)

    def looks(self, begin: float = -np.inf, end: float = np.inf) -> Iterator[tuple[float, int, Report]]:
        """Time, rows so far and report of each look between ``begin`` and ``end``.

        Looks are passed over whose outcome is certain: no window has enough rows for a verdict, and no drift can last.
        """
        times, part, last = self._traffic.times, 0, None
        look = np.floor(times[0] / self._every) * self._every
        while look < min(end, times[-1]):
            look += self._every
            while part < len(self._parts) - 1 and times[self._parts[part]] < look:
                self._record(self._parts[part], self._parts[part + 1])
                part += 1
            rows = self._parts[part]
            # twice the length, since a window begins with a whole pane
            inside = rows - int(times.searchsorted(look - 2 * self._longest))
            if look < begin or (inside < self._least and last is not None and not last.drifted):
                continue
            self._time = look + self._ahead
            last = self.monitor.evaluate()
            yield look, rows, last

    def _record(self, begin: int, end: int) -> None:
        self._time = float(self._traffic.times[begin]) + self._ahead
        self.monitor.record(self._rows[begin:end], [end - begin] if self._traffic.together else None)


def replay(
    baseline: Baseline, traffic: Traffic, *, seen: Optional[Callable[[float, Report], None]] = None, **watch: Any
) -> Replay:
    """All looks from the first row to the last; ``seen`` is called with the time and the report of each."""
    days = float(traffic.times[-1] - traffic.times[0]) / DAY
    found = Replay(days=days, rows=len(traffic))
    for time, _, report in Watch(baseline, traffic, **watch).looks():
        found.add(time, report)
        if seen is not None:
            seen(time, report)
    # looks that were passed over count as looks without drift
    found.looks = int(days * DAY / watch.get("every", LOOK_SECONDS))
    return found
