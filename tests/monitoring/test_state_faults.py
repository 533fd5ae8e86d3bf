"""State files that are full, read-only, deleted, damaged or forged: the model is served and monitoring continues."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional

import numpy as np
import pytest

from baselines import baseline
from processes import listeners, open_files, resident_bytes
from servers import fetch, free_ports
from torchserve_drift import Monitor, Settings
from torchserve_drift.handler import deployment
from torchserve_drift.port.answers import respond
from torchserve_drift.port.model_directory import prepare_model_directory, publish
from torchserve_drift.port.snapshot_files import SnapshotFiles
from torchserve_drift.window.segment import Arrays

pytestmark = pytest.mark.faults

BASELINE = baseline({"age": np.arange(500.0), "city": ["Rome", "Oslo"] * 250})
SETTINGS = {"windows": ["1h", "1000 rows"], "reservoir_rows": 256, "min_rows": 10}


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def monitor(directory: Path, clock: Any = None, files: Optional[Path] = None, **more: Any) -> Monitor:
    """``files``: the root directory of all models, where the port finds their snapshots."""
    settings = Settings.from_mapping({**SETTINGS, **more})
    snapshot_files = SnapshotFiles(files, settings.export.address) if files is not None else None
    return Monitor(
        BASELINE, settings, clock=clock or Clock(), seed=0, directory=directory, snapshot_files=snapshot_files
    )


def rows(count: int) -> dict[str, Any]:
    return {"age": np.arange(float(count)), "city": np.array(["Rome"] * count)}


def seen(watching: Monitor) -> list[int]:
    """Rows in each window."""
    return [window.rows for window in watching.evaluate().windows.values()]


def exposition(snapshots: Any) -> bytes:
    """The metrics, while page and API show the same."""
    for target in ("/", "/api/v1/models", "/api/v1/models/model/1.0"):
        assert respond("GET", target, {}, lambda: snapshots).status in (200, 404)
    return bytes(respond("GET", "/metrics", {}, lambda: snapshots).body)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """A small file system of its own at ``path``."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


# Disks


def test_without_room_for_a_segment_windows_are_kept_in_memory_and_this_is_logged_once(tmp_path, caplog):
    with mounted(tmp_path / "full", "size=16k") as directory:
        watching = monitor(directory)
        watching.observe(rows(100))
        assert seen(watching) == [100, 100]
        for _ in range(50):
            watching.store.check_file()
        assert segments(directory) == []
    said = [record.message for record in caplog.records if "kept in this process only" in record.message]
    assert said == [f"windows are kept in this process only: {directory}: {os.strerror(errno.ENOSPC)}"]


