"""The memory of windows: fixed at the start, within its bound, and not growing with the number of rows."""

from __future__ import annotations

import resource
import time

import numpy as np

from bench_costs.profiles import normal_baseline
from torchserve_drift import Monitor

_BATCH = 2_000


def sizes() -> list[dict[str, object]]:
    """The size of one worker's windows with the default settings, and its upper bound."""
    rows: list[dict[str, object]] = []
    for features in (5, 20, 100, 1000):
        monitor = Monitor(normal_baseline(features), seed=0)
        bound = 15 * monitor.settings.reservoir_rows * features * 4
        size = monitor.store.size_bytes
        rows.append(
            {
                "features": str(features),
                "windows, MiB": f"{size / 2**20:.2f}",
                "bound 15 x rows x features x 4, MiB": f"{bound / 2**20:.2f}",
                "windows / bound": f"{size / bound:.2f}",
            }
        )
    return rows


def growth(total: int) -> list[dict[str, object]]:
    """The resident memory of this process at several points of a run of ``total`` rows of 20 features."""
    monitor = Monitor(normal_baseline(20), clock=time.time, seed=0)
    rng = np.random.default_rng(3)
    batches = [rng.standard_normal((_BATCH, 20)) for _ in range(16)]
    rows: list[dict[str, object]] = []
    marks = {int(total * share) // _BATCH * _BATCH for share in (0.02, 0.25, 0.5, 0.75, 1)}
    for done in range(_BATCH, total + 1, _BATCH):
        monitor.record(batches[done // _BATCH % 16])
        if done % (50 * _BATCH) == 0:
            monitor.evaluate()
        if done in marks:
            rows.append({"rows": f"{done:,}", "resident, MiB": f"{_resident_mib():.1f}"})
    assert monitor.evaluate().windows["24h"].rows == total // _BATCH * _BATCH
    return rows


def _resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
