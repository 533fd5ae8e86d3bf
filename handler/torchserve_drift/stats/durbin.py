"""The exact distribution of the two-sided Kolmogorov-Smirnov statistic of few observations, for many at once."""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.saddlepoint import Floats


def durbin_cdf(n: Floats, d: Floats) -> Floats:
    """P(D_n < d) for whole n >= 1 and 0 < d < 1; both of shape (F,), the result in [0, 1].

    Notes
    -----
    With d = (k - h) / n, the probability is n!/n^n times the middle entry of the n-th power of a matrix of 2k - 1 rows
    that depends on n only through k and h. All statistics with the same k take their powers together, vector by vector:
    O(n k²) each, meant for n up to some hundreds (no rescaling: entries stay within e^±n).

    References
    ----------
    G. Marsaglia, W. W. Tsang, J. Wang, "Evaluating Kolmogorov's distribution", J. Stat. Soft. 8 (18), 2003.

    Examples
    --------
    >>> durbin_cdf(np.array([10.0]), np.array([0.274])).round(6).tolist()
    [0.62848]
    """
    k = np.ceil(n * d)
    result = np.empty(n.shape)
    for value in np.unique(k):
        same = k == value
        result[same] = _middle_of_power(n[same], value - n[same] * d[same], int(value))
    return np.clip(result, 0, 1)


def _middle_of_power(n: Floats, h: Floats, k: int) -> Floats:
    size = 2 * k - 1
    inverse_factorial = 1 / np.cumprod(np.arange(1.0, size + 1))
    inner = _toeplitz(inverse_factorial).T
    # the matrix is that plus changes in its first column and last row, which alone depend on h
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
        vector = following * (i / n)[:, None]
        done = n == i
        result[done] = vector[done, k - 1]
        vector[done] = 0
    return result


def _toeplitz(inverse_factorial: Floats) -> Floats:
    size = len(inverse_factorial)
    above = np.concatenate([[1.0], inverse_factorial])  # entry (r, c) is 1 / (r - c + 1)!
    distance = np.arange(size)[:, None] - np.arange(size) + 1
    return np.where(distance >= 0, above[np.maximum(distance, 0)], 0)
