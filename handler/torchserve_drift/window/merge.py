"""The segments of all workers of a model version, read as one.

Tallies are added up. Samples are merged by taking the rows with the smallest priorities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Callable, NamedTuple

import numpy as np

from torchserve_drift.baseline.time_profile import HOURS
from torchserve_drift.stats.arrays import Codes, Floats, Indices, Priorities
from torchserve_drift.window import fields
from torchserve_drift.window.hours import RowsInTime, effective_lengths, hour_of, hours_of_spans
from torchserve_drift.window.reservoir import smallest
from torchserve_drift.window.segment import Pane, SegmentView

SPAN_PANES = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32)
"""The number of newest panes in each span of a window. Only numbers below the window's panes count; the last span has
all panes of the window."""

_ATTEMPTS = 8
"""How often a segment is read again because its writer changed it meanwhile."""


@dataclass(frozen=True, eq=False)
class WindowRows:
    """One window over all workers.

    ``spans`` (S, length) tally vectors of its newest 1, 2, 3, ... panes (`SPAN_PANES`), the last of them of the whole
    window; ``codes`` (F, sample_rows) its uniform sample; ``times`` computes `in_time`.
    """

    spans: Floats
    codes: Codes
    times: Callable[[], RowsInTime]

    @cached_property
    def in_time(self) -> RowsInTime:
        """When the rows of each span came. Computed when first asked for: without time profiles nobody asks."""
        return self.times()

    @property
    def tally(self) -> Floats:
        """The tally vector (length,) of all rows of the window."""
        whole: Floats = self.spans[-1]
        return whole

    @property
    def rows(self) -> int:
        """The number of rows in the window."""
        return int(self.tally[fields.ROWS])

    @property
    def sample_rows(self) -> int:
        """The number of rows in the window's sample."""
        return int(self.codes.shape[1])


@dataclass(frozen=True, eq=False)
class _History:
    """A segment's panes in one window, as they were when ``folded`` rows had been folded."""

    panes: list[Pane]
    folded: int
    hours: tuple[Floats, Floats]


class _PlacedPane(NamedTuple):
    """A pane and its age: the number of newer panes in the window, 0 for the newest."""

    age: int
    pane: Pane


@dataclass(frozen=True, eq=False)
class _SampleShare:
    """The rows of one segment that may be in a window's sample: priorities (n,) and codes (F, n)."""

    priorities: Priorities
    codes: Codes


def window_rows(segments: Sequence[SegmentView], w: int, now: float) -> WindowRows:
    """Window ``w`` at time ``now``, over all ``segments`` (at least one)."""
    histories = [_history(segment, w) for segment in segments]
    grid, panes = segments[0].grid, segments[0].layout.panes
    if grid.is_of_rows(w):
        placed = _placed_by_rows(segments, histories, grid.rows(w), panes)
    else:
        placed = [_placed_by_time(segment, history, w, now) for segment, history in zip(segments, histories)]
    ends = np.array([count for count in SPAN_PANES if count < panes] + [panes], np.intp)
    spans = _spans([each for of_segment in placed for each in of_segment], ends, segments[0].layout.length)
    if grid.is_of_rows(w):
        in_time = partial(_by_ends_of_panes, segments, placed, ends)
    else:
        owns = [segment.own_time(now) for segment in segments]
        offsets = [own - segment.clock_time(own) for segment, own in zip(segments, owns)]
        in_time = partial(
            _in_time, [_Moment(*each) for each in zip(owns, offsets, histories, placed)], grid.seconds(w), ends
        )
    # The sample is taken from the rows of the same panes, so that it ends where the tallies end.
    shares = [
        _sample_share(segment, of_segment, history.folded)
        for segment, of_segment, history in zip(segments, placed, histories)
    ]
    sample = _merged_sample(shares, min(segment.sample_limit for segment in segments))
    return WindowRows(spans, sample, in_time)


def _merged_sample(shares: Sequence[_SampleShare], rows: int) -> Codes:
    """The codes (F, sample_rows) of the uniform sample of at most ``rows`` over all segments."""
    if len(shares) == 1:
        return shares[0].codes
    # Every row has a random priority, so the rows with the smallest ones are a uniform sample of all segments.
    best = smallest(np.concatenate([share.priorities for share in shares]), rows)
    return np.concatenate([share.codes for share in shares], axis=1)[:, best]


def _spans(placed: Sequence[_PlacedPane], ends: Indices, length: int) -> Floats:
    """The tallies (S, length) of the newest panes, for each number of them in ``ends``."""
    spans = np.zeros((len(ends), length))
    # Each pane is added to the shortest span that it is in; then every span gets the sums of the shorter ones.
    for age, pane in placed:
        spans[int(np.searchsorted(ends, age, side="right"))] += pane.tally
    return np.cumsum(spans, axis=0, out=spans)


