"""Writing a segment: appending on the request path, folding in the background thread, and recovery after a kill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional, Union

import numpy as np

from torchserve_drift.stats.arrays import Flags, Floats, Integers
from torchserve_drift.window import fields
from torchserve_drift.window.coding import FeatureCodes
from torchserve_drift.window.counters import Counters
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.pacing import NO_PAUSE, Pace
from torchserve_drift.window.panes import PaneGrid
from torchserve_drift.window.reservoir import still_needed
from torchserve_drift.window.segment import (
    CLOCK_OFFSET,
    FOLDED,
    HOUR_RING,
    HOUR_ROWS,
    LATEST,
    LATEST_HOUR,
    LIMITED_AT,
    NO_PANE,
    SAMPLE_LIMIT,
    TALLIES,
    WINDOW_INTEGERS,
    Buffer,
    SegmentView,
)
from torchserve_drift.window.tally import Tallier

_CLOCK_JUMP_SECONDS = 1.0
"""A clock that goes back by more than this between two rows was set back. Smaller steps come from threads that append
out of order."""

_FEWEST_SAMPLE_ROWS = 64
"""Samples are never made smaller than this for want of room in the pool."""

Bytes = Union[bytes, bytearray]
"""One byte for each row."""


class SegmentWriter(SegmentView):
    """The one writer of a segment. The process that makes it must own the segment.

    Thread-safe: one thread can append while another one folds; further calls of either wait.
    """

    def __init__(
        self,
        buffer: Buffer,
        layout: Layout,
        grid: PaneGrid,
        *,
        tallier: Tallier,
        codes: tuple[FeatureCodes, ...],
        rng: np.random.Generator,
    ) -> None:
        super().__init__(buffer, layout, grid)
        self._tallier, self._codes, self._rng = tallier, codes, rng
        self.memory = buffer
        # A memoryview is several times faster than an array for one number.
        self._appended, self._released = self.arrays.appended.data, self.arrays.released.data
        self._begins: Any = self.arrays.ring_begins.data
        self._times: Any = self.arrays.ring_times.data
        self._retired = False
        self._append_lock = threading.Lock()
        self.fold_lock = threading.RLock()
        self.counters = Counters(self.arrays.counters)
        self._recover()

    def _recover(self) -> None:
        """Repair what a kill may have left half done.

        That is a new segment without state, rows in the pool that were not committed, or committed rows that were not
        wiped from the ring.
        """
        a = self.arrays
        if self.generation == 0:  # the segment is new, or its writer was killed before the first commit
            a.integers[0, SAMPLE_LIMIT] = self.layout.reservoir_rows
            a.integers[0, WINDOW_INTEGERS::2] = NO_PANE
            a.pane_ids[:] = NO_PANE
            a.commit[0] = 2
        a.pool_rows[a.pool_rows > self.folded] = 0
        self._free = np.flatnonzero(a.pool_rows == 0)
        if not 0 <= self.waiting <= self.layout.ring_rows:
            return  # another program wrote into the segment: `is_plausible` is False, and nothing is folded
        wiped = np.ones(self.layout.ring_rows, dtype=np.bool_)
        wiped[np.arange(self.folded, self.appended) % self.layout.ring_rows] = False
        a.ring[wiped] = 0.0
        a.released[0] = self.folded

    def append(self, rows: Floats, now: float, begins: Optional[Bytes] = None) -> bool:
        """Append rows to the ring.

        Parameters
        ----------
        rows
            (m, F) values, categories as their index.
        now
            The clock's time of these rows, in seconds.
        begins
            m bytes, not 0 where a row begins a request; ``None`` where every row does.

        Returns
        -------
        appended
            False, and nothing is appended, where the ring has not enough room.
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
            if count == 1:  # most requests have one row: single elements are faster than slices
                ring[start] = rows[0]
                self._begins[start], self._times[start] = begins[0], now
            elif end <= size:
                ring[start:end] = rows
                self._begins[start:end] = begins
                times[start:end].fill(now)
            else:  # the rows continue at the beginning of the ring
                ring[start:], ring[: end - size] = rows[: size - start], rows[size - start :]
                times[start:] = times[: end - size] = now
                self._begins[start:], self._begins[: end - size] = begins[: size - start], begins[size - start :]
            self._appended[0] = written + count  # last: only now do a fold, or the next owner, find the rows
        return True

    @contextmanager
    def retired(self) -> Iterator[None]:
        """Stop all appending and folding for good. During the context no other thread appends or folds."""
        with self.fold_lock, self._append_lock:
            self._retired = True
            yield

    def is_plausible(self) -> bool:
        """Whether the segment's counts of rows agree with each other. They do unless another program wrote into it."""
        with self.fold_lock, self._append_lock:
            a = self.arrays
            released, appended = int(a.released[0]), int(a.appended[0])
            if not released <= self.folded <= appended <= released + self.layout.ring_rows:
                return False
        with self.fold_lock:  # this takes longer, so requests must not wait for it
            return self.is_consistent()

    @property
    def waiting(self) -> int:
        """Rows in the ring that are not folded yet."""
        return self.appended - self.folded

    @property
    def is_half_full(self) -> bool:
        """Whether at least half of the ring is taken."""
        return 2 * (self._appended[0] - self._released[0]) >= self.layout.ring_rows

    def fold(self, paced: Pace = NO_PAUSE) -> None:
        """Move the waiting rows into tallies and pool. ``paced`` wraps the loops over features.

        Raises
        ------
        ValueError
            When another program wrote into the segment, so that its rows cannot be trusted.
        """
        size = self.layout.ring_rows
        with self.fold_lock:
            if not 0 <= self.waiting <= size:
                raise ValueError(
                    f"rows that wait in the ring must be from 0 to {size}, got {self.waiting}: "
                    "another program wrote into the windows' memory"
                )
            end = self.folded if self._retired else self.appended
            while self.folded < end:
                begin = self.folded % size
                stop = min(size, begin + end - self.folded)
                a = self.arrays
                self._fold_block(a.ring[begin:stop], a.ring_times[begin:stop], a.ring_begins[begin:stop], paced)

    def _fold_block(self, rows: Floats, times: Floats, begins: Flags, paced: Pace) -> None:
        """Fold rows that lie side by side in the ring, with one commit for all rows of one pane in each window."""
        own, offsets = self._own_times(times)
        # All rows of a request go into the pane of its first row. Only where a block ends within a request, at the end
        # of the ring, does it count as two.
        firsts = np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0))
        ids = self.grid.ids(own, self.folded)[:, firsts]
        cuts = np.flatnonzero((np.diff(ids, axis=1) != 0).any(axis=0)) + 1
        for begin, stop in zip([0, *cuts], [*cuts, len(rows)]):
            block = rows[begin:stop]
            tally = self._tallier.tally(block, begins[begin:stop], paced)
            self._add_to_pool(block, paced)
            self._commit(tally, ids[:, begin], own[begin:stop], offsets[stop - 1])
            block[:] = 0.0  # no production value stays in memory after the fold
            self.arrays.released[0] = self.folded

    def _own_times(self, times: Floats) -> tuple[Floats, Floats]:
        """The segment's own time of each row, which never runs backwards, and its difference to the clock (m,)."""
        floats = self._floats
        offset, latest = float(floats[CLOCK_OFFSET]), float(floats[LATEST])
        steps = np.diff(times, prepend=latest - offset if self.folded else times[0])
        # Where the clock was set back, own time goes on from where it was: windows keep moving.
        offsets = offset + np.cumsum(np.where(steps < -_CLOCK_JUMP_SECONDS, -steps, 0.0))
        own = np.maximum.accumulate(times + offsets)
        return (np.maximum(own, latest) if self.folded else own), offsets

    def _add_to_pool(self, rows: Floats, paced: Pace) -> None:
        """Write codes and priorities of rows (m, F) to free slots of the pool."""
        count, a = len(rows), self.arrays
        if len(self._free) < count:
            self._prune()
        slots, self._free = self._free[:count], self._free[count:]  # these slots are free until they have row numbers
        for index, codes in enumerate(paced(self._codes)):
            a.pool_codes[index, slots] = codes.encode(np.ascontiguousarray(rows[:, index]))
        a.pool_priorities[slots] = self._rng.integers(0, 1 << 32, count, dtype=np.uint32)
        # Last, because a row's number makes the slot count. After a kill before the commit, `_recover` frees the slots.
        a.pool_rows[slots] = np.arange(self.folded + 1, self.folded + count + 1)

    def _prune(self) -> None:
        """Free the slots of rows that can no longer be in the sample of any window."""
        a, enough = self.arrays, self.layout.ring_rows
        integers = a.integers[self.generation & 1]
        oldest = min((pane.first_row for w in range(self.layout.windows) for pane in self.panes(w)[:1]), default=0)
        if integers[LIMITED_AT] < oldest:  # the rows that made the samples smaller have left all windows
            integers[SAMPLE_LIMIT] = self.layout.reservoir_rows
        a.pool_rows[a.pool_rows <= oldest] = 0
        while True:
            live = np.flatnonzero(a.pool_rows)
            keep = still_needed(a.pool_rows[live], a.pool_priorities[live], int(integers[SAMPLE_LIMIT]))
            a.pool_rows[live[~keep]] = 0
            self._free = np.flatnonzero(a.pool_rows == 0)
            if len(self._free) >= enough or integers[SAMPLE_LIMIT] <= _FEWEST_SAMPLE_ROWS:
                return
            # The longest window has more rows than the pool was made for. Samples are smaller until they have left it.
            integers[SAMPLE_LIMIT] = integers[SAMPLE_LIMIT] * 4 // 5
            integers[LIMITED_AT] = self.folded

    def _commit(self, tally: Floats, ids: Integers, own: Floats, offset: float) -> None:
        """Add a tally to the totals and to pane ``ids[w]`` of each window w, and make the result the valid state.

        ``own`` (m,) are the segment's own times of the rows, ``offset`` is the last one's difference to the clock.
        """
        a = self.arrays
        valid, spare = self.generation & 1, (self.generation + 1) & 1
        integers, floats = a.integers[spare], a.floats[spare]
        integers[:], floats[:TALLIES] = a.integers[valid], a.floats[valid][:TALLIES]
        floats[CLOCK_OFFSET], floats[LATEST] = offset, own[-1]
        _count_hours(floats, own - offset)
        integers[FOLDED] += int(tally[fields.ROWS])
        # Everything is written to the spare copy, or to a slot that no reader looks at, before the commit.
        np.add(self.totals, tally, out=self._vector(floats, 0))
        for w in range(self.layout.windows):
            current = integers[WINDOW_INTEGERS + 2 * w : WINDOW_INTEGERS + 2 * w + 2]
            before = self._vector(a.floats[valid], 1 + w)
            after = self._vector(floats, 1 + w)
            if current[0] == ids[w]:  # the pane goes on
                np.add(before, tally, out=after)
                continue
            if current[0] != NO_PANE:  # a new pane begins
                self._close_pane(w, int(current[0]), int(current[1]), before)
            after[:] = tally
            current[:] = ids[w], self.folded
        a.commit[0] += 1

    def _close_pane(self, w: int, pane: int, first_row: int, tally: Floats) -> None:
        """Copy the current pane to its slot. A kill before the commit does no harm: the next fold copies it again."""
        a = self.arrays
        slot = pane % a.pane_ids.shape[1]
        a.pane_ids[w, slot] = NO_PANE  # a reader, or the next owner after a kill, must not see half a pane
        a.pane_tallies[w, slot] = tally
        a.pane_first_rows[w, slot], a.pane_ended[w, slot] = first_row, self._floats[LATEST]
        a.pane_ids[w, slot] = pane


def _count_hours(floats: Floats, times: Floats) -> None:
    """Count rows at ``times`` (m,), in seconds since the epoch, by hour in the floats of a state copy."""
    rows = floats[HOUR_ROWS:TALLIES]
    hours, counts = np.unique(np.floor(times / 3600.0), return_counts=True)
    for hour, count in zip(hours.tolist(), counts.tolist()):
        passed = hour - floats[LATEST_HOUR]
        if passed > 0:  # the places of the hours since then still have the rows of older hours
            new = hour - np.arange(min(passed, HOUR_RING))
            rows[(new % HOUR_RING).astype(np.intp)] = 0.0
            floats[LATEST_HOUR] = hour
        if passed > -HOUR_RING:
            rows[int(hour % HOUR_RING)] += count
