"""p-values of shares that are never too small: exact tails, or upper bounds of them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from torchserve_drift.stats.arrays import Floats, FloatsLike
from torchserve_drift.stats.binomial import log_binomial

_ROUNDING = 1 + 1e-6
"""A factor that keeps bounds above the exact values: its excess over 1 is more than 100 times the rounding error of the
probabilities for populations of 1e9 rows."""


def hypergeometric_tail(k: FloatsLike, drawn: FloatsLike, marked: FloatsLike, rows: FloatsLike) -> Floats:
    """An upper bound of P(X >= k), where X is the number of marked rows among rows drawn without replacement.

    Parameters
    ----------
    k, drawn, marked, rows
        Whole numbers with 0 <= ``drawn`` <= ``rows`` and 0 <= ``marked`` <= ``rows``; arrays that broadcast.

    Returns
    -------
    bounds
        In [0, 1]: 1 for ``k`` at or below the mean, and less than twice the probability where that is below 1e-3.

    Notes
    -----
    The ratio r(k) = P(X = k + 1) / P(X = k) falls as k grows and is below 1 above the mean. So a geometric series
    bounds the tail: P(X >= k) <= P(X = k) / (1 - r(k)). Chvátal's bound is simpler but larger.

    References
    ----------
    V. Chvátal, "The tail of the hypergeometric distribution", Discrete Mathematics 25, 1979.

    Examples
    --------
    >>> hypergeometric_tail(np.array([0, 1, 5, 6]), 5, 5, 100).round(10).tolist()
    [1.0, 0.2315618345, 1.33e-08, 0.0]
    """
    hits, m, total, n = _broadcast_floats(k, drawn, marked, rows)
    above_mean = (hits > 0) & (hits * n > m * total)
    possible = above_mean & (hits <= np.minimum(m, total))
    # Elements with a known result are computed for a harmless case instead: 1 row drawn from 2, of which 1 is marked.
    hits, m, total, n = (np.where(possible, a, b) for a, b in zip((hits, m, total, n), (1, 1, 1, 2)))
    ratio = (total - hits) * (m - hits) / ((hits + 1) * (n - total - m + hits + 1))
    bound = np.minimum(np.exp(_log_hypergeometric(hits, m, total, n)) / (1 - ratio) * _ROUNDING, 1)
    return np.where(possible, bound, np.where(above_mean, 0.0, 1.0))


def two_proportions_p(
    k1: FloatsLike, n1: FloatsLike, k2: FloatsLike, n2: FloatsLike, side: Literal["two", "greater"] = "two"
) -> Floats:
    """Upper bounds of the p-values of Fisher's test.

    Parameters
    ----------
    k1, n1, k2, n2
        ``k1`` hits in the ``n1`` rows of the first sample, ``k2`` hits in the ``n2`` rows of the second; whole numbers,
        arrays that broadcast.
    side
        The alternative: "two": the shares differ; "greater": the share of the second sample is larger.

    Returns
    -------
    p_values
        In [0, 1], never below the exact ones; for "two", twice the smaller tail. 1 where either sample is empty.

    Examples
    --------
    >>> two_proportions_p(10, 10_000, np.array([4, 60]), 4_096, side="greater").round(4).tolist()
    [1.0, 0.0]
    """
    before, rows_before, now, rows_now = _broadcast_floats(k1, n1, k2, n2)
    marked, rows = before + now, rows_before + rows_now
    greater = hypergeometric_tail(now, rows_now, marked, rows)
    if side == "greater":
        return greater
    # Few hits in the second sample are many hits in the first one.
    less = hypergeometric_tail(before, rows_before, marked, rows)
    both: Floats = np.minimum(2 * np.minimum(greater, less), 1)
    return both


def beyond_range_p(k: FloatsLike, m: FloatsLike, n: FloatsLike) -> Floats:
    """The probability that at least ``k`` of ``m`` new rows lie outside the range of ``n`` earlier rows.

    The null: all rows are exchangeable. The range is that from the minimum to the maximum of the earlier rows.

    Returns
    -------
    p_values
        In [0, 1]; 1 where ``k`` is 0 or there are no earlier rows. Exact without ties; ties only make the event rarer.

    Notes
    -----
    "At least a new rows above and at least k - a below" is the event that the a highest and the k - a lowest of all
    rows are new. Its probability is q_k = C(m, k) / C(n + m, k) for every a. The union of these events over a = 0, ...,
    k has probability (k + 1) q_k - k q_(k+1), since neighbouring events overlap with probability q_(k+1).

    Examples
    --------
    >>> beyond_range_p(np.array([0, 1, 3]), 100, 10_000).round(8).tolist()
    [1.0, 0.01970494, 3.74e-06]
    """
    outside, new, old = _broadcast_floats(k, m, n)
    possible = (outside > 0) & (outside <= new) & (old > 0)
    impossible = (outside > new) & (old > 0)
    # Elements with a known result are computed for a harmless case instead: 1 of 1 new rows, with 1 old row.
    outside, new, old = (np.where(possible, a, 1) for a in (outside, new, old))
    corner = np.exp(_log_hypergeometric(outside, outside, new, new + old)) * _ROUNDING
    p = corner * (outside + 1 - outside * (new - outside) / (new + old - outside))
    return np.where(possible, np.minimum(p, 1), np.where(impossible, 0.0, 1.0))


def _log_hypergeometric(k: Floats, drawn: Floats, marked: Floats, rows: Floats) -> Floats:
    """log P(X = k), for drawn < rows and k within the support."""
    share = drawn / rows
    log = log_binomial(k, marked, share) + log_binomial(drawn - k, rows - marked, share)
    return log - log_binomial(drawn, rows, share)


def _broadcast_floats(*arguments: FloatsLike) -> list[Floats]:
    """The arguments as float64 arrays of one shape."""
    return list(np.broadcast_arrays(*(np.asarray(argument, np.float64) for argument in arguments)))
