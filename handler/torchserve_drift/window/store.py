"""All segments of one model version. A process writes its own and reads those of every worker.

Without a directory the only segment is private memory. With a directory, each worker has a file in it. A worker that
starts takes over a file whose owner has ended, with its windows and the rows in its ring.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from torchserve_drift.baseline.profile import Profile
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window.coding import codes_for
from torchserve_drift.window.counters import LENGTH
from torchserve_drift.window.layout import Layout, fingerprint, layout_for
from torchserve_drift.window.merge import WindowRows, window_rows
from torchserve_drift.window.panes import PaneGrid
from torchserve_drift.window.process_lock import drop_in_children
from torchserve_drift.window.segment import HEADER_BYTES, SegmentView, header, size_of
from torchserve_drift.window.segment_files import SegmentDirectory, SegmentFile
from torchserve_drift.window.tally import Tallier
from torchserve_drift.window.window import Window
from torchserve_drift.window.writer import Bytes, SegmentWriter

_logger = logging.getLogger("torchserve_drift")

_RETRY_AFTER_CHECKS = 50
"""A process without a file tries again to create one after this number of calls of `Store.check_file`."""


def _do_nothing() -> None:
    """Without a background thread, the caller of `append` folds once the ring is full."""


class Store:
    """The windows of one model version.

    `append` is thread-safe. `windows`, `totals`, `counters` and `check_file` are for one thread at a time. Forked
    children begin with empty windows in private memory.

    Parameters
    ----------
    baseline
        What rows are counted and coded against.
    windows
        The windows to keep.
    reservoir_rows
        Rows of each window's uniform sample.
    directory
        Where the segments of all workers are; ``None`` for private memory.
    spare
        A second directory, for when the first has no room.
    seed
        Random seed for the priorities of rows; ``None`` for a random one.
    """

    def __init__(
        self,
        baseline: Profile,
        windows: Sequence[Window],
        reservoir_rows: int,
        *,
        directory: Optional[Path] = None,
        spare: Optional[Path] = None,
        seed: Optional[int] = None,
    ) -> None:
        self.layout: Layout = layout_for(baseline, len(windows), reservoir_rows)
        self.codes = codes_for(baseline)
        self._grid = PaneGrid(windows, self.layout.panes)
        self._tallier = Tallier(baseline, self.layout)
        self._rng = np.random.default_rng(seed)
        head = header(fingerprint(baseline, tuple(windows), self.layout))
        paths = [path for path in (directory, spare) if path is not None]
        self._directories = [SegmentDirectory(path, self.size_bytes, head) for path in paths]
        self._own: Optional[SegmentFile] = None
        self._others: dict[Path, SegmentFile] = {}
        self._checks_without_file = 0
        self._on_filling = _do_nothing
        self.writer = self._open()
        drop_in_children(self)

    def notify_when_filling(self, callback: Callable[[], None]) -> None:
        """Let `append` call ``callback`` whenever at least half of the ring is taken, in the thread that appends."""
        self._on_filling = callback

    @property
    def size_bytes(self) -> int:
        """The memory of this process's windows in bytes, fixed at start."""
        return size_of(self.layout)

    @property
    def shared(self) -> bool:
        """Whether this process's rows are in a file, which other workers read and which outlives the process."""
        return self._own is not None

    def _open(self) -> SegmentWriter:
        """A writer of the segment that this process continues or begins, in the first directory that has room."""
        for directory in self._directories:
            try:
                writer = self._taken_over(directory)
                if writer is not None:
                    _logger.info("windows continue after %d rows", writer.folded)
                    return writer
                self._own = directory.create()
                break
            except OSError as error:
                self._own = None
                self._log_no_room(directory, error)
        _logger.info("windows start empty")
        return self._writer_of(self._own.memory if self._own else mmap.mmap(-1, self.size_bytes))

    def _taken_over(self, directory: SegmentDirectory) -> Optional[SegmentWriter]:
        """A writer of the segment of a worker that has ended; ``None`` if there is none with consistent contents."""
        self._own = directory.take_over()
        if self._own is None:
            return None
        writer = self._writer_of(self._own.memory)
        if writer.is_plausible() and writer.has_sane_panes():
            return writer
        directory.discard(self._own.path, "its contents are inconsistent")
        directory.log_dropped()
        self._own.close()
        return None

    def _new_file(self) -> Optional[SegmentFile]:
        """A new file in the first directory that has room; ``None`` where none has room."""
        for directory in self._directories:
            try:
                return directory.create()
            except OSError as error:
                if self._own is not None:
                    self._log_no_room(directory, error)
        return None

    def _log_no_room(self, directory: SegmentDirectory, error: OSError) -> None:
        if directory is self._directories[-1]:
            _logger.warning("windows are kept in this process only: %s: %s", directory.path, error.strerror)
        else:
            _logger.warning("windows will not survive a restart: %s: %s", directory.path, error.strerror)

    def _writer_of(self, memory: mmap.mmap) -> SegmentWriter:
        """A writer of the segment in ``memory``, which this process must own."""
        return SegmentWriter(memory, self.layout, self._grid, tallier=self._tallier, codes=self.codes, rng=self._rng)

    def append(self, rows: Floats, now: float, begins: Optional[Bytes] = None) -> None:
        """Append rows to the ring, and fold it first where it has not enough room.

        Parameters
        ----------
        rows
            (m, F) values, categories as their index.
        now
            The clock's time of these rows, in seconds.
        begins
            m bytes, not 0 where a row begins a request; ``None`` where every row does. A request longer than the ring
            counts as several.
        """
        step = self.layout.ring_rows
        if len(rows) <= step:
            while not self.writer.append(rows, now, begins):
                self.writer.fold()
            if self.writer.is_half_full:
                self._on_filling()
        else:
            for begin in range(0, len(rows), step):
                part = slice(begin, begin + step)
                self.append(rows[part], now, begins[part] if begins is not None else None)

    def check_file(self) -> None:
        """Check this process's file and replace it where needed.

        A file that was deleted is written again. A file that another program wrote into is replaced by an empty one. A
        process that found no room for a file tries again from time to time.
        """
        if not self._directories:
            return
        plausible = self.writer.is_plausible()
        if self._own is None:
            self._checks_without_file += 1
            if plausible and self._checks_without_file % _RETRY_AFTER_CHECKS:
                return
        elif plausible and self._own.is_linked():
            return
        if not plausible:
            _logger.warning("windows start empty: the contents of the old ones are inconsistent")
        self._replace_segment(keep=plausible)

    def _replace_segment(self, *, keep: bool) -> None:
        """Continue in a new file, or in private memory where none can be created; ``keep`` copies the old contents."""
        file = self._new_file()
        if file is None and keep:  # continue in the old memory: it works, only other processes cannot find it
            self._close_own_file()
            return
        memory = file.memory if file is not None else mmap.mmap(-1, self.size_bytes)
        old = self.writer
        with old.retired():
            if keep:
                memory[HEADER_BYTES:] = old.memory[HEADER_BYTES:]  # private memory has no header
            self.writer = self._writer_of(memory)
        self._close_own_file()
        self._own = file

    def _close_own_file(self) -> None:
        if self._own is not None:
            self._own.close()
        self._own = None

    def segments(self) -> list[SegmentView]:
        """This process's segment and those of all other workers, also of workers that have ended."""
        own_path = self._own.path if self._own is not None else None
        paths = {path: directory for directory in self._directories for path in directory.paths() if path != own_path}
        # Files that are not at their path any more are closed, and files that are new there are opened.
        for path in [path for path, file in self._others.items() if path not in paths or not file.is_linked()]:
            self._others.pop(path).close()
        for path, directory in paths.items():
            if path not in self._others:
                file = directory.open(path)
                if file is not None:
                    self._others[path] = file
        views = [self._view_of(file, paths[path]) for path, file in list(self._others.items())]
        for directory in self._directories:
            directory.log_dropped()
        return [self.writer, *(view for view in views if view is not None)]

    def _view_of(self, file: SegmentFile, directory: SegmentDirectory) -> Optional[SegmentView]:
        """Another worker's segment; ``None`` if it holds nothing yet or its contents are inconsistent."""
        view = SegmentView(file.memory, self.layout, self._grid)
        if view.generation == 0:
            return None
        if not (view.is_consistent() and view.has_sane_panes()):
            # only without an owner: the owner repairs its own file, see `check_file`
            if file.try_lock():
                directory.discard(file.path, "its contents are inconsistent")
            return None
        if view.appended > view.folded and file.try_lock():  # its owner has ended and left rows in the ring
            try:
                self._writer_of(file.memory).fold()
            finally:
                file.unlock()
        return view

    def windows(self, now: float) -> list[WindowRows]:
        """Every window at time ``now``, in seconds, over the rows that all workers have folded."""
        segments = self.segments()
        with self.writer.fold_lock:
            return [window_rows(segments, w, now) for w in range(self.layout.windows)]

    def totals(self) -> Floats:
        """The tally vector (length,) of all rows since the beginning, over all workers."""
        totals: Floats = sum((view.totals for view in self.segments()), np.zeros(self.layout.length))
        return totals

    def counters(self) -> Floats:
        """The counters of all workers, added up; see `counters.describe`."""
        counters: Floats = sum((view.arrays.counters for view in self.segments()), np.zeros(LENGTH))
        return counters

    def drop_in_child(self) -> None:
        """Continue in empty private memory, in a forked child: the parent keeps writing to the same segment."""
        self.writer = self._writer_of(mmap.mmap(-1, self.size_bytes))
        self._close_files()

    def close(self) -> None:
        """Let another process take over the segment. A private copy of its contents can still be read here."""
        if self._own is not None:
            memory = mmap.mmap(-1, self.size_bytes)
            with self.writer.retired():
                memory[:] = self.writer.memory[:]
                self.writer = self._writer_of(memory)
            self._own.unlock()
        self._close_files()

    def _close_files(self) -> None:
        self._close_own_file()
        for file in self._others.values():
            file.close()
        self._others, self._directories = {}, []
