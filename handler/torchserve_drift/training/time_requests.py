"""How alike rows are that arrived together in training."""

from __future__ import annotations

import numpy as np

from torchserve_drift.baseline.time_profile import HOURS
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.training.time_channels import CodedRows, FeatureRows, hourly_means
from torchserve_drift.training.time_grid import Windows

_FEWEST_PAIRS = 1000
"""Ordered pairs of rows of one request, below which nothing can be said of their likeness."""

_UNFAMILIAR = -2
"""The place of the channel of unfamiliar values, before that of missing ones."""


def clustering_of(rows: FeatureRows) -> Floats:
    """The correlation, 0 to 1, of rows of one request in each channel but ``ks``; 0 where it is not known.

    Unfamiliar values are too rare to tell: they come together as much as anything of the feature does.
    """
    found = np.array([_correlation(coded, scores) for coded, scores in rows.channels()])
    found[_UNFAMILIAR] = found.max(initial=0.0)
    return found


def _correlation(rows: CodedRows, scores: Floats) -> float:
    if rows.grid.request is None:
        return 0.0
    request = rows.of(rows.grid.request)
    sizes = np.bincount(request).astype(np.float64)
    pairs = float((sizes * (sizes - 1)).sum())
    if pairs < _FEWEST_PAIRS:
        return 0.0
    # about the mean of their hour: what all rows of an hour have in common is no matter of requests
    residuals = scores[rows.code] - hourly_means(rows, scores)[rows.half_hour % HOURS]
    totals, squares = np.bincount(request, residuals), float((residuals * residuals).sum())
    likeness = (float((totals * totals).sum()) - squares) / pairs
    return min(max(likeness / max(squares / len(residuals), 1e-12), 0.0), 1.0)


def design_effect(clustering: float, windows: Windows) -> Floats:
    """How many rows (W,) of each window stand for one that arrives alone."""
    effects: Floats = 1 + clustering * np.maximum(windows.request_size - 1, 0)
    return effects
