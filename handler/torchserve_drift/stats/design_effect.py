"""The design effect: how many times larger the variance of a mean score is because rows of one request are alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchserve_drift.stats.arrays import Floats, FloatsLike

FEWEST_REQUESTS = 10.0
"""With fewer effective requests the design effect cannot be estimated. All rows of a request then count as equal."""

_SQUARED_QUANTILE = 41.82
"""The square of the normal quantile for a two-sided p-value of 1e-10. The allowance for the error of the estimate is
large enough for p-values down to that one."""


class RequestSums(NamedTuple):
    """Sums over rows and requests, of one feature or as arrays of many.

    A row has a score z. A request has m rows with a score, and T is the sum of their scores. ``rows``: n, all rows with
    a score. ``score_sum`` and ``score_squares``: sums over rows of z and z². ``sizes_squared``, ``sizes_fourth``,
    ``totals_squared`` and ``sizes_totals``: sums over requests of m², m⁴, T² and m T.
    """

    rows: FloatsLike
    score_sum: FloatsLike
    score_squares: FloatsLike
    sizes_squared: FloatsLike
    sizes_fourth: FloatsLike
    totals_squared: FloatsLike
    sizes_totals: FloatsLike


def effective_requests(sizes_squared: FloatsLike, sizes_fourth: FloatsLike) -> Floats:
    """The number of requests of equal size that would give an equally good estimate: sum(m²)² / sum(m⁴) of sizes m.

    It is 0 where there are no requests.

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
    """The number of rows that are worth one independent row, for many features at once.

    Returns
    -------
    design_effects
        From 1 (the rows of a request are independent) to sum(m²) / n (they are equal). Exactly 1 where every request
        has one row, and where there are no rows. The variance of the mean score is that of n independent rows times
        the design effect.

    Notes
    -----
    With k effective requests and the mean score z̄ the estimate is

        k / (k - 1) · sum (T - m z̄)² / n²   over   sum (z - z̄)² / (n (n - 1)).

    The estimate has an error, so it is multiplied by an allowance: the larger of 1 + 2 sqrt(2 / k), which is two of its
    standard deviations, and the square of the ratio of two quantiles at a p-value of 1e-10, Student's with k - 1
    degrees of freedom and the normal one. The result is the largest possible value where there is no estimate: with
    fewer than `FEWEST_REQUESTS` effective requests, with equal scores only, and with sums that are not finite.

    References
    ----------
    L. Kish, "Survey Sampling", 1965, sections 5.4 and 8.2. J. N. K. Rao and A. J. Scott, "The analysis of categorical
    data from complex sample surveys", J. Amer. Statist. Assoc. 76, 1981.

    Examples
    --------
    A hundred requests of two equal rows, half of them with score 1 and half with -1:

    >>> alike = RequestSums(200, 0, 200, 100 * 2**2, 100 * 2**4, totals_squared=100 * 2**2, sizes_totals=0)
    >>> design_effect(alike).item()
    2.0

    The same rows, each in a request of its own; then in requests of one 1 and one -1. The mean of those varies less
    than that of independent rows, but the result is never below 1:

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
        squares = z2 - mean * z  # sum (z - z̄)²
        between = t2 - 2 * mean * mt + mean * mean * m2  # sum (T - m z̄)²
        varied = squares > 1e-9 * z2  # a smaller rest is the rounding error of the sums
        ratio = k / (k - 1) * between * (n - 1) / (n * squares)
        # The squared ratio of Student's quantile t to the normal one z, since t² is about ν (exp(z² / ν) - 1).
        student = (k - 1) / _SQUARED_QUANTILE * np.expm1(_SQUARED_QUANTILE / (k - 1))
        estimate = ratio * np.maximum(1 + 2 * np.sqrt(2 / k), student)
        known = (k >= FEWEST_REQUESTS) & varied & (estimate < largest)
    found: Floats = np.where(known, np.maximum(estimate, 1.0), largest)
    return found


def sample_design_effect(of_all_rows: FloatsLike, share: FloatsLike) -> Floats:
    """The design effect of a uniform sample of rows.

    Parameters
    ----------
    of_all_rows
        The design effect of all rows, at least 1.
    share
        The rows of the sample as a share of all rows, in [0, 1].

    Notes
    -----
    A sample has fewer rows of each request. Let D be the design effect of all n rows. The mean of s sampled rows has
    the variance of a row times D / n + 1 / s - 1 / n, which is that of s independent rows times 1 + (D - 1) s / n.

    Examples
    --------
    >>> sample_design_effect(32, [1, 0.5, 0]).tolist()
    [32.0, 16.5, 1.0]
    """
    return 1 + (np.asarray(of_all_rows, np.float64) - 1) * np.asarray(share, np.float64)
