"""How much groups of rows differ beyond chance: the moment estimator of Paule and Mandel."""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Floats

LARGEST = 1000.0
"""The largest correlation that is told from others."""

_MOST_STEPS, _PRECISION = 40, 1e-4


def correlation_of(squares: Floats, inverse_rows: Floats) -> float:
    """The correlation rho >= 0 of rows within windows, of which n rows are worth 1 / (1/n + rho) independent ones.

    Parameters
    ----------
    squares
        (W,) the squared deviation of each window's mean from the expected mean, in variances of a row.
    inverse_rows
        (W,) 1 / n, above 0, where n is the number of independent rows of a window.

    Returns
    -------
    rho
        The solution of: the mean over windows of squares / (inverse_rows + rho) is 1. It is 0 where the deviations are
        no larger than those of independent rows, and at most `LARGEST`.

    Notes
    -----
    The mean is convex and falls with rho. Newton's steps from 0 therefore never go too far, and converge.

    References
    ----------
    R. C. Paule, J. Mandel, "Consensus values and weighting factors", J. Res. Natl. Bur. Stand. 87 (1982).

    Examples
    --------
    >>> correlation_of(np.array([0.3, 0.3]), np.array([0.1, 0.1])).__round__(6)
    0.2
    >>> correlation_of(np.array([0.05, 0.1]), np.array([0.1, 0.1]))
    0.0
    """
    if not len(squares):
        return 0.0
    rho = 0.0
    for _ in range(_MOST_STEPS):
        weights = 1 / (inverse_rows + rho)
        terms = squares * weights
        excess, slope = float(terms.mean()) - 1, float((terms * weights).mean())
        if not excess > 0:
            break
        step = excess / slope
        rho += step
        if step <= _PRECISION * rho:
            break
    return min(rho, LARGEST)


def not_increasing(values: Floats) -> Floats:
    """``values`` along the first axis, each raised to the largest that follows it.

    Examples
    --------
    >>> not_increasing(np.array([0.2, 0.1, 0.3, 0.05])).tolist()
    [0.3, 0.3, 0.3, 0.05]
    """
    raised: Floats = np.maximum.accumulate(values[::-1], axis=0)[::-1]
    return raised
