"""How many alarms there are for each that the budget allows: by so much the promise is kept better than it must be.

A union bound is no equality. Other tools' thresholds are set by alarms counted on streams without drift; to stand
beside them at the same rate, the budget is made larger by the inverse of what is counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from detection_study.baselines import trained
from detection_study.marginals import MODEL, rows_of
from detection_study.setting import BUDGET_ROWS, LOOK_ROWS
from detection_study.watch import Watch

HASTE = 300
"""The budget here is so many times the study's: else there would be next to nothing to count."""


def stream(number: int, *, rows: int, training_rows: int, seed: int) -> dict[str, int]:
    """How often a feature of one stream comes to be drifted, in whichever window."""
    rng = np.random.default_rng([seed, number, HASTE])
    watch = Watch(trained(MODEL, rng, training_rows), gated=False, seed=number, haste=HASTE)
    alarms, before = 0, set[str]()
    for _ in range(0, rows, 50 * LOOK_ROWS):
        for report, _ in watch.looks(rows_of(MODEL, rng, 50 * LOOK_ROWS)):
            now = {f.name for f in report.features if any(window.drifted for window in f.windows.values())}
            alarms, before = alarms + len(now - before), now
    return {"alarms": alarms, "rows": rows}


def summary(streams: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Alarms counted, alarms allowed, and the one over the other."""
    found = list(streams)
    alarms, rows = (sum(one[key] for one in found) for key in ("alarms", "rows"))
    allowed = rows * HASTE / BUDGET_ROWS
    return {"streams": len(found), "rows": rows, "alarms": alarms, "allowed": allowed, "ratio": alarms / allowed}
