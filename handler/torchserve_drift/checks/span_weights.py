"""The weights of the spans of a window, by which the level of the check `cusum` is divided among them."""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Floats

FEWEST_ROWS = 50
"""A span with fewer rows is not tested: no p-value from so few rows could be small enough."""


def span_weights(rows: Floats, power: float = 0.5) -> Floats:
    """The weights of spans, proportional to rows ** power.

    A longer span shows smaller changes, so with the default power it gets a larger part of the level.

    Parameters
    ----------
    rows
        (S, ...) rows of each span, from the shortest span to the longest, for any number of features.

    Returns
    -------
    weights
        (S, ...) in [0, 1]. The weights of all spans of a feature sum to 1, or are all 0. The weight is 0 for a span of
        fewer than `FEWEST_ROWS` rows. It is also 0 for a span without more rows than the next shorter one, because
        its test would repeat that of the shorter one.

    Examples
    --------
    >>> span_weights(np.array([100.0, 400.0, 400.0])).round(3).tolist()
    [0.333, 0.667, 0.0]
    """
    longer = np.diff(rows, axis=0, prepend=0) > 0
    raw = np.where(longer & (rows >= FEWEST_ROWS), np.maximum(rows, 1) ** power, 0.0)
    weights: Floats = raw / np.maximum(raw.sum(axis=0), np.finfo(float).tiny)
    return weights
