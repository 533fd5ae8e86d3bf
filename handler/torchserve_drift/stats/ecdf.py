"""Two-sample Kolmogorov-Smirnov statistics from codes against the baseline's distinct values.

Of the sorted distinct values v_0 < ... < v_(J-1) of the baseline's sample, a production value has code 2j + 1 where it
equals v_j, 2j where it lies in the gap before v_j, and 2J above all: 2J + 1 codes, in the order of the values. No value
is NaN: missing values have no code.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from torchserve_drift.stats.saddlepoint import Floats

Codes = npt.NDArray[np.integer]


def code_counts(cumulative: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How many rows of the baseline's sample lie below, and at or below, a value of each code.

    Parameters
    ----------
    cumulative
        (J,) rows at or below each distinct value, strictly increasing; the last is the number of rows.

    Returns
    -------
    below, at
        (2J + 1,) each.

    Examples
    --------
    >>> below, at = code_counts(np.array([2, 3]))
    >>> below.tolist(), at.tolist()
    ([0, 0, 2, 2, 3], [0, 2, 2, 3, 3])
    """
    steps = np.concatenate([[0], np.asarray(cumulative, np.int64)])
    at = np.repeat(steps, 2)[1:]
    below = at.copy()
    below[1::2] = steps[:-1]
    return below, at


def code_shares(cumulative: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
    """`code_counts` as shares of the baseline's rows, in [0, 1]; NaN where there are none."""
    below, at = code_counts(cumulative)
    rows = at[-1] if at[-1] else np.nan
    return below / rows, at / rows


def ks_statistic(codes: Codes, below: Floats, at: Floats) -> float:
    """The two-sample statistic D of the coded rows against the baseline: exact, ties included.

    Parameters
    ----------
    codes
        (m,) in any order.
    below, at
        (2J + 1,) of `code_shares`.

    Returns
    -------
    d
        In [0, 1], to the last bit that of ``scipy.stats.ks_2samp``; NaN where either sample is empty.

    Notes
    -----
    About 50 µs for 4,096 rows against 10,000 distinct values: a radix sort, or counts by code where codes are few.

    Examples
    --------
    >>> below, at = code_shares(np.array([2, 3]))
    >>> ks_statistic(np.array([4, 4, 1], np.uint16), below, at)
    0.6666666666666667
    >>> ks_statistic(np.array([1, 1, 3], np.uint16), below, at)
    0.0
    """
    if len(at) <= 2 * len(codes):
        return ks_from_counts(np.bincount(codes, minlength=len(at)), at)
    return ks_from_sorted_codes(np.sort(codes, kind="stable"), below, at)


def ks_from_sorted_codes(codes_sorted: Codes, below: Floats, at: Floats) -> float:
    """`ks_statistic` of codes in rising order."""
    rows = len(codes_sorted)
    if rows == 0:
        return float("nan")
    # the window's steps are where it can lie furthest above the baseline, and just before them furthest below
    shares = _shares(rows)
    above = at.take(codes_sorted)
    np.subtract(shares[1:], above, out=above)
    beneath = below.take(codes_sorted)
    np.subtract(beneath, shares[:-1], out=beneath)
    return max(float(above.max()), float(beneath.max()), 0.0)


@lru_cache(maxsize=8)
def _shares(rows: int) -> Floats:
    """0, 1 / rows, ..., 1: kept, since all features of a window have as many rows."""
    shares = np.arange(rows + 1) / rows
    shares.flags.writeable = False
    return shares


def ks_from_counts(counts: npt.NDArray[np.integer], at: Floats) -> float:
    """`ks_statistic` of ``counts`` (2J + 1,), rows by code: the distributions differ most at or just before a v_j."""
    cumulative = np.cumsum(counts)
    rows = int(cumulative[-1])
    if rows == 0:
        return float("nan")
    difference = cumulative / rows
    difference -= at
    return max(float(difference.max()), -float(difference.min()), 0.0)
