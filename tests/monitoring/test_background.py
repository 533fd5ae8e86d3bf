"""The background thread: its rounds, which process evaluates, and what the port shows of each model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitors import monitor
from servers import free_ports, wait_for
from torchserve_drift.monitoring import background
from torchserve_drift.port.model_directory import prepare_model_directory, publish
from torchserve_drift.port.snapshot_files import SnapshotFiles
from torchserve_drift.window.process_lock import ProcessLock


def registered(root: Path, name: str, port: int, model_dir: Path) -> Path:
    model_dir.mkdir(exist_ok=True)
    directory = root / name
    prepare_model_directory(directory, model_dir=str(model_dir), address=f"127.0.0.1:{port}", evaluate_every=0.2)
    return directory


def test_a_round_evaluates_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    watched = monitor(tmp_path, port, evaluate_every="10s")
    thread = watched.background()
    thread.run_once(100.0)
    first = watched.report
    thread.run_once(109.9)
    assert watched.report is first
    thread.run_once(110.0)
    assert watched.report is not first
    thread.stop()
    watched.stop()


def test_rows_are_folded_between_rounds_once_half_of_the_ring_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_ROUND_SECONDS", 3600.0)
    (port,) = free_ports(1)
    watched = monitor(tmp_path, port, evaluate_every="1h")
    writer, half = watched.store.writer, watched.store.layout.ring_rows // 2
    watched.start()
    watched.observe({"x": np.zeros(half - 1)})
    time.sleep(0.2)
    assert writer.folded == 0
    watched.observe({"x": np.zeros(1)})
    assert wait_for("a fold", lambda: writer.folded, 10) == half
    watched.stop()


def test_one_of_several_evaluates_and_another_takes_over(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    directory = registered(tmp_path, "m", port, tmp_path / "model")
    files = SnapshotFiles(tmp_path, f"127.0.0.1:{port}")
    watched = [monitor(directory, port, snapshot_files=files) for _ in range(3)]
    threads = [each.background() for each in watched]
    watched[2].observe({"x": np.full(300, 9.0)})
    for monotonic in (0.0, 20.0):
        for each in threads:
            each.run_once(monotonic)
    assert [each.report is not None for each in watched] == [True, False, False]
    since = watched[0].report.feature("x").windows["1h"].since  # type: ignore[union-attr] # it evaluated
    threads[0].stop()
    threads[1].run_once(50.0)
    taken = watched[1].report
    assert taken is not None
    assert taken.feature("x").windows["1h"].drifted
    assert taken.feature("x").windows["1h"].since == since  # the drift goes on in the process that took over
    for each in threads[1:]:
        each.stop()
    for one in watched:
        one.stop()


def test_a_port_of_another_program_is_logged_once_and_that_of_a_sibling_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    (tmp_path / "ours").mkdir()
    directory = registered(tmp_path / "ours", "m", port, tmp_path / "model")
    watched = monitor(directory, port, snapshot_files=SnapshotFiles(tmp_path / "ours", address))
    thread = watched.background()
    thread._port_claim.show(thread.publication.shown_snapshots)

    def rounds() -> int:
        for _ in range(50):
            thread.run_once(0.0)
        return caplog.text.count(f"metrics are not shown: {address} belongs to another")

    sibling = ProcessLock(SnapshotFiles(tmp_path / "ours", address).port_lock_path)
    with socket.socket() as other_program:
        other_program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other_program.bind(("127.0.0.1", port))
        other_program.listen()
        assert sibling.take()
        assert rounds() == 0
        sibling.release()
        assert rounds() == 1
        assert rounds() == 1
    assert rounds() == 1
    assert thread._port_claim.port == port
    assert not sibling.take()  # others learn that the port is ours
    thread._port_claim.hide(thread.publication.shown_snapshots)
    thread.stop()
    watched.stop()
    assert sibling.take()
    sibling.release()


def test_a_fault_of_an_evaluation_is_published_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    watched = monitor(None, port, evaluate_every="1s")
    thread = watched.background()
    with monkeypatch.context() as patch:
        patch.setattr(watched.store, "windows", lambda now: 1 / 0)
        thread.run_once(0.0)
    assert thread.publication.shown_snapshots()[0]["errors"]["evaluate"] == 1
    thread.run_once(1.0)
    assert thread.publication.shown_snapshots()[0]["report"] is not None
    thread.stop()
    watched.stop()


def test_snapshots_of_models_that_are_gone_are_hidden_and_removed(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    files = SnapshotFiles(tmp_path, f"127.0.0.1:{port}")
    watched = monitor(None, port)
    snapshot = watched.snapshot()
    ours, other, old = (registered(tmp_path, n, port, tmp_path / f"of-{n}") for n in ("ours", "other", "old"))
    prepare_model_directory(other, model_dir=str(tmp_path / "of-other"), address="127.0.0.1:1", evaluate_every=0.2)
    for directory in (ours, other, old):
        publish(directory, snapshot)
    os.utime(old / "snapshot.json", (time.time() - 60,) * 2)
    assert len(files.snapshots()) == 1  # not those of another port, or not evaluated for a minute
    (tmp_path / "of-ours").rmdir()
    assert files.snapshots() == []
    assert not ours.exists()
    assert other.exists()
    watched.stop()


def test_a_worker_that_outlives_its_model_no_longer_shows_it(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    directory = registered(tmp_path, "m", port, tmp_path / "model")
    watched = monitor(directory, port, snapshot_files=SnapshotFiles(tmp_path, f"127.0.0.1:{port}"))
    thread = watched.background()
    thread.run_once(0.0)
    assert {shown["model_name"] for shown in thread.publication.shown_snapshots()} == {"model"}
    (tmp_path / "model").rmdir()
    thread.run_once(100.0)
    assert thread.publication.shown_snapshots() == []
    thread.stop()
    watched.stop()


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, json.dumps({"model_name": "m"}), "\0"])
def test_a_snapshot_that_makes_no_sense_is_not_shown(content: str, tmp_path: Path) -> None:
    directory = registered(tmp_path, "m", 1, tmp_path / "model")
    (directory / "snapshot.json").write_text(content)
    files = SnapshotFiles(tmp_path, "127.0.0.1:1")
    assert files.snapshots() == []
    assert files.latest_report(directory) is None


def test_the_thread_serves_the_port_and_stops() -> None:
    (port,) = free_ports(1)
    watched = monitor(None, port, evaluate_every="100ms")
    watched.start()
    watched.observe({"x": np.zeros(20)})

    def scraped() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return b'window="1h"} 20' in answer.read()

    wait_for("20 rows on the port", lambda: quiet(scraped), 20)
    watched.stop()
    assert not any(thread.name == "torchserve-drift" for thread in threading.enumerate())
    with pytest.raises(OSError, match="refused"):
        scraped()


def quiet(work: Any) -> bool:
    try:
        return bool(work())
    except OSError:
        return False


WORKER = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
from pathlib import Path
from monitors import monitor
from torchserve_drift.port.snapshot_files import SnapshotFiles
directory, port = Path({directory!r}), {port}
files = SnapshotFiles(directory.parent, f"127.0.0.1:{{port}}")
watched = monitor(directory, port, snapshot_files=files, evaluate_every="100ms")
watched.start()
for line in sys.stdin:
    watched.observe({{"x": np.zeros(int(line))}})
    print("seen", flush=True)
"""


