"""How many independent rows the rows of real traffic are worth, over what time they lie, and how well that is known."""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Floats, FloatsLike

SURE_TO = 1e-8
"""The p-value at which Student's quantile is turned into rows: the size of the levels of an alarm budget."""

KNOWN = 1e6
"""With more degrees of freedom a variance counts as known exactly."""

LEAST_FREEDOM = 1.5


def clustered_effect(clustering: FloatsLike, rows: FloatsLike, sizes_squared: FloatsLike) -> Floats:
    """The design effect of rows that arrive in requests: 1 + clustering · (sum m² / n - 1), for requests of m rows.

    ``clustering`` in [0, 1] is the correlation of two rows of one request. 1 where there are no rows.

    Examples
    --------
    >>> clustered_effect(np.array([0.0, 0.5, 1.0]), 8, 2 * 4**2).tolist()
    [1.0, 2.5, 4.0]
    """
    n = np.asarray(rows, np.float64)
    size = np.asarray(sizes_squared, np.float64) / np.maximum(n, 1)
    found: Floats = 1 + np.asarray(clustering, np.float64) * np.maximum(size - 1, 0)
    return found


def effective_seconds(rows: FloatsLike, pairs: FloatsLike, pairs_per_second: FloatsLike, seconds: FloatsLike) -> Floats:
    """The length over which rows really lie: that of a window through which as many rows come evenly.

    Parameters
    ----------
    rows
        n, whose pairs are looked at.
    pairs
        Ordered pairs of rows of different requests: n² less the sum of squared sizes of requests.
    pairs_per_second
        The same pairs within each short slice of time, divided by the slice's length and added up.
    seconds
        The length of the window, which the result never exceeds.

    Returns
    -------
    seconds
        ``seconds`` for rows that come evenly, and where no slice has two requests; less where rows come at once.

    Examples
    --------
    Two hours of 60 rows each, and 119 rows in one hour but for a last one in the next:

    >>> effective_seconds(120, 120**2 - 120, 2 * (60**2 - 60) / 3600, 7200).round(0).item()
    7200.0
    >>> effective_seconds(120, 120**2 - 120, (119**2 - 119) / 3600, 7200).round(0).item()
    3661.0
    """
    within, length = np.asarray(pairs_per_second, np.float64), np.asarray(seconds, np.float64)
    some = (within > 0) & (np.asarray(rows) > 1)
    found: Floats = np.where(some, np.minimum(np.asarray(pairs) / np.where(some, within, 1), length), length)
    return found


def freedom_of(inverse: FloatsLike, steps: Floats, freedom: Floats) -> Floats:
    """Degrees of freedom of ``inverse`` = 1/n + correlation (...), by Welch and Satterthwaite.

    The correlation is the sum of ``steps`` (..., J), each estimated from so many independent windows, its own degrees
    of ``freedom`` (..., J) >= 1. At least `LEAST_FREEDOM`; infinite where all steps are 0.

    Examples
    --------
    >>> freedom_of(0.03, np.array([0.01, 0.02]), np.array([50.0, 8.0])).round(2).item()
    17.31
    """
    return freedom_with(inverse, (np.square(steps) / np.maximum(freedom, 1)).sum(axis=-1))


def freedom_with(inverse: FloatsLike, error: FloatsLike) -> Floats:
    """As `freedom_of`, where ``error`` is the sum over steps of step² / freedom."""
    known = np.asarray(error) <= 0
    found: Floats = np.where(known, np.inf, np.square(inverse) / np.where(known, 1, error))
    return np.maximum(found, LEAST_FREEDOM)


def student_factor(freedom: FloatsLike) -> Floats:
    """The square of Student's quantile over the normal one at `SURE_TO`: rows are worth less by this factor.

    At least 1, with k degrees of freedom k / z² (exp(z² / k) - 1), which is within 12 % from k = 20 on.

    Examples
    --------
    >>> student_factor(np.array([10.0, 100.0, np.inf])).round(1).tolist()
    [7.8, 1.2, 1.0]
    """
    from scipy.special import ndtri

    squared = float(ndtri(SURE_TO / 2)) ** 2
    k = np.clip(np.asarray(freedom, np.float64), LEAST_FREEDOM, KNOWN)
    return np.where(k < KNOWN, k / squared * np.expm1(np.minimum(squared / k, 60)), 1.0)
