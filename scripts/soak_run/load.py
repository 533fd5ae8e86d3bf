"""Load: rows posted by wrk, or by a small client where wrk is missing, and what came back."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np

from servers import TorchServe, fetch
from watched import Row

_SCRIPT = Path(__file__).with_name("rows.lua")


@dataclass
class Tally:
    """Requests of one row each: ``answered`` with status 200, and ``unsure``, sent but not answered, or with an error.

    A row of the latter may have reached the model. ``p50`` and ``p99`` are of every request, in seconds.
    """

    answered: int = 0
    unsure: int = 0
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.answered += other.answered
        self.unsure += other.unsure
        self.p50 += other.p50
        self.p99 += other.p99


def post(server: TorchServe, model: str, rows: Sequence[Row], connections: int, seconds: float) -> Tally:
    """Post ``rows`` again and again for so many ``seconds``, which may be parts of one."""
    send = _wrk if shutil.which("wrk") else _client
    return send(server, model, rows, connections, seconds)


def _wrk(server: TorchServe, model: str, rows: Sequence[Row], connections: int, seconds: float) -> Tally:
    file = server.home / "rows.jsonl"
    file.write_text("".join(json.dumps(row.features) + "\n" for row in rows))
    command = ["wrk", "-t1", f"-c{connections}", "-d10m", "--timeout", "30s", "-s", str(_SCRIPT)]
    url = f"{server.inference}/predictions/{model}"
    with subprocess.Popen([*command, url, "--", str(file)], stdout=subprocess.PIPE, text=True) as running:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)  # it knows whole seconds only; interrupted, it reports as ever
        printed, _ = running.communicate()
    said = json.loads(printed.strip().splitlines()[-1])
    # when wrk ends, each connection has a request on its way
    unsure = said["refused"] + said["broken"] + connections
    return Tally(said["responses"] - said["refused"], unsure, [said["p50"]], [said["p99"]])


def _client(server: TorchServe, model: str, rows: Sequence[Row], connections: int, seconds: float) -> Tally:
    bodies, until = itertools.cycle([json.dumps(row.features) for row in rows]), time.monotonic() + seconds
    tally = Tally()
    spent: list[float] = []

    def run() -> None:
        while (began := time.monotonic()) < until:
            try:
                fetch(f"{server.inference}/predictions/{model}", next(bodies), timeout=30)
                tally.answered += 1
            except OSError:
                tally.unsure += 1
            spent.append(time.monotonic() - began)

    with ThreadPoolExecutor(connections) as pool:
        for ended in [pool.submit(run) for _ in range(connections)]:
            ended.result()
    tally.p50, tally.p99 = [float(np.quantile(spent, 0.5))], [float(np.quantile(spent, 0.99))]
    return tally


class Repeated:
    """Calls ``work`` again and again in a thread, ``interval`` seconds apart, until `end`, which raises its errors."""

    def __init__(self, work: Callable[[], None], interval: float = 0.0) -> None:
        self._ended = False
        self._pool = ThreadPoolExecutor(1)
        self._run = self._pool.submit(self._repeat, work, interval)

    def _repeat(self, work: Callable[[], None], interval: float) -> None:
        while not self._ended:
            work()
            time.sleep(interval)

    def end(self) -> None:
        self._ended = True
        self._pool.shutdown()
        self._run.result()
