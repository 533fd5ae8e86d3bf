"""How many alarms there are for each that the budget allows: by so much the promise is kept better than it must be.

A union bound is no equality. Other tools' thresholds are set, for each kind of feature, by alarms counted on streams
without drift; to stand beside them at the same rate, the budget is made larger by the inverse of what is counted here,
for each kind of feature too.
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

HASTES = (1000, 300, 100, 30)
"""The budget here is so many times the study's: else there would be next to nothing to count."""

LEVELS = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6)
"""Those of a feature's `cusum` at a look, from a haste of over 1,000 down to about that of the same rate."""

KINDS = tuple(dict.fromkeys(shift.features[0] for shift in SHIFTS))
"""The features whose shifts are timed."""


def stream(number: int, *, rows: int, training_rows: int, seed: int) -> dict[str, Any]:
    """How often, at each of `HASTES`, a p-value of one of 20 features of one kind comes to be below its level.

    Crossings are counted as the others' thresholds are: without any hysteresis, a feature once in whichever window.
    """
    kind = KINDS[number % len(KINDS)]
    model = {f"{kind}-{i}": MODEL[kind] for i in range(MODEL_FEATURES)}
    rng = np.random.default_rng([seed, number, *HASTES])
    watch = Watch(trained(model, rng, training_rows), default_min_effects=False, seed=number, haste=HASTES[0])
    alarms, before = np.zeros(len(HASTES), int), np.zeros((len(HASTES), MODEL_FEATURES), bool)
    for _ in range(0, rows, 50 * LOOK_ROWS):
        for report, _ in watch.looks(rows_of(model, rng, 50 * LOOK_ROWS)):
            lowest = np.array([_lowest(feature) for feature in report.features if feature.name in model])
            now = lowest < np.array(HASTES)[:, None] / HASTES[0]
            alarms, before = alarms + (now & ~before).sum(axis=1), now
    return {"kind": kind, "alarms": alarms.tolist(), "rows": rows}


def _lowest(feature: FeatureReport) -> float:
    """Of all p-values, in multiples of their levels."""
    checks = (check for window in feature.windows.values() for check in window.checks.values())
    return min(
        (check.p_value / check.alpha for check in checks if check.p_value is not None and check.alpha),
        default=math.inf,
    )


def clumping(*, streams: int = 20_000, looks: int = 15_000, seed: int = 41) -> dict[str, Any]:
    """How much nearer the union bound is to the truth, the rarer crossings are: at each of `LEVELS` the ``ratio`` of
    crossings counted to those that the level allows, for the spans of a random walk, and that ratio as a ``power`` of
    the level.

    Streams of normal steps, one a look, are what sums of scores without drift come to.
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
    """By kind: alarms counted and allowed at each of `HASTES`, and the ``haste`` at which there are as many as the
    study's budget allows; ``power`` is that of `clumping`."""
    found = list(streams)
    kinds = {}
    for kind in dict.fromkeys(one["kind"] for one in found):
        own = [one for one in found if one["kind"] == kind]
        rows = sum(one["rows"] for one in own)
        alarms = [sum(counts) for counts in zip(*(one["alarms"] for one in own), strict=True)]
        allowed = [rows * haste / BUDGET_ROWS for haste in HASTES]
        haste = haste_of(alarms, allowed, power)
        kinds[kind] = {"streams": len(own), "rows": rows, "alarms": alarms, "allowed": allowed, "haste": haste}
    return kinds


def haste_of(alarms: Sequence[float], allowed: Sequence[float], power: float) -> float:
    """Where there is one alarm for each that the study's budget allows; where none was counted, as if one had been.

    The ratio of ``alarms`` to those ``allowed``, at each of `HASTES`, is taken for a constant times the haste to
    ``power``; where that times the haste is 1 is the haste sought.

    Examples
    --------
    >>> round(haste_of([500, 150, 50, 15], [1000, 300, 100, 30], 0.0), 3)
    2.0
    """
    grown = np.array(HASTES) ** power
    constant = max(sum(alarms), 1) / float(np.dot(allowed, grown))
    return float(constant ** (-1 / (1 + power)))
