"""The hours of the week that rows fall into, and the time over which they lie, from times of panes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from torchserve_drift.baseline.time_profile import HOURS
from torchserve_drift.stats.arrays import Floats, FloatsLike, Integers
from torchserve_drift.stats.effective_rows import effective_seconds

_HOUR = 3600.0
_WEEK = HOURS * _HOUR

_SHORTEST = 0.125
"""A pane that was just begun counts as at least this part of a pane: two early rows do not come all at once."""


def hour_of(times: FloatsLike) -> Integers:
    """The hour of the week of each time, in seconds since the epoch.

    Examples
    --------
    >>> hour_of(np.array([0.0, 3599.0, 3600.0, 7 * 86400.0, -1.0])).tolist()
    [0, 0, 1, 0, 167]
    """
    hours: Integers = (np.mod(times, _WEEK) // _HOUR).astype(np.int64) % HOURS
    return hours


def hour_shares(begins: Floats, ends: Floats) -> Floats:
    """The share of each hour of the week (P, HOURS) in each of P intervals of time, in seconds since the epoch.

    The shares of an interval sum to 1; an interval without a length lies in the hour in which it begins.

    Examples
    --------
    >>> hour_shares(np.array([1800.0]), np.array([5400.0]))[0, :3].tolist()
    [0.5, 0.5, 0.0]
    """
    lengths = ends - begins
    long = lengths > 0
    # seconds of each hour between the beginning of the first week and a time; the difference is the overlap
    since = np.floor(begins / _WEEK) * _WEEK
    starts = np.arange(HOURS) * _HOUR

    def up_to(times: Floats) -> Floats:
        weeks, rest = np.divmod(times - since, _WEEK)
        seconds: Floats = weeks[:, None] * _HOUR + np.clip(rest[:, None] - starts, 0, _HOUR)
        return seconds

    shares: Floats = (up_to(ends) - up_to(begins)) / np.where(long, lengths, 1)[:, None]
    shares[~long] = 0
    shares[np.flatnonzero(~long), hour_of(begins[~long])] = 1
    return shares


@dataclass(frozen=True)
class RowsInTime:
    """When the rows of a window came, for each of its S spans of newest panes.

    ``hours`` (S, HOURS) rows by the hour of the week: rows of a pane that lies in several hours are divided by the
    time that it has in each. ``seconds``: the length of a window of time; ``None`` for a window of rows. ``lengths``
    (S,) seconds over which the rows of each span lie, see `effective_seconds`; 0 for a window of rows.
    """

    hours: Floats
    lengths: Floats
    seconds: Optional[float] = None

    @property
    def spread(self) -> float:
        """The part of the window's length, in [0, 1], over which its rows lie; 1 for a window of rows."""
        return 1.0 if self.seconds is None else float(self.lengths[-1]) / self.seconds


def effective_lengths(
    rows: Floats, squares: Floats, ends: Integers, pane_seconds: float, newest_seconds: float
) -> Floats:
    """The seconds over which the rows of each span lie.

    Parameters
    ----------
    rows, squares
        (P,) rows and summed squared sizes of requests in each pane, from the newest to the oldest.
    ends
        (S,) the number of newest panes in each span, ascending.
    pane_seconds, newest_seconds
        The length of a pane, and how much of the newest one has passed.

    Returns
    -------
    lengths
        (S,), at most the time of the span until now.
    """
    seconds = np.full(len(rows), pane_seconds)
    seconds[0] = max(newest_seconds, _SHORTEST * pane_seconds)
    pairs_per_second = np.cumsum(np.maximum(rows * rows - squares, 0) / seconds)[ends - 1]
    n = np.cumsum(rows)[ends - 1]
    pairs = np.maximum(n * n - np.cumsum(squares)[ends - 1], 0)
    return effective_seconds(n, pairs, pairs_per_second, np.cumsum(seconds)[ends - 1])
