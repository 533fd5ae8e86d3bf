"""Windows as rings of panes: which pane a row belongs to, and which panes make up a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from torchserve_drift.settings.settings import Window


class PaneGrid:
    """The panes of each window: of equal spans of time, or of equally many rows of the writer.

    A window of time is its newest panes, the one being filled included, and spans between (n - 1) / n of its length
    and all of it. A window of rows holds at least its number of newest rows, and at most one pane more.
    """

    def __init__(self, windows: Sequence[Window], panes: int) -> None:
        self._windows = tuple(windows)
        self.panes = panes

    def is_of_rows(self, w: int) -> bool:
        """Whether window ``w`` holds a number of rows, not a span of time."""
        return self._windows[w].rows is not None

    def rows(self, w: int) -> int:
        """The rows of window ``w``, which is one of rows."""
        rows = self._windows[w].rows
        assert rows is not None
        return rows

    def ids(self, times: npt.NDArray[np.float64], first_row: int) -> npt.NDArray[np.int64]:
        """The pane of each row in each window (W, m), for rows at ``times`` (m,) of which the first is row
        ``first_row``."""
        ids = np.empty((len(self._windows), len(times)), dtype=np.int64)
        for w, window in enumerate(self._windows):
            if window.seconds is not None:
                ids[w] = np.floor(times * (self.panes / window.seconds))
            else:
                ids[w] = np.arange(first_row, first_row + len(times)) // self.pane_rows(w)
        return ids

    def pane_rows(self, w: int) -> int:
        """Rows in a pane of window ``w``, which is one of rows."""
        return -(-self.rows(w) // self.panes)

    def oldest(self, w: int, now: float) -> int:
        """The oldest pane of time window ``w`` at time ``now``."""
        seconds = self._windows[w].seconds
        assert seconds is not None
        return int(np.floor(now * (self.panes / seconds))) - self.panes + 1
