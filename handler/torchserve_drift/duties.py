"""The background thread: folding, evaluating when it is this process's turn, publishing, and the port.

Of a model's workers one evaluates: whoever holds the lock of its directory, which the kernel releases with the
process. Of all processes of a host one serves the port: whoever has bound it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from torchserve_drift.export.board import Board, publish
from torchserve_drift.export.port import Port
from torchserve_drift.export.snapshot import Snapshot
from torchserve_drift.report import Report

if TYPE_CHECKING:
    from torchserve_drift.monitor import Monitor

_TICK_SECONDS = 0.25
_SLICE_SECONDS, _BREATH_SECONDS = 0.0003, 0.0005


class Pause:
    """Called between small pieces of work: sleeps a little once enough was done, so that requests get the
    interpreter."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._since > _SLICE_SECONDS:
            time.sleep(_BREATH_SECONDS)
            self._since = time.perf_counter()


class Duties:
    """One monitor's background thread. `run_once` is one round of it, usable without the thread."""

    def __init__(self, monitor: Monitor, board: Optional[Board] = None) -> None:
        self._monitor = monitor
        self._board = board
        self._turn = _Turn(monitor.directory) if monitor.directory is not None else None
        self._port = Port.at(monitor.settings.export)
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._due = float("-inf")
        self.snapshots: list[Snapshot] = []

    def start(self) -> None:
        """Run rounds in a daemon thread: a model server's workers are killed, never stopped."""
        if self._thread is not None:
            return
        self._port.show(self._shown)
        self._thread = threading.Thread(target=self._run, name="torchserve-drift", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, give up turn and port."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._port.hide(self._shown)
        if self._turn is not None:
            self._turn.give_up()

    def _run(self) -> None:
        tick = min(_TICK_SECONDS, self._monitor.settings.evaluate_every)
        while not self._stopping.wait(tick):
            self.run_once(time.monotonic(), Pause())

    def run_once(self, monotonic: float, pause: Callable[[], None]) -> None:
        """One round: fold; evaluate and publish if it is due and our turn; take the port if nobody has it."""
        self._guarded("state", self._monitor.store.tend)
        self._guarded("fold", lambda: self._monitor.store.writer.fold(pause))
        self._guarded("evaluate", lambda: self._evaluate_when_due(monotonic, pause))
        self._guarded("serve", self._port.serve)

    def _evaluate_when_due(self, monotonic: float, pause: Callable[[], None]) -> None:
        if monotonic >= self._due and (self._turn is None or self._turn.take()):
            self._due = monotonic + self._monitor.settings.evaluate_every
            if self._monitor.report is None:
                self._monitor.report = self.published()  # drift goes on, whoever evaluated before
            self._guarded("evaluate", lambda: self._monitor.evaluate(pause))
            self._guarded("publish", self._publish)  # also after a failure, which nobody would see otherwise

    def _publish(self) -> None:
        self.snapshots = [self._monitor.snapshot()]
        if self._monitor.directory is not None:
            publish(self._monitor.directory, self.snapshots[0])

    def published(self) -> Optional[Report]:
        """The model's latest report, whichever process evaluates."""
        directory = self._monitor.directory
        return self._board.report(directory) if self._board is not None and directory is not None else None

    def _shown(self) -> list[Snapshot]:
        """Our own model first: its snapshot may be newer than its file, where a disk is full."""
        return [*self.snapshots, *(self._board.snapshots() if self._board is not None else ())]

    def _guarded(self, stage: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the thread outlives every fault, which is counted and said once
            self._monitor.fault(stage, error)


class _Turn:
    """The right to evaluate a model, held by at most one process."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "evaluator.lock"
        self._descriptor = -1

    def take(self) -> bool:
        """Whether this process has the turn, trying to take it."""
        if self._descriptor >= 0:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        os.register_at_fork(after_in_child=self.give_up)
        return True

    def give_up(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
