"""All segments of one model version: this process's own to write, every worker's to read.

Without a directory the one segment is private memory. With one, each worker has a file in it, mapped into memory and locked
while it lives; a worker that starts takes over a file whose owner is gone, rows in the ring and windows included.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from torchserve_drift.baseline.profile import Baseline
from torchserve_drift.config import Window
from torchserve_drift.window.coding import codes_for
from torchserve_drift.window.layout import Layout, fingerprint, layout_for
from torchserve_drift.window.merge import WindowRows, window_rows
from torchserve_drift.window.panes import PaneGrid
from torchserve_drift.window.segment import FORMAT, MAGIC, Floats, SegmentView, header, size_of
from torchserve_drift.window.tally import Tallier
from torchserve_drift.window.writer import SegmentWriter

_SUFFIX = ".segment"
_logger = logging.getLogger("torchserve_drift")


class _File:
    """A mapped segment file; ``locked`` while this process is its owner. Forked children let go of the lock."""

    def __init__(self, path: Path, size: int, *, create: bool) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0) | os.O_NOFOLLOW, 0o600)
        try:
            if create:
                self.locked = self.try_lock()
                os.posix_fallocate(self.descriptor, 0, size)  # a full disk is an error here, not a SIGBUS later
            else:
                self.locked = False
            if os.fstat(self.descriptor).st_size != size:
                raise ValueError(f"size {os.fstat(self.descriptor).st_size}, not {size}")
            self.memory = mmap.mmap(self.descriptor, size)
        except BaseException:
            os.close(self.descriptor)
            if create:
                path.unlink(missing_ok=True)
            raise

    def try_lock(self) -> bool:
        """Become the owner; False while another process is."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self.locked = True
        return True

    def unlock(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.locked = False

    def close(self) -> None:
        """Release lock and descriptor; the mapping lives as long as its arrays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Store:
    """Windows of one model version. Writing is thread-safe; `windows` is for one thread."""

    def __init__(
        self,
        baseline: Baseline,
        windows: Sequence[Window],
        reservoir_rows: int,
        *,
        directory: Optional[Path] = None,
        seed: Optional[int] = None,
    ) -> None:
        self.layout: Layout = layout_for(baseline, len(windows), reservoir_rows)
        self._grid = PaneGrid(windows, self.layout.panes)
        self._header = header(fingerprint(baseline, tuple(windows), self.layout))
        self._tallier, self.codes = Tallier(baseline, self.layout), codes_for(baseline)
        self._rng = np.random.default_rng(seed)
        self._directory = directory
        self._own: Optional[_File] = None
        self._others: dict[str, _File] = {}
        self.writer = self._open()
        here = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(here()))

    @property
    def size_bytes(self) -> int:
        """Memory of this process's windows, fixed at start."""
        return size_of(self.layout)

    @property
    def shared(self) -> bool:
        """Whether other workers' rows are seen, and windows outlive the process."""
        return self._own is not None

    def _open(self) -> SegmentWriter:
        if self._directory is not None:
            try:
                self._own = self._take_over() or self._create()
            except OSError as error:
                _logger.warning("windows are kept in this process only: %s: %s", self._directory, error.strerror)
        memory = self._own.memory if self._own else mmap.mmap(-1, self.size_bytes)
        return self._write(memory)

    def _write(self, memory: mmap.mmap) -> SegmentWriter:
        return SegmentWriter(memory, self.layout, self._grid, tallier=self._tallier, codes=self.codes, rng=self._rng)

    def _create(self) -> _File:
        assert self._directory is not None
        file = _File(self._directory / f"{uuid.uuid4().hex}{_SUFFIX}", self.size_bytes, create=True)
        file.memory[: len(self._header)] = self._header
        return file

    def _take_over(self) -> Optional[_File]:
        """The file of a worker that is gone, ours from now on; files that cannot be ours are removed."""
        for path in self._paths():
            file = self._map(path)
            if file is not None and file.try_lock():
                return file
            if file is not None:
                file.close()
        return None

    def _paths(self) -> list[Path]:
        assert self._directory is not None
        return sorted(self._directory.glob(f"*{_SUFFIX}"))

    def _map(self, path: Path) -> Optional[_File]:
        """The segment at ``path``; ``None``, and the file removed where nobody owns it, if it is not one of ours."""
        try:
            file = _File(path, self.size_bytes, create=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._discard(path, str(error))
            return None
        if file.memory[: len(self._header)] == self._header:
            return file
        if file.try_lock():  # a file being created is locked, and has its header soon
            foreign = file.memory[: len(MAGIC) + 1] != MAGIC + bytes([FORMAT])
            self._discard(path, "no segment" if foreign else "made for another baseline or other windows")
        file.close()
        return None

    def _discard(self, path: Path, why: str) -> None:
        _logger.warning("windows in %s are dropped: %s", path.name, why)
        path.unlink(missing_ok=True)

    def append(self, rows: Floats, now: float) -> None:
        """Take rows (m, F); where the ring is full, the caller does the fold it waits for."""
        step = self.layout.ring_rows
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            while not self.writer.append(part, now):
                self.writer.fold()

    def segments(self) -> list[SegmentView]:
        """This process's segment and those of all other workers, also of those that are gone."""
        if self._own is None or self._directory is None:
            return [self.writer]
        paths = {path.name: path for path in self._paths() if path != self._own.path}
        for name in [name for name in self._others if name not in paths]:
            self._others.pop(name).close()
        for name, path in paths.items():
            if name not in self._others:
                file = self._map(path)
                if file is not None:
                    self._others[name] = file
        others = [self._read(file) for file in self._others.values()]
        return [self.writer, *(view for view in others if view.generation > 0)]

    def _read(self, file: _File) -> SegmentView:
        view = SegmentView(file.memory, self.layout, self._grid)
        if view.appended > view.folded and file.try_lock():  # its owner is gone and left rows in the ring
            try:
                self._write(file.memory).fold()
            finally:
                file.unlock()
        return view

    def windows(self, now: float) -> list[WindowRows]:
        """Every window at ``now``, over the rows that all workers have folded."""
        segments = self.segments()
        with self.writer.fold_lock:
            return [window_rows(segments, w, now) for w in range(self.layout.windows)]

    def totals(self) -> Floats:
        """The tally vector of all rows ever, over all workers."""
        totals: Floats = sum((view.totals for view in self.segments()), np.zeros(self.layout.length))
        return totals

    def counters(self) -> Floats:
        """The counters of all workers, added up."""
        counters: Floats = sum(view.arrays.counters for view in self.segments())
        return counters

    def close(self) -> None:
        """Give the segment up, for another process to take over."""
        for file in [self._own, *self._others.values()]:
            if file is not None:
                file.close()
        self._own, self._others = None, {}


def _let_go(store: Optional[Store]) -> None:
    if store is not None:
        store.close()
