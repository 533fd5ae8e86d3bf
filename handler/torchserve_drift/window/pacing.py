"""Pacing: long work takes short breaks, so that threads that serve requests can use the interpreter."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

_T = TypeVar("_T")

_WORK_SECONDS, _BREAK_SECONDS = 0.0003, 0.0005  # see docs/decisions/0021


class Pace(Protocol):
    """Wraps the items of a loop: ``for item in paced(items)``. It may take a break after each item."""

    def __call__(self, items: Iterable[_T], /) -> Iterator[_T]: ...


class Pacer:
    """A `Pace` that sleeps for 0.5 ms after each 0.3 ms of work, counted over all loops that it wraps.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self, items: Iterable[_T], /) -> Iterator[_T]:
        for item in items:
            yield item
            if time.perf_counter() - self._since > _WORK_SECONDS:
                time.sleep(_BREAK_SECONDS)
                self._since = time.perf_counter()


def _without_breaks(items: Iterable[_T], /) -> Iterator[_T]:
    return iter(items)


NO_PAUSE: Pace = _without_breaks
"""Takes no breaks: for work that delays no other thread."""
