"""All segments of one model version: this process's own to write, every worker's to read.

Without a directory the one segment is private memory. With one, each worker has a file in it; a worker that starts
takes over a file whose owner is gone, rows in the ring and windows included.
"""

from __future__ import annotations

import logging
import mmap
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from torchserve_drift.baseline.profile import Profile
from torchserve_drift.settings.settings import Window
from torchserve_drift.window.coding import codes_for
from torchserve_drift.window.counters import LENGTH
from torchserve_drift.window.files import SegmentDirectory, SegmentFile
from torchserve_drift.window.layout import Layout, fingerprint, layout_for
from torchserve_drift.window.merge import WindowRows, window_rows
from torchserve_drift.window.panes import PaneGrid
from torchserve_drift.window.segment import HEADER_BYTES, Floats, SegmentView, header, size_of
from torchserve_drift.window.tally import Tallier
from torchserve_drift.window.writer import Bytes, SegmentWriter

_logger = logging.getLogger("torchserve_drift")
_RETRY_AFTER_TENDS = 50


def _nobody_folds() -> None:
    """Without a background thread rows wait until the ring is full."""


class Store:
    """Windows of one model version. Writing is thread-safe; `windows`, `totals` and `tend` are for one thread."""

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
        self._tends_alone = 0
        self.on_filling: Callable[[], None] = _nobody_folds
        self.writer = self._open()
        here = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(here()))

    @property
    def size_bytes(self) -> int:
        """Memory of this process's windows, fixed at start."""
        return size_of(self.layout)

    @property
    def shared(self) -> bool:
        """Whether other workers see these rows, and they outlive the process."""
        return self._own is not None

    def _open(self) -> SegmentWriter:
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
                self._say_no_room(directory, error)
        _logger.info("windows start empty")
        return self._write(self._own.memory if self._own else mmap.mmap(-1, self.size_bytes))

    def _taken_over(self, directory: SegmentDirectory) -> Optional[SegmentWriter]:
        """The segment of a worker that is gone, ours from now on; ``None`` where there is none to go on with."""
        self._own = directory.take_over()
        if self._own is None:
            return None
        writer = self._write(self._own.memory)
        if writer.is_plausible() and writer.has_sane_panes():
            return writer
        directory.discard(self._own.path, "its contents make no sense")
        directory.say_dropped()
        self._own.close()
        return None

    def _created(self) -> Optional[SegmentFile]:
        """A new file of our own in the first directory that has room; ``None`` where none has."""
        for directory in self._directories:
            try:
                return directory.create()
            except OSError as error:
                if self._own is not None:
                    self._say_no_room(directory, error)
        return None

    def _say_no_room(self, directory: SegmentDirectory, error: OSError) -> None:
        if directory is self._directories[-1]:
            _logger.warning("windows are kept in this process only: %s: %s", directory.path, error.strerror)
        else:
            _logger.warning("windows will not survive a restart: %s: %s", directory.path, error.strerror)

    def _write(self, memory: mmap.mmap) -> SegmentWriter:
        return SegmentWriter(memory, self.layout, self._grid, tallier=self._tallier, codes=self.codes, rng=self._rng)

    def append(self, rows: Floats, now: float, begins: Optional[Bytes] = None) -> None:
        """Take rows (m, F); calls `on_filling` once half of the ring waits, and does the fold itself where it is full.

        ``begins`` has m bytes, not 0 where a row begins a request; ``None``: every row does. A request longer than the
        ring counts as several.
        """
        step = self.layout.ring_rows
        if len(rows) <= step:
            while not self.writer.append(rows, now, begins):
                self.writer.fold()
            if self.writer.is_half_full:
                self.on_filling()
        else:
            for begin in range(0, len(rows), step):
                part = slice(begin, begin + step)
                self.append(rows[part], now, begins[part] if begins is not None else None)

    def notify_when_filling(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever half of the ring has no room for rows."""
        self.on_filling = callback

    def check_file(self) -> None:
        """Mend what happened to our own file: deleted, it is written anew; full of garbage, it is begun anew.

        A process that found no room for a file tries again every now and then.
        """
        if not self._directories:
            return
        plausible = self.writer.is_plausible()
        if self._own is None:
            self._tends_alone += 1
            if plausible and self._tends_alone % _RETRY_AFTER_TENDS:
                return
        elif plausible and self._own.is_linked():
            return
        if not plausible:
            _logger.warning("windows start empty: the contents of the old ones make no sense any more")
        self._renew(keep=plausible)

    def _renew(self, *, keep: bool) -> None:
        """Go on in a new file (in private memory, where none can be made), with what the old one holds if ``keep``."""
        file = self._created()
        if file is None and keep:  # the old memory serves as well, only nobody else can find it
            self._forget_own()
            return
        memory = file.memory if file is not None else mmap.mmap(-1, self.size_bytes)
        old = self.writer
        with old.retired():
            if keep:
                memory[HEADER_BYTES:] = old.memory[HEADER_BYTES:]  # private memory has no header
            self.writer = self._write(memory)
        self._forget_own()
        self._own = file

    def _forget_own(self) -> None:
        if self._own is not None:
            self._own.close()
        self._own = None

    def segments(self) -> list[SegmentView]:
        """This process's segment and those of all other workers, also of those that are gone."""
        ours = self._own.path if self._own is not None else None
        paths = {path: directory for directory in self._directories for path in directory.paths() if path != ours}
        for path in [path for path, file in self._others.items() if path not in paths or not file.is_linked()]:
            self._others.pop(path).close()
        for path, directory in paths.items():
            if path not in self._others:
                file = directory.open(path)
                if file is not None:
                    self._others[path] = file
        views = [self._read(file, paths[path]) for path, file in list(self._others.items())]
        for directory in self._directories:
            directory.say_dropped()
        return [self.writer, *(view for view in views if view is not None)]

    def _read(self, file: SegmentFile, directory: SegmentDirectory) -> Optional[SegmentView]:
        view = SegmentView(file.memory, self.layout, self._grid)
        if view.generation == 0:
            return None
        if not (view.is_consistent() and view.has_sane_panes()):
            if file.try_lock():
                directory.discard(file.path, "its contents make no sense")
            return None
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
        counters: Floats = sum((view.arrays.counters for view in self.segments()), np.zeros(LENGTH))
        return counters

    def leave(self) -> None:
        """Go on in private memory, empty: what a forked child must do, whose parent writes on in the same segment."""
        self.writer = self._write(mmap.mmap(-1, self.size_bytes))
        self._forget_files()

    def close(self) -> None:
        """Give the segment up, for another process to take over; what it holds is still here to be read."""
        if self._own is not None:
            memory = mmap.mmap(-1, self.size_bytes)
            with self.writer.retired():
                memory[:] = self.writer.memory[:]
                self.writer = self._write(memory)
            self._own.unlock()
        self._forget_files()

    def _forget_files(self) -> None:
        self._forget_own()
        for file in self._others.values():
            file.close()
        self._others, self._directories = {}, []


def _let_go(store: Optional[Store]) -> None:
    if store is not None:
        store.leave()
