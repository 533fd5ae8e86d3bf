"""Load: posts rows by wrk, or by a small client if wrk is missing, and counts the answers."""

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
from sum_model import Row

_SCRIPT = Path(__file__).with_name("rows.lua")


@dataclass
class Tally:
    """Requests of one row each: ``answered`` with status 200, or ``unsure``: without an answer, or with an error.

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
    """Post ``rows`` repeatedly for ``seconds``, which need not be a whole number."""
    send = _wrk if shutil.which("wrk") else _client
    return send(server, model, rows, connections, seconds)


def _wrk(server: TorchServe, model: str, rows: Sequence[Row], connections: int, seconds: float) -> Tally:
    file = server.home / "rows.jsonl"
    file.write_text("".join(json.dumps(row.features) + "\n" for row in rows))
    command = ["wrk", "-t1", f"-c{connections}", "-d10m", "--timeout", "30s", "-s", str(_SCRIPT)]
    url = f"{server.inference}/predictions/{model}"
    with subprocess.Popen([*command, url, "--", str(file)], stdout=subprocess.PIPE, text=True) as running:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)  # wrk takes only whole seconds; it reports also when it is interrupted
        printed, _ = running.communicate()
    report = json.loads(printed.strip().splitlines()[-1])
    # When wrk ends, each connection has sent a request that is not answered yet.
    unsure = report["refused"] + report["broken"] + connections
    return Tally(report["responses"] - report["refused"], unsure, [report["p50"]], [report["p99"]])


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
    """Calls ``work`` in a thread every ``interval`` seconds until `end`, which raises an exception of ``work``."""

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
