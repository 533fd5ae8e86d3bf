"""How soon faults are found that begin at random times of production."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift import Baseline
from traffic_study.replay import LOOK_SECONDS, Watch
from traffic_study.traffic import DAY, Traffic

TRIALS = 5
HORIZON_HOURS = 48.0
FILL_SECONDS = 1.25 * DAY
"""Production before the fault: the longest window is full when it begins."""

NUMERIC_FAULTS = ("+0.5 σ", "unit × 10", "constant", "30 % missing")
CATEGORICAL_FAULTS = ("new category 5 %", "constant", "30 % missing")
FAULTS = tuple(dict.fromkeys((*NUMERIC_FAULTS, *CATEGORICAL_FAULTS)))

Column = npt.NDArray[Any]


def broken(column: Column, fault: str, typical: Column, rng: np.random.Generator) -> Optional[Column]:
    """The column with a fault; ``None`` where columns of its kind cannot have it. ``typical``: of the training data."""
    numeric = column.dtype.kind == "f"
    if fault == "30 % missing":
        return np.where(rng.random(len(column)) < 0.3, np.nan if numeric else None, column)
    if fault == "constant":
        return np.full(len(column), _usual(typical), column.dtype)
    if fault == "new category 5 %" and not numeric:
        return np.where(rng.random(len(column)) < 0.05, "never seen", column)
    if fault == "unit × 10" and numeric:
        return 10 * column
    if fault == "+0.5 σ" and numeric:
        return np.asarray(column + 0.5 * np.nanstd(typical))
    return None


def _usual(column: Column) -> Any:
    if column.dtype.kind == "f":
        return np.nanmedian(column)
    names, counts = np.unique([text for text in column if text is not None], return_counts=True)
    return str(names[counts.argmax()])


def measure(baseline: Baseline, training: Traffic, production: Traffic, trials: int = TRIALS) -> dict[str, Any]:
    """For each feature and fault: rows and hours to its detection in each trial, ``None`` where it was not found.

    A fault is in all features at once; each feature's own verdicts are looked at. A feature that was drifted already
    is left out of a trial.
    """
    rng = np.random.default_rng(0)
    begin, end = production.times[0] + FILL_SECONDS, production.times[-1] - HORIZON_HOURS * 3600
    # at random rows: a fault begins where there is traffic
    onsets = production.times[rng.integers(*production.times.searchsorted([begin, end]), trials)].tolist()
    found: dict[str, dict[str, list[Any]]] = {fault: defaultdict(list) for fault in FAULTS}
    for onset in onsets:
        for fault in FAULTS:
            part = production.between(onset - FILL_SECONDS, onset + HORIZON_HOURS * 3600)
            for feature, delay in _delays(baseline, *_faulty(part, onset, fault, training, rng), onset).items():
                found[fault][feature].append(delay)
    return {fault: {name: _shown(delays) for name, delays in by.items()} for fault, by in found.items()}


def _faulty(
    part: Traffic, onset: float, fault: str, training: Traffic, rng: np.random.Generator
) -> tuple[Traffic, set[str]]:
    """The traffic with a fault from ``onset`` on, and the features that have it."""
    after, columns = part.times >= onset, {}
    for name, column in part.columns.items():
        wrong = broken(column[after], fault, training.columns[name], rng)
        if wrong is not None:
            columns[name] = np.concatenate([column[~after], wrong])
    return part.with_columns(columns), set(columns)


def _delays(
    baseline: Baseline, traffic: Traffic, features: set[str], onset: float
) -> dict[str, Optional[tuple[int, float]]]:
    first = int(traffic.times.searchsorted(onset))
    delays: dict[str, Optional[tuple[int, float]]] = {}
    waiting: Optional[set[str]] = None
    for time, rows, report in Watch(baseline, traffic).looks(begin=onset - LOOK_SECONDS):
        drifted = {f.name for f in report.features if any(window.drifted for window in f.windows.values())}
        if waiting is None:
            waiting = features - drifted
            delays = dict.fromkeys(waiting)
            if time <= onset:
                continue
        for name in waiting & drifted:
            delays[name] = (rows - first, round((time - onset) / 3600, 2))
        waiting -= drifted
        if not waiting:
            break
    return delays


def _shown(delays: Sequence[Optional[tuple[int, float]]]) -> dict[str, Any]:
    """Medians over all trials, those that were not found last."""
    order = sorted(delays, key=lambda delay: np.inf if delay is None else delay[0])
    middle = order[(len(order) - 1) // 2]
    share = sum(delay is not None for delay in delays) / len(delays)
    rows, hours = middle if middle is not None else (None, None)
    return {"rows": rows, "hours": hours, "found": round(share, 2), "trials": len(delays)}
