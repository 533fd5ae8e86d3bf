"""Publishes the snapshot of one model for the process that serves the port, and finds those of all models of a host."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional

from torchserve_drift.port.model_directory import is_unregistered, publish
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.port.snapshot_files import SnapshotFiles
from torchserve_drift.verdicts.report import Report


class Publication:
    """The snapshots that this process can show: that of its own model, and those in the files of a host.

    ``snapshot`` makes the current one of the model, and ``directory`` is where it is published. ``files`` finds those
    of all models of the host. Without the two, the process shows only its own model.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], directory: Optional[Path], files: Optional[SnapshotFiles]
    ) -> None:
        self._snapshot, self._directory, self._files = snapshot, directory, files
        self._own: list[Snapshot] = []

    def publish(self) -> None:
        """Make a new snapshot, and replace the published one."""
        self._own = [self._snapshot()]
        if self._directory is not None:
            publish(self._directory, self._own[0])

    def shown_snapshots(self) -> list[Snapshot]:
        """All snapshots. The own model's comes first: if the disk is full, it is newer than its file."""
        if self._files is None:
            return self._own
        own = [] if self._directory is not None and is_unregistered(self._directory) else self._own
        return [*own, *self._files.snapshots()]

    def published_report(self) -> Optional[Report]:
        """The model's last published report, from any process; ``None`` if there is none."""
        if self._files is None or self._directory is None:
            return None
        return self._files.latest_report(self._directory)
