"""Where every model of a host publishes its snapshot: one file in each model's directory, written whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any, Optional

from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.verdicts.report import Report

_SNAPSHOT, _MODEL, _LOCK = "snapshot.json", "model.json", "evaluator.lock"
_LARGEST_SNAPSHOT_BYTES = 256 << 20
_TAKE_OVER_SECONDS = 5.0
_ABANDONED_SECONDS = 3600.0
"""A directory in which nobody published for so long, and nobody lives, goes; TorchServe killed by SIGKILL leaves
some."""


def publish(directory: Path, snapshot: Snapshot) -> None:
    """Replace the model's snapshot; a reader sees the old one or the new one, whole."""
    for leftover in directory.glob(f".{_SNAPSHOT}.*"):  # of an evaluator that was killed in the midst of this
        leftover.unlink(missing_ok=True)
    write_json(directory / _SNAPSHOT, snapshot)


def introduce(directory: Path, *, model_dir: str, address: str, evaluate_every: float = 15.0) -> None:
    """Make a model's directory, and say whose it is: ``model_dir`` (gone: so is the model), the ``address`` that shows
    it, and how often, in seconds, it is evaluated while any of its workers lives.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    write_json(directory / _MODEL, {"model_dir": model_dir, "address": address, "evaluate_every": evaluate_every})


def is_introduced(directory: Path) -> bool:
    """Whether a model's directory says whose it is."""
    return _json(directory / _MODEL) is not None


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
    """The snapshots below ``root`` of all models shown at ``address``. Thread-safe."""

    def __init__(self, root: Path, address: str) -> None:
        self._root, self._address = root, address
        self._read: dict[Path, tuple[tuple[int, int], Any]] = {}

    @property
    def port_lock(self) -> Path:
        """Held by the process that serves the address to the models below ``root``."""
        return self._root / f"port-{self._address.replace('/', '_')}.lock"

    def snapshots(self) -> list[Snapshot]:
        """The latest snapshot of every model that is still there."""
        try:
            directories = sorted(self._root.iterdir())
        except OSError:
            return []
        shown = []
        for directory in directories:
            model = _json(directory / _MODEL)
            if model is None:
                continue
            age = _age_seconds(directory)
            if _is_gone(model) or (
                age > _ABANDONED_SECONDS and not _is_alive(directory)
            ):  # a clock that jumps makes it old too
                self._remove(directory)
                continue
            snapshot = self._snapshot(directory / _SNAPSHOT) if model.get("address") == self._address else None
            if snapshot is not None and (age <= _two_evaluations(model) or _is_alive(directory)):
                shown.append(snapshot)
        return shown

    def is_gone(self, directory: Path) -> bool:
        """Whether the model of a directory was unregistered, which a worker can outlive."""
        model = _json(directory / _MODEL)
        return model is not None and _is_gone(model)

    def report(self, directory: Path) -> Optional[Report]:
        """The report that was published last, for the next evaluator to continue from."""
        snapshot = self._snapshot(directory / _SNAPSHOT)
        try:
            return Report.from_dict(snapshot["report"]) if snapshot and snapshot["report"] else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _snapshot(self, path: Path) -> Optional[Snapshot]:
        try:
            facts = path.stat()
        except OSError:
            self._read.pop(path, None)
            return None
        version = (facts.st_ino, facts.st_mtime_ns)  # of two written within a tick of the clock only the inode differs
        read = self._read.get(path)
        if read is None or read[0] != version:
            read = self._read[path] = (version, _json(path))
        snapshot: Optional[Snapshot] = read[1]
        # another version of this package may have written it
        return snapshot if snapshot is not None and snapshot.keys() >= Snapshot.__annotations__.keys() else None

    def _remove(self, directory: Path) -> None:
        """Clear up after a model that is gone, unless one of its workers still lives."""
        try:
            with (directory / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
        except OSError:
            return
        self._read.pop(directory / _SNAPSHOT, None)


def _is_gone(model: dict[str, Any]) -> bool:
    return not os.path.isdir(str(model.get("model_dir")))


def _two_evaluations(model: dict[str, Any]) -> float:
    """Seconds after which a model without a living worker is shown no more."""
    every = model.get("evaluate_every")
    return max(2 * float(every), _TAKE_OVER_SECONDS) if isinstance(every, (int, float)) else _TAKE_OVER_SECONDS


def _age_seconds(directory: Path) -> float:
    """Seconds since the model was last published, or else since its directory was made."""
    for path in (directory / _SNAPSHOT, directory):
        try:
            return time.time() - path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _is_alive(directory: Path) -> bool:
    """Whether a worker holds the model's turn to evaluate."""
    try:
        with (directory / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough: a child forked meanwhile would go on holding it
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _json(path: Path) -> Any:
    """The JSON object in a file, ``None`` where there is none."""
    try:
        # never through a link, and without waiting for whoever may write into a pipe
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_SNAPSHOT_BYTES:
                return None
            found = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
