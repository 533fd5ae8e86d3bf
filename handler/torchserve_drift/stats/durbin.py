"""Durbin's matrix: the exact distribution of the two-sided Kolmogorov-Smirnov statistic of few observations."""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Floats


def durbin_cdf(n: Floats, d: Floats) -> Floats:
    """P(D_n < d) for many (n, d) at once.

    Parameters
    ----------
    n, d
        (F,) whole numbers n >= 1, and 0 < d < 1.

    Returns
    -------
    probabilities
        (F,) in [0, 1].

    Notes
    -----
    With d = (k - h) / n, the probability is n!/n^n times the middle entry of the n-th power of a matrix of 2k - 1 rows
    that depends on n only through k and h. Statistics with the same k are computed together. Only one row of the power
    is needed, so each factor is a product of a vector and the matrix: O(n k²) for each statistic. Meant for n up to
    some hundreds: entries stay within e^±n, and there is no rescaling.

    References
    ----------
    G. Marsaglia, W. W. Tsang, J. Wang, "Evaluating Kolmogorov's distribution", J. Stat. Soft. 8 (18), 2003.

    Examples
    --------
    >>> durbin_cdf(np.array([10.0]), np.array([0.274])).round(6).tolist()
    [0.62848]
    """
    k = np.ceil(n * d)
    # All matrices of one k have the same size, so their powers are computed together.
    result = np.empty(n.shape)
    for value in np.unique(k):
        same = k == value
        result[same] = _middle_of_power(n[same], value - n[same] * d[same], int(value))
    return np.clip(result, 0, 1)


def _middle_of_power(n: Floats, h: Floats, k: int) -> Floats:
    size = 2 * k - 1
    inverse_factorial = 1 / np.cumprod(np.arange(1.0, size + 1))
    inner = _toeplitz(inverse_factorial).T
    # Only the first column and the last row of the matrix depend on h. The inner matrix is without them and common to
    # all statistics; their contributions are added to each product.
    column = h[:, None] ** np.arange(1, size + 1) * inverse_factorial
    row = column[:, ::-1]
    corner = np.maximum(2 * h - 1, 0) ** size * inverse_factorial[-1]
    vector = np.zeros((len(n), size))
    vector[:, k - 1] = 1
    result = np.empty(n.shape)
    for i in range(1, int(n.max()) + 1):
        first = vector[:, 0]
        following = vector @ inner
        following -= column * first[:, None]
        following[:, -1] += corner * first - np.einsum("fi,fi->f", row, vector)
        vector = following * (i / n)[:, None]  # the factors of n!/n^n, one at a time, keep entries small
        done = n == i
        result[done] = vector[done, k - 1]
        vector[done] = 0
    return result


def _toeplitz(inverse_factorial: Floats) -> Floats:
    """The matrix whose entry (r, c) is 1 / (r - c + 1)!, and 0 where that has no meaning."""
    size = len(inverse_factorial)
    above = np.concatenate([[1.0], inverse_factorial])
    distance = np.arange(size)[:, None] - np.arange(size) + 1
    return np.where(distance >= 0, above[np.maximum(distance, 0)], 0)
