"""Two-sample Kolmogorov-Smirnov statistics from codes against the baseline's distinct values.

Let v_0 < ... < v_(J-1) be the distinct values of the baseline's sample. A production value has code 2j + 1 if it equals
v_j, code 2j if it lies in the gap before v_j, and code 2J if it lies above all: 2J + 1 codes, in the order of the
values. Missing values have no code.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from torchserve_drift.stats.arrays import AnyIntegers, Floats, Integers


def code_counts(cumulative: AnyIntegers) -> tuple[Integers, Integers]:
    """For each code, the rows of the baseline's sample that are below a value of that code, and at most that value.

    Parameters
    ----------
    cumulative
        (J,) rows at or below each distinct value, strictly increasing; the last is the number of rows.

    Returns
    -------
    below, at_most
        (2J + 1,) each.

    Examples
    --------
    >>> below, at_most = code_counts(np.array([2, 3]))
    >>> below.tolist(), at_most.tolist()
    ([0, 0, 2, 2, 3], [0, 2, 2, 3, 3])
    """
    steps = np.concatenate([[0], np.asarray(cumulative, np.int64)])
    # In a gap (even codes) both counts are those of the value before it; they differ only at a v_j itself.
    at_most = np.repeat(steps, 2)[1:]
    below = at_most.copy()
    below[1::2] = steps[:-1]
    return below, at_most


def code_shares(cumulative: AnyIntegers) -> tuple[Floats, Floats]:
    """`code_counts` as shares of the rows of the baseline's sample, in [0, 1]; NaN where it has no rows."""
    below, at_most = code_counts(cumulative)
    rows = at_most[-1] if at_most[-1] else np.nan
    return below / rows, at_most / rows


def ks_statistic(codes: AnyIntegers, below: Floats, at_most: Floats) -> float:
    """The two-sample statistic D of coded rows against the baseline's sample. Exact, also with ties.

    Parameters
    ----------
    codes
        (m,) in any order.
    below, at_most
        (2J + 1,) each, from `code_shares`.

    Returns
    -------
    d
        In [0, 1], equal to that of ``scipy.stats.ks_2samp`` to the last bit; NaN where either sample is empty.

    Notes
    -----
    About 50 µs for 4,096 rows against 10,000 distinct values: a radix sort, or counts of codes where there are few.

    Examples
    --------
    >>> below, at_most = code_shares(np.array([2, 3]))
    >>> ks_statistic(np.array([4, 4, 1], np.uint16), below, at_most)
    0.6666666666666667
    >>> ks_statistic(np.array([1, 1, 3], np.uint16), below, at_most)
    0.0
    """
    if len(at_most) <= 2 * len(codes):
        return ks_from_counts(np.bincount(codes, minlength=len(at_most)), at_most)
    return ks_from_sorted_codes(np.sort(codes, kind="stable"), below, at_most)


def ks_from_sorted_codes(codes_sorted: AnyIntegers, below: Floats, at_most: Floats) -> float:
    """`ks_statistic` of codes (m,) in rising order."""
    rows = len(codes_sorted)
    if rows == 0:
        return float("nan")
    # The distribution function of the window rises at its own values only. There it can lie furthest above that of the
    # baseline, and just before them furthest below.
    shares = _shares(rows)
    above = at_most.take(codes_sorted)
    np.subtract(shares[1:], above, out=above)
    beneath = below.take(codes_sorted)
    np.subtract(beneath, shares[:-1], out=beneath)
    return max(float(above.max()), float(beneath.max()), 0.0)


@lru_cache(maxsize=8)
def _shares(rows: int) -> Floats:
    """0, 1 / rows, ..., 1. Cached, because all features of a window have the same number of rows."""
    shares = np.arange(rows + 1) / rows
    shares.flags.writeable = False
    return shares


def ks_from_counts(counts: AnyIntegers, at_most: Floats) -> float:
    """`ks_statistic` from ``counts`` (2J + 1,), the rows with each code.

    The distributions differ most at a v_j (odd codes) or just before it (even codes).
    """
    cumulative = np.cumsum(counts)
    rows = int(cumulative[-1])
    if rows == 0:
        return float("nan")
    difference = cumulative / rows
    difference -= at_most
    return max(float(difference.max()), -float(difference.min()), 0.0)