class _Moment(NamedTuple):
    """A segment at the time of a look: its own time, what that is ahead of the clock, and its panes of the window."""

    own: float
    offset: float
    history: _History
    placed: Sequence[_PlacedPane]


def _in_time(moments: Sequence[_Moment], seconds: float, ends: Indices) -> RowsInTime:
    """When the rows of a window of ``seconds`` came, from what each segment has of it."""
    panes = int(ends[-1])
    pane_seconds, newest_seconds = seconds / panes, 0.0
    rows, squares, hours = np.zeros(panes), np.zeros(panes), np.zeros((len(ends), HOURS))
    for own, offset, history, placed in moments:
        ages = np.array([age for age, _ in placed], np.intp)
        sizes = np.array([pane.tally[[fields.ROWS, fields.REQUESTS_SQUARED]] for _, pane in placed]).reshape(-1, 2)
        np.add.at(rows, ages, sizes[:, 0])
        np.add.at(squares, ages, sizes[:, 1])
        newest = int(np.floor(own * (panes / seconds)))  # as panes are numbered: see `PaneGrid.oldest`
        begins = [(newest + 1 - count) * pane_seconds - offset for count in ends.tolist()]
        of_spans = [float(sizes[ages < count, 0].sum()) for count in ends.tolist()]
        hours += hours_of_spans(history.hours, begins, of_spans, own - offset)
        newest_seconds = max(newest_seconds, own % pane_seconds)
    lengths = effective_lengths(rows, squares, ends, pane_seconds, newest_seconds)
    return RowsInTime(hours, lengths, seconds)


def _by_ends_of_panes(
    segments: Sequence[SegmentView], placed: Sequence[Sequence[_PlacedPane]], ends: Indices
) -> RowsInTime:
    """When the rows of a window of rows came: each pane's at the time of its last row."""
    hours = np.zeros((len(ends), HOURS))
    for segment, of_segment in zip(segments, placed):
        for age, pane in of_segment:
            hour = hour_of(segment.clock_time(pane.ended))
            hours[int(np.searchsorted(ends, age, side="right")), hour] += pane.tally[fields.ROWS]
    return RowsInTime(np.cumsum(hours, axis=0), np.zeros(len(ends)))


def _history(segment: SegmentView, w: int) -> _History:
    """A copy of a segment's panes in window ``w``. Its writer can be another process that commits at the same time."""
    for _ in range(_ATTEMPTS):
        generation, folded = segment.generation, segment.folded
        panes = [Pane(pane.id, pane.first_row, pane.ended, pane.tally.copy()) for pane in segment.panes(w)]
        hours = segment.hour_rows
        if segment.generation == generation:  # otherwise a commit may have changed some of the panes after their copy
            break
    return _History(panes, folded, hours)


def _placed_by_time(segment: SegmentView, history: _History, w: int, now: float) -> list[_PlacedPane]:
    """A segment's panes that are in window ``w``, which is a window of time, at time ``now``."""
    panes = segment.layout.panes
    newest = segment.grid.oldest(w, segment.own_time(now)) + panes - 1
    return [_PlacedPane(newest - pane.id, pane) for pane in history.panes if newest - pane.id < panes]


def _placed_by_rows(
    segments: Sequence[SegmentView], histories: Sequence[_History], rows: int, panes: int
) -> list[list[_PlacedPane]]:
    """For each segment, its panes that are in a window of ``rows`` rows over all segments.

    Panes are taken from the newest to the oldest until they hold enough rows. A pane's age follows from the number of
    newer rows, because the segments fill their panes independently.
    """
    ended = [
        (segment.clock_time(pane.ended), i, pane)
        for i, (segment, history) in enumerate(zip(segments, histories))
        for pane in history.panes
    ]
    placed: list[list[_PlacedPane]] = [[] for _ in segments]
    newer = 0
    for _, i, pane in sorted(ended, key=lambda entry: (-entry[0], entry[1], -entry[2].id)):
        if newer >= rows:
            break
        placed[i].append(_PlacedPane(newer * panes // rows, pane))
        newer += int(pane.tally[fields.ROWS])
    return placed


def _sample_share(segment: SegmentView, placed: Sequence[_PlacedPane], end_row: int) -> _SampleShare:
    """The sample of the segment's rows in these panes, up to row ``end_row``."""
    first_row = min((pane.first_row for _, pane in placed), default=end_row)
    arrays = segment.arrays
    for _ in range(_ATTEMPTS):
        slots = segment.pool_slots(first_row, end_row)
        rows, drawn = arrays.pool_rows[slots], arrays.pool_priorities[slots]
        best = smallest(drawn, segment.sample_limit)
        slots, rows, drawn = slots[best], rows[best], drawn[best]
        codes = arrays.pool_codes.take(slots, axis=1)
        if (arrays.pool_rows[slots] == rows).all():  # else the writer has reused a slot meanwhile
            break
    return _SampleShare(drawn, codes)
