"""Faults against a real TorchServe: a model's counts stay right, whatever happens to its workers."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from baselines import baseline
from hostile_bodies import BODIES
from metrics_port import ScrapeWatch, scrape, shown_models, value
from processes import listeners
from servers import TorchServe, free_ports, manage, scale, torchserve, wait_for
from sum_model import COLUMNS, Row, archive, p_values, request_rows
from torchserve_drift import Monitor

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
    """Has a model `anchor` without traffic, so that there is always a worker that can serve the port."""
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


def send(server: TorchServe, rows: list[Row], model: str = "sum") -> None:
    """Send rows, each a request, and check every answer."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda row: server.predict(model, row.features), rows))
    assert answers == pytest.approx([row.answer for row in rows], rel=1e-5)


def counted(port: int, rows: int, **model: str) -> Any:
    """The samples of the port once an evaluation covers ``rows`` rows of the model."""

    def probe() -> Any:
        samples = scrape(port)
        return samples if value(samples, "window_rows", window="1h", **model) == rows else None

    return wait_for(f"{rows} rows in the windows", probe, 20)


def assert_exact(port: int, rows: list[Row], **model: str) -> None:
    """Check that counts equal those of the rows, and p-values those of SciPy on the rows."""
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
            and dict(labels)["model_name"] == model.get("model", "sum")
            and dict(labels)["model_version"] == model.get("version", "1.0")
        }
        nearest = min(buckets, key=lambda le: abs(le - edge))
        assert buckets[nearest] == sum(row.features["age"] <= nearest for row in rows)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_however_many_workers_the_counts_are_exact_and_the_p_values_those_of_all_rows(server, port, workers):
    rows = request_rows(400, seed=workers)
    with registered(server, "sum.mar", workers):
        assert len(server.worker_pids("sum")) == workers
        send(server, rows)
        assert_exact(port, rows)
        assert len(listeners(port)) == 1


def test_a_model_that_is_unregistered_disappears_within_two_evaluations(server, port):
    with registered(server, "sum.mar", 2):
        send(server, request_rows(20))
        counted(port, 20)
    gone = time.monotonic()
    wait_for("no series of the model", lambda: shown_models(scrape(port)) == {("anchor", "1.0")}, 5, 0.02)
    assert time.monotonic() - gone < 2 * EVALUATE_SECONDS + 0.5  # half a second until another process holds the port


def test_a_model_that_is_registered_again_starts_without_rows(server, port):
    for sent in (30, 20):
        with registered(server, "sum.mar", 2):
            counted(port, 0)
            send(server, request_rows(sent))
            assert value(counted(port, sent), "rows_total") == sent
    assert server.log.read_text(errors="replace").count("are dropped") == 0


def test_versions_side_by_side_are_counted_apart(server, port):
    rows = request_rows(300)
    with registered(server, "sum.mar", 1), registered(server, "sum2.mar", 1, "/sum/2.0"):
        send(server, rows, "sum/1.0")
        send(server, rows[:250], "sum/2.0")
        assert_exact(port, rows, version="1.0")
        assert_exact(port, rows[:250], version="2.0")


class Load:
    """Sends requests from several threads, and keeps the rows that were answered and the number that was sent."""

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
            except (OSError, ValueError):  # its worker was killed, or there is none at the moment
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


def check_promises(port: int, load: Load, watch: ScrapeWatch, handed_on: int = 0) -> None:
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
    """The number of rows, once an evaluation that began after the last request shows as many as the one before."""
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
def loaded(server: TorchServe, port: int) -> Iterator[tuple[Load, ScrapeWatch]]:
    with registered(server, "sum.mar", 2):
        load, watch = Load(server), ScrapeWatch(port)
        try:
            yield load, watch
        finally:
            load.end()
            watch.end()


def test_workers_killed_under_load_lose_no_row_that_was_answered(server, port, loaded):
    """Kills the process that serves the port, one of the model's workers, and all of the model's workers, in turn."""
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
        assert len(server.worker_pids("sum")) == 1  # no request has ended a worker
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


# A server that is stopped and started


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TorchServe, int, list[Row]]]:
    """Started for the second time with models `kept`, which has a state_dir, and `brief`; the rows sent before."""
    folder = tmp_path_factory.mktemp("restarts")
    store, (port,) = folder / "store", free_ports(1)
    store.mkdir()
    archive(store, "kept.mar", settings(port, state_dir=str(folder / "state")), minWorkers=2)
    archive(store, "brief.mar", settings(port))
    models, rows = {"kept": "kept.mar", "brief": "brief.mar"}, request_rows(300, seed=1)
    with torchserve(store, models) as first:
        for model in models:
            send(first, rows, model)
            counted(port, len(rows), model=model)
    with torchserve(store, models) as second:
        yield second, port, rows


def test_with_state_dir_the_windows_go_on_after_a_stop_and_a_start(restarted):
    server, port, before = restarted
    counted(port, len(before), model="kept")
    after = request_rows(200, seed=2)
    send(server, after, "kept")
    assert_exact(port, before + after, model="kept")
    assert "windows continue after" in server.log.read_text(errors="replace")


