"""How a long build reports its progress."""

from __future__ import annotations

from typing import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and how much there is to do: 0 for a remark."""


def no_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""
