"""Windows as rings of panes: the pane of each row, and the panes of each window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torchserve_drift.stats.arrays import Floats, Integers
from torchserve_drift.window.window import Window


class PaneGrid:
    """The panes of each window: equal spans of time, or equal numbers of the writer's rows.

    A window of time consists of its n newest panes. The newest one is still being filled, so they span between
    (n - 1) / n of the window's length and all of it. A window of rows holds at least its number of newest rows, and at
    most one pane more.
    """

    def __init__(self, windows: Sequence[Window], panes: int) -> None:
        self._windows = tuple(windows)
        self.panes = panes

    def is_of_rows(self, w: int) -> bool:
        """Whether window ``w`` is a number of rows, not a span of time."""
        return self._windows[w].rows is not None

    def rows(self, w: int) -> int:
        """The rows of window ``w``, which must be a window of rows."""
        rows = self._windows[w].rows
        assert rows is not None
        return rows

    def ids(self, times: Floats, first_row: int) -> Integers:
        """The pane of each row in each window.

        Parameters
        ----------
        times
            (m,) of the rows, in seconds.
        first_row
            The number of the first row since the writer's beginning; the others follow it.

        Returns
        -------
        ids
            (W, m) pane numbers, which rise with time.
        """
        ids = np.empty((len(self._windows), len(times)), dtype=np.int64)
        for w, window in enumerate(self._windows):
            if window.seconds is not None:
                ids[w] = np.floor(times * (self.panes / window.seconds))
            else:
                ids[w] = np.arange(first_row, first_row + len(times)) // self.pane_rows(w)
        return ids

    def pane_rows(self, w: int) -> int:
        """The rows of each pane of window ``w``, which must be a window of rows."""
        return -(-self.rows(w) // self.panes)

    def seconds(self, w: int) -> float:
        """The length of window ``w``, which must be a window of time."""
        seconds = self._windows[w].seconds
        assert seconds is not None
        return seconds

    def oldest(self, w: int, now: float) -> int:
        """The oldest pane at time ``now`` of window ``w``, which must be a window of time."""
        return int(np.floor(now * (self.panes / self.seconds(w)))) - self.panes + 1
