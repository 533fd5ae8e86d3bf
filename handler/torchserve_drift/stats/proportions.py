"""p-values of shares that are never too small, at any level: exact tails and upper bounds of them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from torchserve_drift.stats.saddlepoint import Floats, FloatsLike, log_binomial

_ROUNDING = 1 + 1e-6
"""Over 100 times the rounding error of the probabilities for populations of 1e9 rows."""


def hypergeometric_tail(k: FloatsLike, m: FloatsLike, K: FloatsLike, N: FloatsLike) -> Floats:
    """An upper bound of P(X >= k) for the number X of marked rows among ``m`` drawn from ``N``, ``K`` of them marked.

    Parameters
    ----------
    k, m, K, N
        Whole numbers, 0 <= m, K <= N; arrays that broadcast.

    Returns
    -------
    bounds
        In [0, 1]: 1 for ``k`` at or below the mean; within a factor of 2 of the probability where that is below 1e-3.

    Notes
    -----
    The ratio r of successive probabilities falls, and is below 1 above the mean, so that
    P(X >= k) <= P(X = k) / (1 - r(k)). Chvátal's bound is simpler and larger.

    References
    ----------
    V. Chvátal, "The tail of the hypergeometric distribution", Discrete Mathematics 25, 1979.

    Examples
    --------
    >>> hypergeometric_tail(np.array([0, 1, 5, 6]), 5, 5, 100).round(10).tolist()
    [1.0, 0.4253297014, 1.33e-08, 0.0]
    """
    arguments = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (k, m, K, N)))
    k, m, K, N = arguments
    above_mean = (k > 0) & (k * N > m * K)
    possible = above_mean & (k <= np.minimum(m, K))
    # where nothing is to be computed, a harmless case instead: 1 of 1 drawn from 2, 1 of them marked
    k, m, K, N = (np.where(possible, a, b) for a, b in zip(arguments, (1, 1, 1, 2)))
    ratio = (K - k) * (m - k) / ((k + 1) * (N - K - m + k + 1))
    bound = np.minimum(np.exp(_log_hypergeometric(k, m, K, N)) / (1 - ratio) * _ROUNDING, 1)
    return np.where(possible, bound, np.where(above_mean, 0.0, 1.0))


def two_proportions_p(
    k1: FloatsLike, n1: FloatsLike, k2: FloatsLike, n2: FloatsLike, side: Literal["two", "greater"] = "two"
) -> Floats:
    """Fisher's test, from above: that the share ``k2`` of ``n2`` differs from, or exceeds, ``k1`` of ``n1``.

    Returns
    -------
    p_values
        In [0, 1], never below the exact ones; two-sided: twice the smaller tail. 1 where either sample is empty.

    Examples
    --------
    >>> two_proportions_p(10, 10_000, np.array([4, 60]), 4_096, side="greater").round(4).tolist()
    [0.8386, 0.0]
    """
    k1, n1, k2, n2 = (np.asarray(a, np.float64) for a in (k1, n1, k2, n2))
    marked, rows = k1 + k2, n1 + n2
    greater = hypergeometric_tail(k2, n2, marked, rows)
    if side == "greater":
        return greater
    less = hypergeometric_tail(k1, n1, marked, rows)
    return np.minimum(2 * np.minimum(greater, less), 1)


def beyond_range_p(k: FloatsLike, m: FloatsLike, n: FloatsLike) -> Floats:
    """P(at least ``k`` of ``m`` new rows lie outside the minimum and maximum of ``n`` earlier ones), all exchangeable.

    Returns
    -------
    p_values
        In [0, 1]; exact without ties, which only make the event rarer; 1 where ``k`` is 0 or there are no earlier rows.

    Notes
    -----
    a or more new rows above and k - a or more below is the event that the a highest and k - a lowest of all are new:
    q_k = C(m, k) / C(n + m, k), whatever a. The union over a of these k + 1 nested corners is (k + 1) q_k - k q_(k+1).

    Examples
    --------
    >>> beyond_range_p(np.array([0, 1, 3]), 100, 10_000).round(8).tolist()
    [1.0, 0.0197069, 3.74e-06]
    """
    k, m, n = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (k, m, n)))
    possible = (k > 0) & (k <= m) & (n > 0)
    k, m, n = (np.where(possible, a, 1) for a in (k, m, n))
    p = np.exp(_log_hypergeometric(k, k, m, n + m)) * ((k + 1) - k * (m - k) / (n + m - k)) * _ROUNDING
    return np.where(possible, np.minimum(p, 1), np.where((k > m) & (n > 0), 0.0, 1.0))


def _log_hypergeometric(k: Floats, m: Floats, K: Floats, N: Floats) -> Floats:
    """log P(X = k), for m < N and k within the support."""
    share = m / N
    return log_binomial(k, K, share) + log_binomial(m - k, N - K, share) - log_binomial(m, N, share)
