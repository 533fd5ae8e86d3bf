"""Finds the budget with which the monitor really has the promised rate of false alarms, for each kind of feature.

The promise is an upper bound, so the real rate is lower. The thresholds of the other tools are set by counting alarms
on streams without drift. For a comparison at the same rate, the monitor's budget is multiplied by a *budget factor*,
which is found by counting alarms too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from detection_study.baselines import trained
from detection_study.marginals import MODEL, rows_of
from detection_study.setting import BUDGET_ROWS, LOOK_ROWS, MODEL_FEATURES
from detection_study.shifts import SHIFTS
from detection_study.watch import Watch
from torchserve_drift.checks.span_weights import span_weights
from torchserve_drift.verdicts.report import FeatureReport
from torchserve_drift.window.merge import SPAN_PANES

BUDGET_FACTORS = (1000, 300, 100, 30)
"""The budgets of this module, as multiples of the study's budget, which would give almost no alarms to count."""

LEVELS = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6)
"""Levels of a feature's `cusum` at a look, from a budget factor above 1,000 down to about that of the same rate."""

KINDS = tuple(dict.fromkeys(shift.features[0] for shift in SHIFTS))
"""The features whose shifts are measured."""


def stream(number: int, *, rows: int, training_rows: int, seed: int) -> dict[str, Any]:
    """Count crossings at each of `BUDGET_FACTORS`: falls of a p-value of one of 20 equal features below its level.

    They are counted as for the other tools' thresholds: drift does not last, and if a feature crosses its level in
    several windows at the same look, it counts once.
    """
    kind = KINDS[number % len(KINDS)]
    model = {f"{kind}-{i}": MODEL[kind] for i in range(MODEL_FEATURES)}
    rng = np.random.default_rng([seed, number, *BUDGET_FACTORS])
    watch = Watch(
        trained(model, rng, training_rows), default_min_effects=False, seed=number, budget_factor=BUDGET_FACTORS[0]
    )
    alarms, before = np.zeros(len(BUDGET_FACTORS), int), np.zeros((len(BUDGET_FACTORS), MODEL_FEATURES), bool)
    for _ in range(0, rows, 50 * LOOK_ROWS):
        for report, _ in watch.looks(rows_of(model, rng, 50 * LOOK_ROWS)):
            lowest = np.array([_lowest(feature) for feature in report.features if feature.name in model])
            now = lowest < np.array(BUDGET_FACTORS)[:, None] / BUDGET_FACTORS[0]
            alarms, before = alarms + (now & ~before).sum(axis=1), now
    return {"kind": kind, "alarms": alarms.tolist(), "rows": rows}


def _lowest(feature: FeatureReport) -> float:
    """The smallest p-value of the feature, as a multiple of its level."""
    checks = (check for window in feature.windows.values() for check in window.checks.values())
    return min(
        (check.p_value / check.alpha for check in checks if check.p_value is not None and check.alpha),
        default=math.inf,
    )


def clumping(*, streams: int = 20_000, looks: int = 15_000, seed: int = 41) -> dict[str, Any]:
    """How the union bound approaches the real rate as crossings get rarer, for the spans of a random walk.

    The steps of the walk are normal, one per look, as are sums of scores without drift.

    Returns
    -------
    ``counted``: crossings at each of `LEVELS`. ``ratios``: these divided by the number that the level allows.
    ``power``: the ratio is proportional to the level to this power.
    """
    rng = np.random.default_rng(seed)
    weights = span_weights(float(LOOK_ROWS) * np.array(SPAN_PANES))
    levels = np.array(LEVELS)[:, None]
    sums = deque(np.cumsum(rng.standard_normal((SPAN_PANES[-1] + 1, streams)), axis=0), SPAN_PANES[-1] + 1)
    counted, before = np.zeros(len(LEVELS), int), np.ones((len(LEVELS), streams), bool)
    for _ in range(looks):
        sums.append(sums[-1] + rng.standard_normal(streams))
        spans = zip(SPAN_PANES, weights, strict=True)
        p_values = [2 * ndtr(-abs(sums[-1] - sums[-1 - panes]) / panes**0.5) / weight for panes, weight in spans]
        now = np.min(p_values, axis=0) < levels
        counted, before = counted + (now & ~before).sum(axis=1), now
    ratios = counted / (np.array(LEVELS) * streams * looks)
    seen = counted > 0
    power, _ = np.polyfit(np.log(LEVELS)[seen], np.log(ratios[seen]), 1, w=np.sqrt(counted[seen]))
    return {"counted": counted.tolist(), "ratios": ratios.tolist(), "power": float(power)}


def summary(streams: Iterable[Mapping[str, Any]], power: float) -> dict[str, dict[str, Any]]:
    """By kind of feature: alarms counted and allowed at each of `BUDGET_FACTORS`, and the ``budget_factor`` that gives
    as many alarms as the study's budget allows. ``power`` is that of `clumping`.
    """
    found = list(streams)
    kinds = {}
    for kind in dict.fromkeys(one["kind"] for one in found):
        own = [one for one in found if one["kind"] == kind]
        rows = sum(one["rows"] for one in own)
        alarms = [sum(counts) for counts in zip(*(one["alarms"] for one in own), strict=True)]
        allowed = [rows * budget_factor / BUDGET_ROWS for budget_factor in BUDGET_FACTORS]
        budget_factor = budget_factor_of(alarms, allowed, power)
        kinds[kind] = {
            "streams": len(own),
            "rows": rows,
            "alarms": alarms,
            "allowed": allowed,
            "budget_factor": budget_factor,
        }
    return kinds


def budget_factor_of(alarms: Sequence[float], allowed: Sequence[float], power: float) -> float:
    """The budget factor that gives as many alarms as the study's budget allows.

    The model is: ``alarms`` / ``allowed`` = constant x factor ** ``power``. The constant is fitted to the counts at
    `BUDGET_FACTORS`, with at least one alarm. The result is the factor for which constant x factor ** (1 + power) = 1.

    Examples
    --------
    >>> round(budget_factor_of([500, 150, 50, 15], [1000, 300, 100, 30], 0.0), 3)
    2.0
    """
    grown = np.array(BUDGET_FACTORS) ** power
    constant = max(sum(alarms), 1) / float(np.dot(allowed, grown))
    return float(constant ** (-1 / (1 + power)))
