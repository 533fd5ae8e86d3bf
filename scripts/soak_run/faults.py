"""Injects faults that the server has to survive: killed workers, workers scaled up and down, garbage in requests."""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from hostile_bodies import BODIES
from processes import listeners
from servers import TorchServe, scale, wait_for
from soak_run.load import Tally
from sum_model import Row


@dataclass
class FaultInjector:
    """Each method causes one fault and counts it. TorchServe may give up to ``handed_on`` requests to two workers."""

    server: TorchServe
    port: int
    workers: int
    kills: int = 0
    scalings: int = 0
    handed_on: int = 0
    garbage: int = 0
    accepted_garbage: int = 0
    killed: set[int] = field(default_factory=set)

    def kill(self) -> None:
        """Kill a worker, every second time the one that serves the port. The last ready worker is not killed."""
        ready = wait_for("a worker that will survive", self._several, 120)
        serving = [pid for pid in listeners(self.port) if pid in ready]
        victims = serving if serving and self.kills % 2 == 0 else [random.choice(ready)]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
            self.killed.add(pid)

    def _several(self) -> list[int]:
        ready = self.server.worker_pids("sum/1.0")
        return ready if len(ready) > 1 or self.workers == 1 else []

    def rescale(self) -> None:
        """Take one worker away, then bring it back."""
        for workers in (max(1, self.workers - 1), self.workers):
            scale(self.server, "sum/1.0", workers)
            self.scalings += 1
        self.handed_on += 1

    def send_garbage(self, bodies: itertools.cycle[bytes]) -> None:
        """Send a body that is not a row. An answer with 200 is a fault; no answer is not: the worker may be killed."""
        self.garbage += 1
        if status(self.server, "sum/1.0", next(bodies)) < 400:
            self.accepted_garbage += 1


def refused_bodies(server: TorchServe) -> list[bytes]:
    """The hostile bodies that the handler without monitoring refuses."""
    return [body for body in BODIES if status(server, "sum/off", body) == 400]


def status(server: TorchServe, model: str, body: bytes) -> int:
    """The status of the answer; 599 if there is none."""
    request = urllib.request.Request(f"{server.inference}/predictions/{model}", body, method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 599


@dataclass
class Checker:
    """Sends rows one by one and compares the answers."""

    server: TorchServe
    rows: itertools.cycle[Row]
    tally: Tally = field(default_factory=Tally)
    wrong: int = 0

    def check(self) -> None:
        row = next(self.rows)
        try:
            answer = self.server.predict("sum/1.0", row.features, timeout=60)
        except (OSError, ValueError):
            self.tally.unsure += 1
            return
        self.tally.answered += 1
        if not isinstance(answer, float) or not math.isclose(answer, row.answer, rel_tol=1e-5):
            self.wrong += 1
