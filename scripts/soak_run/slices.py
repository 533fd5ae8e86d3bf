"""Latency with and without monitoring, in alternating slices: on off off on, on off off on, ..."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Callable

from soak_run.load import Tally
from soak_run.promises import Measured

_ORDER = (True, False, False, True)


@dataclass
class Slices:
    """``watched(seconds)`` and ``plain(seconds)`` post rows to a model with monitoring, and to one without.

    The former's ``workers`` are halted during the latter, so that theirs is all the machine. ``seconds`` of one slice.
    """

    watched: Callable[[float], Tally]
    plain: Callable[[float], Tally]
    workers: list[int]
    seconds: float
    on: list[Tally] = field(default_factory=list)
    off: list[Tally] = field(default_factory=list)

    def run(self, quads: int) -> None:
        """Measure so many times four slices."""
        for _ in range(quads):
            for monitored in _ORDER:
                if monitored:
                    self.on.append(self.watched(self.seconds))
                else:
                    with _halted(self.workers):
                        self.off.append(self.plain(self.seconds))

    def lines(self, most: float) -> list[Measured]:
        """Medians, and ratios of neighbouring slices; ``most`` is the promised ratio of the 99th percentiles."""
        lines = []
        for name, promise in (("p50", None), ("p99", most)):
            on = [median(getattr(tally, name)) * 1e3 for tally in self.on]
            off = [median(getattr(tally, name)) * 1e3 for tally in self.off]
            ratios = [a / b for a, b in zip(on, off)]
            low, _, high = quantiles(ratios, n=4)
            lines += [
                Measured(f"{name} with monitoring, median of {len(on)} slices", median(on), None, "ms"),
                Measured(f"{name} without", median(off), None, "ms"),
                Measured(f"{name}, with / without, median of neighbouring slices", median(ratios), promise),
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
