"""Production whose clock is wrong: by the hour of summer time, which is no drift, or by a wrong time zone, which is."""

from __future__ import annotations

from typing import Any

from torchserve_drift import Baseline
from traffic_study.replay import MONTH_DAYS, replay
from traffic_study.traffic import DAY, Traffic

HOURS_AHEAD = (0, 1, -1, 3)
DAYS = 28


def measure(baseline: Baseline, production: Traffic) -> dict[str, Any]:
    """New drifted features in 30 days, and the hours until the first, by how many hours the clock is ahead."""
    part = production.between(-float("inf"), production.times[0] + DAYS * DAY)
    found = {}
    for hours in HOURS_AHEAD:
        seen = replay(baseline, part, ahead=3600.0 * hours)
        new = [event for event in seen.events if event.new]
        found[f"{hours:+d} h"] = {
            "new_features": round(len(new) * MONTH_DAYS / seen.days, 2),
            "first_hours": round(float(new[0].time - part.times[0]) / 3600, 1) if new else None,
            "features": sorted({event.feature for event in new}),
        }
    return found
