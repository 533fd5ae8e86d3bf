"""The background thread: it folds rows, evaluates the model, publishes the snapshot, and serves the port.

Only one worker of a model evaluates it: the holder of the lock in the model's directory. The kernel releases this lock
when the process ends. Only one process of a host serves the port: the one that has bound it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path
from typing import Callable, Optional

from torchserve_drift.monitoring.evaluator import Evaluator
from torchserve_drift.monitoring.faults import Faults
from torchserve_drift.monitoring.publication import Publication
from torchserve_drift.port.claim import PortClaim
from torchserve_drift.settings.settings import Settings
from torchserve_drift.window.pacing import NO_PAUSE, Pace, Pacer
from torchserve_drift.window.process_lock import ProcessLock
from torchserve_drift.window.store import Store

EVALUATOR_LOCK = "evaluator.lock"
"""The file in a model's directory that is locked by the worker that evaluates the model."""

_ROUND_SECONDS = 1.0
_ROUNDS_BEFORE_WARNING = 5
"""After this number of rounds in which another program has the port, a warning is logged."""

_logger = logging.getLogger("torchserve_drift")


class BackgroundThread:
    """The background thread of one monitor. `run_once` is one round; it can be called without the thread.

    ``evaluator_lock`` is the file whose lock decides which of a model's workers evaluates it. ``port_lock`` is the file
    that is locked by the process that serves the port for this user's models. They are ``None`` if there is only one
    process.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        store: Store,
        publication: Publication,
        faults: Faults,
        *,
        settings: Settings,
        clock: Callable[[], float],
        evaluator_lock: Optional[Path] = None,
        port_lock: Optional[Path] = None,
    ) -> None:
        self.publication = publication
        self._evaluator, self._store, self._faults = evaluator, store, faults
        self._settings, self._clock = settings, clock
        self._evaluator_lock = ProcessLock(evaluator_lock) if evaluator_lock is not None else None
        self._port_claim = PortClaim.for_address(settings.export)
        self._port_lock = ProcessLock(port_lock) if port_lock is not None else None
        self._rounds_without_port = 0
        self._stopping = False
        self._wake = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._due = float("-inf")
        self._random = random.Random()  # never the global generator, whose numbers may be the model's

    def start(self) -> None:
        """Start the thread. It is a daemon, because TorchServe kills its workers without stopping their threads."""
        if self._thread is not None:
            return
        self._port_claim.show(self.publication.shown_snapshots)
        self._store.notify_when_filling(self._wake.set)
        self._thread = threading.Thread(target=self._run, name="torchserve-drift", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, release the locks, and give up the port."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._port_claim.hide(self.publication.shown_snapshots)
        for lock in (self._evaluator_lock, self._port_lock):
            if lock is not None:
                lock.release()

    def _run(self) -> None:
        """Run rounds until the thread is stopped, and only fold in between, when the ring is filling.

        There are no more rounds than needed: during a round, requests wait for the interpreter.
        """
        due = self._next_round(time.monotonic())
        while True:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            if self._stopping:
                return
            if time.monotonic() < due:
                self._fold(Pacer())
            else:
                self.run_once(time.monotonic(), Pacer())
                due = self._next_round(time.monotonic())

    def _next_round(self, now: float) -> float:
        """The time of the next round: that of a due evaluation, or a random time within a second.

        It is random, because all workers of a host should not have their rounds at the same moment.
        """
        due = now + self._random.uniform(0.75, 1.0) * min(_ROUND_SECONDS, self._settings.evaluate_every)
        return self._due if now < self._due < due else due

    def run_once(self, monotonic: float, paced: Pace = NO_PAUSE) -> None:
        """One round: fold, evaluate and publish if that is due and this process may, and bind the port if it is free.

        ``monotonic`` is the time in seconds by a clock that never goes back.
        """
        self._guarded("state", self._store.check_file)
        self._fold(paced)
        self._guarded("evaluate", lambda: self._evaluate_when_due(monotonic, paced))
        self._guarded("serve", self._serve_port)

    def _fold(self, paced: Pace) -> None:
        self._guarded("fold", lambda: self._store.writer.fold(paced))

    def _serve_port(self) -> None:
        """Serve the port, or warn if no process of this user does: then the metrics of this model are not shown."""
        if self._port_claim.serve():
            self._rounds_without_port = 0
            if self._port_lock is not None:
                self._port_lock.take()
        elif self._port_lock is not None and self._rounds_without_port < _ROUNDS_BEFORE_WARNING:
            # The process that serves the port holds this lock. If it is free, another program has the port.
            unheld = self._port_lock.take()
            self._port_lock.release()
            self._rounds_without_port = self._rounds_without_port + 1 if unheld else 0
            if self._rounds_without_port == _ROUNDS_BEFORE_WARNING:
                _logger.warning(
                    "metrics are not shown: %s belongs to another program or another TorchServe; "
                    "export.address must be one of this server's own",
                    self._settings.export.address,
                )

    def _evaluate_when_due(self, monotonic: float, paced: Pace) -> None:
        if monotonic >= self._due and (self._evaluator_lock is None or self._evaluator_lock.take()):
            every = self._settings.evaluate_every
            if self._evaluator.report is None:
                # Another process may have evaluated this model before: its drift lasts, and its next evaluation is
                # not due earlier because this process continues. An additional look would need budget.
                self._evaluator.continue_from(self.publication.published_report())
                wait = self._seconds_until_next()
                if wait > 0:
                    self._due = monotonic + wait
                    return
            self._due = monotonic + every
            self._guarded("evaluate", lambda: self._evaluator.evaluate(paced))
            self._guarded("publish", self.publication.publish)  # also after a failure, to show that it was counted

    def _seconds_until_next(self) -> float:
        """The seconds until the evaluation is due that follows the last published one; at most one period.

        At most one, because the clock may have been set back since.
        """
        report, every = self._evaluator.report, self._settings.evaluate_every
        return 0.0 if report is None else min(report.evaluated_at + every - self._clock(), every)

    def _guarded(self, stage: str, work: Callable[[], object]) -> None:
        """Do the work of a stage; an error in it is counted and logged."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - no fault may end the thread
            self._faults.add(stage, error)
