"""What every part of the study has in common: how rows come, how often anybody looks, how rare false alarms must be."""

from __future__ import annotations

BUDGET_ROWS = 10_000_000
"""Rows in which one false alarm may be expected, over all features."""

LOOK_ROWS = 200
"""Rows between two looks."""

ROWS_PER_SECOND = 100
WARM_UP_ROWS = 10_000
HORIZON_ROWS = 20_000
"""Rows after the onset that are waited for a verdict."""

MODEL_FEATURES = 20
FEATURE_RATE_ROWS = BUDGET_ROWS * MODEL_FEATURES
"""Rows in which one false alarm of a single feature may be expected, where 20 share the budget alike."""


def delay_at_looks(row: int | None) -> int | None:
    """The delay of an alarm at ``row`` (from 1) after the onset, for somebody who looks every `LOOK_ROWS` rows."""
    return None if row is None else -(-row // LOOK_ROWS) * LOOK_ROWS
