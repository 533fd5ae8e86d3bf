"""How the level of the check `cusum` is divided among the spans of a window."""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Floats

FEWEST_ROWS = 50
"""A span of fewer rows is not looked at: no p-value of so few rows could be small enough."""


def span_weights(rows: Floats, power: float = 0.5) -> Floats:
    """The weight of each span (S, ...) by its ``rows``, proportional to rows ** power; they sum to 1 for each feature.

    A longer span shows smaller changes, so it gets a larger part of the level. 0 for a span of fewer than
    `FEWEST_ROWS` rows, and for one that has no more rows than the next shorter span: it would be the same test again.

    Examples
    --------
    >>> span_weights(np.array([100.0, 400.0, 400.0])).round(3).tolist()
    [0.333, 0.667, 0.0]
    """
    longer = np.diff(rows, axis=0, prepend=0) > 0
    raw = np.where(longer & (rows >= FEWEST_ROWS), np.maximum(rows, 1) ** power, 0.0)
    weights: Floats = raw / np.maximum(raw.sum(axis=0), np.finfo(float).tiny)
    return weights
