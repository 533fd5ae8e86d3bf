"""The soak: faults under load in the first half, latency in the second, memory in both; then counts are compared."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.table import Table

from metrics_port import Samples, ScrapeWatch, scrape, value
from processes import listeners
from servers import TorchServe, fetch, free_ports, manage, scale, torchserve, wait_for
from soak_run.faults import Checker, FaultInjector, refused_bodies
from soak_run.load import Repeated, Tally, post
from soak_run.memory import Memory
from soak_run.promises import Measured
from soak_run.slices import Slices
from sum_model import archive, request_rows

CONNECTIONS, LATENCY_CONNECTIONS = 8, 2
_SLICE_SECONDS = 0.5
"""Slices are short, so that the machine is equally busy in neighbouring slices, and idle in most of them."""
_WATCHED, _PLAIN = "sum/1.0", "sum/off"
_MOST_RATIO, _MOST_GROWTH_MIB, _MOST_SILENCE_SECONDS = 1.05, 5, 5


@dataclass(frozen=True)
class Plan:
    """``seconds`` of load, the first half with ``kills``; each of the two models has ``workers``."""

    seconds: float
    workers: int
    kills: int

    @property
    def evaluate_seconds(self) -> float:
        """The interval of evaluations and scrapes: the default, or less in a short run, to have enough of them."""
        return 15.0 if self.seconds >= 240 else 1.0

    @property
    def settle_seconds(self) -> float:
        """How long a worker's memory may grow after its start: a minute, or less in a short run."""
        return min(60.0, self.seconds / 5)


@dataclass(frozen=True)
class SoakResult:
    """What was measured, and the memory of every worker."""

    lines: list[Measured]
    memory: Table


def soak(plan: Plan, folder: Path) -> SoakResult:
    """Run the plan, with files in ``folder``, and return what was measured."""
    (port,) = free_ports(1)
    store = folder / "store"
    store.mkdir()
    drift = {
        "windows": ["10m", "1h"],
        "evaluate_every": f"{plan.evaluate_seconds:g}s",
        "export": {"address": f"127.0.0.1:{port}"},
    }
    archive(store, "watched.mar", drift)
    archive(store, "plain.mar", drift, version="off", monitored=False)
    with torchserve(
        store, {"sum": "watched.mar"}, {"enable_model_api": "true", "default_response_timeout": "60"}
    ) as server:
        manage(server, "POST", "?url=plain.mar&initial_workers=0")
        for model in (_WATCHED, _PLAIN):
            scale(server, model, plan.workers)
        run = _Run(plan, server, port)
        slices = run.all()
        lines = run.final_lines()
        pids = [child.pid for child in psutil.Process(server.process.pid).children(recursive=True)]
    left = [pid for pid in pids if psutil.pid_exists(pid)]
    lines += [Measured("processes left behind", len(left), 0), *slices.lines(_MOST_RATIO)]
    return SoakResult(lines, run.memory.table())


