"""One writer's share of the windows, in memory that outlives the writer: where everything lies, and how it is read.

A segment is one buffer of a size fixed at start. The request path appends rows to a ring and advances ``appended``. A
fold moves them into tallies and pool. It writes the new totals and current panes into the spare one of two state
copies, and then one 8-byte store to ``commit`` makes that copy the valid one. Only after that are the rows wiped from
the ring and their room released (``released``). A process that is killed at any moment leaves the previous state
complete and its unfolded rows in the ring, for the next owner to fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from torchserve_drift.stats.arrays import AnyArray, Bools, Floats, Indices, Integers
from torchserve_drift.window import counters, fields
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.panes import PaneGrid

Buffer = Union[bytearray, memoryview, Any]
"""Writable memory, such as a mapped file."""

MAGIC = b"torchserve-drift"
FORMAT = 4
"""The version of the format. Segments of other versions are not read."""

HEADER_BYTES = 64
_READ_ATTEMPTS = 8
_LARGEST_COUNT = 2.0**53
"""Above this number a float64 cannot count in steps of 1."""

FOLDED, SAMPLE_LIMIT, LIMITED_AT, WINDOW_INTEGERS = 0, 1, 2, 3
"""The integers of a state copy: rows folded; rows that a sample can have, and the row at which that was last lowered;
then, for each window, the current pane's id and first row."""

HOUR_RING = 176
"""Hours of which a segment counts the rows: a week, and eight hours more."""

CLOCK_OFFSET, LATEST, LATEST_HOUR, HOUR_ROWS = 0, 1, 2, 3
TALLIES = HOUR_ROWS + HOUR_RING
"""The floats of a state copy: what is added to the clock, and the own time of the latest row, in seconds; the latest
hour since the epoch, by the clock; the rows of the newest hours, each in the place of its number modulo `HOUR_RING`;
then the tally vectors of all rows, and of the current pane of each window."""

NO_PANE = -(1 << 62)
"""The id of a pane that does not exist, older than all others."""


@dataclass(frozen=True, eq=False)
class Pane:
    """Rows that enter and leave a window together.

    ``id`` rises with time; ``first_row`` the number of the first row; ``ended`` the own time of the last row; ``tally``
    (length,) of all rows.
    """

    id: int
    first_row: int
    ended: float
    tally: Floats


