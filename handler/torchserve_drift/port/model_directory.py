"""The directory that the workers of one registered model share.

``model.json`` describes the model, and ``snapshot.json`` is its latest snapshot. ``evaluator.lock`` is locked by the
worker that evaluates the model, so a locked file means that a worker lives.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Any, Optional

from torchserve_drift.port.json_files import read_json_object, remove_temporary_files, write_json_file
from torchserve_drift.port.snapshot import Snapshot

SNAPSHOT_FILE = "snapshot.json"
_MODEL_FILE, _LOCK_FILE = "model.json", "evaluator.lock"

_TAKE_OVER_SECONDS = 5.0
"""Another worker takes over within this time after the evaluating one ends."""

_ABANDONED_SECONDS = 3600.0
"""A directory without a living worker in which nothing was published for so long is removed. A TorchServe that is
killed by SIGKILL leaves such directories."""


def prepare_model_directory(directory: Path, *, model_dir: str, address: str, evaluate_every: float = 15.0) -> None:
    """Make a model's directory and describe the model in it.

    Parameters
    ----------
    model_dir
        TorchServe's directory of the model, which it deletes when the model is unregistered.
    address
        The setting ``export.address``: the port that shows the model.
    evaluate_every
        Seconds between evaluations.

    Raises
    ------
    OSError
        When the directory or the file in it cannot be written.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    description = {"model_dir": model_dir, "address": address, "evaluate_every": evaluate_every}
    write_json_file(directory / _MODEL_FILE, description)


def is_model_directory(directory: Path) -> bool:
    """Whether the directory describes a model."""
    return read_json_object(directory / _MODEL_FILE) is not None


def is_unregistered(directory: Path) -> bool:
    """Whether the model of the directory was unregistered. One of its workers can live longer."""
    description = read_json_object(directory / _MODEL_FILE)
    return description is not None and _was_deleted(description)


def publish(directory: Path, snapshot: Snapshot) -> None:
    """Replace the model's snapshot; OSError where it cannot be written."""
    remove_temporary_files(directory / SNAPSHOT_FILE)
    write_json_file(directory / SNAPSHOT_FILE, snapshot)


class ModelDirectory:
    """The state of a model's directory at one moment, for the process that serves the port."""

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self._description = description
        self._seconds_since_publication = _seconds_since_publication(path)

    @classmethod
    def read(cls, path: Path) -> Optional[ModelDirectory]:
        """The directory at ``path``, ``None`` if it describes no model."""
        description = read_json_object(path / _MODEL_FILE)
        return cls(path, description) if description is not None else None

    @property
    def address(self) -> object:
        """The address of the port that shows the model."""
        return self._description.get("address")

    def is_obsolete(self) -> bool:
        """Whether the model was unregistered, or no worker lives and nothing was published for an hour.

        A clock that jumps ahead makes a publication look old. A living worker keeps the directory even then.
        """
        if _was_deleted(self._description):
            return True
        return self._seconds_since_publication > _ABANDONED_SECONDS and not self._has_living_worker()

    def is_current(self) -> bool:
        """Whether a worker lives, or the snapshot is so new that another worker may still take over."""
        every = self._description.get("evaluate_every")
        seconds = max(2 * float(every), _TAKE_OVER_SECONDS) if isinstance(every, (int, float)) else _TAKE_OVER_SECONDS
        return self._seconds_since_publication <= seconds or self._has_living_worker()

    def remove(self) -> bool:
        """Remove the directory unless one of the model's workers still lives. Return whether it was removed."""
        try:
            with (self.path / _LOCK_FILE).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(self.path)
        except OSError:
            return False
        return True

    def _has_living_worker(self) -> bool:
        """Whether a worker holds the lock of the evaluator."""
        try:
            with (self.path / _LOCK_FILE).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                # closing does not unlock if a child was forked meanwhile: it has the same open file
                fcntl.flock(lock, fcntl.LOCK_UN)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _was_deleted(description: dict[str, Any]) -> bool:
    return not os.path.isdir(str(description.get("model_dir")))


def _seconds_since_publication(directory: Path) -> float:
    """Seconds since the last publication, or since the directory was made if there was none."""
    for path in (directory / SNAPSHOT_FILE, directory):
        try:
            return time.time() - path.stat().st_mtime
        except OSError:
            continue
    return 0.0
