"""Resident memory of every worker, from its start to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.table import Table

from processes import open_files, resident_bytes
from servers import TorchServe

_EVERY_SECONDS = 2.0


@dataclass
class Life:
    """One worker's memory in bytes over time in seconds; until ``settling``, growth belongs to the worker's start.

    A worker that takes over the evaluation loads what only evaluations need, and settles once more.
    """

    samples: list[tuple[float, int]] = field(default_factory=list)
    evaluates: bool = False
    settling: float = 0.0

    @property
    def seconds(self) -> float:
        return self.samples[-1][0] - self.samples[0][0]

    @property
    def settled(self) -> int:
        """The memory when it had settled; 0 if the worker ended earlier."""
        return next((size for when, size in self.samples if when >= self.settling), 0)

    @property
    def growth(self) -> int:
        """The growth of the memory since then."""
        return self.samples[-1][1] - self.settled if self.settled else 0


class Memory:
    """Samples the memory of the workers of ``model``; a worker's start takes ``settle`` seconds."""

    def __init__(self, server: TorchServe, model: str, settle: float) -> None:
        self._server, self._model, self._settle = server, model, settle
        self._next = 0.0
        self.lives: dict[int, Life] = {}

    def look(self) -> None:
        """Take a sample of every worker, if the next one is due."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        try:
            pids = self._server.worker_pids(self._model)
        except OSError:
            return
        for pid in pids:
            life = self.lives.setdefault(pid, Life(settling=now + self._settle))
            if not life.evaluates and open_files(pid, r"evaluator\.lock"):
                life.evaluates, life.settling = True, now + self._settle
            size = resident_bytes(pid)
            if size:
                life.samples.append((now, size))

    def settled(self) -> list[Life]:
        """The workers that lived long enough to measure their growth."""
        return [life for life in self.lives.values() if life.settled]

    def table(self) -> Table:
        """A table with one line for each worker, in MiB."""
        shown = Table(title="Resident memory of every worker, MiB", title_justify="left")
        for heading in ("pid", "lived", "evaluates", "at its start", "settled", "at its end", "growth"):
            shown.add_column(heading, justify="right")
        for pid, life in self.lives.items():
            if life.samples:
                first, last = life.samples[0][1], life.samples[-1][1]
                later = (_mib(life.settled), _mib(last), f"{life.growth / 2**20:.1f}")
                shown.add_row(
                    str(pid),
                    f"{life.seconds:.0f} s",
                    "yes" if life.evaluates else "",
                    _mib(first),
                    *(later if life.settled else ("", _mib(last), "")),
                )
        return shown


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"