class _Run:
    """One soak: all that was sent, and its effects on the server."""

    def __init__(self, plan: Plan, server: TorchServe, port: int) -> None:
        self.plan, self.server, self.port = plan, server, port
        self.rows = request_rows(500)
        self.load = Tally()
        self.faults = FaultInjector(server, port, plan.workers)
        self.checker = Checker(server, itertools.cycle(request_rows(500, seed=1)))
        self.memory = Memory(server, _WATCHED, plan.settle_seconds)
        self.watch = ScrapeWatch(port, 0.5)
        self.pages: list[str] = []
        self.scrape_due = 0.0

    def all(self) -> Slices:
        """Run both halves, and sample memory and port during them."""
        memory = Repeated(self.memory.look, 0.2)
        try:
            self.with_faults()
            return self.measure_latency()
        finally:
            memory.end()
            self.watch.end()

    def with_faults(self) -> None:
        """Send load and garbage and check answers, while workers are killed and started again."""
        garbage = itertools.cycle(refused_bodies(self.server))
        busy = [
            Repeated(lambda: self.load.add(post(self.server, _WATCHED, self.rows, CONNECTIONS, 2))),
            Repeated(self.checker.check, 0.01),
            Repeated(lambda: self.faults.send_garbage(garbage), 0.05),
        ]
        try:
            self._faults_until(time.monotonic() + self.plan.seconds / 2)
        finally:
            for each in busy:
                each.end()
        self.watch.end()  # while workers are halted, the port does not answer

    def _faults_until(self, end: float) -> None:
        began, kills = time.monotonic(), max(1, self.plan.kills)
        for number in range(self.plan.kills):
            due = began + (number + 0.5) * (end - began) / kills
            time.sleep(max(0.0, due - time.monotonic()))
            self.faults.kill()
            if number % 5 == 2:
                wait_for("workers to scale", self._complete, 120)
                self.faults.rescale()
        time.sleep(max(0.0, end - time.monotonic()))
        wait_for("all workers again", self._complete, 120)

    def _complete(self) -> bool:
        # TorchServe needs a moment to notice that a worker has ended.
        ready = set(self.server.worker_pids(_WATCHED)) - self.faults.killed
        return len(ready) == self.plan.workers

    def measure_latency(self) -> Slices:
        """Slices of load with and without monitoring; the port is scraped as often as the model is evaluated."""
        self.load.add(self._post(_WATCHED, 2))  # the first requests of new workers are slow
        self._post(_PLAIN, 2)
        slices = Slices(
            self._watched_slice,
            lambda seconds: self._post(_PLAIN, seconds),
            self.server.worker_pids(_WATCHED),
            self.server.worker_pids(_PLAIN),
            _SLICE_SECONDS,
        )
        slices.run(max(2, round(self.plan.seconds / 2 / (8 * _SLICE_SECONDS))))
        for page in self.pages:
            self.watch.read(page)
        for tally in slices.on:
            self.load.add(tally)
        return slices

    def _post(self, model: str, seconds: float) -> Tally:
        return post(self.server, model, self.rows, LATENCY_CONNECTIONS, seconds)

    def _watched_slice(self, seconds: float) -> Tally:
        """A slice, with a scrape if one is due. The page is parsed later, since parsing is not the server's work."""
        if time.monotonic() < self.scrape_due:
            return self._post(_WATCHED, seconds)
        self.scrape_due = time.monotonic() + self.plan.evaluate_seconds
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(fetch, f"http://127.0.0.1:{self.port}/metrics")
            tally = self._post(_WATCHED, seconds)
            self.pages.append(page.result())
        return tally

    def final_lines(self) -> list[Measured]:
        """All lines but those of latency, once all rows are folded; then the model is unregistered."""
        samples = wait_for("the last rows", self._settled, 240)
        total = value(samples, "rows_total") or 0.0
        sent = Tally()
        for tally in (self.load, self.checker.tally):
            sent.add(tally)
        errors = sum(found for (name, _), found in samples.items() if name == "errors_total")
        growths = [life.growth / 2**20 for life in self.memory.settled()]
        lines = [
            Measured("rows answered", sent.answered),
            Measured("rows sent, but not answered with 200", sent.unsure),
            Measured("rows counted", total),
            Measured("rows answered, not counted", max(0.0, sent.answered - total), 0),
            Measured("rows counted twice", max(0.0, total - sent.answered - sent.unsure - self.faults.handed_on), 0),
            Measured("answers checked", self.checker.tally.answered),
            Measured("answers wrong", self.checker.wrong, 0),
            Measured("garbage sent", self.faults.garbage),
            Measured("garbage not refused", self.faults.accepted_garbage, 0),
            Measured("workers killed", self.faults.kills),
            Measured("times scaled", self.faults.scalings),
            Measured("faults in the plugin", errors, 0),
            *self._of_the_port(),
            Measured("workers older than their first minute", len(growths)),
            Measured("largest growth of their memory since then", max(growths, default=0.0), _MOST_GROWTH_MIB, "MiB"),
        ]
        return [*lines, *self._leaks()]

    def _of_the_port(self) -> list[Measured]:
        return [
            Measured("scrapes", self.watch.scrapes),
            Measured("scrapes refused", self.watch.failures),
            Measured("longest silence of the port", self.watch.longest_silence, _MOST_SILENCE_SECONDS, "s"),
            Measured("counters gone backwards", len(self.watch.backwards), 0),
            Measured("processes beyond one that hold the port", abs(len(listeners(self.port)) - 1), 0),
        ]

    def _settled(self) -> Samples:
        first = scrape(self.port)
        evaluated = "last_evaluation_timestamp_seconds"
        patience = 30 + 3 * self.plan.evaluate_seconds
        later = wait_for("evaluations", lambda: self._after(value(first, evaluated) or 0, evaluated), patience)
        return later if value(later, "rows_total") == value(first, "rows_total") else {}

    def _after(self, moment: float, evaluated: str) -> Samples:
        samples = scrape(self.port)
        return samples if (value(samples, evaluated) or 0) > moment + 2 * self.plan.evaluate_seconds else {}

    def _leaks(self) -> list[Measured]:
        """Files beyond one segment for each worker, and processes that outlive the model."""
        root = self.server.home / f"torchserve-drift-{os.getuid()}"
        files = [path for path in root.rglob("*") if path.is_file()]
        segments = [path for path in files if path.suffix == ".segment"]
        known = {"snapshot.json", "model.json", "evaluator.lock", f"port-127.0.0.1:{self.port}.lock"}
        odd = [path for path in files if path.suffix != ".segment" and path.name not in known]
        workers = {*self.server.worker_pids(_WATCHED), *self.faults.killed}
        manage(self.server, "DELETE", f"/{_PLAIN}")
        manage(self.server, "DELETE", f"/{_WATCHED}")
        with contextlib.suppress(TimeoutError):  # then the lines below show it
            wait_for("the model's end", lambda: not (any(map(_lives, workers)) or listeners(self.port)), 30)
        return [
            Measured("segments beyond one per worker", max(0, len(segments) - self.plan.workers), 0),
            Measured("other files beyond three per model and one per port", len(odd), 0),
            Measured("workers that outlive the model", sum(_lives(pid) for pid in workers), 0),
            Measured("processes that hold the port then", len(listeners(self.port)), 0),
        ]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