class Arrays:
    """The arrays of a segment, as views of one buffer. Their order is the format of the file.

    ``size`` is the size in bytes that the layout needs. Without a buffer (``None``) the arrays are empty, but ``size``
    is known.
    """

    def __init__(self, buffer: Buffer, layout: Layout) -> None:
        self._buffer, self._end = buffer, HEADER_BYTES
        windows, slots, length = layout.windows, layout.panes + 1, layout.length
        # The number of commits, whose lowest bit says which state copy is valid; rows appended to the ring, and rows
        # whose room in the ring was released, both since the beginning.
        self.commit = self._next(np.int64, 1)
        self.appended = self._next(np.int64, 1)
        self.released = self._next(np.int64, 1)
        self.counters = self._next(np.float64, counters.LENGTH)
        # The two state copies.
        self.integers = self._next(np.int64, 2, WINDOW_INTEGERS + 2 * windows)
        self.floats = self._next(np.float64, 2, TALLIES + length * (1 + windows))
        # Closed panes, in a ring of slots for each window.
        self.pane_ids = self._next(np.int64, windows, slots)
        self.pane_first_rows = self._next(np.int64, windows, slots)
        self.pane_ended = self._next(np.float64, windows, slots)
        self.pane_tallies = self._next(np.float64, windows, slots, length)
        # Rows that wait for a fold.
        self.ring_times = self._next(np.float64, layout.ring_rows)
        self.ring_begins = self._next(np.uint8, layout.ring_rows)
        self.ring = self._next(np.float64, layout.ring_rows, layout.features)
        # The pool: the number of each row plus 1 (0: the slot is free), its priority and its codes.
        self.pool_rows = self._next(np.int64, layout.pool_rows)
        self.pool_priorities = self._next(np.uint32, layout.pool_rows)
        self.pool_codes = self._next(np.uint16, layout.features, layout.pool_rows)
        self.size = self._end

    def _next(self, dtype: Any, *shape: int) -> AnyArray:
        count = int(np.prod(shape))
        start = self._end
        # Every array begins at a multiple of 8 bytes: stores to aligned 8 bytes are atomic.
        self._end = start + -(-count * np.dtype(dtype).itemsize // 8) * 8
        if self._buffer is None:
            return np.empty(0, dtype)
        return np.frombuffer(self._buffer, dtype, count, start).reshape(shape)


def size_of(layout: Layout) -> int:
    """Bytes of a segment."""
    return Arrays(None, layout).size


def header(fingerprint: bytes) -> bytes:
    """The first bytes of a segment: magic, format, fingerprint. A file that begins otherwise is not read."""
    return (MAGIC + bytes([FORMAT]) + fingerprint).ljust(HEADER_BYTES, b"\0")


class SegmentView:
    """Reads a segment, also that of another process. The caller reads again if `generation` has changed meanwhile."""

    def __init__(self, buffer: Buffer, layout: Layout, grid: PaneGrid) -> None:
        self.layout, self.grid = layout, grid
        self.arrays = Arrays(buffer, layout)

    @property
    def generation(self) -> int:
        """A number that grows with every commit."""
        return int(self.arrays.commit[0])

    @property
    def folded(self) -> int:
        """Rows folded into tallies and pool so far."""
        return int(self._integers[FOLDED])

    @property
    def appended(self) -> int:
        """Rows appended to the ring so far, folded or not."""
        return int(self.arrays.appended[0])

    @property
    def totals(self) -> Floats:
        """The tally vector of all rows folded so far."""
        return self._vector(self._floats, 0)

    @property
    def hour_rows(self) -> tuple[Floats, Floats]:
        """The newest hours since the epoch by the clock (HOUR_RING,), in no order, and the rows folded in each."""
        floats = self._floats
        latest, places = floats[LATEST_HOUR], np.arange(HOUR_RING)
        return latest - (latest - places) % HOUR_RING, floats[HOUR_ROWS:TALLIES].copy()

    @property
    def sample_limit(self) -> int:
        """The most rows of a uniform sample from this pool: `reservoir_rows`, or fewer under extreme traffic."""
        return int(self._integers[SAMPLE_LIMIT])

    @property
    def _integers(self) -> Integers:
        integers: Integers = self.arrays.integers[self.generation & 1]
        return integers

    @property
    def _floats(self) -> Floats:
        floats: Floats = self.arrays.floats[self.generation & 1]
        return floats

    def is_consistent(self) -> bool:
        """Whether the valid state copy can come from a writer. Check it before reading another process's segment."""
        for _ in range(_READ_ATTEMPTS):
            generation = self.generation
            sane = self._has_sane_state()
            if sane or self.generation == generation:
                return sane
        return True  # the writer commits faster than this process reads, so it is at work

    def _has_sane_state(self) -> bool:
        floats, folded = self._floats, self.folded
        return (
            folded >= 0
            and 0 <= self.appended - folded <= self.layout.ring_rows
            and bool(self.totals[fields.ROWS] == folded)
            and 0 < self.sample_limit <= self.layout.reservoir_rows
            and bool(np.isfinite(floats[:TALLIES]).all() and (floats[HOUR_ROWS:TALLIES] >= 0).all())
            and self._are_counts(floats[TALLIES:].reshape(-1, self.layout.length))
            and bool((self.arrays.counters >= 0).all())
        )

    def has_sane_panes(self) -> bool:
        """Whether all panes hold valid counts. It reads much memory; meant for segments that another process wrote."""
        return all(
            self._are_counts(pane.tally) and 0 <= pane.first_row <= self.folded and np.isfinite(pane.ended)
            for w in range(self.layout.windows)
            for pane in self.panes(w)
        )

    def _are_counts(self, tallies: Floats) -> bool:
        """Whether the counts in tally vectors (..., length) are finite and not negative. Sums may have any value."""
        sane: Bools = (tallies >= 0) & (tallies < _LARGEST_COUNT)
        sane[..., list(self.layout.sums)] = True
        return bool(sane.all())

    def own_time(self, now: float) -> float:
        """The segment's own time when the clock shows ``now``, in seconds. Own time never runs backwards."""
        floats = self._floats
        return max(now + float(floats[CLOCK_OFFSET]), float(floats[LATEST]))

    def clock_time(self, own: float) -> float:
        """What the clock shows at the segment's own time ``own``, in seconds."""
        return own - float(self._floats[CLOCK_OFFSET])

    def panes(self, w: int) -> list[Pane]:
        """The panes of window ``w`` that hold rows, from the oldest to the current one, which is still being filled."""
        integers, floats, a = self._integers, self._floats, self.arrays
        current = int(integers[WINDOW_INTEGERS + 2 * w])
        # Slots also hold panes that have left the window, and a pane that was closed by a fold before its commit.
        closed = [
            Pane(int(a.pane_ids[w, s]), int(a.pane_first_rows[w, s]), float(a.pane_ended[w, s]), a.pane_tallies[w, s])
            for s in np.argsort(a.pane_ids[w])
            if current - self.grid.panes <= a.pane_ids[w, s] < current
        ]
        if current == NO_PANE:
            return closed
        first_row = int(integers[WINDOW_INTEGERS + 2 * w + 1])
        return [*closed, Pane(current, first_row, float(floats[LATEST]), self._vector(floats, 1 + w))]

    def _vector(self, floats: Floats, index: int) -> Floats:
        """Tally vector ``index`` of a state copy: 0 for all rows, 1 + w for the current pane of window w."""
        begin = TALLIES + self.layout.length * index
        return floats[begin : begin + self.layout.length]

    def pool_slots(self, first_row: int, end_row: int) -> Indices:
        """The slots in the pool of rows from ``first_row`` up to but not including ``end_row``."""
        rows = self.arrays.pool_rows
        return np.flatnonzero((rows > first_row) & (rows <= end_row))  # row r is stored as r + 1; 0 is a free slot
