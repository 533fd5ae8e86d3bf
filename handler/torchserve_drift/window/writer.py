"""Writing a segment: the request path's append, the background thread's fold, and putting in order what a kill left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.window.coding import Codes
from torchserve_drift.window.counters import Counters
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.pacing import NO_PAUSE, Pace
from torchserve_drift.window.panes import PaneGrid
from torchserve_drift.window.reservoir import still_needed
from torchserve_drift.window.segment import (
    CLOCK_OFFSET,
    FOLDED,
    LATEST,
    LIMITED_AT,
    NO_PANE,
    SAMPLE_LIMIT,
    TALLIES,
    WINDOW_INTEGERS,
    Buffer,
    Floats,
    SegmentView,
)
from torchserve_drift.window.tally import Tallier

_CLOCK_JUMP_SECONDS = 1.0
_FEWEST_SAMPLE_ROWS = 64

Bytes = Union[bytes, bytearray]


class SegmentWriter(SegmentView):
    """The one writer of a segment; whoever makes it holds the segment's lock.

    Thread-safe: `append` excludes itself, `fold` excludes itself, and the two run side by side.
    """

    def __init__(
        self,
        buffer: Buffer,
        layout: Layout,
        grid: PaneGrid,
        *,
        tallier: Tallier,
        codes: tuple[Codes, ...],
        rng: np.random.Generator,
    ) -> None:
        super().__init__(buffer, layout, grid)
        self._tallier, self._codes, self._rng = tallier, codes, rng
        self.memory = buffer
        # memoryviews read and write one integer several times faster than arrays do
        self._appended, self._released = self.arrays.appended.data, self.arrays.released.data
        self._begins: Any = self.arrays.ring_begins.data
        self._times: Any = self.arrays.ring_times.data
        self._retired = False
        self._append_lock = threading.Lock()
        self.fold_lock = threading.RLock()
        self.counters = Counters(self.arrays.counters)
        self._recover()

    def _recover(self) -> None:
        a = self.arrays
        if self.generation == 0:  # new, or killed before its first commit
            a.integers[0, SAMPLE_LIMIT] = self.layout.reservoir_rows
            a.integers[0, WINDOW_INTEGERS::2] = NO_PANE
            a.pane_ids[:] = NO_PANE
            a.commit[0] = 2
        a.pool_rows[a.pool_rows > self.folded] = 0
        self._free = np.flatnonzero(a.pool_rows == 0)
        if not 0 <= self.waiting <= self.layout.ring_rows:
            return  # garbage: `is_plausible` says so, nothing may be folded from it
        wiped = np.ones(self.layout.ring_rows, dtype=np.bool_)
        wiped[np.arange(self.folded, self.appended) % self.layout.ring_rows] = False
        a.ring[wiped] = 0.0
        a.released[0] = self.folded

    def append(self, rows: Floats, now: float, begins: Optional[Bytes] = None) -> bool:
        """Take ``rows`` (m, F) seen at ``now`` into the ring; False, and nothing taken, where it has too little
        room.

        ``begins`` has m bytes, not 0 where a row begins a request; ``None``: every row does.
        """
        count, size, ring, times = len(rows), self.layout.ring_rows, self.arrays.ring, self.arrays.ring_times
        with self._append_lock:
            written = self._appended[0]
            if self._retired or written + count - self._released[0] > size:
                return False
            start = written % size
            end = start + count
            if begins is None:
                begins = b"\1" * count
            if count == 1:  # most requests: nothing but elements
                ring[start] = rows[0]
                self._begins[start], self._times[start] = begins[0], now
            elif end <= size:
                ring[start:end] = rows
                self._begins[start:end] = begins
                times[start:end].fill(now)
            else:
                ring[start:], ring[: end - size] = rows[: size - start], rows[size - start :]
                times[start:] = times[: end - size] = now
                self._begins[start:], self._begins[: end - size] = begins[: size - start], begins[size - start :]
            self._appended[0] = written + count
        return True

    @contextmanager
    def retired(self) -> Iterator[None]:
        """Append and fold nothing any more; while the context lasts nobody is in the midst of either."""
        with self.fold_lock, self._append_lock:
            self._retired = True
            yield

    def is_plausible(self) -> bool:
        """Whether the segment's bookkeeping agrees with itself, as it always does unless somebody else wrote into
        it."""
        with self.fold_lock, self._append_lock:
            a = self.arrays
            released, appended = int(a.released[0]), int(a.appended[0])
            if not released <= self.folded <= appended <= released + self.layout.ring_rows:
                return False
        with self.fold_lock:  # a longer look, for which no request waits
            return self.is_consistent()

    @property
    def waiting(self) -> int:
        """Rows in the ring that no fold has taken yet."""
        return self.appended - self.folded

    @property
    def is_half_full(self) -> bool:
        """Whether half of the ring has no room for rows."""
        return 2 * (self._appended[0] - self._released[0]) >= self.layout.ring_rows

    def fold(self, paced: Pace = NO_PAUSE) -> None:
        """Move the waiting rows into tallies and pool; ``pause`` is called now and then, to let other threads in."""
        size = self.layout.ring_rows
        with self.fold_lock:
            if not 0 <= self.waiting <= size:
                raise ValueError(f"the windows' memory was overwritten: {self.waiting} rows wait in a ring of {size}")
            end = self.folded if self._retired else self.appended
            while self.folded < end:
                begin = self.folded % size
                stop = min(size, begin + end - self.folded)
                a = self.arrays
                self._fold_block(a.ring[begin:stop], a.ring_times[begin:stop], a.ring_begins[begin:stop], paced)

    def _fold_block(self, rows: Floats, times: Floats, begins: npt.NDArray[np.uint8], paced: Pace) -> None:
        own, offsets = self._own_times(times)
        # a request is whole in the pane of its first row; only the end of the ring parts it, then it counts as two
        firsts = np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0))
        ids = self.grid.ids(own, self.folded)[:, firsts]
        cuts = np.flatnonzero((np.diff(ids, axis=1) != 0).any(axis=0)) + 1
        for begin, stop in zip([0, *cuts], [*cuts, len(rows)]):
            block = rows[begin:stop]
            tally = self._tallier.tally(block, begins[begin:stop], paced)
            self._pool(block, paced)
            self._commit(tally, ids[:, begin], own[stop - 1], offsets[stop - 1])
            block[:] = 0.0
            self.arrays.released[0] = self.folded

    def _own_times(self, times: Floats) -> tuple[Floats, Floats]:
        """Times that never run backwards, and what was added to the clock for each row."""
        floats = self._floats
        offset, latest = float(floats[CLOCK_OFFSET]), float(floats[LATEST])
        steps = np.diff(times, prepend=latest - offset if self.folded else times[0])
        offsets = offset + np.cumsum(np.where(steps < -_CLOCK_JUMP_SECONDS, -steps, 0.0))
        own = np.maximum.accumulate(times + offsets)
        return (np.maximum(own, latest) if self.folded else own), offsets

    def _pool(self, rows: Floats, paced: Pace) -> None:
        count, a = len(rows), self.arrays
        if len(self._free) < count:
            self._prune()
        slots, self._free = self._free[:count], self._free[count:]
        for index, codes in enumerate(paced(self._codes)):
            a.pool_codes[index, slots] = codes.encode(np.ascontiguousarray(rows[:, index]))
        a.pool_priorities[slots] = self._rng.integers(0, 1 << 32, count, dtype=np.uint32)
        a.pool_rows[slots] = np.arange(self.folded + 1, self.folded + count + 1)

    def _prune(self) -> None:
        """Free the slots of rows that can be in no window's sample any more."""
        a, enough = self.arrays, self.layout.ring_rows
        integers = a.integers[self.generation & 1]
        oldest = min((pane.first_row for w in range(self.layout.windows) for pane in self.panes(w)[:1]), default=0)
        if integers[LIMITED_AT] < oldest:
            integers[SAMPLE_LIMIT] = self.layout.reservoir_rows
        a.pool_rows[a.pool_rows <= oldest] = 0
        while True:
            live = np.flatnonzero(a.pool_rows)
            keep = still_needed(a.pool_rows[live], a.pool_priorities[live], int(integers[SAMPLE_LIMIT]))
            a.pool_rows[live[~keep]] = 0
            self._free = np.flatnonzero(a.pool_rows == 0)
            if len(self._free) >= enough or integers[SAMPLE_LIMIT] <= _FEWEST_SAMPLE_ROWS:
                return
            # more rows in the longest window than the pool was made for: smaller samples, until these rows have left it
            integers[SAMPLE_LIMIT] = integers[SAMPLE_LIMIT] * 4 // 5
            integers[LIMITED_AT] = self.folded

    def _commit(self, tally: Floats, ids: npt.NDArray[np.int64], latest: float, offset: float) -> None:
        a = self.arrays
        valid, spare = self.generation & 1, (self.generation + 1) & 1
        integers, floats = a.integers[spare], a.floats[spare]
        integers[:], floats[:TALLIES] = a.integers[valid], (offset, latest)
        integers[FOLDED] += int(tally[0])
        np.add(self.totals, tally, out=self._vector(floats, 0))
        for w in range(self.layout.windows):
            current = integers[WINDOW_INTEGERS + 2 * w : WINDOW_INTEGERS + 2 * w + 2]
            before = self._vector(a.floats[valid], 1 + w)
            after = self._vector(floats, 1 + w)
            if current[0] == ids[w]:
                np.add(before, tally, out=after)
                continue
            if current[0] != NO_PANE:
                self._close(w, int(current[0]), int(current[1]), before)
            after[:] = tally
            current[:] = ids[w], self.folded
        a.commit[0] += 1

    def _close(self, w: int, pane: int, first_row: int, tally: Floats) -> None:
        a = self.arrays
        slot = pane % a.pane_ids.shape[1]
        a.pane_ids[w, slot] = NO_PANE  # a reader, or the next owner after a kill, must not see half a pane
        a.pane_tallies[w, slot] = tally
        a.pane_first_rows[w, slot], a.pane_ended[w, slot] = first_row, self._floats[LATEST]
        a.pane_ids[w, slot] = pane
