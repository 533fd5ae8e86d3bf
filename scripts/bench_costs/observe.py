"""The request path: `Monitor.observe` of a batch, as an array or as columns, compared with a copy into a ring."""

from __future__ import annotations

from typing import Callable

import numpy as np

from bench_costs.profiles import normal_baseline
from bench_costs.timing import medians, ratio
from torchserve_drift import Monitor

SHAPES = ((1, 10), (32, 20), (128, 100))
_RING_ROWS = 10_000


def measure(rounds: int) -> list[dict[str, object]]:
    """One row of the table for each shape of batch."""
    return [_row(rows, features, rounds) for rows, features in SHAPES]


def _row(rows: int, features: int, rounds: int) -> dict[str, object]:
    batch = np.random.default_rng(1).standard_normal((rows, features)).astype(np.float32)
    columns = {f"x{i}": np.ascontiguousarray(batch[:, i]) for i in range(features)}
    monitor = Monitor(normal_baseline(features), {"windows": ["1h"]}, seed=0)
    candidates = {
        "copy": _copier(batch),
        "observe": _kept_empty(monitor, lambda: monitor.observe(columns), rows),
        "rows": _kept_empty(monitor, lambda: monitor.observe(batch), rows),
    }
    found = medians(candidates, rounds=rounds, seconds=0.02)
    return {
        "batch": f"{rows} x {features}",
        "copy": f"{np.median(found['copy']) * 1e6:.2f}",
        "observe(array)": f"{np.median(found['rows']) * 1e6:.2f}",
        "array / copy": f"{ratio(found, 'rows', 'copy'):.1f}",
        "observe(columns)": f"{np.median(found['observe']) * 1e6:.2f}",
        "columns / copy": f"{ratio(found, 'observe', 'copy'):.1f}",
    }


def _copier(batch: np.ndarray) -> Callable[[], None]:
    ring, rows, at = np.zeros((_RING_ROWS, batch.shape[1]), np.float32), len(batch), [0]

    def copy() -> None:
        begin = at[0]
        end = begin + rows
        if end > _RING_ROWS:
            begin, end = 0, rows
        ring[begin:end] = batch
        at[0] = end

    return copy


def _kept_empty(monitor: Monitor, work: Callable[[], None], rows: int) -> Callable[[], None]:
    """``work`` with a ring that is emptied from time to time, as the background thread does with its folds."""
    arrays, calls = monitor.store.writer.arrays, [0]
    often = max(1, monitor.store.layout.ring_rows // rows // 2)

    def call() -> None:
        work()
        calls[0] += 1
        if calls[0] % often == 0:
            arrays.released[0] = arrays.appended[0]

    return call
