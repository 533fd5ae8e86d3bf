"""Faults inside the plugin: each is counted, and each kind is logged once. None reaches a prediction."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Callable

from torchserve_drift.errors import DriftError
from torchserve_drift.window.counters import Counters

_MOST_KINDS = 100
"""The most kinds of faults that are logged, so that a log cannot be filled."""

_STAGES_WITH_VALUES = frozenset(("decode", "observe"))
"""The stages whose errors may quote values of requests."""

_logger = logging.getLogger("torchserve_drift")


class Faults:
    """Counts and logs faults. ``counters`` returns the current counters; a new segment has new ones. Thread-safe."""

    def __init__(self, counters: Callable[[], Counters]) -> None:
        self._counters = counters
        self._logged: set[tuple[str, str]] = set()

    def add(self, stage: str, error: BaseException) -> None:
        """Count a fault of a stage (one of `counters.STAGES`), and log it if it is the first of its kind."""
        self._counters().count_error(stage)
        self.log_once(stage, error)

    def log_once(self, stage: str, error: BaseException) -> None:
        """Log an error, unless one of the same type was logged for this stage before."""
        kind = (stage, type(error).__name__)
        if kind not in self._logged and len(self._logged) < _MOST_KINDS:
            self._logged.add(kind)
            text = _text_without_values(stage, error)
            _logger.warning("drift monitoring, %s: %s: %s (counted, logged once)", stage, kind[1], text)


def _text_without_values(stage: str, error: BaseException) -> str:
    """The text of an error, or its place in the code if the text may quote values of requests, which are secret."""
    own = isinstance(error, (DriftError, OSError))  # these texts hold no values
    if stage not in _STAGES_WITH_VALUES or own or error.__traceback__ is None:
        return str(error)
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"in {frame.f_code.co_name}, {Path(frame.f_code.co_filename).name}:{line}"
