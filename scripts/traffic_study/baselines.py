"""Baselines of training traffic: without times ("before") and with what they teach of time ("after")."""

from __future__ import annotations

from functools import cache

from torchserve_drift import Baseline
from traffic_study.traffic import Traffic

CREATED = "2026-01-01T00:00:00Z"


@cache
def baseline_of(training: Traffic, *, with_times: bool) -> Baseline:
    """The baseline of ``training``.

    ``with_times``: it also holds the features' time profiles, as those of `torchserve-drift baseline --time` do.
    """
    without = Baseline.from_columns(dict(training.columns), created=CREATED)
    if not with_times:
        return without
    from torchserve_drift.training.time_learning import with_time_profiles

    return Baseline.of(with_time_profiles(without, dict(training.columns), training.times))
