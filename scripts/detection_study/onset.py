"""Measures delays: how many rows after a shift the right feature has drifted."""

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
"""No minimum effects with the promised budget; none with a budget whose real rate is the promised one; the defaults."""


def repetition(
    number: int,
    *,
    training_rows: int,
    seed: int,
    budget_factors: Mapping[str, float] | None = None,
    shifts: Sequence[Shift] = SHIFTS,
    alarm_settings: Sequence[str] = ALARM_SETTINGS,
) -> dict[str, Any]:
    """Each shift once, with one training set. The setting "equal" uses ``budget_factors``, which are by feature."""
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
                budget_factor=budget_factors[shift.features[0]] if budget_factors and alarm_setting == "equal" else 1.0,
                seed=number,
            )
            for alarm_setting in alarm_settings
        }
    return found


def timed(
    training: Training,
    shift: Shift,
    before: Floats,
    after: Floats,
    *,
    alarm_setting: str,
    budget_factor: float,
    seed: int,
) -> dict[str, Any]:
    """Run one stream, first the rows ``before`` the shift, then those ``after`` it.

    Returns
    -------
    ``delay``: rows from the onset to the alarm; ``None`` if there is no alarm within ``after``. ``checks``: the checks
    that failed. ``early``: false alarms before the onset, counted only with the promised budget. ``elsewhere``: alarms
    in other features after it.
    """
    watch = Watch(training, default_min_effects=alarm_setting == "defaults", seed=seed, budget_factor=budget_factor)
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
    """The smallest delay within which at least a share ``level`` was found; ``None`` if fewer were found.

    Examples
    --------
    >>> quantile([200, 400, None], 0.5), quantile([200, 400, None], 0.9)
    (400, None)
    """
    ordered = sorted(delay for delay in delays if delay is not None)
    place = max(0, math.ceil(level * len(delays) - 1e-9) - 1)
    return ordered[place] if place < len(ordered) else None
