"""Thresholds for alarms that are too rare to be simulated: the logarithm of the rate is fitted and extrapolated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FEWEST, _MOST = 8, 500


def episodes(scores: Floats, threshold: float) -> int:
    """How often ``scores`` (..., looks) rise above ``threshold``."""
    above = scores > threshold
    return int(above[..., 0].sum() + (above[..., 1:] & ~above[..., :-1]).sum())


def threshold_for(scores: Floats, expected: float, *, power: int) -> float:
    """The threshold that ``scores`` (series, looks) without drift are expected to cross ``expected`` times.

    ``expected`` may be less than 1. The logarithm of the number of crossings is fitted by a line in threshold ** power,
    for thresholds with 8 to 500 crossings, and extrapolated. ``power`` is 2 for distances, whose tails fall like those
    of a normal variable, and 1 for logarithms of p-values.
    """
    candidates = np.unique(np.quantile(scores, 1 - np.geomspace(10 / scores.size, 0.05, 80)))
    counts = np.array([episodes(scores, t) for t in candidates])
    used = (counts >= _FEWEST) & (counts <= _MOST)
    slope, start = np.polyfit(candidates[used] ** power, np.log(counts[used]), 1, w=np.sqrt(counts[used]))
    return float(((np.log(expected) - start) / slope) ** (1 / power))
