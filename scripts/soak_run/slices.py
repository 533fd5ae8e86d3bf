"""Measures latency with and without monitoring, in alternating slices: four with, four without, and so on."""

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

    While one model is measured, the other's workers are halted. So both have the same conditions: alone on the machine,
    and continued a moment ago. One slice takes ``seconds``.
    """

    watched: Callable[[float], Tally]
    plain: Callable[[float], Tally]
    watched_workers: list[int]
    plain_workers: list[int]
    seconds: float
    on: list[Tally] = field(default_factory=list)
    off: list[Tally] = field(default_factory=list)

    def run(self, turns: int) -> None:
        """Measure four slices with and four without monitoring, ``turns`` times.

        Workers that continue after a halt do all work that is overdue, all at the same time, which does not happen in
        operation. So there is a pause before the first slice.
        """
        for _ in range(turns):
            with _halted(self.plain_workers):
                time.sleep(_WAKING_SECONDS)
                self.on += [self.watched(self.seconds) for _ in range(_IN_A_ROW)]
            with _halted(self.watched_workers):
                time.sleep(_WAKING_SECONDS)
                self.off += [self.plain(self.seconds) for _ in range(_IN_A_ROW)]

    def lines(self, most: float) -> list[Measured]:
        """Medians, and ratios of slices two seconds apart; ``most`` is the promised ratio of 99th percentiles."""
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
                Measured("   without / without, computed likewise", median(a / b for a, b in zip(off[::2], off[1::2]))),
            ]
        return lines


@contextmanager
def _halted(pids: list[int]) -> Iterator[None]:
    """Halt the processes, and continue them at the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
