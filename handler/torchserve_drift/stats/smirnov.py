"""The upper tail of Smirnov's one-sided statistic D+ of n observations, for many (n, d) at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.binomial import LOG_2PI, stirling_series

_SUMMED_UP_TO = 1000
"""Up to this number of observations all terms are summed."""

_BLOCK = 1 << 15
"""Terms that are computed at once, which bounds the memory."""

_NODES = 32
"""Points of the trapezoid rule."""

_DEPTH = 30.0
"""The integral ends where a term is about exp(-_DEPTH) times the largest term."""

_UNDERFLOWS_FROM = 355.0
"""The n d² from which the tail, at most exp(-2 n d²), is smaller than any positive float."""


def smirnov_sf(n: Floats, d: Floats) -> Floats:
    """P(D+ >= d).

    Parameters
    ----------
    n, d
        (F,) whole numbers n >= 1, and 0 < d < 1; where n > 140, n d² must be at least 2.2.

    Returns
    -------
    probabilities
        (F,) in [0, 1]; 0 where they underflow.

    Notes
    -----
    The probability is d Σ_j C(n, j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j) over 0 <= j <= n (1 - d). Up to n = 1000 the
    terms are summed, with a relative error of 1e-12. For larger n their integral over j replaces the sum. The integral
    is computed by the trapezoid rule in the variable log(j / (n (1 - d) - j)), which converges exponentially, because
    the terms vanish faster than any power at both ends. Its relative error for n = 1001 is 1e-8 at a probability of
    1e-12, 1e-6 at 1e-40 and 5e-4 at 1e-90; from 1e-180 only the magnitude is right. For n = 2905 it is below 1e-5 down
    to 1e-120.

    References
    ----------
    N. V. Smirnov, "Approximate laws of distribution of random variables from empirical data", 1944.
    """
    result = np.zeros(n.shape)
    few = n <= _SUMMED_UP_TO
    many = ~few & (n * d * d < _UNDERFLOWS_FROM)
    result[few] = _summed(n[few], d[few])
    result[many] = _integrated(n[many], d[many])
    return result


def _summed(n: Floats, d: Floats) -> Floats:
    result = np.empty(n.shape)
    for size in np.unique(n):
        same = np.flatnonzero(n == size)
        step = max(1, _BLOCK // int(size))  # each statistic has about ``size`` terms
        for start in range(0, len(same), step):
            block = same[start : start + step]
            result[block] = _summed_same(int(size), d[block])
    return result


def _summed_same(n: int, d: Floats) -> Floats:
    log_factorial = _log_factorials()[: n + 1]
    j = np.arange(n)  # for d > 0 there is no term with j = n
    log = (j - 1) * np.log(d[:, None] + j / n)
    with np.errstate(divide="ignore"):
        log += (n - j) * np.log(np.maximum(1 - d[:, None] - j / n, 0))
    log += log_factorial[n] - log_factorial[j] - log_factorial[n - j]
    total: Floats = d * np.exp(log).sum(axis=1)
    return total


@lru_cache(maxsize=1)
def _log_factorials() -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, _SUMMED_UP_TO + 1)))])


def _integrated(n: Floats, d: Floats) -> Floats:
    n, d = n[:, None], d[:, None]
    # The points of the trapezoid rule, in the variable v = log(s / (1 - d - s)) with s = j / n; t = 1 - s.
    span = np.arccosh(1 + _DEPTH / (n * d * d))
    v = span * np.linspace(-1, 1, _NODES)
    grade = 1 / (1 + np.exp(-v))
    s = (1 - d) * grade
    t = 1 - s
    # The logarithm of a term without its square root, with Stirling's formula for the binomial coefficient.
    log = n * (s * np.log1p(d / s) + t * np.log1p(-d / t))
    log += stirling_series(n) - stirling_series(n * s) - stirling_series(n * t)
    # The square root of Stirling's formula, the factor d / (d + s), and ds / dv.
    weight = np.sqrt(n / s / t) * d / (s + d) * (1 - d) * grade * (1 - grade)
    total: Floats = (weight * np.exp(log - 0.5 * LOG_2PI)).sum(axis=1) * (2 * span[:, 0] / (_NODES - 1))
    return total
