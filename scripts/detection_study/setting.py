"""What all parts of the study have in common: the rate of rows, of looks and of allowed false alarms."""

from __future__ import annotations

BUDGET_ROWS = 10_000_000
"""One false alarm is allowed in this number of rows, over all features."""

LOOK_ROWS = 200
"""Rows between two looks."""

ROWS_PER_SECOND = 100
WARM_UP_ROWS = 10_000
HORIZON_ROWS = 20_000
"""A shift counts as found only within this number of rows after its onset."""

MODEL_FEATURES = 20
FEATURE_RATE_ROWS = BUDGET_ROWS * MODEL_FEATURES
"""One false alarm of a single feature is allowed in this number of rows, since 20 features share the budget equally."""


def delay_at_looks(row: int | None) -> int | None:
    """The delay of an alarm at ``row`` (from 1) after the onset, if there is a look every `LOOK_ROWS` rows."""
    return None if row is None else -(-row // LOOK_ROWS) * LOOK_ROWS
