"""One truth per model, whatever happens to its workers: faults against a real TorchServe."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest

from hostile import BODIES
from processes import listeners
from servers import TorchServe, free_ports, torchserve, wait_for
from watched import Row, Watch, archive, manage, p_values, request_rows, scale, scrape, shown_models, value

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.faults]

EVALUATE_SECONDS = 0.5
ANSWERS_WITHIN_SECONDS = 5.0


def settings(port: int, **more: Any) -> dict[str, Any]:
    return {
        "windows": ["1h", "100000 rows"],
        "evaluate_every": f"{EVALUATE_SECONDS:g}s",
        "export": {"address": f"127.0.0.1:{port}"},
        **more,
    }


@pytest.fixture(scope="module")
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def server(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    """Has model `anchor`, which nobody sends rows to, so that there always is a worker that can serve the port."""
    store = tmp_path_factory.mktemp("faults")
    archive(store, "sum.mar", settings(port))
    archive(store, "sum2.mar", settings(port), version="2.0")
    archive(store, "off.mar", settings(port), version="off", monitored=False)
    archive(store, "anchor.mar", settings(port), name="anchor")
    with torchserve(store, {"anchor": "anchor.mar"}, {"enable_model_api": "true"}) as started:
        yield started


@contextmanager
def registered(server: TorchServe, file: str, workers: int, path: str = "/sum") -> Iterator[None]:
    manage(server, "POST", f"?url={file}&initial_workers=0")
    try:
        scale(server, path[1:], workers)  # by its version, or else every version's
        yield
    finally:
        manage(server, "DELETE", path)


def send(server: TorchServe, rows: list[Row], at_once: int = 8) -> None:
    """Send rows, each a request, and check every answer."""
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda row: server.predict("sum", row.features), rows))
    assert answers == pytest.approx([row.answer for row in rows], rel=1e-5)


def counted(port: int, rows: int, **model: str) -> Any:
    """The samples of the port once an evaluation covers ``rows`` of the model's."""

    def probe() -> Any:
        samples = scrape(port)
        return samples if value(samples, "window_rows", window="1h", **model) == rows else None

    return wait_for(f"{rows} rows in the windows", probe, 20)


def assert_exact(port: int, rows: list[Row], **model: str) -> None:
    """Counts are those of the rows, p-values those of SciPy on them."""
    samples = counted(port, len(rows), **model)
    assert value(samples, "rows_total", **model) == len(rows)
    for window in ("1h", "100000 rows"):
        assert value(samples, "window_sample_rows", window=window, **model) == len(rows)
        for (feature, check), expected in p_values(rows).items():
            found = value(samples, "p_value", feature=feature, check=check, window=window, **model)
            assert found == pytest.approx(expected, rel=1e-6)
    for city in ("Rome", "Oslo", "Bonn"):
        expected = sum(row.features["city"] == city for row in rows)
        assert value(samples, "category_total", feature="city", category=city, **model) == expected
    for edge in (25, 35, 55):
        buckets = {
            float(dict(labels)["le"]): found
            for (name, labels), found in samples.items()
            if name == "feature_value_bucket"
            and dict(labels)["feature"] == "age"
            and dict(labels)["model_name"] == "sum"
            and dict(labels)["model_version"] == model.get("version", "1.0")
        }
        nearest = min(buckets, key=lambda le: abs(le - edge))
        assert buckets[nearest] == sum(row.features["age"] <= nearest for row in rows)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_however_many_workers_the_counts_are_exact_and_the_p_values_those_of_all_rows(server, port, workers):
    """Each round also registers the model again, and finds it without rows."""
    rows = request_rows(400, seed=workers)
    with registered(server, "sum.mar", workers):
        assert len(server.worker_pids("sum")) == workers
        counted(port, 0)
        send(server, rows)
        assert_exact(port, rows)
        assert len(listeners(port)) == 1


def test_a_model_that_is_unregistered_disappears_within_two_evaluations(server, port):
    with registered(server, "sum.mar", 2):
        send(server, request_rows(20))
        counted(port, 20)
    gone = time.monotonic()
    wait_for("no series of the model", lambda: shown_models(scrape(port)) == {("anchor", "1.0")}, 5, 0.02)
    assert time.monotonic() - gone < 2 * EVALUATE_SECONDS + 0.5  # the latter until the next port is taken


