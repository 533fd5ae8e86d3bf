"""Thresholds for alarms too rare to be simulated often: the logarithm of the rate, fitted and followed outwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FEWEST, _MOST = 8, 2_000


def episodes(scores: Floats, threshold: float) -> int:
    """How often ``scores`` (..., looks) come to exceed ``threshold``."""
    above = scores > threshold
    return int(above[..., 0].sum() + (above[..., 1:] & ~above[..., :-1]).sum())


def threshold_for(scores: Floats, expected: float) -> float:
    """The threshold that ``scores`` (series, looks) without drift are expected to cross ``expected`` times.

    ``expected`` may be less than 1: the logarithm of the number of crossings is fitted as a parabola of the threshold
    where there are 8 to 2,000 of them, and followed outwards; within, this is the observed threshold, smoothed.

    Notes
    -----
    The logarithm of a tail that falls as exp(-c t²), as those of KS and Jensen-Shannon distances do, is such a parabola
    but for a term of log t.
    """
    ordered = np.sort(scores, axis=None)
    candidates = np.unique(np.quantile(ordered, 1 - np.geomspace(20 / ordered.size, 0.05, 60)))
    counts = np.array([episodes(scores, t) for t in candidates])
    used = (counts >= _FEWEST) & (counts <= _MOST)
    x, y = candidates[used], np.log(counts[used])
    a, b, c = np.polyfit(x, y, 2, w=np.sqrt(counts[used]))
    if a > 0:  # no parabola that opens upwards can be a tail
        a, (b, c) = 0.0, np.polyfit(x, y, 1, w=np.sqrt(counts[used]))
    wanted = c - np.log(expected)
    if a == 0.0:
        return float(-wanted / b)
    return float((-b - np.sqrt(b * b - 4 * a * wanted)) / (2 * a))
