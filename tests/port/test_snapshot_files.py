"""Where models publish what the port shows, and the claim on that port."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from profiles import baseline
from servers import free_ports
from torchserve_drift import Monitor
from torchserve_drift.port.claim import Port
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.port.snapshot_files import Board, introduce, publish
from torchserve_drift.settings.settings import Export

ADDRESS = "127.0.0.1:0"


def shown(name: str) -> Snapshot:
    return Monitor(baseline({"x": np.arange(9.0)}), {"windows": ["1h"]}, model_name=name, seed=0).snapshot()


def model(root: Path, name: str, address: str = ADDRESS) -> Path:
    """A published model; its files are in the directory that is returned."""
    files = root / f"files-{name}"
    files.mkdir()
    (root / "board").mkdir(exist_ok=True)
    introduce(root / "board" / name, model_dir=str(files), address=address)
    publish(root / "board" / name, shown(name))
    return files


def names(board: Board) -> list[str]:
    return [snapshot["model_name"] for snapshot in board.snapshots()]


def test_models_that_are_gone_are_cleared_whatever_their_address_and_other_files_left_alone(tmp_path: Path) -> None:
    files = {name: model(tmp_path, name) for name in ("a", "b", "c")}
    model(tmp_path, "elsewhere", "127.0.0.1:1").rmdir()
    model(tmp_path, "other", "127.0.0.1:1")
    (tmp_path / "board" / "a file").write_text("{")
    (tmp_path / "board" / "empty").mkdir()
    board = Board(tmp_path / "board", ADDRESS)
    assert names(board) == ["a", "b", "c"]
    files["b"].rmdir()
    assert names(board) == ["a", "c"]
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["a", "a file", "c", "empty", "other"]


def test_the_directory_of_a_model_that_is_gone_stays_while_a_worker_of_it_lives(tmp_path: Path) -> None:
    model(tmp_path, "a").rmdir()
    directory = tmp_path / "board" / "a"
    board = Board(tmp_path / "board", ADDRESS)
    with (directory / "evaluator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert names(board) == []
        assert (directory / "snapshot.json").exists()
    assert names(board) == []
    assert not directory.exists()


def test_two_snapshots_within_a_tick_of_the_clock_are_two(tmp_path: Path) -> None:
    model(tmp_path, "a")
    board, path = Board(tmp_path / "board", ADDRESS), tmp_path / "board" / "a" / "snapshot.json"
    written = path.stat().st_mtime_ns
    assert names(board) == ["a"]
    publish(path.parent, shown("renamed"))
    os.utime(path, ns=(written, written))
    assert names(board) == ["renamed"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    model(tmp_path, "a")
    directory = tmp_path / "board" / "a"
    (directory / "snapshot.json").unlink()
    (directory / "snapshot.json").mkdir()
    with pytest.raises(OSError, match=r"snapshot\.json"):
        publish(directory, shown("a"))
    assert sorted(path.name for path in directory.iterdir()) == ["model.json", "snapshot.json"]


def test_no_round_fails_for_a_directory_that_is_gone(tmp_path: Path) -> None:
    introduce(tmp_path / "m", model_dir=str(tmp_path), address=ADDRESS)
    known = baseline({"x": np.arange(9.0)})
    files = Board(tmp_path, ADDRESS)
    monitor = Monitor(known, {"windows": ["1h"]}, directory=tmp_path / "m", snapshot_files=files, seed=0)
    thread = monitor.background()
    shutil.rmtree(tmp_path / "m")
    monitor.observe({"x": np.arange(5.0)})
    thread.run_once(0.0)
    thread.run_once(100.0)
    assert monitor.store.totals()[0] == 5
    thread.stop()
    monitor.stop()


def test_a_port_is_served_while_there_is_something_to_show() -> None:
    export = Export(address=f"127.0.0.1:{free_ports(1)[0]}")
    port, other = Port(export), Port(export)  # of two processes
    a, b = shown("a"), shown("b")

    def first() -> list[Snapshot]:
        return [a]

    def second() -> list[Snapshot]:
        return [a, b]

    assert not port.serve()
    port.show(first)
    other.show(first)
    assert [port.serve(), port.serve(), other.serve()] == [True, True, False]
    port.show(second)
    assert [snapshot["model_name"] for snapshot in port._snapshots()] == ["a", "b"]
    port.hide(first)
    assert port.number is not None
    port.hide(second)
    assert port.number is None
    assert other.serve()
    other.hide(first)


def test_a_port_whose_server_a_fault_ended_is_taken_again() -> None:
    port = Port(Export(address=ADDRESS))
    port.show(list)
    assert port.serve()
    ended = port._server
    assert ended is not None
    ended.stop()
    assert port.serve()
    assert port._server is not ended
    port.hide(list)


def test_an_address_that_is_not_this_host_s_is_a_fault() -> None:
    port = Port(Export(address="192.0.2.1:8083"))
    port.show(list)
    with pytest.raises(OSError, match="assign"):
        port.serve()
    port.hide(list)