def start_worker(directory: Path, port: int) -> subprocess.Popen[str]:
    here = Path(__file__).parents[1]
    script = WORKER.format(paths=[str(here), str(here.parent / "handler")], directory=str(directory), port=port)
    return subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def send(worker: subprocess.Popen[str], rows: int) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{rows}\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "seen\n"


def rows_total(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("torchserve_drift_rows_total"):
                return int(float(line.rsplit(" ", 1)[1]))
    return -1


def listeners(port: int) -> int:
    wanted = f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(wanted) and fields[3] == "0A" for fields in lines)


def test_killing_any_worker_loses_no_row_and_the_port_comes_back(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    directory = registered(tmp_path, "m", port, tmp_path / "model")
    workers = [start_worker(directory, port) for _ in range(3)]
    sent = 0
    try:
        for round_ in range(6):
            for worker in workers:
                send(worker, 10 + round_)
                sent += 10 + round_
            wait_for(f"all {sent} rows", lambda: quiet(lambda: rows_total(port) == sent), 20)  # noqa: B023 - at once
            assert listeners(port) == 1
            victim = workers.pop(round_ % 2)
            send(victim, 7)  # rows in the ring of a worker that is killed are counted by the others
            sent += 7
            os.kill(victim.pid, signal.SIGKILL)
            bury(victim)
            began = time.monotonic()
            wait_for("the port", lambda: quiet(lambda: rows_total(port) >= 0), 5)
            wait_for(f"all {sent} rows after a kill", lambda: quiet(lambda: rows_total(port) == sent), 20)  # noqa: B023
            assert time.monotonic() - began < 20
            workers.append(start_worker(directory, port))
        assert len(list(directory.glob("*.segment"))) == 3  # who starts continues the segment of one that is gone
    finally:
        for worker in workers:
            worker.kill()
            bury(worker)


def bury(worker: subprocess.Popen[str]) -> None:
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            stream.close()
