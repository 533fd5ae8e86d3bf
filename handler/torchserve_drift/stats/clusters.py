"""Rows that arrive together are alike: how many times larger that makes the variance of a window's mean score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchserve_drift.stats.saddlepoint import Floats, FloatsLike

FEWEST_REQUESTS = 10.0
"""With fewer requests the rows of each are taken to be all alike."""

_SURE_TO = 41.82
"""The square of the normal quantile for a two-sided p-value of 1e-10: so far the allowance for the estimate's error."""


class RequestSums(NamedTuple):
    """Sums over rows and requests, one feature's or arrays. A request has m rows with a score z, whose sum is T.

    ``rows`` n with a score; ``score_sum`` and ``score_squares`` sums over rows of z and z²; ``sizes_squared``,
    ``sizes_fourth``, ``totals_squared`` and ``sizes_totals`` sums over requests of m², m⁴, T² and m T.
    """

    rows: FloatsLike
    score_sum: FloatsLike
    score_squares: FloatsLike
    sizes_squared: FloatsLike
    sizes_fourth: FloatsLike
    totals_squared: FloatsLike
    sizes_totals: FloatsLike


def effective_requests(sizes_squared: FloatsLike, sizes_fourth: FloatsLike) -> Floats:
    """Requests of equal size whose design effect is known as well: sum(m²)² / sum(m⁴) of sizes m; 0 of none.

    Examples
    --------
    >>> effective_requests(50 * 4**2, 50 * 4**4).item()
    50.0
    >>> effective_requests(99 + 100**2, 99 + 100**4).round(2).item()
    1.02
    """
    squared, fourth = np.asarray(sizes_squared, np.float64), np.asarray(sizes_fourth, np.float64)
    found: Floats = np.where(fourth > 0, squared * squared / np.where(fourth > 0, fourth, 1), 0.0)
    return found


def design_effect(sums: RequestSums) -> Floats:
    """How many rows that arrive together tell as much as one that arrives alone; vectorised.

    Returns
    -------
    effects
        From 1 (every row tells something new) to sum(m²) / n (all rows of a request are alike); exactly 1 where every
        request has one row, and where there are no rows. The variance of the mean score is this times that of n
        independent rows.

    Notes
    -----
    With k effective requests and the mean score z̄ the estimate is

        k / (k - 1) · sum (T - m z̄)² / n²   over   sum (z - z̄)² / (n (n - 1)),

    and that is itself uncertain: it is raised by 1 + 2 sqrt(2 / k), two of its standard deviations, or, where that is
    more, by the factor by which Student's quantile with k - 1 degrees of freedom exceeds the normal one (squared) at a
    p-value of 1e-10. Where it has no meaning (less than `FEWEST_REQUESTS`, all scores equal, sums that are no numbers)
    it is the largest possible.

    References
    ----------
    L. Kish, "Survey Sampling", 1965, sections 5.4 and 8.2. J. N. K. Rao and A. J. Scott, "The analysis of categorical
    data from complex sample surveys", J. Amer. Statist. Assoc. 76, 1981.

    Examples
    --------
    A hundred requests of two equal rows, half of them of score 1, half of -1:

    >>> alike = RequestSums(200, 0, 200, 100 * 2**2, 100 * 2**4, totals_squared=100 * 2**2, sizes_totals=0)
    >>> design_effect(alike).item()
    2.0

    The same rows, one a request; and in requests of a 1 and a -1, which tell more than independent rows would:

    >>> design_effect(RequestSums(200, 0, 200, 200, 200, 200, 0)).item()
    1.0
    >>> design_effect(alike._replace(totals_squared=0)).item()
    1.0
    """
    rows, z, z2, m2, m4, t2, mt = (np.asarray(each, np.float64) for each in sums)
    n = np.where(rows > 0, rows, 1.0)
    largest = np.maximum(np.where(rows > 0, m2, 1.0) / n, 1.0)
    k = effective_requests(m2, m4)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean = z / n
        squares = z2 - mean * z
        between = t2 - 2 * mean * mt + mean * mean * m2
        varied = squares > 1e-9 * z2  # less is the rounding of the sums
        ratio = k / (k - 1) * between * (n - 1) / (n * squares)
        student = (k - 1) / _SURE_TO * np.expm1(_SURE_TO / (k - 1))
        estimate = ratio * np.maximum(1 + 2 * np.sqrt(2 / k), student)
        known = (k >= FEWEST_REQUESTS) & varied & (estimate < largest)
    found: Floats = np.where(known, np.maximum(estimate, 1.0), largest)
    return found


def sample_design_effect(effect: FloatsLike, share: FloatsLike) -> Floats:
    """The design effect of a uniform sample, ``share`` in (0, 1] of the rows whose design effect is ``effect``.

    Notes
    -----
    A sample parts the rows of a request: the mean of s of n rows has variance (effect / n + 1 / s - 1 / n) times the
    rows', which is 1 + (effect - 1) s / n times that of s independent rows.

    Examples
    --------
    >>> sample_design_effect(32, [1, 0.5, 0]).tolist()
    [32.0, 16.5, 1.0]
    """
    return 1 + (np.asarray(effect, np.float64) - 1) * np.asarray(share, np.float64)
