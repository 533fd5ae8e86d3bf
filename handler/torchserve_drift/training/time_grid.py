"""Training time cut into short cells: which cell, hour of the week and half of training each row belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.time_profile import DAY_SECONDS, HOURS, LENGTHS
from torchserve_drift.stats.arrays import Bools, Floats, Indices

CELL = LENGTHS[0]
"""Seconds."""

WEEK_SECONDS = 7 * DAY_SECONDS

LEAST_SECONDS = 2 * WEEK_SECONDS - 3600
"""Training time for a profile: two weeks. Rows by the hour reach from the first hour of these to the last."""

MOST_SECONDS = 520 * WEEK_SECONDS
"""Older rows teach nothing of windows: the cells of more years would take too much memory."""

RESOLUTIONS = (3600.0, 1800.0, 900.0, 600.0, 300.0, 60.0)
"""Seconds: times that are multiples of one of these are rounded times."""

_FEWEST_ROWS = 10
_MOST_WINDOWS, _OFFSETS = 20_000, 12
_EVEN, _UNITS = 0.5, 8
"""A window's rows must lie within this part of it or more; it is divided into so many units to see that."""

_STRAY = 0.001
"""This share of the rows may have wrong times, far before or after all others."""


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows of training time of one length, that is of ``cells`` cells.

    ``ends`` (W,) the cell behind each, ``step`` cells apart; ``request_size`` (W,) the mean over its rows of how many
    rows arrived with the row.
    """

    place: int
    cells: int
    step: int
    ends: Indices
    request_size: Floats

    @property
    def length(self) -> float:
        return LENGTHS[self.place]

    @property
    def independent_share(self) -> float:
        """Of so many windows one does not overlap with the ones counted before."""
        return min(1.0, self.step / self.cells)

    def sums(self, cumulated: Floats) -> Floats:
        """The sum over each window (W,) of what ``cumulated`` (cells + 1,) has the running sum of."""
        found: Floats = cumulated[self.ends] - cumulated[self.ends - self.cells]
        return found


@dataclass(frozen=True, eq=False)
class TimeGrid:
    """The times of the training rows, and the windows that can be compared.

    Parameters
    ----------
    hour
        (n,) hour of the week of each row.
    cell, half
        (n,) its cell and half of training time (0 or 1); -1 for a stray time.
    request
        (n,) number of the request of each row, rising; rows of the same time came together. None when times are rounded
        and say nothing of it.
    cell_hour, cell_half
        (cells,) hour of the week, and half of training time (0 or 1).
    start
        Epoch seconds of the first cell.
    """

    hour: npt.NDArray[np.uint8]
    cell: npt.NDArray[np.int32]
    half: npt.NDArray[np.int8]
    request: Optional[npt.NDArray[np.int32]]
    cell_hour: Indices
    cell_half: Indices
    start: float
    windows: tuple[Windows, ...]

    @property
    def cells(self) -> int:
        return len(self.cell_hour)

    @property
    def on_grid(self) -> Bools:
        found: Bools = self.cell >= 0
        return found

    @cached_property
    def half_hour(self) -> npt.NDArray[np.int32]:
        """(n,) `HOURS` times its half, plus its hour of the week."""
        return self.half.astype(np.int32) * HOURS + self.hour


def hours_of(times: Floats) -> npt.NDArray[np.uint8]:
    """The hour of the week (n,) of epoch seconds: hour 0 begins on Thursday at 00:00 UTC."""
    hours: npt.NDArray[np.uint8] = (times // 3600 % HOURS).astype(np.uint8)
    return hours


def resolution_of(times: Floats) -> float:
    """The seconds to which times are rounded; 0 when they are exact to less than a minute."""
    apart = times - times[len(times) // 2]
    for resolution in (DAY_SECONDS, *RESOLUTIONS):
        if np.count_nonzero(apart % resolution == 0) >= 0.99 * len(times):
            return resolution
    return 0.0


def unfit(times: Floats) -> str:
    """Why rows of these times (n,), epoch seconds in rising order, teach nothing of time; empty when they do."""
    low, high = _usual_range(times) if len(times) else (0.0, 0.0)
    if high - low < LEAST_SECONDS:
        return f"training rows must span 14 days or more, got {(high - low) / DAY_SECONDS:.1f}"
    if resolution_of(times) > RESOLUTIONS[0]:
        return "times must tell hours apart, got days only"
    return ""


def time_grid(times: Floats) -> TimeGrid:
    """The grid of rows with these times (n,), which `unfit` has no objection to."""
    resolution = resolution_of(times)
    if resolution:
        times = _spread(times, resolution)
    low, high = _usual_range(times)
    low = max(low, high - MOST_SECONDS)
    start = low // CELL * CELL
    cells = int((high - start) // CELL) + 1
    cell = np.where((times >= low) & (times <= high), (times - start) // CELL, -1).astype(np.int32)
    at = np.arange(cells, dtype=np.float64) * CELL + start
    # whole weeks in the first half, so that both halves hold every hour of the week
    middle = start + WEEK_SECONDS * max(1, round((high - start) / 2 / WEEK_SECONDS))
    request = None if resolution else np.cumsum(np.diff(times, prepend=times[0]) > 0, dtype=np.int32)
    cell_half = (at >= middle).astype(np.intp)
    return TimeGrid(
        hour=hours_of(times),
        cell=cell,
        half=np.where(cell >= 0, cell_half[cell], -1).astype(np.int8),
        request=request,
        cell_hour=hours_of(at).astype(np.intp),
        cell_half=cell_half,
        start=start,
        windows=tuple(_windows(cell, request, cells, resolution)),
    )


def _usual_range(times: Floats) -> tuple[float, float]:
    """The first and last time but for strays: a few rows may have a time of 1970, or of the next century."""
    few = int(_STRAY * len(times))
    low, high = float(times[few]), float(times[len(times) - 1 - few])
    margin = (high - low) * 10 * _STRAY
    usual = times[times.searchsorted(low - margin) : times.searchsorted(high + margin, side="right")]
    return float(usual[0]), float(usual[-1])


def _spread(times: Floats, resolution: float) -> Floats:
    """Rounded times, with rows of the same time spread evenly up to the next, in their order."""
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf) > 0)
    sizes = np.diff(starts, append=len(times))
    rank = np.arange(len(times)) - np.repeat(starts, sizes)
    # where a few times are finer than the others, a row can come after a later one
    spread: Floats = np.maximum.accumulate(times + resolution * rank / np.repeat(sizes, sizes))
    return spread


def _windows(
    cell: npt.NDArray[np.int32], request: Optional[npt.NDArray[np.int32]], cells: int, resolution: float
) -> Iterator[Windows]:
    known = cell >= 0
    rows = np.bincount(cell[known], minlength=cells).astype(np.float64)
    squares = rows
    if request is not None:
        sizes = np.bincount(request)[request]
        squares = np.bincount(cell[known], sizes[known], cells).astype(np.float64)
    cumulated_rows, cumulated_squares = cumulated(rows), cumulated(squares)
    for place, length in enumerate(LENGTHS):
        # of a length that training has fewer than three times, nothing is known; nor of one shorter than times tell
        if length > cells * CELL / 3 or length < resolution:
            continue
        size = round(length / CELL)
        step = max(1, size // _OFFSETS, cells // _MOST_WINDOWS)
        windows = Windows(place, size, step, np.arange(size, cells + 1, step), np.empty(0))
        many = windows.sums(cumulated_rows) >= _FEWEST_ROWS
        if size >= _UNITS // 2:
            many &= _are_even(windows, rows, squares, cumulated_rows, cumulated_squares)
        windows = Windows(place, size, step, windows.ends[many], np.empty(0))
        sizes_of = windows.sums(cumulated_squares) / np.maximum(windows.sums(cumulated_rows), 1)
        yield Windows(place, size, step, windows.ends, sizes_of)


def _are_even(
    windows: Windows, rows: Floats, squares: Floats, cumulated_rows: Floats, cumulated_squares: Floats
) -> Bools:
    """Whether rows lie all over a window, not in a small part of it, which would teach of a shorter length.

    The effective length is u n (n - 1) / (sum of n_u (n_u - 1)), of n_u rows in each unit of u seconds; of pairs of
    rows only those of different requests count.
    """
    unit = max(1, windows.cells // _UNITS)
    inside = cumulated(_pairs(_merged(rows, unit), _merged(squares, unit)))
    last = np.minimum(-(-windows.ends // unit), len(inside) - 1)
    together = inside[last] - inside[(windows.ends - windows.cells) // unit]
    pairs = _pairs(windows.sums(cumulated_rows), windows.sums(cumulated_squares))
    even: Bools = unit * pairs >= _EVEN * windows.cells * together
    return even


def _pairs(rows: Floats, squares: Floats) -> Floats:
    return np.maximum(rows * rows - squares, 0.0)


def _merged(values: Floats, unit: int) -> Floats:
    padded = np.pad(values, (0, -len(values) % unit))
    merged: Floats = padded.reshape(-1, unit).sum(axis=1)
    return merged


def cumulated(values: Floats) -> Floats:
    """The running sum (cells + 1,), which begins with 0."""
    return np.append(0.0, np.cumsum(values))