def test_versions_side_by_side_are_counted_apart(server, port):
    rows = request_rows(300)
    with registered(server, "sum.mar", 1), registered(server, "sum2.mar", 1, "/sum/2.0"):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda row: server.predict("sum/1.0", row.features), rows))
            list(pool.map(lambda row: server.predict("sum/2.0", row.features), rows[:250]))
        assert_exact(port, rows, version="1.0")
        assert_exact(port, rows[:250], version="2.0")


class Load:
    """Requests one after another from several threads: which rows were answered, and how many were sent in all."""

    def __init__(self, server: TorchServe, threads: int = 6) -> None:
        self.answered: list[Row] = []
        self.sent = 0
        self.wrong: list[Any] = []
        self._server = server
        self._rows = itertools.cycle(request_rows(1000, seed=9))
        self._ended = False
        self._pool = ThreadPoolExecutor(threads)
        self._runs = [self._pool.submit(self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._ended:
            row = next(self._rows)
            self.sent += 1
            try:
                answer = self._server.predict("sum", row.features)
            except (OSError, ValueError):  # its worker died, or there is none at the moment
                continue
            if answer == pytest.approx(row.answer, rel=1e-5):
                self.answered.append(row)
            else:
                self.wrong.append((row, answer))

    def end(self) -> None:
        self._ended = True
        self._pool.shutdown()
        for run in self._runs:
            run.result()


def check_promises(port: int, load: Load, watch: Watch, handed_on: int = 0) -> None:
    """Every row that was answered is counted, and of those that were sent and not answered, each at most once.

    TorchServe hands the request of a worker that it stops by scaling to another one: ``handed_on`` may count twice.
    """
    load.end()
    watch.end()
    assert not load.wrong
    assert len(load.answered) > 100
    total = wait_for("everything folded", lambda: settled_total(port))
    assert len(load.answered) <= total <= load.sent + handed_on
    assert not watch.backwards
    assert watch.scrapes > 10
    assert watch.longest_silence < ANSWERS_WITHIN_SECONDS
    assert len(listeners(port)) == 1


def settled_total(port: int) -> Optional[float]:
    """The rows counted, once an evaluation that began after the last request shows as many as the one before it."""
    first = scrape(port)
    evaluated = "last_evaluation_timestamp_seconds"
    later = wait_for(
        "two more evaluations",
        lambda: (
            (now := scrape(port))
            and (value(now, evaluated) or 0) > (value(first, evaluated) or 0) + 2 * EVALUATE_SECONDS
            and now
        ),
    )
    total = value(later, "rows_total")
    return total if total == value(later, "window_rows", window="1h") else None


@pytest.fixture
def loaded(server: TorchServe, port: int) -> Iterator[tuple[Load, Watch]]:
    with registered(server, "sum.mar", 2):
        load, watch = Load(server), Watch(port)
        try:
            yield load, watch
        finally:
            load.end()
            watch.end()


def test_workers_killed_under_load_lose_no_row_that_was_answered(server, port, loaded):
    """In turn the process that serves the port, one of the model's workers, and both of these at once."""
    load, watch = loaded
    for victims in ("port", "any", "all", "port", "any", "port"):
        answered = len(load.answered)
        workers = server.worker_pids("sum")
        chosen = {"port": listeners(port), "any": [random.choice(workers)], "all": workers}[victims]
        for pid in chosen:
            os.kill(pid, signal.SIGKILL)
        wait_for("workers again", lambda dead=set(chosen): healthy(server, dead), 60)
        wait_for("answers again", lambda before=answered: len(load.answered) > before + 50, 30)
    check_promises(port, load, watch)


def healthy(server: TorchServe, dead: set[int]) -> bool:
    pids = {model: set(server.worker_pids(model)) - dead for model in ("sum", "anchor")}
    return len(pids["sum"]) == 2 and len(pids["anchor"]) == 1


def test_scaling_under_load_loses_no_row_that_was_answered(server, port, loaded):
    load, watch = loaded
    for workers in (4, 1, 3, 2):
        answered = len(load.answered)
        scale(server, "sum", workers)
        wait_for("answers", lambda before=answered: len(load.answered) > before + 50, 30)
    check_promises(port, load, watch, handed_on=3 + 1)


def answer(server: TorchServe, version: str, body: bytes, content_type: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"{server.inference}/predictions/sum/{version}", body, {"Content-Type": content_type}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_answers_are_byte_for_byte_those_of_the_handler_without_monitoring(server, port):
    with registered(server, "sum.mar", 1), registered(server, "off.mar", 1, "/sum/off"):
        codes = set()
        for body, content_type in itertools.product(BODIES, ("application/json", "text/plain", "")):
            watched = answer(server, "1.0", body, content_type)
            assert watched == answer(server, "off", body, content_type), (body[:80], content_type)
            codes.add(watched[0])
        assert codes == {200, 400}
        assert len(server.worker_pids("sum")) == 1  # nothing of this ends a worker
        assert shown_models(scrape(port)) == {("anchor", "1.0"), ("sum", "1.0")}
        assert "drift monitoring is off" in server.log.read_text(errors="replace")
        samples = scrape(port)
        assert sum(found for (name, _), found in samples.items() if name == "errors_total") == 0


def test_a_second_torchserve_on_the_host_has_its_own_port_and_models(server, port, tmp_path):
    (other_port,) = free_ports(1)
    store = tmp_path / "store"
    store.mkdir()
    archive(store, "sum.mar", settings(other_port))
    with torchserve(store, {"sum": "sum.mar"}) as other:
        send(other, request_rows(50))
        counted(other_port, 50)
        assert shown_models(scrape(other_port)) == {("sum", "1.0")}
        assert shown_models(scrape(port)) == {("anchor", "1.0")}
        assert listeners(port) != listeners(other_port)
    assert shown_models(scrape(port)) == {("anchor", "1.0")}


class Restarts:
    """TorchServe started anew each time, with files in the same places."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.store, self.state = folder / "store", folder / "state"
        self.store.mkdir()

    @contextmanager
    def running(self, file: str) -> Iterator[TorchServe]:
        with torchserve(self.store, {"sum": file}) as server:
            yield server


def test_windows_outlive_the_server_with_state_dir_and_start_empty_without_or_for_another_baseline(tmp_path):
    restarts = Restarts(tmp_path)
    port, kept = restarts.port, settings(restarts.port, state_dir=str(restarts.state))
    archive(restarts.store, "kept.mar", kept, minWorkers=2)
    archive(restarts.store, "forgetful.mar", settings(port))
    other_columns = {"height": [1.5, 1.7, 1.9] * 100}
    archive(restarts.store, "other.mar", kept, columns=other_columns, minWorkers=2)
    first, second = request_rows(300, seed=1), request_rows(200, seed=2)

    with restarts.running("kept.mar") as server:
        send(server, first)
        counted(port, 300)
    with restarts.running("kept.mar") as server:
        counted(port, 300)
        send(server, second)
        assert_exact(port, first + second)
        assert "windows continue after" in server.log.read_text(errors="replace")
    with restarts.running("forgetful.mar") as server:
        send(server, second)
        assert_exact(port, second)
        assert "windows start empty" in server.log.read_text(errors="replace")
    with restarts.running("other.mar") as server:
        for _ in range(30):
            server.predict("sum", {"height": 1.6})
        samples = counted(port, 30)
        assert value(samples, "rows_total") == 30
        log = server.log.read_text(errors="replace")
        dropped = [line for line in log.splitlines() if "are dropped" in line]
        assert (
            len({line.rpartition("windows in ")[2].split()[0] for line in dropped}) == len(dropped) > 0
        )  # once for each file
    assert len(list(restarts.state.rglob("*.segment"))) <= 2


def test_the_rows_of_these_tests_have_p_values_of_all_sizes():
    found = p_values(request_rows(400, seed=4))
    assert min(found.values()) < 1e-3
    assert json.dumps({"/".join(key): p for key, p in found.items()})
