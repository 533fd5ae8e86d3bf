"""The hours of the week that rows fall into, and the time over which they lie, from times of panes."""

from __future__ import annotations

from collections.abc import Sequence
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


def hours_of_spans(known: tuple[Floats, Floats], begins: Sequence[float], rows: Sequence[float], end: float) -> Floats:
    """The rows of each span by hour of the week (S, HOURS).

    Whole hours are counted. The other rows of a span came in the part of an hour in which it begins, or before the
    hours that are counted. They are divided by time.

    Parameters
    ----------
    known
        Numbers of hours since the epoch, and their rows (H,): of a span of time that ends at ``end``.
    begins, rows
        For each span when it begins, in seconds since the epoch, and its rows.

    Examples
    --------
    Twelve rows since half past one, ten of them after two o'clock:

    >>> found = hours_of_spans((np.array([1.0, 2.0]), np.array([7.0, 10.0])), [5400.0], [12.0], 9000.0)
    >>> found[0, :4].tolist()
    [0.0, 2.0, 10.0, 0.0]
    """
    hours, counts = known
    oldest = hours.max(initial=-np.inf) - len(hours) + 1
    found = np.zeros((len(rows), HOURS))
    for span, (begin, total) in enumerate(zip(begins, rows)):
        first = max(np.ceil(begin / _HOUR), oldest)  # the first hour that is whole in the span, and counted
        whole = (hours >= first) & (hours * _HOUR < end)
        counted = float(counts[whole].sum())
        np.add.at(found[span], (hours[whole] % HOURS).astype(np.intp), counts[whole])
        if counted > total:  # a clock that was set: hours and panes do not fit together
            found[span] *= total / counted
        elif total > counted:
            shares = hour_shares(np.array([begin]), np.array([min(max(first * _HOUR, begin), end)]))[0]
            found[span] += (total - counted) * shares
    return found


@dataclass(frozen=True)
class RowsInTime:
    """When the rows of a window came, for each of its S spans of newest panes.

    ``hours`` (S, HOURS) rows by the hour of the week. ``lengths`` (S,) seconds over which each span's rows lie: see
    `effective_seconds`; 0 for a window of rows. ``seconds`` is the length of a window of time (``None``: of rows).
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
