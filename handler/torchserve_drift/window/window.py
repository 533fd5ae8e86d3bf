"""What a window is: a span of time, or a number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Window:
    """The newest rows: those of the last ``seconds``, or the last ``rows``; exactly one of the two is set.

    ``label`` is as the user wrote it, and names the window in reports and metrics.
    """

    label: str
    seconds: Optional[float] = None
    rows: Optional[int] = None
