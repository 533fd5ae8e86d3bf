"""Checks that p-values have the right distribution if nothing has changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

LEVELS = (1e-2, 1e-3, 1e-4, 1e-5)

UNIFORM = 10_000
"""How many p-values are tested for uniformity. A million would show the steps of scores in bins."""


def calibration(p_values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """How independent p-values (n,) without drift are distributed.

    Returns
    -------
    ``ks_p``: the p-value of the Kolmogorov-Smirnov test for uniformity of the first `UNIFORM`; small if they are not
    uniform. ``ties``: the share of p-values that occur more than once, which is high for a test of counts. ``rates``:
    the share of p-values at or below each of `LEVELS`. ``factors``: the rates divided by their levels, with exact 95 %
    bounds of the binomial share. A lower bound above 1 means too many false alarms at that level.
    """
    p_values = np.asarray(p_values, dtype=float)
    counts = [int((p_values <= level).sum()) for level in LEVELS]
    return {
        "n": len(p_values),
        "ks_p": float(stats.kstest(p_values[:UNIFORM], "uniform").pvalue),
        "ties": 1 - len(np.unique(p_values)) / len(p_values),
        "rates": [count / len(p_values) for count in counts],
        "factors": [
            (count / len(p_values) / level, *_bounds(count, len(p_values), level))
            for count, level in zip(counts, LEVELS, strict=True)
        ],
    }


def _bounds(count: int, n: int, level: float) -> tuple[float, float]:
    low = stats.beta.ppf(0.025, count, n - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
    return float(low / level), float(high / level)
