"""Streams that drift after a while: how many rows it takes until the right feature is called drifted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from detection_study.baselines import Training, trained
from detection_study.marginals import MODEL, Floats, rows_of
from detection_study.setting import HORIZON_ROWS, WARM_UP_ROWS
from detection_study.shifts import SHIFTS, Shift
from detection_study.watch import Watch

ALARM_SETTINGS = ("none", "equal", "defaults")
"""No minimum effects and the promised budget; none and a budget that really gives the promised rate; the defaults."""


def repetition(
    number: int,
    *,
    training_rows: int,
    seed: int,
    hastes: Mapping[str, float] | None = None,
    shifts: Sequence[Shift] = SHIFTS,
    alarm_settings: Sequence[str] = ALARM_SETTINGS,
) -> dict[str, Any]:
    """Every shift once, against one training set, as plain data. ``hastes``, by feature, belong to "equal"."""
    rng = np.random.default_rng([seed, number])
    training = trained(MODEL, rng, training_rows)
    found: dict[str, Any] = {}
    for shift in shifts:
        before, after = rows_of(MODEL, rng, WARM_UP_ROWS), shift.applied(rng, rows_of(MODEL, rng, HORIZON_ROWS))
        found[shift.name] = {
            alarm_setting: timed(
                training,
                shift,
                before,
                after,
                alarm_setting=alarm_setting,
                haste=hastes[shift.features[0]] if hastes and alarm_setting == "equal" else 1.0,
                seed=number,
            )
            for alarm_setting in alarm_settings
        }
    return found


def timed(
    training: Training, shift: Shift, before: Floats, after: Floats, *, alarm_setting: str, haste: float, seed: int
) -> dict[str, Any]:
    """``delay`` in rows from the onset (``None``: not within ``after``), the ``checks`` that saw it, and the number of
    false alarms, before the onset (only counted where the promise is measured) and in other features after it.
    """
    watch = Watch(training, default_min_effects=alarm_setting == "defaults", seed=seed, haste=haste)
    early = 0
    if alarm_setting == "none":
        early = sum(len(new) for _, new in watch.looks(before))
    else:
        watch.pass_by(before)
    reported = (shift.reported,)
    elsewhere = 0
    for report, new in watch.looks(after):
        elsewhere += sum(alarm.feature not in (*shift.features, *reported) for alarm in new)
        failed = {
            name
            for feature in report.features
            if feature.name in reported
            for window in feature.windows.values()
            if window.drifted
            for name, check in window.checks.items()
            if check.failed
        }
        if failed:
            return {"delay": watch.rows - len(before), "checks": sorted(failed), "early": early, "elsewhere": elsewhere}
    return {"delay": None, "checks": [], "early": early, "elsewhere": elsewhere}


def summary(repetitions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The delays by shift and alarm setting, and the false alarms in the same runs."""
    found = list(repetitions)
    return {
        "repetitions": len(found),
        "delays": {
            shift: {
                alarm_setting: [one[shift][alarm_setting]["delay"] for one in found]
                for alarm_setting in found[0][shift]
            }
            for shift in found[0]
        },
        "checks": {shift: _shares([one[shift]["none"]["checks"] for one in found]) for shift in found[0]},
        "early": sum(shift["none"]["early"] for one in found for shift in one.values()),
        "elsewhere": sum(shift["none"]["elsewhere"] for one in found for shift in one.values()),
    }


def _shares(lists: Sequence[Sequence[str]]) -> dict[str, float]:
    names = sorted({name for names in lists for name in names})
    return {name: sum(name in names for names in lists) / len(lists) for name in names}


def quantile(delays: Sequence[int | None], level: float) -> float | None:
    """The least delay that at least ``level`` of all kept; ``None`` where fewer were ever seen.

    Examples
    --------
    >>> quantile([200, 400, None], 0.5), quantile([200, 400, None], 0.9)
    (400, None)
    """
    ordered = sorted(delay for delay in delays if delay is not None)
    place = max(0, math.ceil(level * len(delays) - 1e-9) - 1)
    return ordered[place] if place < len(ordered) else None
