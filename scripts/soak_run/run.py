"""The soak: half of the time with mischief, then half for latency and memory, then the reckoning."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from processes import listeners, resident_bytes
from servers import TorchServe, free_ports, torchserve, wait_for
from soak_run.load import Repeated, Tally, post
from soak_run.mischief import Checker, Mischief, refused_bodies
from soak_run.promises import Measured
from watched import Samples, Watch, archive, manage, request_rows, scale, scrape, value

CONNECTIONS, LATENCY_CONNECTIONS = 8, 2


@dataclass(frozen=True)
class Plan:
    """``seconds`` of load, half of them with ``kills``; ``workers`` of either model."""

    seconds: float
    workers: int
    kills: int

    @property
    def evaluate_seconds(self) -> float:
        """As users have it, but in short runs, which else would see no evaluation."""
        return 15.0 if self.seconds >= 240 else 2.0

    @property
    def slice_seconds(self) -> float:
        """Each slice has an evaluation."""
        return max(4.0, self.evaluate_seconds)


def soak(plan: Plan, folder: Path) -> list[Measured]:
    """Run the plan with files in ``folder``, and say what was measured."""
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
        for version in ("1.0", "off"):
            scale(server, f"sum/{version}", plan.workers)
        run = _Run(plan, server, port)
        run.with_mischief()
        run.in_peace()
        lines = run.reckoning()
        pids = [child.pid for child in psutil.Process(server.process.pid).children(recursive=True)]
    left = [pid for pid in pids if psutil.pid_exists(pid)]
    return [*lines, Measured("processes left behind", len(left), 0), *_slices(run)]


def _slices(run: _Run) -> list[Measured]:
    lines = []
    for name, most in (("p50", None), ("p99", 1.05)):
        watched, plain = (median(getattr(tally, name)) for tally in (run.watched, run.plain))
        lines.append(Measured(f"{name} with monitoring (median of slices)", watched * 1e3, None, "ms"))
        lines.append(Measured(f"{name} without", plain * 1e3, None, "ms"))
        lines.append(Measured(f"{name}, ratio", watched / plain, most))
        noise = median(getattr(run.plain, name)[::2]) / median(getattr(run.plain, name)[1::2])
        lines.append(Measured(f"{name} without, ratio of every other slice to the rest", noise))
    return lines


class _Run:
    """One soak: everything sent, and what it did to the server."""

    def __init__(self, plan: Plan, server: TorchServe, port: int) -> None:
        self.plan, self.server, self.port = plan, server, port
        self.rows = request_rows(500)
        self.load, self.watched, self.plain = Tally(), Tally(), Tally()
        self.mischief = Mischief(server, port, plan.workers)
        self.checker = Checker(server, itertools.cycle(request_rows(500, seed=1)))
        self.scrapes: list[Watch] = []
        self.growth_bytes: list[int] = []
        self.resident: list[int] = []

    def with_mischief(self) -> None:
        """Load, garbage and checked answers, while workers die and come again."""
        garbage = itertools.cycle(refused_bodies(self.server))
        watch = Watch(self.port, 0.5)
        self.scrapes.append(watch)
        busy = [
            Repeated(lambda: self.load.add(post(self.server, "sum/1.0", self.rows, CONNECTIONS, 2))),
            Repeated(self.checker.check, 0.01),
            Repeated(lambda: self.mischief.send_garbage(garbage), 0.05),
        ]
        try:
            self._mischief_until(time.monotonic() + self.plan.seconds / 2)
        finally:
            for each in (*busy, watch):
                each.end()

    def _mischief_until(self, end: float) -> None:
        began, kills = time.monotonic(), max(1, self.plan.kills)
        for number in range(self.plan.kills):
            due = began + (number + 0.5) * (end - began) / kills
            time.sleep(max(0.0, due - time.monotonic()))
            self.mischief.kill()
            if number % 5 == 2:
                wait_for("workers to scale", self._complete, 120)
                self.mischief.rescale()
        time.sleep(max(0.0, end - time.monotonic()))
        wait_for("all workers again", self._complete, 120)

    def _complete(self) -> bool:
        return len(self.server.worker_pids("sum/1.0")) == self.plan.workers

    def in_peace(self) -> None:
        """Slices of load with and without monitoring, in turn, the workers that monitor being halted in the latter."""
        workers = self.server.worker_pids("sum/1.0")
        pairs = max(3, round(self.plan.seconds / 2 / (2 * self.plan.slice_seconds)))
        for model in ("sum/1.0", "sum/off"):  # the first requests of new workers are slow
            warm = post(self.server, model, self.rows, LATENCY_CONNECTIONS, 2)
            if model == "sum/1.0":
                self.load.add(warm)
        before: dict[int, int] = {}
        for pair in range(pairs):
            if pair == max(1, pairs // 4):
                before = {pid: resident_bytes(pid) for pid in workers}
            for monitored in (True, False) if pair % 2 == 0 else (False, True):
                self._slice(workers, monitored=monitored)
        after = {pid: resident_bytes(pid) for pid in workers}
        self.resident = list(after.values())
        self.growth_bytes = [after[pid] - before[pid] for pid in workers]

    def _slice(self, workers: list[int], *, monitored: bool) -> None:
        if monitored:
            self.watched.add(post(self.server, "sum/1.0", self.rows, LATENCY_CONNECTIONS, self.plan.slice_seconds))
            return
        with _halted(workers):
            self.plain.add(post(self.server, "sum/off", self.rows, LATENCY_CONNECTIONS, self.plan.slice_seconds))

    def reckoning(self) -> list[Measured]:
        """Everything but latency, once all rows are folded; then the model is unregistered."""
        samples = wait_for("the last rows", self._settled, 60)
        total = value(samples, "rows_total") or 0.0
        sent = Tally()
        for tally in (self.load, self.checker.tally, self.watched):
            sent.add(tally)
        errors = sum(found for (name, _), found in samples.items() if name == "errors_total")
        lines = [
            Measured("rows answered", sent.answered),
            Measured("rows sent, not answered", sent.unsure),
            Measured("rows counted", total),
            Measured("rows answered, not counted", max(0.0, sent.answered - total), 0),
            Measured("rows counted twice", max(0.0, total - sent.answered - sent.unsure - self.mischief.handed_on), 0),
            Measured("answers checked", self.checker.tally.answered),
            Measured("answers wrong", self.checker.wrong, 0),
            Measured("garbage sent", self.mischief.garbage),
            Measured("garbage not refused", self.mischief.swallowed, 0),
            Measured("workers killed", self.mischief.kills),
            Measured("times scaled", self.mischief.scalings),
            Measured("faults in the plugin", errors, 0),
            *self._of_the_port(),
            Measured("resident memory of a worker, most", max(self.resident) / 2**20, None, "MiB"),
            Measured("its growth after the first quarter, most", max(self.growth_bytes) / 2**20, 5, "MiB"),
        ]
        return [*lines, *self._leaks()]

    def _of_the_port(self) -> list[Measured]:
        return [
            Measured("scrapes", sum(watch.scrapes for watch in self.scrapes)),
            Measured("scrapes refused", sum(watch.failures for watch in self.scrapes)),
            Measured("longest silence of the port", max(watch.longest_silence for watch in self.scrapes), 5, "s"),
            Measured("counters gone backwards", sum(len(watch.backwards) for watch in self.scrapes), 0),
            Measured("processes beyond one that have the port", abs(len(listeners(self.port)) - 1), 0),
        ]

    def _settled(self) -> Samples:
        first = scrape(self.port)
        evaluated = "last_evaluation_timestamp_seconds"
        later = wait_for("an evaluation", lambda: self._after(value(first, evaluated) or 0, evaluated))
        return later if value(later, "rows_total") == value(first, "rows_total") else {}

    def _after(self, moment: float, evaluated: str) -> Samples:
        samples = scrape(self.port)
        return samples if (value(samples, evaluated) or 0) > moment + 2 * self.plan.evaluate_seconds else {}

    def _leaks(self) -> list[Measured]:
        """Files beyond a segment for each worker; processes of the model that outlive it."""
        root = self.server.home / f"torchserve-drift-{os.getuid()}"
        files = [path for path in root.rglob("*") if path.is_file()]
        segments = [path for path in files if path.suffix == ".segment"]
        known = {"snapshot.json", "model.json", "evaluator.lock"}
        odd = [path for path in files if path.suffix != ".segment" and path.name not in known]
        workers = {*self.server.worker_pids("sum/1.0"), *self.mischief.killed}
        manage(self.server, "DELETE", "/sum/off")
        manage(self.server, "DELETE", "/sum/1.0")
        wait_for("the model's end", lambda: not listeners(self.port), 30)
        return [
            Measured("segments beyond one a worker", max(0, len(segments) - self.plan.workers), 0),
            Measured("other files beyond three a model", len(odd), 0),
            Measured("workers that outlive the model", sum(_lives(pid) for pid in workers), 0),
        ]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _halted(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
