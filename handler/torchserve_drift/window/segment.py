"""One writer's share of the windows, in memory that outlives it: where everything lies, and reading it.

Everything lies in one buffer of a size fixed at start. The request path appends rows to a ring and advances
``appended``.
A fold moves them into tallies and pool: it writes new totals and current panes into the spare of two state copies, and
one 8-byte store (``commit``) makes that copy the valid one; only then are the rows wiped from the ring and their room
given back (``released``). A process killed at any moment leaves the previous state whole and
its unfolded rows in the ring, for the next owner to fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.window import counters
from torchserve_drift.window.layout import ROWS, Layout
from torchserve_drift.window.panes import PaneGrid

Floats = npt.NDArray[np.float64]
Buffer = Union[bytearray, memoryview, Any]

MAGIC = b"torchserve-drift"
FORMAT = 3
HEADER_BYTES = 64
_READ_ATTEMPTS = 8
_LARGEST_COUNT = 2.0**53

FOLDED, SAMPLE_LIMIT, LIMITED_AT, WINDOW_INTEGERS = 0, 1, 2, 3
"""Fields of a state copy's integers; then, per window, the current pane's id and first row."""

CLOCK_OFFSET, LATEST, TALLIES = 0, 1, 2
"""Fields of a state copy's floats; then the tally vectors of all rows and of each window's current pane."""

NO_PANE = -(1 << 62)


@dataclass(frozen=True, eq=False)
class Pane:
    """Rows that enter and leave a window together: since row ``first_row``, until ``ended``, counted in ``tally``."""

    id: int
    first_row: int
    ended: float
    tally: Floats


class Arrays:
    """The segment's arrays, views of one buffer. ``size`` is what `layout` needs, in bytes."""

    def __init__(self, buffer: Buffer, layout: Layout) -> None:
        self._buffer, self._at = buffer, HEADER_BYTES
        windows, slots, length = layout.windows, layout.panes + 1, layout.length
        self.commit = self._take(np.int64, 1)
        self.appended = self._take(np.int64, 1)
        self.released = self._take(np.int64, 1)
        self.counters = self._take(np.float64, counters.LENGTH)
        self.integers = self._take(np.int64, 2, WINDOW_INTEGERS + 2 * windows)
        self.floats = self._take(np.float64, 2, TALLIES + length * (1 + windows))
        self.pane_ids = self._take(np.int64, windows, slots)
        self.pane_first_rows = self._take(np.int64, windows, slots)
        self.pane_ended = self._take(np.float64, windows, slots)
        self.pane_tallies = self._take(np.float64, windows, slots, length)
        self.ring_times = self._take(np.float64, layout.ring_rows)
        self.ring_begins = self._take(np.uint8, layout.ring_rows)
        self.ring = self._take(np.float64, layout.ring_rows, layout.features)
        self.pool_rows = self._take(np.int64, layout.pool_rows)
        self.pool_priorities = self._take(np.uint32, layout.pool_rows)
        self.pool_codes = self._take(np.uint16, layout.features, layout.pool_rows)
        self.size = self._at

    def _take(self, dtype: Any, *shape: int) -> npt.NDArray[Any]:
        count = int(np.prod(shape))
        start = self._at
        self._at = start + -(-count * np.dtype(dtype).itemsize // 8) * 8
        if self._buffer is None:
            return np.empty(0, dtype)
        return np.frombuffer(self._buffer, dtype, count, start).reshape(shape)


def size_of(layout: Layout) -> int:
    """Bytes of a segment."""
    return Arrays(None, layout).size


def header(fingerprint: bytes) -> bytes:
    """The first bytes of a segment: magic, format, fingerprint; what lacks them is not read."""
    return (MAGIC + bytes([FORMAT]) + fingerprint).ljust(HEADER_BYTES, b"\0")


class SegmentView:
    """Reading a segment, another process's included; retried by the caller when `generation` moved meanwhile."""

    def __init__(self, buffer: Buffer, layout: Layout, grid: PaneGrid) -> None:
        self.layout, self.grid = layout, grid
        self.arrays = Arrays(buffer, layout)

    @property
    def generation(self) -> int:
        """Grows with every commit."""
        return int(self.arrays.commit[0])

    @property
    def folded(self) -> int:
        """Rows in tallies and pool so far."""
        return int(self._integers[FOLDED])

    @property
    def appended(self) -> int:
        """Rows ever taken into the ring."""
        return int(self.arrays.appended[0])

    @property
    def totals(self) -> Floats:
        """The tally vector of all rows ever folded."""
        return self._vector(self._floats, 0)

    @property
    def sample_limit(self) -> int:
        """Rows of a sample that this pool can vouch for: `reservoir_rows` but under extreme traffic."""
        return int(self._integers[SAMPLE_LIMIT])

    @property
    def _integers(self) -> npt.NDArray[np.int64]:
        integers: npt.NDArray[np.int64] = self.arrays.integers[self.generation & 1]
        return integers

    @property
    def _floats(self) -> Floats:
        floats: Floats = self.arrays.floats[self.generation & 1]
        return floats

    def is_consistent(self) -> bool:
        """Whether the valid state copy is one that a writer would leave; checked before another's segment is read."""
        for _ in range(_READ_ATTEMPTS):
            generation = self.generation
            sane = self._has_sane_state()
            if sane or self.generation == generation:
                return sane
        return True  # its writer commits faster than we look: it lives

    def _has_sane_state(self) -> bool:
        floats, folded = self._floats, self.folded
        return (
            folded >= 0
            and 0 <= self.appended - folded <= self.layout.ring_rows
            and bool(self.totals[ROWS] == folded)
            and 0 < self.sample_limit <= self.layout.reservoir_rows
            and bool(np.isfinite(floats[:TALLIES]).all())
            and self._are_counts(floats[TALLIES:].reshape(-1, self.layout.length))
            and bool((self.arrays.counters >= 0).all())
        )

    def has_sane_panes(self) -> bool:
        """Whether closed panes hold counts; a look at much memory, for segments that somebody else has written."""
        return all(
            self._are_counts(pane.tally) and 0 <= pane.first_row <= self.folded and np.isfinite(pane.ended)
            for w in range(self.layout.windows)
            for pane in self.panes(w)
        )

    def _are_counts(self, tallies: Floats) -> bool:
        """Whether tally vectors (..., length) are not negative and finite where they count; sums may be anything."""
        sane = (tallies >= 0) & (tallies < _LARGEST_COUNT)
        sane[..., list(self.layout.sums)] = True
        return bool(sane.all())

    def own_time(self, now: float) -> float:
        """``now`` in the segment's own time, which never runs backwards."""
        floats = self._floats
        return max(now + float(floats[CLOCK_OFFSET]), float(floats[LATEST]))

    def clock_time(self, own: float) -> float:
        """The clock's reading at the segment's own time ``own``."""
        return own - float(self._floats[CLOCK_OFFSET])

    def panes(self, w: int) -> list[Pane]:
        """Window ``w``'s panes that hold rows, oldest first, the one being filled last."""
        integers, floats, a = self._integers, self._floats, self.arrays
        current = int(integers[WINDOW_INTEGERS + 2 * w])
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
        """Tally vector ``index`` of a state copy: 0 of all rows, 1 + w of window w's current pane."""
        begin = TALLIES + self.layout.length * index
        return floats[begin : begin + self.layout.length]

    def pool_slots(self, first_row: int, end_row: int) -> npt.NDArray[np.intp]:
        """Slots of the pool's rows from ``first_row`` up to, not including, ``end_row``."""
        rows = self.arrays.pool_rows
        return np.flatnonzero((rows > first_row) & (rows <= end_row))  # row r is stored as r + 1, 0 is a free slot
