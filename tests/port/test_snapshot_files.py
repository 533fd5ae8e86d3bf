"""Where models publish their snapshots, which of those are shown, and which directories are removed."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from baselines import baseline
from torchserve_drift import Monitor
from torchserve_drift.port.model_directory import prepare_model_directory, publish
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.port.snapshot_files import SnapshotFiles

ADDRESS = "127.0.0.1:0"


def shown(name: str) -> Snapshot:
    return Monitor(baseline({"x": np.arange(9.0)}), {"windows": ["1h"]}, model_name=name, seed=0).snapshot()


def model(root: Path, name: str, address: str = ADDRESS) -> Path:
    """A published model; its files are in the directory that is returned."""
    files = root / f"files-{name}"
    files.mkdir()
    (root / "shared").mkdir(exist_ok=True)
    prepare_model_directory(root / "shared" / name, model_dir=str(files), address=address)
    publish(root / "shared" / name, shown(name))
    return files


def names(files: SnapshotFiles) -> list[str]:
    return [snapshot["model_name"] for snapshot in files.snapshots()]


def test_directories_of_unregistered_models_of_any_address_are_removed_and_other_files_kept(
    tmp_path: Path,
) -> None:
    files = {name: model(tmp_path, name) for name in ("a", "b", "c")}
    model(tmp_path, "elsewhere", "127.0.0.1:1").rmdir()
    model(tmp_path, "other", "127.0.0.1:1")
    (tmp_path / "shared" / "a file").write_text("{")
    (tmp_path / "shared" / "empty").mkdir()
    snapshot_files = SnapshotFiles(tmp_path / "shared", ADDRESS)
    assert names(snapshot_files) == ["a", "b", "c"]
    files["b"].rmdir()
    assert names(snapshot_files) == ["a", "c"]
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["a", "a file", "c", "empty", "other"]


def test_the_directory_of_an_unregistered_model_stays_while_one_of_its_workers_lives(tmp_path: Path) -> None:
    model(tmp_path, "a").rmdir()
    directory = tmp_path / "shared" / "a"
    snapshot_files = SnapshotFiles(tmp_path / "shared", ADDRESS)
    with (directory / "evaluator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert names(snapshot_files) == []
        assert (directory / "snapshot.json").exists()
    assert names(snapshot_files) == []
    assert not directory.exists()


def test_two_snapshots_within_a_tick_of_the_clock_are_two(tmp_path: Path) -> None:
    model(tmp_path, "a")
    snapshot_files, path = SnapshotFiles(tmp_path / "shared", ADDRESS), tmp_path / "shared" / "a" / "snapshot.json"
    written = path.stat().st_mtime_ns
    assert names(snapshot_files) == ["a"]
    publish(path.parent, shown("renamed"))
    os.utime(path, ns=(written, written))
    assert names(snapshot_files) == ["renamed"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    model(tmp_path, "a")
    directory = tmp_path / "shared" / "a"
    (directory / "snapshot.json").unlink()
    (directory / "snapshot.json").mkdir()
    with pytest.raises(OSError, match=r"snapshot\.json"):
        publish(directory, shown("a"))
    assert sorted(path.name for path in directory.iterdir()) == ["model.json", "snapshot.json"]


def test_no_round_fails_if_the_directory_was_deleted(tmp_path: Path) -> None:
    prepare_model_directory(tmp_path / "m", model_dir=str(tmp_path), address=ADDRESS)
    known = baseline({"x": np.arange(9.0)})
    files = SnapshotFiles(tmp_path, ADDRESS)
    monitor = Monitor(known, {"windows": ["1h"]}, directory=tmp_path / "m", snapshot_files=files, seed=0)
    thread = monitor.background()
    shutil.rmtree(tmp_path / "m")
    monitor.observe({"x": np.arange(5.0)})
    thread.run_once(0.0)
    thread.run_once(100.0)
    assert monitor.store.totals()[0] == 5
    thread.stop()
    monitor.stop()
