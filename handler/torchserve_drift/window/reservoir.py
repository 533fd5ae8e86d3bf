"""The pool of whole rows from which the uniform sample of any window can be taken.

Every row gets a uniform random priority. The sample of a window is its k rows with the smallest priorities. A row is
not needed any more once k newer rows have smaller priorities: then it is in the sample of no window, now or later. This
is bottom-k sampling over a sliding window (Babcock, Datar and Motwani, SODA 2002; Gemulla and Lehner, SIGMOD 2008). The
samples of several pools merge into one: the k rows of all of them that have the smallest priorities.
"""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Bools, Indices, Integers, Priorities


def smallest(priorities: Priorities, k: int) -> Indices:
    """The indices, ascending, of the k smallest priorities; of all priorities where there are no more than k.

    Examples
    --------
    >>> smallest(np.array([5, 1, 9, 3], dtype=np.uint32), 2).tolist()
    [1, 3]
    """
    if len(priorities) <= k:
        return np.arange(len(priorities))
    return np.sort(np.argpartition(priorities, k - 1)[:k])


def still_needed(sequence: Integers, priorities: Priorities, k: int) -> Bools:
    """Which rows may still be in the sample of some window, now or later.

    Parameters
    ----------
    sequence
        (N,) numbers of the rows, higher for newer rows, in any order.
    priorities
        (N,) of the same rows.
    k
        Rows in a sample.

    Returns
    -------
    keep
        (N,) True for each such row, and for a few rows that are not needed.

    Notes
    -----
    The rows are compared in blocks, from the newest to the oldest, which is much faster than row by row. A row is kept
    if its priority is below the k-th smallest of all newer blocks; rows of its own block do not count, so that a few
    too many are kept.
    """
    step = max(64, k // 4)
    newest_first = np.argsort(-sequence, kind="stable")
    keep = np.zeros(len(sequence), dtype=np.bool_)
    best = np.empty(0, dtype=priorities.dtype)
    for start in range(0, len(newest_first), step):
        block = newest_first[start : start + step]
        drawn = priorities[block]
        needed = drawn < best.max() if len(best) == k else np.ones(len(block), dtype=np.bool_)
        keep[block[needed]] = True
        best = np.concatenate([best, drawn[needed]])
        if len(best) > k:
            best = np.partition(best, k - 1)[:k]
    return keep
