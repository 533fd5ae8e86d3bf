"""The background thread: it folds rows, evaluates when it is this process's turn, publishes, and serves the port.

Of a model's workers one evaluates: the holder of the lock in its directory, which the kernel releases with the process.
Of all processes of a host one serves the port: the one that has bound it.
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
_ROUND_SECONDS = 1.0
_ROUNDS_BEFORE_WARNING = 5
_logger = logging.getLogger("torchserve_drift")


class BackgroundThread:
    """One monitor's background thread. `run_once` is one round of it, usable without the thread.

    ``evaluator_lock`` decides which of a model's workers evaluates; ``port_lock`` is held by the process that serves
    the port to the models of this user. ``None``: there is one process only.
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
        self._may_evaluate = ProcessLock(evaluator_lock) if evaluator_lock is not None else None
        self._port = PortClaim.for_address(settings.export)
        self._serves_port = ProcessLock(port_lock) if port_lock is not None else None
        self._rounds_without_port = 0
        self._stopping = False
        self._wake = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._due = float("-inf")
        self._random = random.Random()  # never the global generator, whose numbers may be the model's

    def start(self) -> None:
        """Run rounds in a daemon thread: a model server's workers are killed, never stopped."""
        if self._thread is not None:
            return
        self._port.show(self.publication.shown)
        self._store.notify_when_filling(self._wake.set)
        self._thread = threading.Thread(target=self._run, name="torchserve-drift", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, release the locks, and give up the port."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._port.hide(self.publication.shown)
        for lock in (self._may_evaluate, self._serves_port):
            if lock is not None:
                lock.release()

    def _run(self) -> None:
        """Rounds as seldom as promises allow, since each takes the interpreter from requests; folds also in between."""
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
        """When an evaluation is due, or else after a random time: all workers must not have their rounds at once."""
        due = now + self._random.uniform(0.75, 1.0) * min(_ROUND_SECONDS, self._settings.evaluate_every)
        return self._due if now < self._due < due else due

    def run_once(self, monotonic: float, paced: Pace = NO_PAUSE) -> None:
        """One round: fold; evaluate and publish if it is due and our turn; take the port if it is free."""
        self._guarded("state", self._store.check_file)
        self._fold(paced)
        self._guarded("evaluate", lambda: self._evaluate_when_due(monotonic, paced))
        self._guarded("serve", self._serve)

    def _fold(self, paced: Pace) -> None:
        self._guarded("fold", lambda: self._store.writer.fold(paced))

    def _serve(self) -> None:
        """Serve the port, or else make sure that one of our processes does: only then is this model shown."""
        if self._port.serve():
            self._rounds_without_port = 0
            if self._serves_port is not None:
                self._serves_port.take()
        elif self._serves_port is not None and self._rounds_without_port < _ROUNDS_BEFORE_WARNING:
            unheld = self._serves_port.take()
            self._serves_port.release()
            self._rounds_without_port = self._rounds_without_port + 1 if unheld else 0
            if self._rounds_without_port == _ROUNDS_BEFORE_WARNING:
                _logger.warning(
                    "metrics are not shown: %s belongs to another program or another TorchServe; "
                    "export.address must be one of this server's own",
                    self._settings.export.address,
                )

    def _evaluate_when_due(self, monotonic: float, paced: Pace) -> None:
        if monotonic >= self._due and (self._may_evaluate is None or self._may_evaluate.take()):
            every = self._settings.evaluate_every
            if self._evaluator.report is None:
                # drift lasts, whichever process evaluated before; and a change of processes adds no look
                self._evaluator.continue_from(self.publication.published_report())
                wait = self._seconds_until_next()
                if wait > 0:
                    self._due = monotonic + wait
                    return
            self._due = monotonic + every
            self._guarded("evaluate", lambda: self._evaluator.evaluate(paced))
            self._guarded("publish", self.publication.publish)  # also after a failure, to show that it was counted

    def _seconds_until_next(self) -> float:
        """Until the evaluation after the last one, another process's, is due; at most one period."""
        report, every = self._evaluator.report, self._settings.evaluate_every
        return 0.0 if report is None else min(report.evaluated_at + every - self._clock(), every)

    def _guarded(self, stage: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the thread outlives every fault, which is counted and logged once
            self._faults.add(stage, error)
