"""Interleaved timings: all candidates run in every round, so that changes of the machine's speed affect all equally."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Mapping
from typing import Callable

Work = Callable[[], object]


def medians(candidates: Mapping[str, Work], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds per call of each candidate, one figure per round; each runs for about ``seconds`` in a round."""
    calls = {name: _calls(work, seconds) for name, work in candidates.items()}
    found: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in candidates.items():
                began = time.perf_counter()
                for _ in range(calls[name]):
                    work()
                found[name].append((time.perf_counter() - began) / calls[name])
    finally:
        gc.enable()
    return found


def ratio(found: Mapping[str, list[float]], name: str, floor: str) -> float:
    """The median over all rounds of ``name`` divided by ``floor`` in the same round."""
    return statistics.median(a / b for a, b in zip(found[name], found[floor]))


def _calls(work: Work, seconds: float) -> int:
    work()
    began = time.perf_counter()
    work()
    once = time.perf_counter() - began
    return max(1, int(seconds / max(once, 1e-7)))
