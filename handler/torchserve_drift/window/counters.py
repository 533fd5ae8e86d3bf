"""A worker's counters of unreadable rows, faults and seconds per batch. They are in its segment and outlive it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from torchserve_drift.stats.arrays import Floats

REASONS = ("undecodable", "not_features", "wrong_length", "wrong_shape")
"""The reasons for which rows are rejected."""

STAGES = ("decode", "observe", "fold", "evaluate", "publish", "serve", "state")
"""The parts of the plugin in which a fault can happen."""

OBSERVE_BOUNDS = (2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2)
"""Upper bounds of the histogram's buckets, in seconds spent recording a batch."""

# The order in the array: rejected rows by reason, faults by stage, unknown values, then the histogram: the sum of
# seconds, and the batches in each bucket, the last of which has no upper bound.
_UNKNOWN = len(REASONS) + len(STAGES)
_SUM = _UNKNOWN + 1
_BUCKETS = _SUM + 1
LENGTH = _BUCKETS + len(OBSERVE_BOUNDS) + 1
"""The number of counters."""


class Counters:
    """Counters in an array (LENGTH,). The arrays of several workers add up. Thread-safe."""

    def __init__(self, values: Floats) -> None:
        self._values: Any = values.data  # a memoryview is several times faster than an array for one number
        self._lock = threading.Lock()

    def count_rejected(self, reason: str, rows: int) -> None:
        """Count rows that could not be read; ``reason`` is one of `REASONS`."""
        self._add(REASONS.index(reason), rows)

    def count_unknown(self, values: int) -> None:
        """Count values under names that are not names of features."""
        self._add(_UNKNOWN, values)

    def count_error(self, stage: str) -> None:
        """Count a fault inside the plugin; ``stage`` is one of `STAGES`."""
        self._add(len(REASONS) + STAGES.index(stage), 1)

    def count_batch(self, seconds: float) -> None:
        """Count one batch that took ``seconds`` to record."""
        with self._lock:
            self._values[_BUCKETS + bisect_left(OBSERVE_BOUNDS, seconds)] += 1
            self._values[_SUM] += seconds

    def _add(self, index: int, amount: float) -> None:
        with self._lock:
            self._values[index] += amount


def describe(values: Floats) -> Mapping[str, Any]:
    """The counters in ``values`` (LENGTH,) by name.

    ``rows_rejected`` by reason, ``errors`` by stage, ``unknown`` values, and ``observe_seconds``, a histogram with
    cumulative counts: ``le``, ``counts`` and ``sum``.
    """
    counts = values[_BUCKETS:LENGTH].cumsum()
    return {
        "rows_rejected": {reason: int(values[i]) for i, reason in enumerate(REASONS)},
        "errors": {stage: int(values[len(REASONS) + i]) for i, stage in enumerate(STAGES)},
        "unknown": int(values[_UNKNOWN]),
        "observe_seconds": {
            "le": list(OBSERVE_BOUNDS),
            "counts": counts.astype(int).tolist(),
            "sum": float(values[_SUM]),
        },
    }
