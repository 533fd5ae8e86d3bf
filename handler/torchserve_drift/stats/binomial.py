"""Logarithms of binomial probabilities in Loader's form, which avoids the cancellation of large log-factorials."""

from __future__ import annotations

import math

import numpy as np

from torchserve_drift.stats.arrays import Floats

LOG_2PI = math.log(2 * math.pi)

# Exact values where the series of `stirling_series` is not accurate, which needs large n. The entry at 0 is never used.
_SMALL = np.array([0.0, *(math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * LOG_2PI for n in range(1, 16))])


def stirling_series(n: Floats) -> Floats:
    """log(n!) minus Stirling's formula, for real n > 0; the absolute error is about 6e-4 / n**7."""
    square = n * n
    series: Floats = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / n
    return series


def stirling_error(n: Floats) -> Floats:
    """log(n!) minus Stirling's formula, for whole n >= 1; the absolute error is below 1e-11."""
    return np.where(n > 15, stirling_series(np.maximum(n, 16)), _SMALL[np.clip(n, 0, 15).astype(np.intp)])


def deviance(x: Floats, mean: Floats) -> Floats:
    """x log(x / mean) + mean - x, which is >= 0, for x >= 0 and mean > 0."""
    excess = (x - mean) / mean
    with np.errstate(divide="ignore", invalid="ignore"):
        value = mean * ((1 + excess) * np.log1p(excess) - excess)
    return np.where(x > 0, value, mean)


def log_binomial(k: Floats, n: Floats, p: Floats) -> Floats:
    """log P(X = k) for X ~ Binomial(n, p), with whole 0 <= k <= n and 0 < p < 1; the arrays have one shape.

    References
    ----------
    C. Loader, "Fast and accurate computation of binomial probabilities", 2000.

    Examples
    --------
    >>> log_binomial(np.array([0.0, 1.0]), np.array([2.0, 2.0]), np.array([0.5, 0.5])).round(6).tolist()
    [-1.386294, -0.693147]
    """
    rest = n - k
    # The form below divides by k and n - k. At k = 0 and k = n the probability is a plain power, added last.
    inner = (k > 0) & (rest > 0)
    safe_k, safe_rest = np.where(inner, k, 1), np.where(inner, rest, 1)
    log = (
        stirling_error(n)
        - stirling_error(safe_k)
        - stirling_error(safe_rest)
        - deviance(k, n * p)
        - deviance(rest, n * (1 - p))
        - 0.5 * (LOG_2PI + np.log(safe_k * (safe_rest / np.maximum(n, 1))))
    )
    return np.where(inner, log, np.where(rest > 0, n * np.log1p(-p), n * np.log(p)))