def test_a_temporary_directory_without_room_leaves_each_worker_its_own_windows(tmp_path, monkeypatch, caplog):
    context = SimpleNamespace(
        system_properties={"model_dir": str(tmp_path)},
        model_yaml_config={"drift": SETTINGS},
        manifest={},
        model_name="m",
    )
    BASELINE.save(tmp_path / "baseline.safetensors")
    with mounted(tmp_path / "full", "size=64k") as directory:
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        deployment.shared_root()
        with (directory / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        watching = deployment._monitor(context)
        watching.observe(rows(100))
        assert seen(watching) == [100, 100]
        watching.stop()
    assert "workers are not merged, each shows its own rows" in caplog.text


def test_workers_whose_state_dir_has_no_room_are_still_counted_as_one(tmp_path, caplog):
    with mounted(tmp_path / "full", "size=16k") as state:
        workers = [monitor(tmp_path / "shared", state_dir=str(state)) for _ in range(2)]
        for worker in workers:
            worker.observe(rows(100))
            worker.evaluate()
        assert [seen(worker) for worker in workers] == [[200, 200], [200, 200]]
        for worker in workers:
            worker.stop()
    said = [record.message for record in caplog.records if "will not survive a restart" in record.message]
    assert len(said) == 2
    assert all(os.strerror(errno.ENOSPC) in message for message in said)
    assert "this process only" not in caplog.text


def test_a_worker_that_found_no_room_beside_its_sibling_is_counted_with_it(tmp_path, monkeypatch):
    """The first worker used the last room in the state directory. If either worker evaluates, it sees both."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    first = monitor(tmp_path / "shared", state_dir=str(tmp_path / "state"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        alone = monitor(tmp_path / "shared", state_dir=str(tmp_path / "state"))
    assert not alone.store.shared
    first.observe(rows(100))
    first.evaluate()
    alone.observe(rows(30))
    assert seen(alone) == [130, 130]
    first.stop()
    alone.stop()


def test_a_process_finds_room_again_and_keeps_its_windows(tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        watching = monitor(tmp_path)
        watching.observe(rows(100))
        assert not watching.store.shared
    for _ in range(1000):
        watching.store.check_file()
    watching.observe(rows(50))
    assert watching.store.shared
    assert seen(watching) == [150, 150]
    assert seen(monitor(tmp_path)) == [150, 150]


def test_a_disk_that_fills_up_later_stops_neither_windows_nor_the_port(tmp_path):
    with mounted(tmp_path / "filling", "size=4m") as root:
        directory = root / "model"
        directory.mkdir()
        watching = monitor(directory, files=root)
        thread = watching.background()
        with (root / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        watching.observe(rows(100))
        thread.run_once(0.0)
        thread.run_once(100.0)
        (shown,) = thread.publication.shown_snapshots()
        assert shown["rows_total"] == 100
        assert shown["errors"]["publish"] >= 1
        assert watching.report is not None
        assert list(directory.glob(".snapshot*")) == []  # no leftovers
        thread.stop()
        watching.stop()


def test_a_read_only_directory_leaves_the_windows_in_memory(tmp_path, caplog):
    with mounted(tmp_path / "read-only", "size=4m,ro") as directory:
        watching = monitor(directory, files=directory.parent)
        thread = watching.background()
        watching.observe(rows(100))
        thread.run_once(0.0)
        assert seen(watching) == [100, 100]
        thread.stop()
    assert f"windows are kept in this process only: {directory}: {os.strerror(errno.EROFS)}" in caplog.text


def test_a_state_dir_that_cannot_be_made_is_logged_and_the_model_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    watching = monitor(tmp_path / "shared", state_dir=str(tmp_path / "file" / "below"))
    watching.observe(rows(30))
    assert seen(watching) == [30, 30]
    assert "windows will not survive a restart" in caplog.text


def test_a_directory_deleted_while_running_is_written_again_and_siblings_find_it(tmp_path):
    first, second = monitor(tmp_path / "model"), monitor(tmp_path / "model")
    first.observe(rows(100))
    second.observe(rows(40))
    second.evaluate()  # folds its own rows
    assert seen(first) == [140, 140]
    shutil.rmtree(tmp_path / "model")
    for watching in (first, second):
        watching.store.check_file()
        watching.observe(rows(5))
    assert len(segments(tmp_path / "model")) == 2
    second.evaluate()
    assert seen(first) == [150, 150]
    assert seen(second) == [150, 150]
    first.stop()
    second.stop()
    assert seen(monitor(tmp_path / "model")) == [150, 150]


def test_rows_that_arrive_while_windows_move_to_another_file_are_counted(tmp_path):
    watching = monitor(tmp_path / "model")
    ended, observed = threading.Event(), []

    def observe():
        count = 0
        while not ended.is_set():
            watching.observe(rows(1))
            count += 1
        observed.append(count)

    threads = [threading.Thread(target=observe) for _ in "ab"]
    for thread in threads:
        thread.start()
    for _ in range(10):
        shutil.rmtree(tmp_path / "model")
        watching.store.check_file()
    ended.set()
    for thread in threads:
        thread.join()
    assert min(observed) > 10
    watching.evaluate()
    assert watching.snapshot()["rows_total"] == sum(observed)
    watching.stop()


# Files


def left_behind(directory: Path, count: int = 100) -> Path:
    """The segment of a process that ended after ``count`` rows."""
    watching = monitor(directory)
    watching.observe(rows(count))
    watching.evaluate()
    watching.stop()
    (path,) = segments(directory)
    return path


@pytest.mark.parametrize("size", [0, 1, 64, 4096, -1, +1])
def test_a_segment_of_another_size_is_dropped(tmp_path, caplog, size):
    path = left_behind(tmp_path)
    os.truncate(path, size if size >= 0 and size != 1 else path.stat().st_size + size)
    watching = monitor(tmp_path)
    assert seen(watching) == [0, 0]
    assert not path.exists()
    assert caplog.text.count("are dropped") == 1


def test_the_segment_of_a_process_that_lives_is_never_dropped(tmp_path):
    living = monitor(tmp_path)
    living.observe(rows(10))
    other = Monitor(baseline({"height": np.arange(9.0)}), SETTINGS, clock=Clock(), directory=tmp_path)
    other.evaluate()
    assert living.store._own is not None
    assert living.store._own.is_linked()
    assert seen(living) == [10, 10]
    assert len(segments(tmp_path)) == 2


def test_without_descriptors_the_segments_of_others_stay(tmp_path, monkeypatch):
    path = left_behind(tmp_path)
    watching = monitor(tmp_path / "elsewhere")
    watching.store._directories[0].path = tmp_path

    def none_left(*_: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", none_left)
        assert seen(watching) == [0, 0]
    assert path.exists()
    assert seen(watching) == [100, 100]


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo", "dangling"])
def test_a_path_that_is_not_a_file_is_not_a_segment(tmp_path, kind):
    (tmp_path / "model").mkdir()
    path, precious = tmp_path / "model" / "a.segment", tmp_path / "precious"
    precious.write_text("not ours")
    make: dict[str, Callable[[], None]] = {
        "symlink": lambda: path.symlink_to(precious),
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
    }
    make[kind]()
    watching = monitor(tmp_path / "model")
    watching.observe(rows(20))
    assert seen(watching) == [20, 20]
    assert precious.read_text() == "not ours"
    assert not (tmp_path / "nowhere").exists()


def test_garbage_in_the_head_is_dropped_and_this_is_logged_once(tmp_path, caplog):
    path = left_behind(tmp_path)
    with path.open("r+b") as file:
        file.write(b"garbage")
    assert seen(monitor(tmp_path)) == [0, 0]
    assert not path.exists()
    assert caplog.text.count("not a segment file") == 1


def test_a_baseline_of_other_features_drops_all_old_windows_and_this_is_logged_once(tmp_path, caplog):
    workers = [monitor(tmp_path) for _ in range(3)]
    for worker in workers:
        worker.observe(rows(50))
    for worker in workers:
        worker.stop()
    assert len(segments(tmp_path)) == 3
    other = baseline({"height": np.arange(500.0), "city": ["Rome", "Oslo"] * 250})
    started: list[Monitor] = []

    def start() -> None:
        started.append(Monitor(other, SETTINGS, clock=Clock(), directory=tmp_path))

    threads = [threading.Thread(target=start) for _ in range(3)]  # as a server starts its workers: all at once
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in started:
        worker.observe({"height": np.arange(20.0), "city": np.array(["Rome"] * 20)})
        worker.evaluate()
    assert seen(started[0]) == [60, 60]
    dropped = [record.message for record in caplog.records if "are dropped" in record.message]
    assert len(dropped) == 1
    assert dropped[0].count(".segment") == 3
    assert dropped[0].endswith("are dropped: made for another baseline or other windows")
    assert len(segments(tmp_path)) == 3


def forged(path: Path, change: Callable[[Arrays], None]) -> None:
    """Change the arrays of a segment that no process owns."""
    watching = monitor(path.parent / "twin")
    content = np.memmap(path, dtype=np.uint8, mode="r+")
    change(Arrays(content, watching.store.layout))
    content.flush()
    watching.stop()


HUGE = 1 << 62
FORGERIES: dict[str, Callable[[Arrays], None]] = {
    "appended": lambda a: a.appended.fill(HUGE),
    "appended below": lambda a: a.appended.fill(-HUGE),
    "released": lambda a: a.released.fill(HUGE),
    "commit": lambda a: a.commit.fill(HUGE + 1),
    "commit below": lambda a: a.commit.fill(-1),
    "integers": lambda a: a.integers.fill(HUGE),
    "integers below": lambda a: a.integers.fill(-HUGE),
    "floats": lambda a: a.floats.fill(1e308),
    "floats nan": lambda a: a.floats.fill(np.nan),
    "floats infinite": lambda a: a.floats.fill(np.inf),
    "tallies of all rows": lambda a: a.floats[:, 3:].fill(np.nan),
    "negative tallies": lambda a: a.floats[:, 3:].fill(-1e300),
    "clock": lambda a: a.floats[:, :2].fill(1e300),
    "clock nan": lambda a: a.floats[:, :2].fill(np.nan),
    "counters nan": lambda a: a.counters.fill(np.nan),
    "counters": lambda a: a.counters.fill(1e308),
    "pane ids": lambda a: a.pane_ids.fill(HUGE),
    "pane rows": lambda a: a.pane_first_rows.fill(-HUGE),
    "pane times": lambda a: a.pane_ended.fill(np.nan),
    "pane tallies": lambda a: a.pane_tallies.fill(np.nan),
    "ring": lambda a: a.ring.fill(np.nan),
    "ring times": lambda a: a.ring_times.fill(np.nan),
    "ring begins": lambda a: a.ring_begins.fill(0),
    "pool rows": lambda a: a.pool_rows.fill(50),
    "pool rows below": lambda a: a.pool_rows.fill(-HUGE),
    "pool codes": lambda a: a.pool_codes.fill(65_534),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("role", ["taken over", "another's"])
def test_forged_contents_end_neither_evaluations_nor_the_page(tmp_path, forgery, role, caplog):
    """Whatever stands in a segment: after two rounds there are reports and metrics again, and new rows count."""
    caplog.set_level(logging.CRITICAL)
    path = left_behind(tmp_path)
    keeper = monitor(tmp_path) if role == "another's" else None  # takes the file over
    forged(path, FORGERIES[forgery])
    watching = monitor(tmp_path)
    if keeper is not None:
        keeper.stop()
    thread = watching.background()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for round_ in range(3):
            watching.observe(rows(20))
            thread.run_once(1000.0 * round_)
        before = thread.publication.shown_snapshots()[0]["rows_total"]
        watching.observe(rows(20))
        thread.run_once(10_000.0)
    (shown,) = thread.publication.shown_snapshots()
    assert shown["rows_total"] == before + 20
    assert shown["report"] is not None
    assert all(0 <= window["rows"] < 1e15 for window in shown["report"]["windows"].values())
    assert b"torchserve_drift_rows_total" in exposition([shown])
    thread.stop()


@pytest.mark.parametrize("forgery", ["appended", "released", "commit", "integers", "floats nan", "counters nan"])
def test_a_process_whose_own_segment_is_overwritten_starts_a_new_one(tmp_path, forgery, caplog):
    watching = monitor(tmp_path)
    thread = watching.background()
    watching.observe(rows(20))
    forged(segments(tmp_path)[0], FORGERIES[forgery])
    for round_ in range(2):
        watching.observe(rows(20))  # may be lost, and comes back
        thread.run_once(1000.0 * round_)
    before = thread.publication.shown_snapshots()[0]["rows_total"]
    watching.observe(rows(20))
    thread.run_once(10_000.0)
    assert thread.publication.shown_snapshots()[0]["rows_total"] == before + 20
    assert "the contents of the old ones are inconsistent" in caplog.text


@pytest.mark.parametrize("seed", range(25))
def test_random_bytes_anywhere_in_a_segment_end_neither_evaluations_nor_the_page(tmp_path, seed, caplog):
    caplog.set_level(logging.CRITICAL)
    random = np.random.default_rng(seed)
    path = left_behind(tmp_path)
    content = np.memmap(path, dtype=np.uint8, mode="r+")
    where = random.integers(64, len(content), 2000)
    content[where] = random.integers(0, 256, len(where))
    content.flush()
    watching = monitor(tmp_path)
    thread = watching.background()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for round_ in range(3):
            watching.observe(rows(20))
            thread.run_once(1000.0 * round_)
    assert b"torchserve_drift_rows_total" in exposition(thread.publication.shown_snapshots())
    assert thread.publication.shown_snapshots()[0]["report"] is not None
    thread.stop()


# Snapshots

DEEP = "[" * 100_000
FOREIGN = [
    "",
    "{",
    "null",
    "[]",
    "7",
    DEEP,
    '{"a": ' + DEEP,
    "{}",
    '{"model_name": 7, "model_version": [], "report": {}, "features": 5}',
    '{"model_name": "x", "model_version": "1", "features": [{}], "report": {"windows": null}}',
    '{"model_name": "x", "model_version": "1", "features": null, "report": [1]}',
    "\ud800",
]


def snapshot_files(root: Path) -> tuple[SnapshotFiles, Path]:
    """The snapshots of two models: a healthy one, and one whose directory is returned, to be broken by a test."""
    for name in ("broken", "healthy"):
        directory = root / name
        directory.mkdir(parents=True)
        watching = Monitor(BASELINE, SETTINGS, model_name=name, clock=Clock(), directory=directory)
        watching.observe(rows(30))
        watching.evaluate()
        prepare_model_directory(directory, model_dir=str(root), address="127.0.0.1:1")
        publish(directory, watching.snapshot())
        watching.stop()
    return SnapshotFiles(root, "127.0.0.1:1"), root / "broken"


def healthy(shown: SnapshotFiles) -> bool:
    """Whether the metrics of the healthy model are shown."""
    return b'torchserve_drift_rows_total{model_name="healthy",model_version="1.0"} 30' in exposition(shown.snapshots())


@pytest.mark.parametrize("content", FOREIGN, ids=range(len(FOREIGN)))
@pytest.mark.parametrize("name", ["snapshot.json", "model.json"])
def test_a_broken_file_of_one_model_hides_no_other_model(tmp_path, name, content):
    shown, broken = snapshot_files(tmp_path / "root")
    (broken / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    assert healthy(shown)
    assert shown.latest_report(broken) is None or name == "model.json"


@pytest.mark.parametrize("name", ["snapshot.json", "model.json"])
@pytest.mark.parametrize("kind", ["huge", "symlink", "fifo", "directory", "device"])
def test_only_small_regular_files_are_read(tmp_path, name, kind):
    shown, broken = snapshot_files(tmp_path / "root")
    path = broken / name
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"model_name": "secret", "address": "127.0.0.1:1", "model_dir": "/"}))
    path.unlink()
    if kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "symlink":
        path.symlink_to(secret)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = resident_bytes(os.getpid())
    assert healthy(shown)
    assert not any(snapshot["model_name"] == "secret" for snapshot in shown.snapshots())
    assert resident_bytes(os.getpid()) - before < 64 << 20


def test_half_written_files_of_a_killed_evaluator_are_removed_with_the_next_snapshot(tmp_path):
    watching = monitor(tmp_path)
    (tmp_path / ".snapshot.json.12345").write_text('{"model_na')
    publish(tmp_path, watching.snapshot())
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".segment") == ["snapshot.json"]


def test_a_model_that_is_gone_leaves_no_files_but_those_of_its_living_workers(tmp_path):
    root, model_dir = tmp_path / "root", tmp_path / "model"
    model_dir.mkdir()
    directory = root / "gone"
    directory.mkdir(parents=True)
    watching = monitor(directory, files=root)
    thread = watching.background()
    prepare_model_directory(directory, model_dir=str(model_dir), address="127.0.0.1:1")
    thread.run_once(0.0)
    shown = SnapshotFiles(root, "127.0.0.1:1")
    assert len(shown.snapshots()) == 1
    model_dir.rmdir()
    assert shown.snapshots() == []
    assert directory.exists()  # its evaluator lives
    thread.stop()
    watching.stop()
    assert shown.snapshots() == []
    assert not directory.exists()


# Clock, forks, categories


@pytest.mark.parametrize("jump", [-3600.0, -1e9, +3600.0 * 24 * 365])
def test_a_clock_that_jumps_neither_stops_evaluations_nor_loses_new_rows(tmp_path, jump):
    clock = Clock()
    watching = monitor(tmp_path, clock)
    for _ in range(20):
        watching.observe(rows(10))
        clock.now += 1
    watching.evaluate()
    clock.now += jump
    watching.observe(rows(10))
    hour, newest = seen(watching)
    assert (hour, newest) == (210 if jump < 0 else 10, 210)
    for _ in range(8):
        clock.now += 600
        watching.observe(rows(10))
        watching.evaluate()
    assert seen(watching) == [60, 290]  # the last hour, as by a clock that never jumped


def test_a_clock_that_jumps_back_an_hour_loses_no_row_of_any_worker(tmp_path):
    clock = Clock()
    workers = [monitor(tmp_path, clock) for _ in range(3)]
    for jump in (0.0, -3600.0):
        clock.now += jump
        for number, worker in enumerate(workers, 1):
            worker.observe(rows(10 * number))
            worker.evaluate()
            clock.now += 60
    assert seen(workers[0]) == [120, 120]
    assert workers[0].snapshot()["rows_total"] == 120
    for _ in range(12):  # another hour by the clock, after which the rows from before have left the window of an hour
        clock.now += 360
        for worker in workers:
            worker.observe(rows(1))
            worker.evaluate()
    assert seen(workers[0])[0] <= 36
    assert workers[0].snapshot()["rows_total"] == 120 + 36


@pytest.mark.parametrize("jump", [-3600.0, +7200.0])
def test_a_model_is_shown_and_kept_when_the_host_s_clock_jumps(tmp_path, jump, monkeypatch):
    root, model_dir = tmp_path / "root", tmp_path / "model"
    model_dir.mkdir()
    directory = root / "kept"
    root.mkdir()
    prepare_model_directory(directory, model_dir=str(model_dir), address="127.0.0.1:1")
    watching = monitor(directory, files=root)
    thread, shown = watching.background(), SnapshotFiles(root, "127.0.0.1:1")
    thread.run_once(0.0)
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + jump)
        assert len(shown.snapshots()) == 1
        assert directory.exists()
    thread.stop()
    watching.stop()


def test_a_monitor_that_is_stopped_writes_no_more_to_what_another_continues(tmp_path):
    stopped = monitor(tmp_path)
    stopped.observe(rows(30))
    stopped.stop()
    successor = monitor(tmp_path)
    stopped.observe(rows(1000))
    assert seen(stopped) == [1030, 1030]
    assert seen(successor) == [30, 30]
    assert len(segments(tmp_path)) == 1


def test_a_forked_child_holds_neither_port_nor_lock_and_writes_to_no_window_of_its_parent(tmp_path):
    (port,) = free_ports(1)
    watching = monitor(tmp_path, export={"address": f"127.0.0.1:{port}"})
    thread = watching.background()
    thread._port_claim.show(thread.publication.shown_snapshots)
    watching.observe(rows(30))
    thread.run_once(0.0)
    assert listeners(port) == [os.getpid()]
    assert len(open_files(os.getpid(), rf"{tmp_path}.*(\.segment|\.lock)")) == 2
    ready, told = os.pipe()
    ends, end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which users' handlers make too
        child = os.fork()
    if child == 0:
        try:
            watching.observe(rows(1000))
            os.write(told, b"ready" if seen(watching) == [1000, 1000] else b"other")
            os.close(end)
            os.read(ends, 1)
        finally:
            os._exit(0)
    try:
        assert os.read(ready, 5) == b"ready"
        assert open_files(child, rf"{tmp_path}.*(\.segment|\.lock)") == []  # else its parent's would stay locked
        assert listeners(port) == [os.getpid()]
        assert fetch(f"http://127.0.0.1:{port}/healthz")
        assert seen(watching) == [30, 30]
        thread._port_claim.hide(thread.publication.shown_snapshots)
        watching.stop()
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # beside what is left of the request above
            free.bind(("127.0.0.1", port))
        successor = monitor(tmp_path)
        assert seen(successor) == [30, 30]
        assert len(segments(tmp_path)) == 1  # taken over, while the child lives
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for descriptor in (ready, told, ends):
            os.close(descriptor)


@pytest.mark.slow
def test_a_new_category_in_every_one_of_a_million_rows_takes_no_memory_and_no_labels(tmp_path):
    watching = monitor(tmp_path)
    chunk, chunks = 5000, 200

    def send(first: int) -> None:
        cities = np.array([f"city {number}" for number in range(first, first + chunk)])
        watching.observe({"age": np.arange(float(chunk)), "city": cities})

    def series() -> int:
        watching.evaluate()
        return exposition([watching.snapshot()]).count(b"\n")

    for part in range(20):
        send(part * chunk)
    before, lines, disk = resident_bytes(os.getpid()), series(), segments(tmp_path)[0].stat().st_blocks
    for part in range(20, chunks):
        send(part * chunk)
    assert series() == lines
    assert resident_bytes(os.getpid()) - before < 8 << 20
    assert segments(tmp_path)[0].stat().st_blocks == disk
    snapshot = watching.snapshot()
    assert snapshot["rows_total"] == chunk * chunks
    assert next(f["unseen"] for f in snapshot["features"] if f["name"] == "city") == chunk * chunks
