"""Streams without drift: counts false alarms and small p-values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from detection_study.baselines import trained
from detection_study.bounds import poisson_upper
from detection_study.calibration import LEVELS, calibration
from detection_study.marginals import HOSTILE, MODEL, rows_of
from detection_study.setting import BUDGET_ROWS, LOOK_ROWS
from detection_study.watch import WINDOWS, Watch

ALL = {**MODEL, **HOSTILE}
FACTORS = (1, 10, 100, 1000)
"""Multiples of alpha at which p-values are counted too, because false alarms are too rare for a conclusion."""

SINGLE_LOOK_ROWS = 10_000
"""P-values of this look, in the shorter window, are kept. One per stream and feature, they are independent."""


def stream(number: int, *, rows: int, training_rows: int, seed: int) -> dict[str, Any]:
    """Run one stream with its own baseline, and return the counts as plain data."""
    rng = np.random.default_rng([seed, number])
    training = trained(ALL, rng, training_rows)
    watch = Watch(training, default_min_effects=False, seed=number)
    alarms: list[dict[str, Any]] = []
    spent: dict[str, float] = defaultdict(float)
    below: dict[str, list[int]] = defaultdict(lambda: [0] * len(FACTORS))
    levels: dict[str, list[int]] = defaultdict(lambda: [0] * (len(LEVELS) + 1))
    single: dict[str, list[float]] = defaultdict(list)
    seen: dict[tuple[str, str], Any] = {}
    for start in range(0, rows, 50 * LOOK_ROWS):  # a long stream is drawn in parts, to save memory
        block = rows_of(ALL, rng, min(50 * LOOK_ROWS, rows - start))
        for report, new in watch.looks(block):
            alarms += [alarm.plain() for alarm in new]
            for feature in report.features:
                family = _family(feature.name)
                for label, window in feature.windows.items():
                    if window.checks is seen.get((feature.name, label)):  # still the last result
                        continue
                    seen[feature.name, label] = window.checks
                    for name, check in window.checks.items():
                        if check.p_value is None or check.alpha is None:
                            continue
                        key = f"{name}, {family}"
                        if watch.rows == SINGLE_LOOK_ROWS and label == WINDOWS[0]:
                            single[key].append(check.p_value)
                        spent[key] += check.alpha
                        counts = levels[key]
                        counts[-1] += 1
                        if check.p_value <= LEVELS[0]:
                            for place, level in enumerate(LEVELS):
                                counts[place] += check.p_value <= level
                            for place, factor in enumerate(FACTORS):
                                below[key][place] += check.p_value < factor * check.alpha
    return {
        "alarms": alarms,
        "spent": dict(spent),
        "below": dict(below),
        "levels": dict(levels),
        "single": dict(single),
        "rows": rows,
    }


def _family(feature: str) -> str:
    return ALL[feature].family if feature in ALL else feature


def summary(streams: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums over all streams: counts by check and family, and the rate per `BUDGET_ROWS` with its bound."""
    rows, count = 0, 0
    alarms: list[Mapping[str, Any]] = []
    spent: dict[str, float] = defaultdict(float)
    below: dict[str, Any] = defaultdict(lambda: np.zeros(len(FACTORS), int))
    levels: dict[str, Any] = defaultdict(lambda: np.zeros(len(LEVELS) + 1, int))
    single: dict[str, list[float]] = defaultdict(list)
    for one in streams:
        rows, count = rows + one["rows"], count + 1
        alarms += one["alarms"]
        for key, value in one["spent"].items():
            spent[key] += value
        for key, counts in one["below"].items():
            below[key] += counts
        for key, counts in one["levels"].items():
            levels[key] += counts
        for key, p_values in one["single"].items():
            single[key] += p_values
    by_family: dict[str, int] = dict.fromkeys((_family(name) for name in ALL), 0)
    by_check: dict[str, int] = dict.fromkeys((key.partition(", ")[0] for key in spent), 0)
    for alarm in alarms:
        by_family[_family(alarm["feature"])] = by_family.get(_family(alarm["feature"]), 0) + 1
        for check in alarm["checks"]:
            by_check[check] = by_check.get(check, 0) + 1
    per_budget = BUDGET_ROWS / max(rows, 1)
    return {
        "streams": count,
        "rows": rows,
        "alarms": len(alarms),
        "rate": len(alarms) * per_budget,
        "rate_upper": poisson_upper(len(alarms)) * per_budget,
        "by_family": by_family,
        "by_check": by_check,
        "spent": sum(spent.values()) * per_budget,
        "spent_by_check": _grouped(spent, per_budget),
        "below": [int(n) for n in sum(below.values(), np.zeros(len(FACTORS), int))],
        "expected_below": [factor * sum(spent.values()) for factor in FACTORS],
        "levels": {key: counts.tolist() for key, counts in sorted(levels.items())},
        "calibration": {key: calibration(np.array(p_values)) for key, p_values in sorted(single.items())},
    }


def _grouped(spent: Mapping[str, float], factor: float) -> dict[str, float]:
    grouped: dict[str, float] = defaultdict(float)
    for key, value in spent.items():
        grouped[key.partition(", ")[0]] += value * factor
    return dict(grouped)
