"""The snapshots of all models of a host, read from the directories in which their workers publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from torchserve_drift.port.json_files import read_json_object
from torchserve_drift.port.model_directory import SNAPSHOT_FILE, ModelDirectory
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.verdicts.report import Report


class SnapshotFiles:
    """The snapshots below ``root`` of all models shown at ``address``. Thread-safe."""

    def __init__(self, root: Path, address: str) -> None:
        self._root, self._address = root, address
        self._read_files: dict[Path, tuple[tuple[int, int], Any]] = {}
        """The path of a file to its version and content."""

    @property
    def port_lock_path(self) -> Path:
        """The lock file of the process that serves the address for the models below ``root``."""
        return self._root / f"port-{self._address.replace('/', '_')}.lock"

    def snapshots(self) -> list[Snapshot]:
        """The latest snapshot of every current model. Obsolete directories of all addresses are removed."""
        try:
            paths = sorted(self._root.iterdir())
        except OSError:
            return []
        found = []
        for path in paths:
            directory = ModelDirectory.read(path)
            if directory is None:
                continue
            if directory.is_obsolete():
                if directory.remove():
                    self._read_files.pop(path / SNAPSHOT_FILE, None)
                continue
            snapshot = self._snapshot(path / SNAPSHOT_FILE) if directory.address == self._address else None
            if snapshot is not None and directory.is_current():
                found.append(snapshot)
        return found

    def latest_report(self, directory: Path) -> Optional[Report]:
        """The report in a model's snapshot, from which the next evaluation continues."""
        snapshot = self._snapshot(directory / SNAPSHOT_FILE)
        try:
            return Report.from_dict(snapshot["report"]) if snapshot and snapshot["report"] else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _snapshot(self, path: Path) -> Optional[Snapshot]:
        """The snapshot in a file, which is read again only when it has changed."""
        try:
            facts = path.stat()
        except OSError:
            self._read_files.pop(path, None)
            return None
        # The inode is part of the version, because two files written within one tick of the clock have the same time.
        version = (facts.st_ino, facts.st_mtime_ns)
        read = self._read_files.get(path)
        if read is None or read[0] != version:
            read = self._read_files[path] = (version, read_json_object(path))
        content: Any = read[1]
        # another version of this package, with other keys, may have written it
        return content if content is not None and content.keys() >= Snapshot.__annotations__.keys() else None