def test_without_state_dir_the_windows_start_empty_and_this_is_logged(restarted):
    server, port, before = restarted
    counted(port, 0, model="brief")
    send(server, before[:250], "brief")
    assert_exact(port, before[:250], model="brief")
    assert "windows start empty" in server.log.read_text(errors="replace")


# A server whose models have damaged state directories, each in another way


@dataclass(frozen=True)
class Damaged:
    """A server, its port, and the damaged state directory of each of its models."""

    server: TorchServe
    port: int
    states: Mapping[str, Path]

    def logged(self, model: str, what: str) -> list[str]:
        """The lines of the model's log that contain ``what``."""
        lines = self.server.log.read_text(errors="replace").splitlines()
        return [line for line in lines if f"-{model}_" in line and what in line]

    def serves(self, model: str, rows: int = 60, before: int = 0) -> None:
        """Check that the model's answers are right and its rows are counted."""
        sent = request_rows(rows)
        send(self.server, sent, model)
        assert value(counted(self.port, before + rows, model=model), "rows_total", model=model) == before + rows


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    folder = tmp_path_factory.mktemp("damaged")
    store, (port,) = folder / "store", free_ports(1)
    store.mkdir()
    states = {name: folder / name for name in ("garbage", "deleted", "replaced", "full", "readonly")}
    for name, state in states.items():
        columns = {"height": [1.5, 1.7, 1.9] * 100} if name == "replaced" else None
        archive(store, f"{name}.mar", settings(port, state_dir=str(state)), columns=columns, minWorkers=2)
    with ExitStack() as stack:
        for name, options in (("full", "size=16k"), ("readonly", "ro")):
            if not mount(stack, states[name], options):
                del states[name]
        for file in segments_left(states["replaced"], "replaced", port):
            assert file.stat().st_size > 0
        for number, file in enumerate(segments_left(states["garbage"], "garbage", port)):
            file.write_bytes(random.Random(number).randbytes(file.stat().st_size - number))
        server = stack.enter_context(torchserve(store, {name: f"{name}.mar" for name in states}))
        yield Damaged(server, port, states)


def mount(stack: ExitStack, path: Path, options: str) -> bool:
    """Mount a small file system at ``path``, and say whether that was possible."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False)
    if done.returncode == 0:
        stack.callback(subprocess.run, ["umount", "-l", str(path)], check=True)
    return done.returncode == 0


def segments_left(state: Path, name: str, port: int) -> list[Path]:
    """The segments of two workers that have ended, with 50 rows each."""
    of = [Monitor(baseline(COLUMNS), settings(port, state_dir=str(state)), model_name=name) for _ in range(2)]
    for monitor in of:
        monitor.observe({"age": [30.0] * 50, "amount": [50.0] * 50, "city": ["Rome"] * 50})
        monitor.evaluate()
    for monitor in of:
        monitor.stop()
    return sorted(state.rglob("*.segment"))


def test_a_baseline_of_other_features_drops_the_old_windows_and_this_is_logged_once(damaged):
    for _ in range(30):
        assert damaged.server.predict("replaced", {"height": 1.6}) == pytest.approx(1.6)
    assert value(counted(damaged.port, 30, model="replaced"), "rows_total", model="replaced") == 30
    (line,) = damaged.logged("replaced", "are dropped: made for another baseline or other windows")
    assert line.count(".segment") == 2
    assert len(list(damaged.states["replaced"].rglob("*.segment"))) == 2  # of the workers that live


def test_garbage_in_segments_is_dropped_and_the_model_serves_and_counts(damaged):
    damaged.serves("garbage")
    assert len(damaged.logged("garbage", "are dropped: not a segment file")) == 1
    assert len(damaged.logged("garbage", "or broken: ")) == 1  # of the file that has another size as well
    assert len(damaged.logged("garbage", "are dropped")) == 2
    assert len(list(damaged.states["garbage"].rglob("*.segment"))) == 2


def test_a_state_dir_that_is_deleted_while_serving_is_written_again_and_no_row_is_lost(damaged):
    damaged.serves("deleted")
    shutil.rmtree(damaged.states["deleted"])
    damaged.serves("deleted", before=60)
    assert wait_for("segments again", lambda: len(list(damaged.states["deleted"].rglob("*.segment"))) == 2, 10)


@pytest.mark.parametrize(("kind", "why"), [("full", "No space left on device"), ("readonly", "Read-only file system")])
def test_a_full_disk_or_a_read_only_state_dir_leaves_the_model_serving_and_its_rows_counted(damaged, kind, why):
    if kind not in damaged.states:
        pytest.skip("mounting needs root")
    damaged.serves(kind)
    assert any(why in line for line in damaged.logged(kind, "windows will not survive a restart"))
    assert list(damaged.states[kind].rglob("*.segment")) == []


def test_the_rows_of_these_tests_have_p_values_of_all_sizes():
    found = p_values(request_rows(400, seed=4))
    assert min(found.values()) < 1e-3
    assert json.dumps({"/".join(key): p for key, p in found.items()})
