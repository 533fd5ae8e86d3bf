"""The segments of all workers of a model version, read as one: tallies added up, samples merged by the smallest
priorities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from torchserve_drift.window.reservoir import smallest
from torchserve_drift.window.segment import Floats, Pane, SegmentView

SPAN_PANES = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32)
"""How many of its newest panes each span of a window has, as far as the window has so many; then all of them."""

_ATTEMPTS = 8


@dataclass(frozen=True, eq=False)
class WindowRows:
    """One window over all workers.

    ``tally`` (length,) of all its rows; ``spans`` (S, length) of the rows in its newest 1, 2, 3, ... panes
    (`SPAN_PANES`), the last of which is the window itself; ``codes`` (F, sample_rows) of its uniform sample.
    """

    spans: Floats
    codes: npt.NDArray[np.uint16]

    @property
    def tally(self) -> Floats:
        whole: Floats = self.spans[-1]
        return whole

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


class _Placed(NamedTuple):
    """A pane, and how many panes of the window's are newer: 0 for the newest."""

    age: int
    pane: Pane


@dataclass(frozen=True, eq=False)
class _Share:
    """What one segment has of a window's sample: priorities (n,) and codes (F, n)."""

    priorities: npt.NDArray[np.uint32]
    codes: npt.NDArray[np.uint16]


def window_rows(segments: Sequence[SegmentView], w: int, now: float) -> WindowRows:
    """Window ``w`` at time ``now``, over all ``segments`` (at least one)."""
    histories = [_history(segment, w) for segment in segments]
    grid, panes = segments[0].grid, segments[0].layout.panes
    if grid.is_of_rows(w):
        placed = _by_rows(segments, histories, grid.rows(w), panes)
    else:
        placed = [
            [_Placed(newest - pane.id, pane) for pane in history.panes if newest - pane.id < panes]
            for history, newest in zip(histories, (grid.oldest(w, s.own_time(now)) + panes - 1 for s in segments))
        ]
    spans = _spans([each for of_segment in placed for each in of_segment], panes, segments[0].layout.length)
    shares = [_share(s, of_segment, history.folded) for s, of_segment, history in zip(segments, placed, histories)]
    if len(shares) == 1:
        return WindowRows(spans, shares[0].codes)
    best = smallest(np.concatenate([share.priorities for share in shares]), min(s.sample_limit for s in segments))
    return WindowRows(spans, np.concatenate([share.codes for share in shares], axis=1)[:, best])


def _spans(placed: Sequence[_Placed], panes: int, length: int) -> Floats:
    """The tallies of the newest panes, for each number of them in `SPAN_PANES` and for all of the window's."""
    ends = [count for count in SPAN_PANES if count < panes] + [panes]
    spans = np.zeros((len(ends), length))
    for age, pane in placed:
        spans[int(np.searchsorted(ends, age, side="right"))] += pane.tally
    return np.cumsum(spans, axis=0, out=spans)


def _history(segment: SegmentView, w: int) -> _History:
    """A segment's panes, copied: its writer may be another process, at work right now."""
    for _ in range(_ATTEMPTS):
        generation, folded = segment.generation, segment.folded
        panes = [Pane(pane.id, pane.first_row, pane.ended, pane.tally.copy()) for pane in segment.panes(w)]
        if segment.generation == generation:
            break
    return _History(panes, folded)


def _by_rows(
    segments: Sequence[SegmentView], histories: Sequence[_History], rows: int, panes: int
) -> list[list[_Placed]]:
    """The newest panes over all segments, as many as it takes to hold ``rows``, and their places in such a window."""
    ended = [
        (segment.clock_time(pane.ended), i, pane)
        for i, (segment, history) in enumerate(zip(segments, histories))
        for pane in history.panes
    ]
    placed: list[list[_Placed]] = [[] for _ in segments]
    newer = 0
    for _, i, pane in sorted(ended, key=lambda entry: (-entry[0], entry[1], -entry[2].id)):
        if newer >= rows:
            break
        placed[i].append(_Placed(newer * panes // rows, pane))
        newer += int(pane.tally[0])
    return placed


def _share(segment: SegmentView, placed: Sequence[_Placed], end_row: int) -> _Share:
    """The sample of the segment's rows in these panes, read again where the writer moved under the reader."""
    first_row = min((pane.first_row for _, pane in placed), default=end_row)
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
