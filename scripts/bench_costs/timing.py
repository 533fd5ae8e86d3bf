"""Interleaved timings: every contender runs in every round, so that a machine's moods hit all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Mapping
from typing import Callable

Work = Callable[[], object]


def medians(contenders: Mapping[str, Work], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds a call of each contender, one figure a round; each measured for about ``seconds`` a round."""
    calls = {name: _calls(work, seconds) for name, work in contenders.items()}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in contenders.items():
                began = time.perf_counter()
                for _ in range(calls[name]):
                    work()
                found[name].append((time.perf_counter() - began) / calls[name])
    finally:
        gc.enable()
    return found


def ratio(found: Mapping[str, list[float]], name: str, floor: str) -> float:
    """The median over the rounds of ``name`` / ``floor``, both of one round."""
    return statistics.median(a / b for a, b in zip(found[name], found[floor]))


def _calls(work: Work, seconds: float) -> int:
    work()
    began = time.perf_counter()
    work()
    once = time.perf_counter() - began
    return max(1, int(seconds / max(once, 1e-7)))
