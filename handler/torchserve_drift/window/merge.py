"""The segments of all workers of a model version, read as one: tallies added up, samples merged by the smallest
priorities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from torchserve_drift.window.reservoir import smallest
from torchserve_drift.window.segment import Floats, Pane, SegmentView

_ATTEMPTS = 8


@dataclass(frozen=True, eq=False)
class WindowRows:
    """One window over all workers: ``tally`` (length,) of all its rows, ``codes`` (F, sample_rows) of its uniform
    sample."""

    tally: Floats
    codes: npt.NDArray[np.uint16]

    @property
    def rows(self) -> int:
        return int(self.tally[0])

    @property
    def sample_rows(self) -> int:
        return int(self.codes.shape[1])


@dataclass(frozen=True, eq=False)
class _History:
    """A segment's panes of one window as they were when ``folded`` rows had been folded."""

    panes: list[Pane]
    folded: int


@dataclass(frozen=True, eq=False)
class _Share:
    """What one segment has of a window's sample: priorities (n,) and codes (F, n)."""

    priorities: npt.NDArray[np.uint32]
    codes: npt.NDArray[np.uint16]


def window_rows(segments: Sequence[SegmentView], w: int, now: float) -> WindowRows:
    """Window ``w`` at time ``now``, over all ``segments`` (at least one)."""
    histories = [_history(segment, w) for segment in segments]
    if segments[0].grid.is_of_rows(w):
        chosen = _newest_rows(segments, histories, segments[0].grid.rows(w))
    else:
        chosen = [
            [pane for pane in history.panes if pane.id >= segment.grid.oldest(w, segment.own_time(now))]
            for segment, history in zip(segments, histories)
        ]
    tally = np.zeros(segments[0].layout.length)
    for pane in (pane for panes in chosen for pane in panes):
        tally += pane.tally
    shares = [_share(s, panes, history.folded) for s, panes, history in zip(segments, chosen, histories)]
    if len(shares) == 1:
        return WindowRows(tally, shares[0].codes)
    best = smallest(np.concatenate([share.priorities for share in shares]), min(s.sample_limit for s in segments))
    return WindowRows(tally, np.concatenate([share.codes for share in shares], axis=1)[:, best])


def _history(segment: SegmentView, w: int) -> _History:
    """A segment's panes, copied: its writer may be another process, at work right now."""
    for _ in range(_ATTEMPTS):
        generation, folded = segment.generation, segment.folded
        panes = [Pane(pane.id, pane.first_row, pane.ended, pane.tally.copy()) for pane in segment.panes(w)]
        if segment.generation == generation:
            break
    return _History(panes, folded)


def _newest_rows(segments: Sequence[SegmentView], histories: Sequence[_History], rows: int) -> list[list[Pane]]:
    """The newest panes over all segments, as many as it takes to hold ``rows``."""
    panes = [
        (segment.clock_time(pane.ended), i, pane)
        for i, (segment, history) in enumerate(zip(segments, histories))
        for pane in history.panes
    ]
    chosen: list[list[Pane]] = [[] for _ in segments]
    for _, i, pane in sorted(panes, key=lambda entry: (-entry[0], entry[1], -entry[2].id)):
        if rows <= 0:
            break
        rows -= int(pane.tally[0])
        chosen[i].append(pane)
    return chosen


def _share(segment: SegmentView, panes: Sequence[Pane], end_row: int) -> _Share:
    """The sample of the segment's rows in ``panes``, read again where the writer moved under the reader."""
    first_row = min((pane.first_row for pane in panes), default=end_row)
    arrays = segment.arrays
    for _ in range(_ATTEMPTS):
        slots = segment.pool_slots(first_row, end_row)
        rows, drawn = arrays.pool_rows[slots], arrays.pool_priorities[slots]
        best = smallest(drawn, segment.sample_limit)
        slots, rows, drawn = slots[best], rows[best], drawn[best]
        codes = arrays.pool_codes.take(slots, axis=1)
        if (arrays.pool_rows[slots] == rows).all():
            break
    return _Share(drawn, codes)
