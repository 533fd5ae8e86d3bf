"""Three weeks of one data set, hour by hour, for the picture."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from torchserve_drift.verdicts.report import Report
from traffic_study.traffic import DAY, Traffic

SET, BEGIN, HOURS = "nyc_weather", "2013-10-14", 21 * 24
FILL_DAYS = 2


class Strips:
    """For each feature and each window, the tenths of every hour's looks at which it was drifted."""

    def __init__(self, begin: str = BEGIN, hours: int = HOURS) -> None:
        self._begin, self._hours = float(np.datetime64(begin, "s").astype(float)), hours
        self._looks = np.zeros(hours)
        self._drifted: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(hours))  # type: ignore[type-arg]

    def __call__(self, time: float, report: Report) -> None:
        # a look at the end of an hour is of that hour
        hour = int(np.ceil((time - self._begin) / 3600)) - 1
        if not 0 <= hour < self._hours:
            return
        self._looks[hour] += 1
        found = {
            name
            for feature in report.features
            for label, window in feature.windows.items()
            for name in (feature.name, label)
            if window.drifted
        }
        for name in found:
            self._drifted[name][hour] += 1

    def plain(self) -> dict[str, str]:
        """A digit an hour, 0 for never and 9 for always."""
        shares = {name: 9 * counts / np.maximum(self._looks, 1) for name, counts in sorted(self._drifted.items())}
        return {name: "".join(str(int(np.ceil(digit))) for digit in share) for name, share in shares.items()}

    def rows(self, traffic: Traffic) -> list[int]:
        """Rows of each hour."""
        hours = (traffic.times - self._begin) // 3600
        inside = hours[(hours >= 0) & (hours < self._hours)].astype(int)
        return [int(n) for n in np.bincount(inside, minlength=self._hours)]


def seen_between() -> tuple[float, float]:
    """The part of production that is replayed for the picture: it begins earlier, so that windows are full."""
    begin = float(np.datetime64(BEGIN, "s").astype(float))
    return begin - FILL_DAYS * DAY, begin + HOURS * 3600
