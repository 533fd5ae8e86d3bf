"""What a worker counts of itself and of what it could not read, in its segment, so that it survives the worker."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REASONS = ("undecodable", "not_features", "wrong_length", "wrong_shape")
"""Why rows are rejected."""

STAGES = ("decode", "observe", "fold", "evaluate", "publish", "serve", "state")
"""Where a fault inside the plugin can happen."""

OBSERVE_BOUNDS = (2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2)
"""Seconds: upper bounds of the histogram of what recording a batch costs."""

_UNKNOWN = len(REASONS) + len(STAGES)
_SUM = _UNKNOWN + 1
_BUCKETS = _SUM + 1
LENGTH = _BUCKETS + len(OBSERVE_BOUNDS) + 1


class Counters:
    """Counters over an array (LENGTH,) of float64; arrays of several workers add up. Thread-safe."""

    def __init__(self, values: Floats) -> None:
        self._values: Any = values.data  # reads and writes one number several times faster than the array does
        self._lock = threading.Lock()

    def reject(self, reason: str, rows: int) -> None:
        """Count rows that could not be read."""
        self._add(REASONS.index(reason), rows)

    def unknown(self, values: int) -> None:
        """Count values under names that are no features."""
        self._add(_UNKNOWN, values)

    def error(self, stage: str) -> None:
        """Count a fault."""
        self._add(len(REASONS) + STAGES.index(stage), 1)

    def observed(self, seconds: float) -> None:
        """Count one batch that took ``seconds`` to record."""
        with self._lock:
            self._values[_BUCKETS + bisect_left(OBSERVE_BOUNDS, seconds)] += 1
            self._values[_SUM] += seconds

    def _add(self, index: int, amount: float) -> None:
        with self._lock:
            self._values[index] += amount


def describe(values: Floats) -> Mapping[str, Any]:
    """Counters by name: ``rows_rejected``, ``errors``, ``unknown`` and ``observe_seconds`` (le, counts, sum)."""
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
