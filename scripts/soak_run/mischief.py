"""What happens to the server meanwhile: workers killed, scaled up and down, garbage sent."""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from hostile import BODIES
from processes import listeners
from servers import TorchServe, wait_for
from soak_run.load import Tally
from watched import Row, scale


@dataclass
class Mischief:
    """Each method does one bad thing, and counts it; TorchServe may give ``handed_on`` requests to two workers."""

    server: TorchServe
    port: int
    workers: int
    kills: int = 0
    scalings: int = 0
    handed_on: int = 0
    garbage: int = 0
    swallowed: int = 0
    killed: set[int] = field(default_factory=set)

    def kill(self) -> None:
        """Every second time whoever serves the port, else any worker, but never the last one: it has to be answered."""
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
        """One worker less, then all again."""
        for workers in (max(1, self.workers - 1), self.workers):
            scale(self.server, "sum/1.0", workers)
            self.scalings += 1
        self.handed_on += 1

    def send_garbage(self, bodies: itertools.cycle[bytes]) -> None:
        """A body that is no row; not refusing it would be wrong, unless the worker dies of something else."""
        self.garbage += 1
        if status(self.server, "sum/1.0", next(bodies)) < 400:
            self.swallowed += 1


def refused_bodies(server: TorchServe) -> list[bytes]:
    """Of all hostile bodies those that the handler without monitoring refuses."""
    return [body for body in BODIES if status(server, "sum/off", body) == 400]


def status(server: TorchServe, model: str, body: bytes) -> int:
    """The status of the answer; 599 without one."""
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
