"""Where every model of a host publishes its snapshot: one file in each model's directory, written whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any, Optional

from torchserve_drift.export.snapshot import Snapshot
from torchserve_drift.report import Report

_SNAPSHOT, _MODEL, _LOCK = "snapshot.json", "model.json", "evaluator.lock"
_LARGEST_SNAPSHOT_BYTES = 256 << 20


def publish(directory: Path, snapshot: Snapshot) -> None:
    """Replace the model's snapshot; a reader sees the old one or the new one, whole."""
    write_json(directory / _SNAPSHOT, snapshot)


def introduce(directory: Path, *, model_dir: str, address: str) -> None:
    """Say whose directory this is: ``model_dir`` (gone: so is the model) and the ``address`` that shows it."""
    write_json(directory / _MODEL, {"model_dir": model_dir, "address": address})


def write_json(path: Path, content: Any) -> None:
    """Write a file whole: a temporary one, then a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


class Board:
    """The snapshots below ``root`` of all models shown at ``address``. For one thread at a time."""

    def __init__(self, root: Path, address: str) -> None:
        self._root, self._address = root, address
        self._read: dict[Path, tuple[int, Optional[Snapshot]]] = {}

    def snapshots(self) -> list[Snapshot]:
        """The latest snapshot of every model that is still there."""
        shown = []
        for directory in sorted(self._root.iterdir()):
            model = _json(directory / _MODEL)
            if not isinstance(model, dict) or model.get("address") != self._address:
                continue
            if not os.path.isdir(str(model.get("model_dir"))):
                self._remove(directory)
                continue
            snapshot = self._snapshot(directory / _SNAPSHOT)
            if snapshot is not None:
                shown.append(snapshot)
        return shown

    def report(self, directory: Path) -> Optional[Report]:
        """The report that was published last, for the next evaluator to continue from."""
        snapshot = self._snapshot(directory / _SNAPSHOT)
        try:
            return Report.from_dict(snapshot["report"]) if snapshot and snapshot["report"] else None
        except (KeyError, TypeError, ValueError):
            return None

    def _snapshot(self, path: Path) -> Optional[Snapshot]:
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            self._read.pop(path, None)
            return None
        if self._read.get(path, (0, None))[0] != changed:
            self._read[path] = (changed, _json(path))
        return self._read[path][1]

    def _remove(self, directory: Path) -> None:
        """Clear up after a model that is gone, unless one of its workers still lives."""
        try:
            with (directory / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
        except OSError:
            return
        self._read.pop(directory / _SNAPSHOT, None)


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_SNAPSHOT_BYTES:
            return None
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
