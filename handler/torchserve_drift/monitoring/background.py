"""The background thread: folding, evaluating when it is this process's turn, publishing, and the port.

Of a model's workers one evaluates: whoever holds the lock of its directory, which the kernel releases with the
process. Of all processes of a host one serves the port: whoever has bound it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from torchserve_drift.port.claim import PortClaim
from torchserve_drift.port.model_directory import is_unregistered, publish
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.port.snapshot_files import SnapshotFiles
from torchserve_drift.verdicts.report import Report

if TYPE_CHECKING:
    from torchserve_drift.monitoring.monitor import Monitor

_ROUND_SECONDS = 1.0
_SLICE_SECONDS, _BREATH_SECONDS = 0.0003, 0.0005
_STRANGER_ROUNDS = 5
_logger = logging.getLogger("torchserve_drift")


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

    def __init__(self, monitor: Monitor, board: Optional[SnapshotFiles] = None) -> None:
        self._monitor = monitor
        self._board = board
        self._turn = _Turn(monitor.directory / "evaluator.lock") if monitor.directory is not None else None
        self._port = PortClaim.for_address(monitor.settings.export)
        self._serving = _Turn(board.port_lock_path) if board is not None else None
        self._strangers = 0
        self._stopping = False
        self._wanted = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._due = float("-inf")
        self._random = random.Random()  # never the global generator, whose numbers may be the model's
        self.snapshots: list[Snapshot] = []

    def start(self) -> None:
        """Run rounds in a daemon thread: a model server's workers are killed, never stopped."""
        if self._thread is not None:
            return
        self._port.show(self._shown)
        self._monitor.store.on_filling = self._wanted.set
        self._thread = threading.Thread(target=self._run, name="torchserve-drift", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, give up turn and port."""
        self._stopping = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
            self._port.hide(self._shown)
        for turn in (self._turn, self._serving):
            if turn is not None:
                turn.give_up()

    def _run(self) -> None:
        """Rounds as seldom as promises allow, since each takes the interpreter from requests; folds also in between."""
        due = self._next_round(time.monotonic())
        while True:
            self._wanted.wait(max(0.0, due - time.monotonic()))
            self._wanted.clear()
            if self._stopping:
                return
            if time.monotonic() < due:
                self._fold(Pause())
            else:
                self.run_once(time.monotonic(), Pause())
                due = self._next_round(time.monotonic())

    def _next_round(self, now: float) -> float:
        """When an evaluation is due, or else after a time that differs, lest all workers have their rounds at once."""
        due = now + self._random.uniform(0.75, 1.0) * min(_ROUND_SECONDS, self._monitor.settings.evaluate_every)
        return self._due if now < self._due < due else due

    def run_once(self, monotonic: float, pause: Callable[[], None]) -> None:
        """One round: fold; evaluate and publish if it is due and our turn; take the port if nobody has it."""
        self._guarded("state", self._monitor.store.tend)
        self._fold(pause)
        self._guarded("evaluate", lambda: self._evaluate_when_due(monotonic, pause))
        self._guarded("serve", self._serve)

    def _fold(self, pause: Callable[[], None]) -> None:
        self._guarded("fold", lambda: self._monitor.store.writer.fold(pause))

    def _serve(self) -> None:
        """Have the port, or else make sure that one of us has it: only then does it show this model."""
        if self._port.serve():
            self._strangers = 0
            if self._serving is not None:
                self._serving.take()
        elif self._serving is not None and self._strangers < _STRANGER_ROUNDS:
            alone = self._serving.take()
            self._serving.give_up()
            self._strangers = self._strangers + 1 if alone else 0
            if self._strangers == _STRANGER_ROUNDS:
                _logger.warning(
                    "metrics are not shown: %s belongs to another program or another TorchServe; "
                    "export.address must be one of this server's own",
                    self._monitor.settings.export.address,
                )

    def _evaluate_when_due(self, monotonic: float, pause: Callable[[], None]) -> None:
        if monotonic >= self._due and (self._turn is None or self._turn.take()):
            every = self._monitor.settings.evaluate_every
            if self._monitor.report is None:
                self._monitor.report = self.published()  # drift goes on, whoever evaluated before
                wait = self._until_next()
                if wait > 0:  # looks are no more for a change of hands
                    self._due = monotonic + wait
                    return
            self._due = monotonic + every
            self._guarded("evaluate", lambda: self._monitor.evaluate(pause))
            self._guarded("publish", self._publish)  # also after a failure, which nobody would see otherwise

    def _until_next(self) -> float:
        """Seconds until the evaluation after the last one, somebody else's, is due; at most one period."""
        report, every = self._monitor.report, self._monitor.settings.evaluate_every
        return 0.0 if report is None else min(report.evaluated_at + every - self._monitor.clock(), every)

    def _publish(self) -> None:
        self.snapshots = [self._monitor.snapshot()]
        if self._monitor.directory is not None:
            publish(self._monitor.directory, self.snapshots[0])

    def published(self) -> Optional[Report]:
        """The model's latest report, whichever process evaluates."""
        directory = self._monitor.directory
        return self._board.latest_report(directory) if self._board is not None and directory is not None else None

    def _shown(self) -> list[Snapshot]:
        """Our own model first: its snapshot may be newer than its file, where a disk is full."""
        if self._board is None:
            return self.snapshots
        directory = self._monitor.directory
        ours = [] if directory is not None and is_unregistered(directory) else self.snapshots
        return [*ours, *self._board.snapshots()]

    def _guarded(self, stage: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the thread outlives every fault, which is counted and said once
            self._monitor.fault(stage, error)


class _Turn:
    """A right that at most one process has: to evaluate a model; to say that the port is one of ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        here = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _give_up(here()))

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
        return True

    def give_up(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.give_up()


def _give_up(turn: Optional[_Turn]) -> None:
    if turn is not None:
        turn.give_up()
