"""What is known to have happened in the production parts of the data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from traffic_study.replay import MONTH_DAYS, Event
from traffic_study.traffic import DAY, Traffic

LASTS_DAYS = 1.0
"""Drift that begins so long after the end of what happened is still put down to it: the longest window holds it."""


@dataclass(frozen=True)
class Known:
    """``begin`` and ``end`` are dates, both included."""

    name: str
    begin: str
    end: str
    features: tuple[str, ...]

    def explains(self, event: Event) -> bool:
        end = _second(self.end) + DAY + LASTS_DAYS * DAY
        return event.feature in self.features and _second(self.begin) <= event.time < end


def _second(day: str) -> float:
    return float(np.datetime64(day, "s").astype(float))


_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure", "visib", "precip", "_joint")
KNOWN = {
    "nyc_weather": tuple(
        Known(f"no weather on {name}", f"2013-{begin}", f"2013-{end}", _WEATHER)
        for name, begin, end in (
            ("August 19", "08-19", "08-19"),
            ("August 22", "08-22", "08-22"),
            ("October 23", "10-23", "10-23"),
            ("October 25", "10-25", "10-25"),
            ("November 2", "11-02", "11-03"),
            ("November 4", "11-04", "11-04"),
            ("December 30", "12-30", "12-31"),
        )
    ),
    "parking": (Known("a new car park in December", "2016-12-01", "2016-12-31", ("park",)),),
}


def known_and_other(name: str, events: Sequence[Event], production: Traffic) -> dict[str, Any]:
    """For each known event in ``production`` the features that came to be drifted, and the rate of all other ones."""
    first, last = production.times[[0, -1]]
    known = [one for one in KNOWN.get(name, ()) if _second(one.begin) < last]
    if not known:
        return {}
    new = [event for event in events if event.new]
    found = {one.name: sorted({event.feature for event in new if one.explains(event)}) for one in known}
    other = sum(not any(one.explains(event) for one in known) for event in new)
    return {"known": found, "other_new_features": round(float(other * MONTH_DAYS * DAY / (last - first)), 2)}
