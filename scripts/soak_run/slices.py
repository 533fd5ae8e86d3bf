"""Latency with and without monitoring, in slices by turns: four with, four without, four with, ..."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Callable

from soak_run.load import Tally
from soak_run.promises import Measured

_IN_A_ROW = 4
_WAKING_SECONDS = 0.1


@dataclass
class Slices:
    """``watched(seconds)`` and ``plain(seconds)`` post rows to a model with monitoring, and to one without.

    The workers of either are halted meanwhile, so that the other's are alike: alone on the machine, and just woken.
    ``seconds`` of one slice.
    """

    watched: Callable[[float], Tally]
    plain: Callable[[float], Tally]
    watched_workers: list[int]
    plain_workers: list[int]
    seconds: float
    on: list[Tally] = field(default_factory=list)
    off: list[Tally] = field(default_factory=list)

    def run(self, turns: int) -> None:
        """Measure so many times four slices with, and four without.

        Workers that were halted do at once what became due meanwhile, all together, as they never do else: that has
        a moment of its own, before the first slice.
        """
        for _ in range(turns):
            with _halted(self.plain_workers):
                time.sleep(_WAKING_SECONDS)
                self.on += [self.watched(self.seconds) for _ in range(_IN_A_ROW)]
            with _halted(self.watched_workers):
                time.sleep(_WAKING_SECONDS)
                self.off += [self.plain(self.seconds) for _ in range(_IN_A_ROW)]

    def lines(self, most: float) -> list[Measured]:
        """Medians, and ratios of slices two seconds apart; ``most`` is the promised ratio of the 99th percentiles."""
        lines = []
        for name, promise in (("p50", None), ("p99", most)):
            on = [median(getattr(tally, name)) * 1e3 for tally in self.on]
            off = [median(getattr(tally, name)) * 1e3 for tally in self.off]
            ratios = [a / b for a, b in zip(on, off)]
            low, _, high = quantiles(ratios, n=4)
            lines += [
                Measured(f"{name} with monitoring, median of {len(on)} slices", median(on), None, "ms"),
                Measured(f"{name} without", median(off), None, "ms"),
                Measured(f"{name}, with / without, median of pairs of slices", median(ratios), promise),
                Measured("   its lower quartile", low),
                Measured("   its upper quartile", high),
                Measured("   without / without, likewise", median(a / b for a, b in zip(off[::2], off[1::2]))),
            ]
        return lines


@contextmanager
def _halted(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
